"""One model of several: a student learns the mean of what its teachers say (Hinton et al., "Distilling the Knowledge in
a Neural Network", 2015).

What a harmless request never seen before happens to look like to one model is chance: two that differ in nothing but
their seed rarely alarm on the same. Their mean is steadier than either, and a student of the same size holds it. Where
both are wrong about a harmless row, or about an attack that the grammars made, the student learns what is true.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vedette.model.anomaly_detector import AnomalyDetector
from vedette.model.detector_config import attack_indexes
from vedette.training.rows import Rows, Sampler
from vedette.training.train import HOPELESS, SURE, Log, Progress, Trainer, TrainPlan, follow

NOISE = 0.3  # share of harmless rows that are torn apart: the teachers tell what to think of them
CALM = -3.0  # log-odds that a harmless row is to have at most, whatever the teachers say
WARM_UP = 1 / 50  # share of the steps
WEIGHT_DECAY = 0.02
AVERAGED = 1 / 6  # share of the steps over which the student's weights are averaged


def distil(
    trainers: list[Trainer], rows: Rows, plan: TrainPlan, run: Path, log: Log, progress: Progress
) -> AnomalyDetector:
    """Return the student of `trainers`, which begins as the first of them; with one trainer, its average.

    The student stays in `run` and is taken from there when it stands there already.
    """
    first, kept = trainers[0], run / "student.pt"
    if len(trainers) == 1:
        return first.average
    if kept.exists():
        done = AnomalyDetector(first.average.config)
        done.load_state_dict(torch.load(kept, weights_only=True, map_location="cpu"))
        return done.eval()
    torch.manual_seed(plan.seed)
    teachers = [trainer.average for trainer in trainers]
    for teacher in teachers:
        teacher.train()  # which takes the fused attention kernel, and has no other effect: there is no dropout in it
    student, average = (AnomalyDetector(first.average.config).to(first.device) for _ in range(2))
    for model in (student.train(), average):
        model.load_state_dict(first.average.state_dict())
    optimizer = torch.optim.AdamW(student.parameters(), plan.distil_rate, betas=(0.9, 0.98), weight_decay=WEIGHT_DECAY)
    own = first.sampler
    rng = np.random.default_rng(plan.seed)
    sampler = Sampler(rows, rng, plan.max_tokens, own.hard, NOISE, own.hard_attacks)
    sampler.decide(np.flatnonzero(rows.label > 0))  # all rows of bags too: the teachers say which of them attack
    batches, attacks = sampler.batches(plan.distil_batch), attack_indexes(average.config.classes)
    for step in range(plan.distil_steps):
        set_rate(optimizer, plan.distil_rate, step, plan.distil_steps, max(1, int(WARM_UP * plan.distil_steps)))
        ids, labels, certain = (torch.from_numpy(part).to(first.device) for part in next(batches))
        with torch.no_grad():
            margin, classes = said([teacher(ids)[0] for teacher in teachers], attacks)
        loss = distance(student(ids)[0], margin, classes, labels, certain, attacks).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        follow(average, student, 1 - 1 / max(1.0, AVERAGED * plan.distil_steps), step)
        if (step + 1) % 50 == 0:
            progress(step + 1, plan.distil_steps, f"student, loss {loss.item():.4f}")
    torch.save(average.state_dict(), kept)
    log(f"distilled from {len(teachers)} teachers in {plan.distil_steps} steps")
    return average.eval()


def set_rate(optimizer: torch.optim.Optimizer, rate: float, step: int, steps: int, warm_up: int) -> None:
    """Set the learning rate of `step` (from 0): linear warm-up to `rate`, then a cosine down to a fiftieth of it."""
    share = min(1.0, (step + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * step / steps))
    for group in optimizer.param_groups:
        group["lr"] = rate * (0.02 + 0.98 * share)


def said(logits: list[Tensor], attacks: list[int]) -> tuple[Tensor, Tensor]:
    """Logits (B, C) of several teachers -> the means of their log-odds of attack (B,) and of their classes (B, C)."""
    margin = torch.stack([one[:, attacks].logsumexp(1) for one in logits]).mean(0)
    return margin, torch.stack([F.softmax(one, dim=1) for one in logits]).mean(0)


def distance(
    logits: Tensor, margin: Tensor, classes: Tensor, labels: Tensor, certain: Tensor, attacks: list[int]
) -> Tensor:
    """How far each of `logits` (B, C) is from what was `said`, in the log-odds of attack and in the classes, (B,).

    By the `labels` (B,) it is corrected where it calls a harmless row an attack, or is not sure of an attack that is
    `certain` (B,).
    """
    wrong = (labels == 0) & (margin > CALM)
    unsure = certain & (margin < SURE) & (margin > HOPELESS)
    margin = margin.masked_fill(wrong, CALM).masked_fill(unsure, SURE)
    true = (labels.unsqueeze(1) == torch.arange(logits.shape[1], device=labels.device)).to(classes.dtype)
    share = wrong.to(classes.dtype) + 0.7 * unsure.to(classes.dtype)
    classes = torch.lerp(classes, true, share.unsqueeze(1))
    of_margin = F.smooth_l1_loss(logits[:, attacks].logsumexp(1), margin, reduction="none")
    return of_margin - (classes * logits.log_softmax(1)).sum(1)
