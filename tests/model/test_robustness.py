"""The robustness gate: what the shipped model finds of a fixed set may not fall (scripts/robustness.py wrote both)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vedette.config import Settings
from vedette.evaluation.evaluate import EvaluationReport, evaluate
from vedette.evaluation.records import read_records
from vedette.inference.engine import load_engine

HERE = Path(__file__).parent
FIGURES = json.loads((HERE / "robustness.json").read_text("utf-8"))
# Kernels of other processors round differently: one attack near the threshold may fall to either side.
SLACK = 1


@pytest.fixture(scope="module")
def report() -> EvaluationReport:
    return evaluate(read_records([HERE / "robustness.jsonl.gz"]), load_engine(Settings()))


def test_the_figures_are_those_of_the_shipped_model(report: EvaluationReport) -> None:
    assert report.model_version == FIGURES["model"]
    assert (report.attacks.n, report.benign.n) == (FIGURES["attacks"], FIGURES["harmless"])


@pytest.mark.parametrize("family", sorted(FIGURES["found"]))
def test_no_family_is_found_less_often(report: EvaluationReport, family: str) -> None:
    assert report.by_class[family].hits >= FIGURES["found"][family] - SLACK


def test_no_more_harmless_values_alarm(report: EvaluationReport) -> None:
    assert report.benign.hits <= FIGURES["false_alarms"] + SLACK
