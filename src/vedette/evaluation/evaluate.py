"""Judge labelled requests with the very engine that serves, and count.

`probe` records are judged but count in `by_class` only; ambiguous ones are skipped. What is kept of a request is its
score, its class and whether it alarmed: memory grows by some ten bytes for each record.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedette.errors import InferenceFailed
from vedette.evaluation.curves import Scores, roc_auc, threshold_at_fpr, tpr_at_fpr, wilson
from vedette.inference.engine import Engine
from vedette.inference.prepared import Prepared, Slice
from vedette.parsing.log_entry import LogEntry
from vedette.verdict import PROBE

RATES = (0.01, 0.005, 0.001, 0.0001)
"""False-positive rates at which the true-positive rate is told."""
_BATCH_REQUESTS = 64
_BATCH_TOKENS = 16_384
_SLICE_TOKENS = 4_096


@dataclass(frozen=True, slots=True)
class Count:
    """`hits` of `n`: found attacks of a class, or false alarms of a site."""

    n: int
    hits: int

    @property
    def rate(self) -> float | None:
        """hits / n, None for n = 0."""
        return self.hits / self.n if self.n else None

    def details(self) -> dict[str, Any]:
        """Counts, rate and its 95 % Wilson interval."""
        interval = wilson(self.hits, self.n)
        return {
            "n": self.n,
            "hits": self.hits,
            "rate": self.rate,
            "interval": None if interval is None else [*interval],
        }


@dataclass(frozen=True)
class EvaluationReport:
    """What an evaluation found. Rates lie in 0..1; None where nothing was there to be counted.

    `benign_scores` (N,) and `attack_scores` (M,) are whole requests' scores, probes left out; `is_browsing` (N,) tells
    which harmless ones name a site; `scores_by_class` are the attacks', probes too. `attacks` counts found attacks,
    `benign` false alarms, `browsing` those of requests that name a site.
    """

    model_version: str
    threshold: float
    attacks: Count
    benign: Count
    browsing: Count
    skipped: int
    by_class: dict[str, Count]
    by_site: dict[str, Count]
    benign_scores: Scores
    is_browsing: NDArray[np.bool_]
    attack_scores: Scores
    scores_by_class: dict[str, Scores]
    cpu_us_per_request: float | None

    @property
    def requests(self) -> int:
        """Requests that were judged, probes among them."""
        return self.benign.n + self.attacks.n + (self.by_class[PROBE].n if PROBE in self.by_class else 0)

    def to_dict(self) -> dict[str, Any]:
        """Return the object of ``vedette evaluate --json``."""
        tpr = self.attacks.rate
        tnr = None if self.benign.rate is None else 1.0 - self.benign.rate
        return {
            "requests": self.requests,
            "attacks": self.attacks.n,
            "benign": self.benign.n,
            "skipped": self.skipped,
            "tpr": tpr,
            "tnr": tnr,
            "balanced_accuracy": None if tpr is None or tnr is None else (tpr + tnr) / 2,
            "threshold": self.threshold,
            "by_class": {name: {"n": count.n, "tpr": count.rate} for name, count in sorted(self.by_class.items())},
            "by_site": {name: {"n": count.n, "fpr": count.rate} for name, count in sorted(self.by_site.items())},
            "tpr_at_fpr": {_key(rate): tpr_at_fpr(self.benign_scores, self.attack_scores, rate) for rate in RATES},
            "roc_auc": roc_auc(self.benign_scores, self.attack_scores),
            "cpu_us_per_request": self.cpu_us_per_request,
        }

    def details(self) -> dict[str, Any]:
        """Return `to_dict` and with it the model, confidence intervals and the thresholds behind each rate."""
        points = {}
        for rate in RATES:
            above = threshold_at_fpr(self.benign_scores, rate)
            hits = 0 if above is None else int((self.attack_scores > above).sum())
            points[_key(rate)] = {"above": above, **Count(len(self.attack_scores), hits).details()}
        return {
            **self.to_dict(),
            "model_version": self.model_version,
            "intervals": {
                "tpr": self.attacks.details(),
                "fpr": self.benign.details(),
                "by_class": {name: count.details() for name, count in sorted(self.by_class.items())},
                "by_site": {name: count.details() for name, count in sorted(self.by_site.items())},
                "tpr_at_fpr": points,
            },
        }


def evaluate(
    records: Iterable[LogEntry],
    engine: Engine,
    threshold: float | None = None,
    *,
    on_progress: Callable[[int], None] | None = None,
) -> EvaluationReport:
    """Judge `records` and report. `threshold` None takes the engine's; `on_progress` hears of each finished batch.

    CPU time is that of the whole process while it judges; reading the records is not counted.
    """
    tally = _Tally(engine, engine.threshold if threshold is None else threshold)
    batch: list[LogEntry] = []
    prepared: list[Prepared] = []
    tokens = 0

    def flush() -> None:
        nonlocal tokens
        tally.take(batch, prepared)
        if on_progress is not None:
            on_progress(len(batch))
        batch.clear()
        prepared.clear()
        tokens = 0

    for record in records:
        if record.label == "ambiguous":
            tally.skipped += 1
            continue
        ready = tally.prepare(record)
        batch.append(record)
        prepared.append(ready)
        tokens += sum(ready.costs[slot] for slot in ready.pending)
        if len(batch) >= _BATCH_REQUESTS or tokens >= _BATCH_TOKENS:
            flush()
    flush()
    return tally.report()


def pooled(reports: Sequence[EvaluationReport]) -> EvaluationReport:
    """Return at least one report as one: scores follow each other, so every figure is that of all requests."""
    judged = [(report.requests, report.cpu_us_per_request) for report in reports if report.cpu_us_per_request]
    names = {name for report in reports for name in report.scores_by_class}
    return EvaluationReport(
        model_version=", ".join(dict.fromkeys(report.model_version for report in reports)),
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


@dataclass
class _Tally:
    """Runs the engine and counts."""

    engine: Engine
    threshold: float
    skipped: int = 0
    cpu_s: float = 0.0
    benign: list[float] = field(default_factory=list)
    browsing: list[bool] = field(default_factory=list)
    attacks: list[float] = field(default_factory=list)
    by_class: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))
    scores: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    by_site: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))
    false_alarms: int = 0
    found: int = 0

    def prepare(self, record: LogEntry) -> Prepared:
        start = time.process_time()
        ready = self.engine.prepare(record.request)
        self.cpu_s += time.process_time() - start
        return ready

    def take(self, records: list[LogEntry], prepared: list[Prepared]) -> None:
        """Run the model over what is pending, judge, count."""
        start = time.process_time()
        slices: list[Slice] = [piece for ready in prepared for piece in ready.slices(_SLICE_TOKENS)]
        if slices:
            self.engine.infer(slices)
        verdicts = [self.engine.judge(ready) for ready in prepared]
        self.cpu_s += time.process_time() - start
        for record, verdict in zip(records, verdicts, strict=True):
            if verdict.anomaly_score is None:
                raise InferenceFailed(f"record {record.record_id}: no score ({verdict.degraded})")
            own = self.threshold == self.engine.threshold
            alarm = bool(verdict.is_anomaly) if own else verdict.anomaly_score >= self.threshold
            self._count(record, verdict.anomaly_score, alarm)

    def _count(self, record: LogEntry, score: float, alarm: bool) -> None:
        if record.label == "benign":
            self.benign.append(score)
            self.browsing.append(record.site is not None)
            self.false_alarms += alarm
            if record.site is not None:
                self.by_site[record.site].append(alarm)
            return
        name = record.attack_class or "other"
        self.by_class[name].append(alarm)
        self.scores[name].append(score)
        if name != PROBE:
            self.attacks.append(score)
            self.found += alarm

    def report(self) -> EvaluationReport:
        judged = len(self.benign) + sum(map(len, self.by_class.values()))
        return EvaluationReport(
            model_version=self.engine.model_version,
            threshold=self.threshold,
            attacks=Count(len(self.attacks), self.found),
            benign=Count(len(self.benign), self.false_alarms),
            browsing=Count(sum(self.browsing), sum(map(sum, self.by_site.values()))),
            skipped=self.skipped,
            by_class={name: Count(len(alarms), sum(alarms)) for name, alarms in self.by_class.items()},
            by_site={name: Count(len(alarms), sum(alarms)) for name, alarms in self.by_site.items()},
            benign_scores=np.array(self.benign, np.float32),
            is_browsing=np.array(self.browsing, np.bool_),
            attack_scores=np.array(self.attacks, np.float32),
            scores_by_class={name: np.array(scores, np.float32) for name, scores in self.scores.items()},
            cpu_us_per_request=self.cpu_s / judged * 1e6 if judged else None,
        )


def _key(rate: float) -> str:
    """0.0001 -> "0.0001", never "1e-04"."""
    return f"{rate:.6f}".rstrip("0")
