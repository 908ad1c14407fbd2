"""The early exit: a head that tells, before the last layer, which tokens are surely harmless.

It learns from the finished detector alone, which it leaves as it is: each token's log-odds, and each row's, as they are
behind the last layer. It is to err on the side of an attack, as what leaves too late costs time and what leaves too
early may be one. At the end its guesses are lowered by as much as they lie above what the tokens that leave would have
said, and the border with them, so that harmless rows keep their log-odds on the whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from vedette.model.anomaly_detector import AnomalyDetector, EarlyExit
from vedette.model.detector_config import MASKED, attack_indexes
from vedette.training.distil import set_rate
from vedette.training.rows import Batch, Rows, Sampler
from vedette.training.train import Log, Progress, TrainPlan

_NOISE = 0.3  # share of harmless rows that are torn apart
_WARM_UP = 50
_DOUBT = 1.0  # log-odds that are added to what a token is to be told
_ATTACKS = 4.0  # how much more an attack counts
_TOKENS = 3.0  # how much more tokens count than rows
_LEVELLED = 40  # batches over which guesses are compared at the end


def add_early_exit(
    detector: AnomalyDetector,
    rows: Rows,
    hard: NDArray[np.int64],
    plan: TrainPlan,
    run: Path,
    log: Log,
    progress: Progress,
) -> AnomalyDetector:
    """Return `detector` with an early exit; its head stays in `run` and is taken from there when it stands there."""
    kept = run / "early_exit.pt"
    if not kept.exists():
        head, below = _fit(detector, rows, hard, plan, progress)
        torch.save({"below": below, "head": head.state_dict()}, kept)
        log(f"early exit: {plan.exit_steps} steps, below log-odds of {below}")
    found = torch.load(kept, weights_only=True, map_location="cpu")
    result = AnomalyDetector(replace(detector.config, exit_below=found["below"]))
    result.load_state_dict(detector.state_dict(), strict=False)
    result.exit = EarlyExit(detector.config)
    result.exit.load_state_dict(found["head"])
    return result.eval()


def _fit(
    detector: AnomalyDetector, rows: Rows, hard: NDArray[np.int64], plan: TrainPlan, progress: Progress
) -> tuple[EarlyExit, float]:
    torch.manual_seed(plan.seed)
    device = next(detector.parameters()).device
    head = EarlyExit(detector.config).to(device).train()
    detector.train()  # which takes the fused attention kernel, and has no other effect: there is no dropout in it
    optimizer = torch.optim.AdamW(head.parameters(), plan.exit_rate, betas=(0.9, 0.98), weight_decay=0.01)
    sampler = Sampler(rows, np.random.default_rng(plan.seed), plan.max_tokens, hard, _NOISE)
    sampler.decide(np.flatnonzero(rows.label > 0))
    batches, attacks = sampler.batches(plan.batch), [index - 1 for index in attack_indexes(detector.config.classes)]
    for step in range(plan.exit_steps):
        set_rate(optimizer, plan.exit_rate, step, plan.exit_steps, _WARM_UP)
        ids, _, _ = next(batches)
        with torch.no_grad():
            hidden, odds, masked = detector.read(torch.from_numpy(ids).to(device))
        loss = _distance(head(hidden), odds[..., attacks].logsumexp(-1), masked.squeeze(-1))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if (step + 1) % 50 == 0:
            progress(step + 1, plan.exit_steps, f"early exit, loss {loss.item():.4f}")
    below = _level(head, detector, batches, attacks, plan.exit_below)
    detector.eval()
    return head.cpu().eval(), below


@torch.no_grad()
def _level(
    head: EarlyExit, detector: AnomalyDetector, batches: Iterator[Batch], attacks: list[int], below: float
) -> float:
    """Shift the guesses so that tokens of harmless rows that leave say together what they would have said; return
    the border that `below` becomes."""
    guessed = said = 0.0
    for _ in range(_LEVELLED):
        ids, labels, _ = next(batches)
        device = head.out.bias.device
        hidden, odds, masked = detector.read(torch.from_numpy(ids[labels == 0]).to(device))
        guesses = head(hidden)
        leave = (masked.squeeze(-1) == 0) & (guesses < below)
        guessed += float(guesses[leave].exp().sum())
        said += float(odds[..., attacks].logsumexp(-1)[leave].exp().sum())
    lower = math.log(guessed / said) if guessed and said else 0.0
    head.out.bias.sub_(lower)
    return round(below - lower, 4)


def _distance(guesses: Tensor, odds: Tensor, masked: Tensor) -> Tensor:
    """How far `guesses` are from `odds`, token by token and row by row; all (B, T), `masked` -1e4 beside text."""
    told = torch.sigmoid(odds + _DOUBT)
    weight = (masked > MASKED / 2) * (1 + _ATTACKS * told)
    tokens = (F.binary_cross_entropy_with_logits(guesses, told, reduction="none") * weight).sum() / weight.sum()
    rows = F.binary_cross_entropy_with_logits(
        (guesses + masked).logsumexp(1),
        torch.sigmoid((odds + masked).logsumexp(1) - _DOUBT),
        pos_weight=torch.tensor(_ATTACKS, device=odds.device),
    )
    return _TOKENS * tokens + rows
