"""One root and its branches on all cores: what they learn, what they carry over, and that they resume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import torch

from scripts import train_folds
from tests.training.test_rows import TOKENIZER, bag, example
from vedette.model.anomaly_detector import AnomalyDetector
from vedette.model.detector_config import DetectorConfig
from vedette.tokenization.http_tokenizer import HTTPTokenizer
from vedette.training.believe import GENERATED
from vedette.training.cores import (
    BFloat16Linear,
    CoreTrainer,
    Schedule,
    branch_schedule,
    root_schedule,
    transferred,
    use_bfloat16,
)
from vedette.training.corpus import KEPT_APART, Bag
from vedette.training.rows import Rows, rows_of
from vedette.training.train import TrainPlan, attack_margins

PLAN = TrainPlan(
    max_tokens=32, d_model=24, n_layers=2, n_heads=2, d_ff=32, batch=32, learning_rate=5e-3,
    vocab_size=TOKENIZER.vocab_size,
)  # fmt: skip


def some_rows() -> Rows:
    """Harmless words and generated SQL, some of it in bags with harmless words."""
    return rows_of(
        [
            *(example(f"harmless words {number}", "benign", f"benign/{number % 3}") for number in range(40)),
            *(example(f"union select {number}", "sqli", "generated/sqli") for number in range(40)),
            *(example(f"words or union {number}", "sqli", "attacks/lists", bag=number) for number in range(10)),
            *(example(f"harmless or words {number}", "sqli", "attacks/lists", bag=number) for number in range(10)),
        ],
        TOKENIZER,
    )


def made(text: str, label: str, group: str) -> Bag:
    return Bag(label, group, GENERATED + label, [("query text", text)], bare=True)


def config() -> DetectorConfig:
    return DetectorConfig(TOKENIZER.vocab_size, PLAN.max_tokens, PLAN.d_model, PLAN.n_layers, PLAN.n_heads, PLAN.d_ff)


@pytest.mark.parametrize("cores", [1, 2])
def test_it_learns_on_one_core_and_on_two(tmp_path: Path, cores: int) -> None:
    torch.set_num_threads(1)
    rows = some_rows()
    schedule = Schedule(120, decays=True, looks=(0.5,), decides=(0.4,), warm_up=5, average=10, among=40, keep=300)
    trainer = CoreTrainer(rows, TOKENIZER, PLAN, schedule, tmp_path / "cores.pt", print)
    trainer.train(cores)
    assert trainer.load()
    assert trainer.step == 120
    margins = attack_margins(trainer.average, [rows.read(row) for row in range(80)])
    assert (margins[:40] < 0).all()
    assert (margins[40:] > 1).all()
    assert len(trainer.sampler.hard)
    assert (rows.label[trainer.sampler.hard] == 0).all()


def test_a_batch_shared_out_gives_the_same_gradient(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    found = []
    for cores in (1, 2):
        schedule = Schedule(6, decays=True, looks=(), decides=(), warm_up=2)
        trainer = CoreTrainer(some_rows(), TOKENIZER, PLAN, schedule, tmp_path / f"{cores}.pt", print)
        trainer.train(cores)
        assert trainer.load()
        found.append(torch.cat([part.detach().reshape(-1) for part in trainer.model.parameters()]))
    assert torch.allclose(found[0], found[1], atol=2e-2)
    assert (found[0] - found[1]).abs().mean() < 1e-3


def test_it_goes_on_where_it_was_cut_off(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    lines: list[str] = []
    for steps in (8, 12):
        schedule = Schedule(steps, decays=False, looks=(), decides=(0.0,), warm_up=2)
        trainer = CoreTrainer(some_rows(), TOKENIZER, PLAN, schedule, tmp_path / "cores.pt", lines.append)
        trainer._work(0, 1, f"file://{tmp_path}/team-{steps}")
    assert "resumed at step 8" in lines
    assert trainer.step == 12
    assert trainer.sampler._attacks.keys() == {some_rows().label[40]}


def test_products_in_bfloat16_are_near() -> None:
    torch.manual_seed(1)
    model = AnomalyDetector(config()).train()
    ids = torch.randint(40, TOKENIZER.vocab_size, (6, 20))
    exact = model(ids)[0]
    exact.square().sum().backward()
    gradient = model.layers[0].up.weight.grad.clone()  # type: ignore[union-attr]
    model.zero_grad()
    use_bfloat16(model)
    assert isinstance(model.layers[1].qkv, BFloat16Linear)
    near = model(ids)[0]
    near.square().sum().backward()
    assert torch.allclose(near, exact, atol=0.05)
    assert torch.allclose(model.layers[0].up.weight.grad, gradient, rtol=0.1, atol=0.02 * float(gradient.abs().max()))  # type: ignore[arg-type, union-attr]


def test_another_vocabulary_begins_as_the_pieces_it_was_read_as() -> None:
    other = HTTPTokenizer.train(["harmless words select union"] * 50, TOKENIZER.vocab_size + 40, PLAN.max_tokens)
    model = AnomalyDetector(config())
    moved = transferred(model, TOKENIZER, other)
    assert moved.config.vocab_size == other.vocab_size
    assert torch.equal(moved.tokens.weight[:38], model.tokens.weight[:38])  # padding and words of contexts
    for token in range(38, other.vocab_size):
        pieces = TOKENIZER.pieces_of(other, token)
        assert torch.allclose(moved.tokens.weight[token], model.tokens.weight[pieces].mean(0))
    assert torch.equal(moved.layers[1].down.weight, model.layers[1].down.weight)
    same = transferred(model, TOKENIZER, TOKENIZER)
    assert torch.equal(same.tokens.weight, model.tokens.weight)


def test_a_rate_that_decays_falls_to_nothing_and_that_of_a_root_stays() -> None:
    root, branch = root_schedule(1000), branch_schedule(1000)
    assert root.rate(0) < 0.01
    assert root.rate(999) == 1.0
    assert branch.rate(500) == pytest.approx(0.5)
    assert branch.rate(999) == pytest.approx(0.001)


def test_the_script_grows_a_root_and_branches_kept_and_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, told = tmp_path / "runs", []
    bags = [
        bag("benign", "train", *(f"harmless words {number}" for number in range(40))),
        *(made(f"harmless or {number}", "benign", "benign") for number in range(10)),
        *(made(f"union select {number}", "sqli", "sqli") for number in range(20)),
        *(made(f"select apart {number}", "sqli", KEPT_APART) for number in range(3)),
    ]
    runs.mkdir()
    (runs / "corpus.msgpack").write_bytes(msgspec.msgpack.encode(bags))
    for name in ("fold-1", "whole"):
        (runs / name).mkdir()
        TOKENIZER.save(runs / name / "vocabulary.json")
        train_folds.write_plan(runs / name, replace(PLAN, fold=1 if name == "fold-1" else None))
    monkeypatch.setattr(train_folds, "log", told.append)
    train_folds.main(["root", str(runs), "3"])
    train_folds.main(["branch", str(runs), "4", "fold-1", "whole"])
    assert any(line.startswith("root: 30 rows") for line in told)
    for name in ("fold-1", "whole"):
        assert train_folds.plan_of(runs / name).steps == 7
        assert (runs / name / "hard.npy").exists()
    branched = torch.load(runs / "fold-1" / "student.pt", weights_only=True)
    for _ in range(2):  # the second time it has gone on already
        train_folds.main(["restart", str(runs), "2", "fold-1"])
        assert train_folds.plan_of(runs / "fold-1").restart_steps == 2
    assert told[-1].startswith("fold-1: has gone on")
    before, after = (
        torch.load(runs / "fold-1" / name, weights_only=True) for name in ("student-before.pt", "student.pt")
    )
    assert all(torch.equal(before[key], branched[key]) for key in branched)
    assert not torch.equal(before["tokens.weight"], after["tokens.weight"])
    kept, again = tmp_path / "kept", tmp_path / "again"
    train_folds.main(["keep", str(runs), str(kept)])
    train_folds.main(["take", str(kept), str(again)])
    for name in ("root", "fold-1"):
        before, after = (torch.load(place / name / "student.pt", weights_only=True) for place in (runs, again))
        assert all(torch.equal(before[key], after[key]) for key in before)
        assert train_folds.plan_of(again / name) == train_folds.plan_of(runs / name)
    plan = train_folds.plan_of(again / "whole")  # as shipped, without its early exit
    tokenizer = HTTPTokenizer.load(again / "whole" / "vocabulary.json", plan.max_tokens)
    assert train_folds._student(plan, tokenizer, again / "whole" / "student.pt").config.exit_below is None


def test_the_folds_that_are_kept_can_be_taken(tmp_path: Path) -> None:
    train_folds.main(["take", str(Path(__file__).parents[2] / "folds"), str(tmp_path)])
    for name in ("root", *train_folds.RUNS):
        plan = train_folds.plan_of(tmp_path / name)
        assert plan.fold == train_folds.RUNS.get(name)
        tokenizer = HTTPTokenizer.load(tmp_path / name / "vocabulary.json", plan.max_tokens)
        model = train_folds._student(plan, tokenizer, tmp_path / name / "student.pt")
        ids = [
            [*tokenizer.context_ids("query text"), *tokenizer.encode_texts([text])[0]]
            for text in ("words", "<svg/onload=alert(1)>")
        ]
        harmless, attack = attack_margins(model, ids)
        assert harmless < -1 < 2 < attack
