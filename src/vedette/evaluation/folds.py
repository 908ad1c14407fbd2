"""Runs that left out a fold: their models judge what they never saw, and the scores of all are pooled.

A run directory holds ``bundle`` and the records that `vedette train --fold` kept for it. Scores are calibrated for each
model by itself, so that 0.5 means the same false-positive budget in all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vedette.errors import MalformedInput
from vedette.evaluation.evaluate import Count, EvaluationReport, evaluate
from vedette.evaluation.records import read_records
from vedette.inference.engine import Engine

BUNDLE = "bundle"
HELD_OUT = "held_out.jsonl.gz"
VALUES = "held_out_values.jsonl.gz"  # harmless, and no requests
GENERATED = "held_out_generated.jsonl.gz"
PLAIN, MUTATED = "held_out_plain.jsonl.gz", "held_out_mutated.jsonl.gz"  # the same attacks
FILES = (HELD_OUT, VALUES, GENERATED, PLAIN, MUTATED)


@dataclass(frozen=True)
class FoldReport:
    """What was found in each of a run's files, of one run or of several pooled."""

    held_out: EvaluationReport
    values: EvaluationReport
    generated: EvaluationReport
    plain: EvaluationReport
    mutated: EvaluationReport


def is_run(path: Path) -> bool:
    """Tell whether `path` is the directory of a run that left out a fold."""
    return (path / HELD_OUT).is_file() and (path / BUNDLE).is_dir()


def evaluate_run(run: Path, engine: Engine, on_progress: Callable[[int], None] | None = None) -> FoldReport:
    """Judge the records of `run` by `engine`, its own bundle's. Raises `MalformedInput` if a file of it is missing."""
    for name in FILES:
        if not (run / name).is_file():
            raise MalformedInput(f"{run / name}: not found", field="file")
    return FoldReport(*(evaluate(read_records([run / name]), engine, on_progress=on_progress) for name in FILES))


def pool(reports: Sequence[FoldReport]) -> FoldReport:
    """Return the reports of several runs as one."""
    return FoldReport(
        *(
            _pooled([getattr(report, name) for report in reports])
            for name in ("held_out", "values", "generated", "plain", "mutated")
        )
    )


def _pooled(reports: Sequence[EvaluationReport]) -> EvaluationReport:
    judged = [(report.requests, report.cpu_us_per_request) for report in reports if report.cpu_us_per_request]
    names = {name for report in reports for name in report.scores_by_class}
    return EvaluationReport(
        model_version=", ".join(report.model_version for report in reports),
        threshold=reports[0].threshold,
        attacks=_sum(report.attacks for report in reports),
        benign=_sum(report.benign for report in reports),
        browsing=_sum(report.browsing for report in reports),
        skipped=sum(report.skipped for report in reports),
        by_class=_summed([report.by_class for report in reports]),
        by_site=_summed([report.by_site for report in reports]),
        benign_scores=np.concatenate([report.benign_scores for report in reports]),
        is_browsing=np.concatenate([report.is_browsing for report in reports]),
        attack_scores=np.concatenate([report.attack_scores for report in reports]),
        scores_by_class={
            name: np.concatenate([r.scores_by_class[name] for r in reports if name in r.scores_by_class])
            for name in sorted(names)
        },
        cpu_us_per_request=sum(n * cost for n, cost in judged) / sum(n for n, _ in judged) if judged else None,
    )


def _sum(counts: Iterable[Count]) -> Count:
    listed = list(counts)
    return Count(sum(count.n for count in listed), sum(count.hits for count in listed))


def _summed(counts: Sequence[dict[str, Count]]) -> dict[str, Count]:
    names = sorted({name for one in counts for name in one})
    return {name: _sum(one[name] for one in counts if name in one) for name in names}
