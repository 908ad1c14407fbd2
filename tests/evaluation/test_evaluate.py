"""The report is the object that the command line promises, and counts what it says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.inference.small_model import SmallRuntime, small_engine
from vedette.config import Settings
from vedette.errors import InferenceFailed, MalformedInput
from vedette.evaluation.evaluate import EvaluationReport, evaluate, pooled
from vedette.evaluation.evaluate_ray import judge_part
from vedette.evaluation.records import read_records
from vedette.http_request import HTTPRequest
from vedette.inference.engine import load_engine
from vedette.ingestion.parts import cut
from vedette.parsing.log_entry import LogEntry
from vedette.parsing.record import parse_record

KEYS = [
    "requests", "attacks", "benign", "skipped", "tpr", "tnr", "balanced_accuracy", "threshold", "by_class", "by_site",
    "tpr_at_fpr", "roc_auc", "cpu_us_per_request",
]  # fmt: skip


def entry(query: str, label: str, attack_class: str | None = None, site: str | None = None) -> LogEntry:
    return LogEntry(HTTPRequest("GET", f"/s?q={query}"), label=label, attack_class=attack_class, site=site)


# What the small model says: "<" and ">" are xss, "'" is sqli, all else is harmless.
RECORDS = [
    *[entry(f"plain+text+{n}", "benign", site="calm.example") for n in range(6)],
    entry("a+%3C+b+%3E+c", "benign", site="loud.example"),
    entry("3+pieces", "benign", site="loud.example"),
    entry("no+site", "benign"),
    *[entry(f"%3Cscript%3E{n}%3C/script%3E", "attack", "xss") for n in range(3)],
    entry("%27%27+or+1=1", "attack", "sqli"),
    entry("quiet;payload", "attack", "sqli"),
    entry("quiet;payload", "attack"),
    entry("wp-admin", "attack", "probe"),
    entry("%3Cadmin%3E", "attack", "probe"),
    entry("%3C%3E", "ambiguous", "xss"),
]


def test_the_report_counts_each_kind_where_it_belongs() -> None:
    heard: list[int] = []
    report = evaluate(iter(RECORDS), small_engine(), on_progress=heard.append)
    found = report.to_dict()
    assert list(found) == KEYS
    assert (found["requests"], found["attacks"], found["benign"], found["skipped"]) == (17, 6, 9, 1)
    assert found["tpr"] == pytest.approx(4 / 6)
    assert found["tnr"] == pytest.approx(8 / 9)
    assert found["balanced_accuracy"] == pytest.approx((4 / 6 + 8 / 9) / 2)
    assert found["threshold"] == 0.5
    assert found["by_class"] == {
        "other": {"n": 1, "tpr": 0.0},
        "probe": {"n": 2, "tpr": 0.5},
        "sqli": {"n": 2, "tpr": 0.5},
        "xss": {"n": 3, "tpr": 1.0},
    }
    assert found["by_site"] == {"calm.example": {"n": 6, "fpr": 0.0}, "loud.example": {"n": 2, "fpr": 0.5}}
    assert list(found["tpr_at_fpr"]) == ["0.01", "0.005", "0.001", "0.0001"]
    assert found["cpu_us_per_request"] > 0
    assert sum(heard) == 17
    json.dumps(report.details(), allow_nan=False)


def test_intervals_hold_their_rates() -> None:
    details = evaluate(RECORDS, small_engine()).details()
    for counted in (details["intervals"]["tpr"], *details["intervals"]["by_class"].values()):
        low, high = counted["interval"]
        assert low <= counted["rate"] <= high


@pytest.mark.parametrize(("records", "defined"), [([], set()), (RECORDS[:9], {"tnr"}), (RECORDS[9:15], {"tpr"})])
def test_what_was_not_there_is_null(records: list[LogEntry], defined: set[str]) -> None:
    report = evaluate(records, small_engine())
    found = report.to_dict()
    rates = {"tpr", "tnr", "balanced_accuracy", "roc_auc"}
    assert {key for key in rates if found[key] is not None} == defined
    assert set(found["tpr_at_fpr"].values()) == {None}
    assert (found["cpu_us_per_request"] is None) == (not records)
    json.dumps(report.details(), allow_nan=False)


def test_a_threshold_of_ones_own_is_judged_by_the_score() -> None:
    everything = evaluate(RECORDS, small_engine(), threshold=0.0).to_dict()
    assert (everything["tpr"], everything["tnr"], everything["threshold"]) == (1.0, 0.0, 0.0)
    nothing = evaluate(RECORDS, small_engine(), threshold=1.1).to_dict()
    assert (nothing["tpr"], nothing["tnr"]) == (0.0, 1.0)


def test_batches_do_not_change_the_figures() -> None:
    many = [entry(f"%3Cb{n}%3E" if n % 3 else f"word+{n}", "attack" if n % 3 else "benign", "xss") for n in range(300)]
    together = evaluate(many, small_engine())
    alone = [evaluate([record], small_engine()) for record in many]
    assert np.array_equal(together.attack_scores, np.concatenate([report.attack_scores for report in alone]))
    assert np.array_equal(together.benign_scores, np.concatenate([report.benign_scores for report in alone]))


@pytest.mark.parametrize("part_bytes", [1, 300, 4000])
def test_parts_judged_apart_make_the_same_report(tmp_path: Path, part_bytes: int) -> None:
    lines = [
        json.dumps({"label": "attack" if n % 3 else "benign", "class": ("xss", "sqli", "probe")[n % 5 % 3],
                    "method": "GET", "url": f"/?q=%3Cb{n}%3E" if n % 4 else "/?q=plain", "headers": {}, "body": None,
                    "site": "a" if n % 2 else None})
        for n in range(90)
    ]  # fmt: skip
    path = tmp_path / "records.jsonl"
    path.write_text("\n".join(lines))
    whole = evaluate(read_records([path, path]), small_engine())
    parts = cut([path, path], format="jsonl", part_bytes=part_bytes)
    apart = pooled([judge_part(small_engine(), part) for part in parts])
    assert {**apart.details(), "cpu_us_per_request": 0} == {**whole.details(), "cpu_us_per_request": 0}
    assert np.array_equal(apart.attack_scores, whole.attack_scores)
    assert np.array_equal(apart.benign_scores, whole.benign_scores)

    lines[70] = '{"label": "benign"'
    path.write_text("\n".join(lines))
    with pytest.raises(MalformedInput) as of_whole:
        evaluate(read_records([path]), small_engine())
    with pytest.raises(MalformedInput) as of_parts:
        [judge_part(small_engine(), part) for part in cut([path], format="jsonl", part_bytes=part_bytes)]
    assert str(of_whole.value).startswith(f"{path}:71: ")
    assert str(of_parts.value) == str(of_whole.value)


def test_a_model_that_fails_gives_no_figures() -> None:
    runtime = SmallRuntime()
    runtime.poison = runtime.ids_with("<")
    with pytest.raises(InferenceFailed):
        evaluate(RECORDS, small_engine(runtime))


def test_value_records_are_judged_by_the_shipped_model() -> None:
    lines = [
        '{"id": "1", "label": "attack", "class": "xss", "kind": "value", "value": "<script>alert(cookie)</script>"}',
        '{"id": "2", "label": "benign", "method": "GET", "url": "/?page=2", "headers": {"Host": "shop.example"}}',
    ]
    report: EvaluationReport = evaluate(map(parse_record, lines), load_engine(Settings()))
    found = report.to_dict()
    assert (found["requests"], found["tnr"], found["roc_auc"]) == (2, 1.0, 1.0)
    assert report.model_version.startswith("vedette-")
