"""The whole recipe on a small made-up data set: files in; bundle, report and held-out records out; resumable."""

from __future__ import annotations

import json
import lzma
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vedette.bundle import load_bundle
from vedette.config import Settings, WafServiceSettings
from vedette.datasets.generate import generate_attack, generate_benign
from vedette.errors import ConfigError
from vedette.http_request import HTTPRequest
from vedette.inference.engine import load_engine
from vedette.training.corpus import CorpusPlan
from vedette.training.recipe import train_bundle
from vedette.training.split import part_of
from vedette.training.train import TrainPlan

PLAN = TrainPlan(
    corpus=CorpusPlan(per_class=12, hard_negatives=60, chunk=60), vocab_size=600, d_model=24, n_layers=1, n_heads=2,
    d_ff=32, steps=40, batch=32, warm_up=5, average_decay=0.9, hard_every=15, hard_sample=200,
)  # fmt: skip


def write(path: Path, records: list[dict[str, object]]) -> None:
    path.parent.mkdir(exist_ok=True)
    with lzma.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory, rng = tmp_path_factory.mktemp("data"), random.Random(1)
    attacks = [
        {"id": f"a-{number}", "label": "attack", "class": name, "kind": "value", "value": generate_attack(name, rng),
         "source": ("somebody/lists: x", "cujanovic/lists: y")[number % 4 == 0]}
        for number in range(80) for name in (("sqli", "xss", "cmdi")[number % 3],)
    ]  # fmt: skip
    sites: dict[str, list[str]] = {"train": [], "test": [], "calibrate": []}
    for number in range(60):
        sites[part_of({"label": "benign", "site": f"site-{number}"})].append(f"site-{number}")
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
    assert "resumed at step 20" in lines
    assert load_bundle(out).version == bundle.version
    training = bundle.manifest.training
    assert training["sources"]["attacks/lists"]["train"] > 0
    assert training["sources"]["attacks/lists"]["test"] > 0
    assert training["plan"]["steps"] == 40
    assert len(bundle.calibration.budgets) == 9

    held_out = json.loads((run / "report" / "evaluation.json").read_text())
    assert held_out["model_version"] == bundle.version
    assert held_out["benign"] == 80
    assert 0 < held_out["attacks"] <= 20
    assert len(list((run / "report").iterdir())) >= 4  # the report and three plots

    figures = training["held_out"]
    assert figures["attacks"] == held_out["attacks"]
    assert figures["tpr_at_fpr"] == held_out["tpr_at_fpr"]
    assert sum(entry["n"] for entry in figures["by_class"].values()) == held_out["attacks"]

    engine = load_engine(Settings(waf_service=WafServiceSettings(model_path=str(out))))
    verdict = engine.check(HTTPRequest("GET", "/?q=%3Cscript%3Ealert(1)%3C/script%3E"))
    assert verdict.anomaly_score is not None
    assert verdict.model_version == bundle.version


def test_a_directory_without_data_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no data set"):
        train_bundle(tmp_path, tmp_path / "run", tmp_path / "out", PLAN, print, lambda *told: None)
