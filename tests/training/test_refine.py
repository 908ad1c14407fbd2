"""A student that goes on is corrected where it was wrong, keeps what it knew, and resumes where it was cut off."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from scripts import train_folds
from tests.training.test_rows import TOKENIZER, bag, example
from vedette.model.anomaly_detector import AnomalyDetector
from vedette.training import refine
from vedette.training.refine import Refiner
from vedette.training.rows import Rows, rows_of
from vedette.training.train import HOPELESS, Progress, Trainer, TrainPlan, attack_margins

PLAN = TrainPlan(
    max_tokens=32, d_model=24, n_layers=1, n_heads=2, d_ff=32, distil_batch=32, steps=50, batch=64, warm_up=10,
    learning_rate=5e-3, hard_every=1000, average_decay=0.9, decide_at=(),
)  # fmt: skip


def some_rows() -> Rows:
    """Harmless words, collected SQL and two generated techniques, the latter of them new."""
    return rows_of(
        [
            *(example(f"harmless words {number}", "benign", f"benign/{number % 3}") for number in range(40)),
            *(example(f"union select {number}", "sqli") for number in range(40)),
            *(example(f"alert({number})", "xss", "generated/xss") for number in range(40)),
            *(example(f"words ( {number}", "xss", "generated/xss") for number in range(40)),
        ],
        TOKENIZER,
    )


@pytest.fixture(scope="module")
def student() -> AnomalyDetector:
    """One that has not seen the new technique."""
    torch.set_num_threads(1)
    rows = some_rows()
    trainer = Trainer(rows, TOKENIZER.vocab_size, PLAN, Path("unused.pt"), print)
    trainer.save = lambda: None  # type: ignore[method-assign]
    trainer.sampler.decide(np.arange(40, 120))
    trainer.train(lambda *told: None)
    return trainer.average


def margins(model: AnomalyDetector, rows: Rows) -> np.ndarray:
    return attack_margins(model, [rows.read(row) for row in range(160)])


def test_it_learns_what_is_new_and_keeps_what_it_knew(student: AnomalyDetector, tmp_path: Path) -> None:
    rows, lines = some_rows(), []
    before = margins(student, rows)
    refiner = Refiner(student, TOKENIZER, rows, PLAN, 120, tmp_path, lines.append)
    after = margins(refiner.train(lambda *told: None), rows)
    assert HOPELESS < np.median(before[120:]) < 2
    assert np.median(after[120:]) > np.median(before[120:]) + 1.0
    assert (after[40:120] > 1.0).all()
    assert (after[:40] < 0.0).all()
    assert len(lines) == refine.LOOKS
    assert len(refiner.sampler.hard_attacks)
    assert set(refiner.sampler.hard_attacks) <= set(range(80, 160))  # generated attacks only


def test_it_goes_on_where_it_was_cut_off(
    student: AnomalyDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refine, "_KEPT_EVERY", 8)
    rows, lines = some_rows(), []

    def cut_off(done: int, total: int, note: str) -> None:
        if done == 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Refiner(student, TOKENIZER, rows, PLAN, 32, tmp_path, lines.append).train(cut_off)
    seen: list[int] = []
    Refiner(student, TOKENIZER, rows, PLAN, 32, tmp_path, lines.append).train(lambda done, *told: seen.append(done))
    assert "resumed at step 8" in lines
    assert seen == list(range(9, 33))


def test_what_cannot_be_told_is_left_alone(student: AnomalyDetector, tmp_path: Path) -> None:
    rows = some_rows()
    refiner = Refiner(student, TOKENIZER, rows, PLAN, 40, tmp_path, print)
    with torch.no_grad():
        for model in (refiner.before, refiner.average):
            model.odds.bias.sub_(60.0)  # it takes nothing for an attack
    refiner._find_hardest()
    assert len(refiner.sampler.hard_attacks) == 0


def test_the_script_resumes_and_counts_each_run_once(
    student: AnomalyDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bags = [bag("benign", "train", *(f"harmless words {n}" for n in range(40))), bag("sqli", "train", "union select 1")]
    (tmp_path / "corpus.msgpack").write_bytes(msgspec.msgpack.encode(bags))
    runs = [tmp_path / name for name in ("whole", "fold-1")]
    for run in runs:
        run.mkdir()
        TOKENIZER.save(run / "vocabulary.json")
        train_folds.write_plan(run, PLAN)
        torch.save(student.state_dict(), run / "student.pt")
    train, trained = Refiner.train, list[Path]()

    def cut_off_in_the_second(refiner: Refiner, progress: Progress) -> AnomalyDetector:
        trained.append(refiner.checkpoint.parent)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return train(refiner, progress)

    monkeypatch.setattr(Refiner, "train", cut_off_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        train_folds.main(["refine", str(tmp_path), "8"])
    for _ in range(2):
        train_folds.main(["refine", str(tmp_path), "8"])
    assert trained == [runs[0], runs[1], runs[1]]
    for run in runs:
        assert train_folds.plan_of(run).refine_steps == 8
        kept = torch.load(run / "student-before.pt", weights_only=True)
        assert all(torch.equal(kept[name], weights) for name, weights in student.state_dict().items())
    (runs[0] / "student-before.pt").unlink()
    train_folds.main(["refine", str(tmp_path), "12", "whole"])
    assert train_folds.plan_of(runs[0]).refine_steps == 20  # and not from the end of the first time
