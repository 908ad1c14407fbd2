"""A student comes nearer to the mean of its teachers; one teacher alone is the result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from tests.training.test_rows import TOKENIZER, example
from vedette.training.distil import distil
from vedette.training.rows import Rows, rows_of
from vedette.training.train import HOPELESS, SURE, Trainer, TrainPlan, attack_margins

PLAN = TrainPlan(
    max_tokens=32, d_model=24, n_layers=1, n_heads=2, d_ff=32, distil_steps=60, distil_batch=32, distil_rate=3e-3
)


def some_rows(origin: str = "attacks/x") -> Rows:
    harmless = [example(f"harmless words {number}", "benign", f"benign/{number % 3}") for number in range(40)]
    attacks = [example(f"union select {number}", "sqli", origin) for number in range(40)]
    return rows_of([*harmless, *attacks], TOKENIZER)


def teacher(rows: Rows, seed: int, lower: float = 0.0) -> Trainer:
    """A teacher at random, whose log-odds of attack are `lower` than as they come."""
    trainer = Trainer(rows, TOKENIZER.vocab_size, replace(PLAN, seed=seed), Path("unused.pt"), print)
    with torch.no_grad():
        for parameter in trainer.average.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        trainer.average.odds.bias.sub_(lower)
    return trainer


def test_a_student_comes_nearer_to_the_mean_of_its_teachers(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    rows = some_rows()
    teachers = [teacher(rows, 1, lower=6.0), teacher(rows, 2, lower=6.0)]
    texts = [rows.read(row) for row in range(len(rows))]
    said = [attack_margins(one.average, texts) for one in teachers]
    lines: list[str] = []
    student = attack_margins(distil(teachers, rows, PLAN, tmp_path, lines.append, lambda *told: None), texts)
    mean = (said[0] + said[1]) / 2
    assert np.abs(student - mean).mean() < 0.5 * np.abs(said[0] - mean).mean()
    assert lines == ["distilled from 2 teachers in 60 steps"]
    again = distil(teachers, rows, PLAN, tmp_path, lines.append, lambda *told: None)
    assert np.array_equal(attack_margins(again, texts), student)
    assert len(lines) == 1


def test_teachers_that_call_harmless_rows_attacks_are_corrected(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    rows = some_rows()
    teachers = [teacher(rows, 1), teacher(rows, 2)]
    texts = [rows.read(row) for row in range(len(rows))]
    before = attack_margins(teachers[0].average, texts)
    after = attack_margins(distil(teachers, rows, PLAN, tmp_path, print, lambda *told: None), texts)
    harmless, attacks = rows.label == 0, rows.label > 0
    assert before[harmless].min() > -3.0
    assert after[harmless].mean() < before[harmless].mean() - 0.5
    assert after[attacks].mean() - after[harmless].mean() > before[attacks].mean() - before[harmless].mean() + 0.3


def test_teachers_that_are_not_sure_of_attacks_that_grammars_made_are_corrected(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    rows = some_rows("generated/sqli")
    texts = [rows.read(row) for row in range(len(rows))]
    teachers = [teacher(rows, 1, lower=4.0), teacher(rows, 2, lower=4.0)]
    before = attack_margins(teachers[0].average, texts)[40:]
    assert HOPELESS < np.median(before) < SURE - 2
    after = attack_margins(distil(teachers, rows, PLAN, tmp_path, print, lambda *told: None), texts)[40:]
    (tmp_path / "student.pt").unlink()
    collected = attack_margins(distil(teachers, some_rows(), PLAN, tmp_path, print, lambda *told: None), texts)[40:]
    assert after.mean() > before.mean() + 1.0
    assert after.mean() > collected.mean() + 1.0  # the labels of those are not so certain


def test_one_teacher_is_the_result(tmp_path: Path) -> None:
    rows = some_rows()
    only = teacher(rows, 1)
    assert distil([only], rows, PLAN, tmp_path, print, lambda *told: None) is only.average
