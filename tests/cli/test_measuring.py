"""`vedette evaluate`, `bench`, `optimize`, `train` and `model show`."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from vedette.evaluation.folds import FILES

Vedette = Callable[..., tuple[int, str, str]]

RECORDS = [
    {"id": "1", "label": "benign", "method": "GET", "url": "/a?b=1", "headers": {}, "body": None, "site": "one"},
    {"id": "2", "label": "benign", "method": "GET", "url": "/a?b=%27%27", "headers": {}, "body": None, "site": "two"},
    {"id": "3", "label": "attack", "class": "sqli", "method": "GET", "url": "/?x=%27%27", "headers": {}, "body": None},
    {"id": "4", "label": "attack", "class": "xss", "kind": "value", "value": "<b><i>"},
    {"id": "5", "label": "attack", "class": "ssti", "kind": "value", "value": "harmless words"},
    {"id": "6", "label": "ambiguous", "method": "GET", "url": "/", "headers": {}, "body": None},
]


@pytest.fixture
def records(tmp_path: Path) -> str:
    path = tmp_path / "records.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    return str(path)


@pytest.mark.usefixtures("small_model")
def test_evaluate_prints_the_object_of_the_contract(vedette: Vedette, records: str) -> None:
    status, out, err = vedette("evaluate", records, "--json")
    report = json.loads(out)
    assert (status, err) == (0, "")
    assert list(report) == [
        "requests", "attacks", "benign", "skipped", "tpr", "tnr", "balanced_accuracy", "threshold", "by_class",
        "by_site", "tpr_at_fpr", "roc_auc", "cpu_us_per_request",
    ]  # fmt: skip
    assert (report["requests"], report["skipped"], report["tnr"]) == (5, 1, 0.5)
    assert report["by_class"]["ssti"] == {"n": 1, "tpr": 0.0}
    assert report["by_site"]["two"] == {"n": 1, "fpr": 1.0}
    assert list(report["tpr_at_fpr"]) == ["0.01", "0.005", "0.001", "0.0001"]


@pytest.mark.usefixtures("small_model")
def test_evaluate_with_another_threshold(vedette: Vedette, records: str) -> None:
    report = json.loads(vedette("evaluate", records, "--json", "--threshold", "1")[1])
    assert (report["threshold"], report["tpr"], report["tnr"]) == (1.0, 0.0, 1.0)


@pytest.mark.usefixtures("small_model")
def test_evaluate_with_intervals(vedette: Vedette, records: str) -> None:
    report = json.loads(vedette("evaluate", records, "--json", "--details")[1])
    assert report["intervals"]["tpr"]["hits"] == 2


@pytest.mark.usefixtures("small_model")
def test_evaluate_for_a_person(vedette: Vedette, records: str) -> None:
    out = vedette("evaluate", records)[1]
    for piece in (
        "attacks found (TPR)",
        "66.67%",
        "50.0000%",
        "ssti",
        "1 of 2 sites had no false alarm",
        "1 ambiguous",
    ):
        assert piece in out


@pytest.mark.usefixtures("small_model")
def test_evaluate_without_attacks_has_dashes(vedette: Vedette, tmp_path: Path) -> None:
    (tmp_path / "benign.jsonl").write_text(json.dumps(RECORDS[0]))
    assert json.loads(vedette("evaluate", "benign.jsonl", "--json")[1])["tpr"] is None
    assert "balanced accuracy -" in " ".join(vedette("evaluate", "benign.jsonl")[1].split())


def test_runs_that_left_out_a_fold_are_judged_by_their_own_bundles(
    vedette: Vedette, small_model: str, tmp_path: Path
) -> None:
    for run in ("one", "two"):
        (tmp_path / run / "bundle").mkdir(parents=True)
        for name in FILES:
            with gzip.open(tmp_path / run / name, "wt") as file:
                file.writelines(json.dumps(record) + "\n" for record in RECORDS)
    report = json.loads(vedette("evaluate", "one", "two", "--json")[1])
    assert (report["requests"], report["skipped"]) == (10, 2)
    assert {row["name"]: row["n"] for row in report["measures"]}["browsing: false alarms"] == 4
    out = vedette("evaluate", "one", "two")[1]
    assert "to reach" in out
    assert "browsing: false alarms" in out

    for wrong in (("one", "two/held_out.jsonl.gz"), ("one", "--model", "two/bundle")):
        status, out, err = vedette("evaluate", *wrong)
        assert (status, out) == (2, "")
        assert "their own bundles" in err
    status, out, err = vedette("evaluate", "--engine", "ray", "one")
    assert (status, out) == (2, "")
    assert "--engine ray takes files" in err
    (tmp_path / "three").mkdir()
    status, out, err = vedette("evaluate", "one", "three")
    assert (status, out) == (2, "")
    assert "three: no run of vedette train --fold" in err
    (tmp_path / "two" / FILES[2]).unlink()
    assert FILES[2] in vedette("evaluate", "two")[2]


@pytest.mark.usefixtures("small_model")
def test_a_bad_record_ends_it_by_line(vedette: Vedette, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text(json.dumps(RECORDS[0]) + "\n{]\n")
    status, out, err = vedette("evaluate", "bad.jsonl")
    assert (status, out) == (2, "")
    assert "bad.jsonl:2" in err


def test_training_needs_a_data_set(vedette: Vedette, tmp_path: Path) -> None:
    status, _, err = vedette("train", str(tmp_path), "--run", str(tmp_path / "run"))
    assert status == 2
    assert "holds no data set" in err


def test_a_way_that_cannot_run_is_told_below_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    from vedette.cli.render_optimize import render_comparison
    from vedette.inference.optimization import Comparison

    ran = Comparison("onnx-int8", "cpu", 2048, 90.0, 0.1, 0.01, 1.0, True)
    render_comparison(Console(width=80), "v-1", [ran, Comparison("torch-fp32", unavailable="torch-fp32 needs torch")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "torch-fp32 not run: torch-fp32 needs torch"
    assert sum("onnx-int8" in line for line in lines) == 1


def test_optimize_knows_its_ways(vedette: Vedette) -> None:
    status, _, err = vedette("optimize", "--way", "onnx-int4", "--save", "x")
    assert status == 2
    assert "torchscript-int8" in err


def test_a_bundle_that_is_none_is_refused(vedette: Vedette, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    status, _, err = vedette("model", "show", str(tmp_path))
    assert status == 3
    assert "manifest.json" in err
