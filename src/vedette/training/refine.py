"""A student goes on: grammars or labels have changed since it learned, and there is no time for all of the recipe.

What it said of a row it is to say again, so that nothing is forgotten; but it is corrected where it took a harmless row
for an attack, or what the grammars made as an attack for none. Both are looked for, first among all rows: what is new
is a small part of them, and of that the student knows most already. They are drawn more often, as in training.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from vedette.model.anomaly_detector import AnomalyDetector
from vedette.model.detector_config import attack_indexes
from vedette.tokenization.http_tokenizer import HTTPTokenizer
from vedette.training.cores import micro_batches, use_bfloat16
from vedette.training.distil import AVERAGED, WEIGHT_DECAY, distance, said, set_rate
from vedette.training.judge import served_margins
from vedette.training.rows import Batch, Rows, Sampler
from vedette.training.train import Log, Progress, TrainPlan, find_hardest, follow, save_atomically

NOISE = 0.2  # share of harmless rows that are torn apart
RATE = 6e-4
WARM_UP = 40
LOOKS = 2  # times at which the hardest rows are looked for
HARDEST = 16_000  # harmless rows that are the hardest, generated ones and recorded ones half and half
_GROUPS = 4  # batches that are drawn at once and cut by length
_KEPT_EVERY = 100  # steps


class Refiner:
    """The steps, batches of `plan.distil_batch` rows, resumable from ``refine.pt`` in the run directory.

    The checkpoint tells rows by their number: a corpus that was made anew meanwhile needs a new beginning.
    """

    def __init__(
        self,
        student: AnomalyDetector,
        tokenizer: HTTPTokenizer,
        rows: Rows,
        plan: TrainPlan,
        steps: int,
        run: Path,
        log: Log,
    ) -> None:
        self.tokenizer, self.rows, self.plan, self.steps, self.log = tokenizer, rows, plan, steps, log
        self.checkpoint = run / "refine.pt"
        self.before, self.student, self.average = (AnomalyDetector(student.config) for _ in range(3))
        for model in (self.before, self.student, self.average):
            model.load_state_dict(student.state_dict())
        for model in (self.before, self.student):
            model.train()  # which takes the fused attention kernel, and has no other effect: there is no dropout
            use_bfloat16(model)
        self.optimizer = torch.optim.AdamW(
            self.student.parameters(), RATE, betas=(0.9, 0.98), weight_decay=WEIGHT_DECAY
        )
        self.sampler = Sampler(rows, np.random.default_rng(plan.seed), plan.max_tokens, noise=NOISE)
        self.sampler.decide(np.flatnonzero(rows.label > 0))  # all rows of bags too: it was told which attack
        self._attacks = attack_indexes(student.config.classes)
        self.step = 0

    def train(self, progress: Progress) -> AnomalyDetector:
        """Run the remaining steps and return the averaged student."""
        self._resume()
        look = -(-self.steps // (LOOKS * _GROUPS)) * _GROUPS  # steps from one look to the next
        batches = self.sampler.batches(self.plan.distil_batch, _GROUPS)
        while self.step < self.steps:
            if self.step % look == 0:
                self._find_hardest()
            loss = self._one(next(batches))
            progress(self.step, self.steps, f"loss {loss:.4f}")
            if self.step % _KEPT_EVERY == 0:
                self._save()
        return self.average.eval()

    def _one(self, batch: Batch) -> float:
        set_rate(self.optimizer, RATE, self.step, self.steps, WARM_UP)
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for part in micro_batches(batch):
            ids, labels, certain = map(torch.from_numpy, part)
            with torch.no_grad():
                margin, classes = said([self.before(ids)[0]], self._attacks)
            loss = distance(self.student(ids)[0], margin, classes, labels, certain, self._attacks).sum()
            loss = loss / len(batch.labels)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        self.optimizer.step()
        follow(self.average, self.student, 1 - 1 / max(1.0, AVERAGED * self.steps), self.step)
        self.step += 1
        return total

    def _find_hardest(self) -> None:
        """Keep the harmless rows with the highest margins and the generated attacks with low ones."""
        sampler = self.sampler
        among = self.plan.hard_sample if self.step else len(self.rows)
        sampler.hard, sampler.hard_attacks, note = find_hardest(
            self.rows,
            replace(self.plan, hard_sample=among, hard_keep=(HARDEST + 0.5) / among),
            sampler.hard,
            sampler.hard_attacks,
            lambda numbers: served_margins(self.average, self.tokenizer, self.rows, numbers),
            sampler.rng,
        )
        self.log(f"step {self.step}: hard rows {note}")

    def _save(self) -> None:
        state = {
            "step": self.step,
            "student": self.student.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "hard": torch.from_numpy(self.sampler.hard),
            "hard_attacks": torch.from_numpy(self.sampler.hard_attacks),
        }
        save_atomically(state, self.checkpoint)

    def _resume(self) -> None:
        if not self.checkpoint.exists():
            return
        state = torch.load(self.checkpoint, weights_only=True)
        self.student.load_state_dict(state["student"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        self.sampler.hard, self.sampler.hard_attacks = state["hard"].numpy(), state["hard_attacks"].numpy()
        self.sampler.rng = np.random.default_rng([self.plan.seed, self.step])
        self.log(f"resumed at step {self.step}")
