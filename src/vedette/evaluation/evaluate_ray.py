"""The same evaluation over a Ray cluster: parts of files give their scores, and the figures come from all of them.

The report is that of `vedette.evaluation.evaluate.evaluate` over the same files, but for the CPU time it tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from vedette.config import Settings
from vedette.evaluation.evaluate import EvaluationReport, evaluate, pooled
from vedette.evaluation.records import read_records
from vedette.inference.engine import Engine
from vedette.inference.on_ray import here, in_order, ray_cluster, spread
from vedette.ingestion.parts import FilePart


def evaluate_on_ray(
    settings: Settings,
    engine: Engine,
    parts: Sequence[FilePart],
    *,
    address: str | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> EvaluationReport:
    """Judge the records of `parts` on the Ray cluster at `address` (see `ray_cluster`) and report.

    `engine` is that of `settings`, loaded here. `on_progress` hears of each finished part. Raises what `evaluate` and
    `read_records` raise, for the first bad record; `BackendUnavailable`; `ConfigError`.
    """
    with ray_cluster(address):
        answers = spread(settings, engine.model_version, parts, judge_part)
        return pooled(list(in_order(_reported(answers, on_progress))))


def judge_part(engine: Engine, part: FilePart) -> EvaluationReport:
    """Judge the records of one part; what a node does. Raises what `evaluate` and `read_records` raise."""
    here(part.source)
    return evaluate(read_records([part.range]), engine)


def _reported(
    answers: Iterator[tuple[int, EvaluationReport]], on_progress: Callable[[int], None] | None
) -> Iterator[tuple[int, EvaluationReport]]:
    for index, report in answers:
        if on_progress is not None:
            on_progress(report.requests)
        yield index, report
