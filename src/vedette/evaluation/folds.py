"""Runs that left out a fold: their models judge what they never saw, and the scores of all are pooled.

A run directory holds ``bundle`` and the records that `vedette train --fold` kept for it. Scores are calibrated for each
model by itself, so that 0.5 means the same false-positive budget in all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vedette.errors import MalformedInput
from vedette.evaluation.evaluate import EvaluationReport, evaluate, pooled
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
            pooled([getattr(report, name) for report in reports])
            for name in ("held_out", "values", "generated", "plain", "mutated")
        )
    )
