"""The pictures that the data allow are written, whatever the data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vedette.evaluation.evaluate import Count, EvaluationReport
from vedette.evaluation.plots import write_plots

PNG = b"\x89PNG\r\n\x1a\n"


def report(benign: list[float], attacks: list[float], by_class: dict[str, Count]) -> EvaluationReport:
    quiet, loud = np.array(benign, np.float32), np.array(attacks, np.float32)
    return EvaluationReport(
        model_version="small-1",
        threshold=0.5,
        attacks=Count(len(loud), int((loud >= 0.5).sum())),
        benign=Count(len(quiet), int((quiet >= 0.5).sum())),
        browsing=Count(len(quiet), int((quiet >= 0.5).sum())),
        skipped=0,
        by_class=by_class,
        by_site={},
        benign_scores=quiet,
        is_browsing=np.ones(len(quiet), np.bool_),
        attack_scores=loud,
        scores_by_class={},
        cpu_us_per_request=None,
    )


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (
            report([0.0, 0.1, 1.0], [1.0, 0.9, 0.2], {"xss": Count(2, 2), "probe": Count(1, 0)}),
            ["roc", "scores", "classes"],
        ),
        (report([0.0], [1.0], {"xss": Count(1, 1)}), ["roc", "scores", "classes"]),
        (report([0.0, 0.0], [], {}), ["scores"]),
        (report([], [1.0], {"sqli": Count(1, 1)}), ["scores", "classes"]),
        (report([], [], {}), []),
    ],
)
def test_pictures(tmp_path: Path, data: EvaluationReport, names: list[str]) -> None:
    written = write_plots(data, tmp_path / "plots")
    assert [path.stem for path in written] == names
    assert all(path.read_bytes().startswith(PNG) for path in written)
