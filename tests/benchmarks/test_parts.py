"""The benchmarks that need only what pip installs: each runs and names its figures. Nothing is said about speed."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from benchmarks.all import COMMAND, QUESTIONS, QUICK
from tests.benchmarks.run_benchmark import ROOT, is_distribution, is_spread, run_benchmark, started

FEW = ("--requests", "20", "--passes", "3")


def test_in_process() -> None:
    report = run_benchmark("in_process", *FEW)
    assert is_spread(report["cold"]["cpu_us"], runs=1)
    assert is_spread(report["fresh"]["cpu_us"], runs=2)
    assert is_spread(report["repeated"]["cpu_us"], runs=1)
    assert is_distribution(report["fresh"]["cpu_us_each"], n=40)
    assert report["anomalies"]["of_attacks"] == 3
    assert report["anomalies"]["attacks"] <= 3
    conditions = report["conditions"]
    assert {"machine", "versions", "started", "load_before", "parameters"} <= conditions.keys()
    assert "3 passes of 20, harmless ones made up, 5% attacks generated" in conditions["parameters"]["requests"]


def test_requests_from_files(tmp_path: Path) -> None:
    harmless = tmp_path / "harmless.jsonl"
    hostile = tmp_path / "hostile.jsonl"
    record = {"label": "benign", "method": "GET", "headers": {"Host": "shop.example"}, "body": None}
    harmless.write_text("".join(json.dumps({**record, "url": f"/p/{i}"}) + "\n" for i in range(40)))
    attack = {**record, "label": "attack", "url": "/?id=1%27%20UNION%20SELECT%20a%20FROM%20b--%20-"}
    hostile.write_text(json.dumps(attack) + "\n")
    report = run_benchmark("in_process", str(harmless), "--attacks", str(hostile), *FEW)
    assert "harmless ones from files, 5% attacks from files" in report["conditions"]["parameters"]["requests"]
    assert report["anomalies"] == {"attacks": 1, "harmless": 0, "of_attacks": 1}


def test_parse() -> None:
    report = run_benchmark("parse", *FEW)
    for step in ("parse", "screen"):
        assert is_spread(report[step]["cpu_us"], runs=3)
        assert is_distribution(report[step]["cpu_us_each"], n=60)
    assert report["fields_per_request"] > 1
    assert report["windows_per_request"] > 0
    assert 0 < report["share_of_requests_with_windows"] <= 1


def test_tokenise() -> None:
    report = run_benchmark("tokenise", "--requests", "30", "--rounds", "2")
    for way in ("service", "library"):
        assert is_spread(report[way]["batch_1"], runs=2)
        assert is_spread(report[way]["batch_32"], runs=2)
    assert report["tokens_per_window"] > 1


def test_model() -> None:
    report = run_benchmark(
        "model", "--rounds", "2", "--seconds", "0.001", "--batches", "1", "3", "--ways", "onnx-int8", "onnx-fp32"
    )
    assert list(report["us_per_row"]) == ["onnx-int8", "onnx-fp32"]
    assert all(
        is_spread(way[batch], runs=2) for way in report["us_per_row"].values() for batch in ("batch_1", "batch_3")
    )
    assert report["not_run"] == {}


@pytest.mark.skipif(sys.platform != "linux", reason="servers are measured by Linux's clocks")
def test_worst_case() -> None:
    report = run_benchmark("worst_case", "--kib", "2", "--rounds", "2")
    assert len(report["kinds"]) == 4
    for kind in report["kinds"].values():
        assert is_spread(kind["cpu"], runs=2, unit="ms")
        assert is_spread(kind["wall"], runs=2, unit="ms")
        assert sum(kind["actions"].values()) == sum(kind["degraded"].values()) == 2
        assert kind["health_meanwhile"]["n"] > 0
    assert sum(report["event_loop_lag_s"]["buckets"].values()) >= 0


def test_a_person_reads_lines() -> None:
    done = started("parse", *FEW)
    assert done.returncode == 0
    assert "histogram" not in done.stdout
    assert "p99_us" in done.stdout
    assert "fields_per_request" in done.stdout


def test_all_into_one_report(tmp_path: Path) -> None:
    output = tmp_path / "bench.json"
    done = started("all", "--only", "parse", "vedette_bench", "--quick", "--output", str(output))
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(output.read_text())
    assert list(report) == ["parse", "vedette_bench"]
    assert [cost["name"] for cost in report["vedette_bench"]["engine"]] == ["cold", "fresh", "warm", "batch"]
    assert "== parse" in done.stdout


def test_all_of_them_exist_and_are_told_of() -> None:
    assert set(QUESTIONS) <= {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    assert {*QUESTIONS, COMMAND} == set(QUICK)
    told = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "benchmarks.md").read_text(), re.MULTILINE))
    assert set(QUESTIONS) <= told


@pytest.mark.parametrize("name", ["in_process", "parse"])
def test_too_few_requests_are_told(name: str, tmp_path: Path) -> None:
    empty = tmp_path / "none.jsonl"
    empty.write_text("")
    done = started(name, str(empty), *FEW)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
