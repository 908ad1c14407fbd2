"""Runs side by side, by the clock: every one gets a student, and the rows its teacher found hardest."""

from __future__ import annotations

import numpy as np
import torch

from tests.training.test_rows import TOKENIZER, example
from vedette.training.card import _HARD_AT, _STUDENTS_HARD_AT, CardTrainer
from vedette.training.rows import Rows, rows_of
from vedette.training.train import TrainPlan

PLAN = TrainPlan(
    max_tokens=32, d_model=24, n_layers=2, n_heads=2, d_ff=32, batch=32, warm_up=5, average_decay=0.9, hard_sample=40,
    noise=(0.0, 0.2), decide_at=(0.2,),
)  # fmt: skip


def some_rows(word: str) -> Rows:
    harmless = [example(f"{word} words {number}", "benign", f"benign/{number % 3}") for number in range(40)]
    attacks = [
        example(f"union select {number}", "sqli", "generated/sqli", bag=number % 20 if number < 30 else -1)
        for number in range(40)
    ]
    return rows_of([*harmless, *attacks], TOKENIZER)


def test_runs_train_side_by_side() -> None:
    torch.set_num_threads(1)
    runs, lines = {"one": some_rows("harmless"), "two": some_rows("calm")}, list[str]()
    trainer = CardTrainer(PLAN, TOKENIZER.vocab_size, lines.append, tokens_per_row=24)
    done = trainer.train(runs, 8.0)
    assert done.keys() == runs.keys()
    for run, finished in done.items():
        assert finished.steps
        assert finished.distil_steps
        assert (runs[run].label[finished.hard] == 0).all()
        assert len(finished.hard)
        looks = [line for line in lines if line.startswith(f"{run}: hard") and "of 10 generated attacks" in line]
        assert 2 <= len(looks) <= len(_HARD_AT) + len(_STUDENTS_HARD_AT)  # as many as there was time for
        assert all(np.isfinite(weights.detach().numpy()).all() for weights in finished.student.parameters())
    assert any(line.startswith("one: attacks 20") for line in lines)
