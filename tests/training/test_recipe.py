"""The whole recipe on a small made-up data set: files in; bundle, report and held-out records out; resumable."""

from __future__ import annotations

import gzip
import json
import lzma
import random
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vedette.bundle import load_bundle
from vedette.config import Settings, WafServiceSettings
from vedette.datasets.generate import GENERATORS, generate_attack, generate_benign
from vedette.errors import ConfigError
from vedette.evaluation.folds import BUNDLE, GENERATED, HELD_OUT, MUTATED, PLAIN, evaluate_run, pool
from vedette.http_request import HTTPRequest
from vedette.inference.engine import load_engine
from vedette.training.across_folds import pooled_calibration, rewrite, unseen
from vedette.training.corpus import CorpusPlan
from vedette.training.finish import UNCALIBRATED, engine_of, margins
from vedette.training.recipe import train_bundle
from vedette.training.split import fold_of, part_of
from vedette.training.train import TrainPlan

PLAN = TrainPlan(
    corpus=CorpusPlan(per_class=12, widest=12, kept_apart=4, hard_negatives=60, chunk=60), vocab_size=600,
    d_model=24, n_layers=2, n_heads=2, d_ff=32, steps=40, batch=32, warm_up=5, average_decay=0.9, hard_every=15,
    hard_sample=200, noise=(0.0, 0.2), distil_steps=6, distil_batch=16, exit_steps=4,
)  # fmt: skip

FOLD = 2  # in which the second of the made-up attack sources judges


def write(path: Path, records: list[dict[str, object]]) -> None:
    path.parent.mkdir(exist_ok=True)
    with lzma.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


def records(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path) as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory, rng = tmp_path_factory.mktemp("data"), random.Random(1)
    attacks = [
        {"id": f"a-{number}", "label": "attack", "class": name, "kind": "value", "value": generate_attack(name, rng),
         "source": ("faizann24/lists: x", "cujanovic/lists: y")[number % 4 == 0]}
        for number in range(80) for name in (("sqli", "xss", "cmdi")[number % 3],)
    ]  # fmt: skip
    sites: dict[str, list[str]] = {"train": [], "test": [], "calibrate": []}
    for number in range(60):
        sites[part_of("benign", f"site-{number}", is_site=True, fold=FOLD)].append(f"site-{number}")
    benign = [
        {"id": f"b-{number}", "label": "benign", "class": "benign", "method": "GET", "body": None,
         "url": f"/p/{number}?q=it%27s+{number}", "headers": {"Host": "shop.example"}, "site": rng.choice(sites[part])}
        for number in range(240) for part in (("train", "test", "calibrate")[number % 3],)
    ]  # fmt: skip
    values = [
        {"id": f"v-{number}", "label": "benign", "class": "benign", "kind": "value", "value": generate_benign(rng),
         "source": "somebody/prose: z"} for number in range(40)
    ]  # fmt: skip
    write(directory / "attacks" / "lists.jsonl.xz", attacks)
    write(directory / "benign" / "browsing.jsonl.xz", benign)
    write(directory / "benign" / "prose.jsonl.xz", values)
    return directory


def test_a_data_directory_becomes_a_bundle_that_serves(data: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    run, lines, progress = tmp_path / "run", [], []
    out = tmp_path / "bundle"
    first = replace(PLAN, steps=20)
    train_bundle(data, run, out, first, lines.append, lambda *told: progress.append(told[:2]))
    bundle = train_bundle(data, run, out, PLAN, lines.append, lambda *told: None)
    assert "teacher 1 of 2: resumed at step 20" in lines
    assert "distilled from 2 teachers in 6 steps" in lines
    assert load_bundle(out).version == bundle.version
    training = bundle.manifest.training
    # All of them, each placed twice and once in other words.
    assert training["sources"]["attacks/lists"] == {"licences": {}, "train": 240}
    assert training["plan"]["steps"] == 40
    assert len(bundle.calibration.budgets) == 9
    assert not (run / "held_out.jsonl.gz").exists()

    engine = load_engine(Settings(waf_service=WafServiceSettings(model_path=str(out))))
    verdict = engine.check(HTTPRequest("GET", "/?q=%3Cscript%3Ealert(1)%3C/script%3E"))
    assert verdict.anomaly_score is not None
    assert verdict.model_version == bundle.version


def test_a_run_that_leaves_out_a_fold_is_judged_by_it(data: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    run = tmp_path / "run"
    plan = replace(PLAN, fold=FOLD)
    bundle = train_bundle(data, run, run / BUNDLE, plan, lambda line: None, lambda *told: None)
    counts = bundle.manifest.training["sources"]["attacks/lists"]
    assert counts["train"] + counts["test"] == 240
    assert counts["test"] == 60

    held_out = records(run / HELD_OUT)
    attacks = [record for record in held_out if record["label"] == "attack"]
    assert attacks
    assert {record["source"] for record in attacks} == {"cujanovic/lists: y"}
    assert {record["site"] for record in held_out if record["label"] == "benign"} <= {
        f"site-{number}" for number in range(60) if fold_of("benign", f"site-{number}") == FOLD
    }
    plain, mutated = records(run / PLAIN), records(run / MUTATED)
    assert [record["id"] for record in plain] == [record["id"] for record in mutated]
    assert {record["kind"] for record in mutated} == {"request"}
    apart = Counter(record["class"] for record in records(run / GENERATED))
    assert set(apart) == set(GENERATORS) - {"benign"}
    assert all(150 < count <= 200 for count in apart.values()), apart  # what training made as well is left out
    assert not list(run.glob("*.new"))

    report = json.loads((run / "report" / "evaluation.json").read_text())
    assert report["model_version"] == bundle.version
    assert report["benign"] == 80
    assert report["attacks"] == len(attacks)
    assert {row["name"]: row["n"] for row in report["measures"]}["browsing: false alarms"] == 80
    assert len(list((run / "report").iterdir())) >= 4  # the report and three plots
    found = pool([evaluate_run(run, engine_of(bundle))] * 2)
    assert found.held_out.attacks.n == 2 * report["attacks"]

    part = unseen(run)  # the run's calibration by what another fold would have left out
    assert len(part.harmless) == len(part.sites) == 80
    assert set(part.sites) == {record["site"] for record in held_out if record["label"] == "benign"}
    assert len(part.attacks) == report["attacks"]
    expected = pooled_calibration([part, part])
    again = rewrite(bundle, calibration=expected)
    assert again.calibration == load_bundle(run / BUNDLE).calibration == expected
    assert again.version != bundle.version
    assert again.manifest.training == bundle.manifest.training
    row = HTTPRequest("GET", "/?q=%3Cscript%3Ealert(1)%3C/script%3E")
    scores = [engine_of(each).check(row).anomaly_score for each in (load_bundle(run / UNCALIBRATED), again)]
    margin = float(margins(np.array(scores[:1], np.float32))[0])
    assert scores[1] == pytest.approx(float(expected.score(np.array([margin], np.float32))[0]), abs=1e-3)


def test_a_run_of_another_plan_is_not_gone_on_with(data: Path, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(json.dumps(asdict(PLAN)))
    with pytest.raises(ConfigError, match=r"another plan \(fold, seed differ\)"):
        train_bundle(data, tmp_path, tmp_path / "out", replace(PLAN, fold=1, seed=8), print, lambda *told: None)


def test_a_directory_without_data_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no data set"):
        train_bundle(tmp_path, tmp_path / "run", tmp_path / "out", PLAN, print, lambda *told: None)
