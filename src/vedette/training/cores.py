"""The recipe on a few processor cores: one root that learns what all runs may see, and a branch of it for each run.

What our own grammars make, but for the productions that are kept apart, is the same in every run, and most of it. So it
is learned once, at a learning rate that does not fall; each run then takes the root's weights, carries them over to its
own vocabulary and learns from all of its rows while the rate falls to nothing. (A warm-up and a stable phase that many
decays branch off: Hu et al., "MiniCPM", 2024. A vocabulary whose new words begin as the mean of the pieces they were
read as before: Gee et al., "Fast Vocabulary Transfer", 2022.)

Every core has a process. All draw the same batches, learn from their share of the rows and add up their gradients; the
products of matrices are taken in bfloat16. Matrices learn by Muon (Jordan et al., "Muon: An optimizer for hidden
layers", 2024), the rest by AdamW.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from vedette.model.anomaly_detector import AnomalyDetector
from vedette.model.detector_config import DetectorConfig
from vedette.tokenization.http_tokenizer import HTTPTokenizer
from vedette.training.distil import AVERAGED
from vedette.training.judge import served_margins
from vedette.training.rows import Batch, Rows, Sampler
from vedette.training.train import Log, TrainPlan, attack_rows, find_hardest, follow, save_atomically

NOISE = 0.15  # share of harmless rows that are torn apart
_TOKENS_AT_ONCE = 4096  # of a batch, padding included: what a core's cache holds
_KEPT_EVERY = 200  # steps
_TOLD_EVERY = 100


@dataclass(frozen=True, slots=True)
class Schedule:
    """Of `steps` batches. The rate of one that `decays` falls to nothing, that of one that does not stays.

    `looks` and `decides` are shares of the steps at which the hardest rows are looked for among `among` of each side,
    of which `keep` harmless ones are kept, and at which it is decided which rows of bags attack.
    """

    steps: int
    decays: bool
    looks: tuple[float, ...]
    decides: tuple[float, ...]
    warm_up: int = 400
    average: int = 300  # steps over which the weights are averaged
    among: int = 200_000
    keep: int = 12_000

    def rate(self, step: int) -> float:
        """Share of the highest learning rate."""
        warm = min(1.0, (step + 1) / self.warm_up)
        return warm * (1.0 - step / self.steps) if self.decays else warm


def root_schedule(steps: int) -> Schedule:
    """What all runs have in common."""
    return Schedule(steps, decays=False, looks=(0.2, 0.4, 0.6, 0.8), decides=(0.2, 0.5), among=150_000)


def branch_schedule(steps: int) -> Schedule:
    """The rest of one run. Its root knows an attack when it sees one, so bags are decided at once."""
    return Schedule(
        steps, decays=True, looks=(0.0, 0.35, 0.7), decides=(0.0, 0.35), warm_up=200, average=int(AVERAGED * steps)
    )


class _BFloat16Product(torch.autograd.Function):
    """x (N, I), weight (O, I), bias (O,) -> x @ weight.T + bias, the products of bfloat16 and their sums of float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        half_x, half_weight = x.to(torch.bfloat16), weight.to(torch.bfloat16)
        ctx.save_for_backward(half_x, half_weight)
        return F.linear(half_x, half_weight).float().add_(bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        half_x, half_weight = ctx.saved_tensors
        half = gradient.to(torch.bfloat16)
        return (half @ half_weight).float(), (half.t() @ half_x).float(), gradient.sum(0)


class BFloat16Linear(nn.Linear):
    """A linear layer whose products are taken in bfloat16."""

    def forward(self, x: Tensor) -> Tensor:
        """x (..., I) -> (..., O)."""
        product: Tensor = _BFloat16Product.apply(x.reshape(-1, x.shape[-1]), self.weight, self.bias)  # type: ignore[no-untyped-call]
        return product.view(*x.shape[:-1], -1)


def use_bfloat16(model: AnomalyDetector) -> None:
    """Let the layers of `model` take their products in bfloat16; names and numbers of its weights stay."""
    for layer in model.layers:
        for child in layer.children():
            if isinstance(child, nn.Linear):
                child.__class__ = BFloat16Linear


def micro_batches(batch: Batch) -> Iterator[Batch]:
    """Cut a batch into what a core's cache holds."""
    at_once = max(1, _TOKENS_AT_ONCE // batch.ids.shape[1])
    for at in range(0, len(batch.labels), at_once):
        yield _share(batch, slice(at, at + at_once))


def _share(batch: Batch, rows: slice) -> Batch:
    return Batch(batch.ids[rows], batch.labels[rows], batch.certain[rows])


def transferred(model: AnomalyDetector, before: HTTPTokenizer, now: HTTPTokenizer) -> AnomalyDetector:
    """Return `model`, which reads the vocabulary `before`, as one that reads `now`."""
    result = AnomalyDetector(replace(model.config, vocab_size=now.vocab_size))
    state = {name: part for name, part in model.state_dict().items() if name != "tokens.weight"}
    result.load_state_dict(state, strict=False)
    with torch.no_grad():
        result.tokens.weight[:] = torch.stack([
            model.tokens.weight[before.pieces_of(now, token)].mean(0) for token in range(now.vocab_size)
        ])  # fmt: skip
    return result


class CoreTrainer:
    """The steps of one model on all cores, resumable from `checkpoint`."""

    def __init__(
        self,
        rows: Rows,
        tokenizer: HTTPTokenizer,
        plan: TrainPlan,
        schedule: Schedule,
        checkpoint: Path,
        log: Log,
        start: AnomalyDetector | None = None,
    ) -> None:
        self.rows, self.tokenizer, self.plan, self.schedule = rows, tokenizer, plan, schedule
        self.checkpoint, self.log = checkpoint, log
        torch.manual_seed(plan.seed)
        config = DetectorConfig(
            tokenizer.vocab_size, plan.max_tokens, plan.d_model, plan.n_layers, plan.n_heads, plan.d_ff
        )
        self.model, self.average = AnomalyDetector(config).train(), AnomalyDetector(config).eval()
        if start is not None:
            self.model.load_state_dict(start.state_dict())
        self.average.load_state_dict(self.model.state_dict())
        use_bfloat16(self.model)
        matrices = [part for part in self.model.layers.parameters() if part.ndim == 2]
        rest = [
            part for name, part in self.model.named_parameters() if not (name.startswith("layers") and part.ndim == 2)
        ]
        rate, decay = plan.learning_rate, plan.weight_decay
        self._optimizers = (
            torch.optim.Muon(matrices, rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(rest, rate, betas=(0.9, 0.98), weight_decay=decay, fused=True),
        )
        self.sampler = Sampler(rows, np.random.default_rng(plan.seed), plan.max_tokens, noise=NOISE)
        self.step = 0
        self._rank, self._size = 0, 1
        self._attacks = np.zeros(0, np.int64)  # rows that attack, once that was decided

    def train(self, cores: int) -> None:
        """Run the remaining steps on `cores` processes; the result is in the checkpoint then (see `load`)."""
        with tempfile.TemporaryDirectory() as scratch:
            torch.multiprocessing.start_processes(  # type: ignore[attr-defined, no-untyped-call]
                self._work, (cores, f"file://{scratch}/team"), cores, start_method="fork"
            )

    def load(self) -> bool:
        """Take the state of the checkpoint if there is one."""
        if not self.checkpoint.exists():
            return False
        state = torch.load(self.checkpoint, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        for optimizer, its in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(its)
        self.step = state["step"]
        self.sampler.hard, self.sampler.hard_attacks = state["hard"].numpy(), state["hard_attacks"].numpy()
        self._attacks = state["attacks"].numpy()
        if len(self._attacks):
            self.sampler.decide(self._attacks)
        self.sampler.rng = np.random.default_rng([self.plan.seed, self.step])
        return True

    def _work(self, rank: int, size: int, team: str) -> None:
        torch.set_num_threads(1)
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
        distributed.init_process_group("gloo", init_method=team, rank=rank, world_size=size)
        self._rank, self._size = rank, size
        if self.load():
            self._tell(f"resumed at step {self.step}")
        schedule, steps = self.schedule, self.schedule.steps
        decides = {int(share * steps) for share in schedule.decides}
        looks = {int(share * steps) for share in schedule.looks}
        batches, began = self.sampler.batches(self.plan.batch), time.monotonic()
        losses: list[float] = []
        while self.step < steps:
            if self.step in decides:
                self._attacks, note = attack_rows(self.rows, self._judge)
                self.sampler.decide(self._attacks)
                self._tell(f"bags: {note}")
            if self.step in looks:
                self._find_hardest()
            if self.step in decides | looks:
                batches, losses, began = self.sampler.batches(self.plan.batch), [], time.monotonic()
            losses.append(self._one(next(batches)))
            self.step += 1
            if self.step % _TOLD_EVERY == 0:
                pace = (time.monotonic() - began) / len(losses)
                self._tell(f"step {self.step} of {steps}: loss {np.mean(losses):.4f}, {pace:.3f} s each")
                losses, began = [], time.monotonic()
            if self.step % _KEPT_EVERY == 0:
                self._save()
        self._save()
        distributed.barrier()
        distributed.destroy_process_group()

    def _one(self, batch: Batch) -> float:
        for parameter in self.model.parameters():
            parameter.grad = None
        mine, total = _share(batch, slice(self._rank, None, self._size)), 0.0
        for part in micro_batches(mine):
            loss = F.cross_entropy(
                self.model(torch.from_numpy(part.ids))[0],
                torch.from_numpy(part.labels),
                label_smoothing=self.plan.label_smoothing,
                reduction="sum",
            )
            (loss / len(batch.labels)).backward()  # type: ignore[no-untyped-call]
            total += loss.item() / len(mine.labels)
        parameters = list(self.model.parameters())
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        together = nn.utils.parameters_to_vector(gradients)
        distributed.all_reduce(together)
        nn.utils.vector_to_parameters(together, gradients)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.plan.learning_rate * self.schedule.rate(self.step)
            optimizer.step()  # type: ignore[no-untyped-call]
        follow(self.average, self.model, 1 - 1 / max(1, self.schedule.average), self.step)
        return total

    def _find_hardest(self) -> None:
        schedule, sampler = self.schedule, self.sampler
        plan = replace(self.plan, hard_sample=schedule.among, hard_keep=(schedule.keep + 0.5) / schedule.among)
        sampler.hard, sampler.hard_attacks, note = find_hardest(
            self.rows, plan, sampler.hard, sampler.hard_attacks, self._judge, sampler.rng
        )
        self._tell(f"step {self.step}: hard rows {note}")

    def _judge(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """Log-odds of rows under the averaged weights, each core its share, (N,)."""
        margins = np.zeros(len(numbers), np.float32)
        mine = slice(self._rank, None, self._size)
        margins[mine] = served_margins(self.average, self.tokenizer, self.rows, numbers[mine])
        distributed.all_reduce(torch.from_numpy(margins))
        return margins

    def _save(self) -> None:
        if self._rank:
            return
        state = {
            "step": self.step,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
            "hard": torch.from_numpy(self.sampler.hard),
            "hard_attacks": torch.from_numpy(self.sampler.hard_attacks),
            "attacks": torch.from_numpy(self._attacks),
        }
        save_atomically(state, self.checkpoint)

    def _tell(self, line: str) -> None:
        if not self._rank:
            self.log(line)
