"""Which metrics there are, which cells of a worker's row hold them, and what they add up to.

A row: cells that shared_cells.py keeps · counters and gauges · buckets and sum of each histogram · requests by second ·
the rings of the last values, whose size hangs on the number of workers. A label that a metric does not know counts as
`other`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from vedette.sinks.shared_cells import RESERVED, SharedCells
from vedette.verdict import ATTACK_CLASSES, Action, Degraded

OTHER = "other"
RING = 4096
"""Values that quantiles rest on, over all workers; a worker has its part of them, and at least `_LEAST_RING`."""
_LEAST_RING = 128
RATE_S = 60

_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)
_LAGS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


class _Cells:
    """Hands out the fixed cells of a row, in order."""

    def __init__(self) -> None:
        self.next = RESERVED

    def take(self, count: int = 1) -> int:
        first, self.next = self.next, self.next + count
        return first


_cells = _Cells()


@dataclass(frozen=True)
class Metric:
    """A counter or gauge: one cell, or one for each value of its label. Gauges of dead workers do not count."""

    name: str
    help: str
    kind: Literal["counter", "gauge"] = "counter"
    label: str | None = None
    values: tuple[str, ...] = ("",)
    outlives: bool = False  # a gauge that goes on, as a counter does
    closed: bool = False  # `other` is not a label of its own and told only where it occurred
    first: int = field(init=False)
    _index: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "first", _cells.take(len(self.values)))
        object.__setattr__(self, "_index", {value: self.first + i for i, value in enumerate(self.values)})

    def at(self, value: str = "") -> int:
        """Return the cell of a value of the label."""
        index = self._index.get(value)
        return self._index[OTHER] if index is None else index


@dataclass(frozen=True)
class Distribution:
    """A histogram: a cell for each bucket (not added up) and beyond the last bound, one for the sum, and a ring."""

    name: str
    help: str
    bounds: tuple[float, ...]
    number: int
    bucket_at: int = field(init=False)
    sum_at: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bucket_at", _cells.take(len(self.bounds) + 1))
        object.__setattr__(self, "sum_at", _cells.take())

    def ring_at(self, size: int) -> int:
        """Return the first cell of its ring."""
        return _FIXED + self.number * size


def _labelled(name: str, help_: str, label: str, values: Sequence[str]) -> Metric:
    return Metric(name, help_, label=label, values=tuple(dict.fromkeys((*values, OTHER))), closed=OTHER not in values)


REQUESTS = _labelled(
    "vedette_requests",
    "Requests by outcome: allow, block, monitor; or refused: overloaded, not_ready, rate_limited, invalid, "
    "too_large, limits_unavailable, failed.",
    "outcome",
    [
        *(action.value for action in Action),
        *("overloaded", "not_ready", "rate_limited", "invalid", "too_large", "limits_unavailable", "failed"),
    ],
)
ANOMALIES = _labelled("vedette_anomalies", "Anomalies found.", "attack_class", ATTACK_CLASSES)
DEGRADED = _labelled(
    "vedette_degraded",
    "Verdicts that do not rest on a whole reading.",
    "reason",
    [reason.value for reason in Degraded],
)
RATE_LIMIT_DECISIONS = _labelled(
    "vedette_rate_limit_decisions", "Decisions of the rate limits.", "decision", ["allowed", "refused"]
)
STORE_FAILURES = _labelled(
    "vedette_rate_limit_store_failures",
    "Failed calls to the store that workers share, attempts to connect included: timeout, connection, error (it "
    "answered with one), busy (too many waited).",
    "reason",
    ["timeout", "connection", "error", "busy"],
)
WITHOUT_STORE = _labelled(
    "vedette_rate_limit_without_store",
    "Requests whose limits the store could not decide, by what on_store_failure did: local, allow, refuse.",
    "policy",
    ["local", "allow", "refuse"],
)
MODEL_RELOADS = _labelled(
    "vedette_model_reloads",
    "Reloads of the model: swapped, unchanged (it is the one that is served), refused.",
    "outcome",
    ["swapped", "unchanged", "refused"],
)
STORE_WORKERS = Metric(
    "vedette_rate_limit_store_workers",
    "Workers whose rate limits the shared store decides; where there are fewer than vedette_workers and redis_url is "
    "set, the others follow on_store_failure.",
    "gauge",
)
BATCH_TOKENS = Metric("vedette_batch_tokens", "Estimated tokens sent to the model.")
QUEUE_SIZE = Metric("vedette_queue_size", "Pieces of work that wait for a batch.", "gauge")
EVENTS_DROPPED = Metric("vedette_events_dropped", "Events that could not be written.", "gauge", outlives=True)
MEMORY_HITS = Metric("vedette_score_memory_hits", "Windows whose score was remembered.")
MEMORY_MISSES = Metric("vedette_score_memory_misses", "Windows that had to be scored.")
MEMORY_EVICTED = Metric("vedette_score_memory_evicted", "Scores forgotten to make room.")
MEMORY_BYTES = Metric("vedette_score_memory_bytes", "Bytes held by remembered scores.", "gauge")
MEMORY_ENTRIES = Metric("vedette_score_memory_entries", "Remembered scores.", "gauge")
CPU_SECONDS = Metric("vedette_process_cpu_seconds", "Total user and system CPU time spent in seconds, all workers.")

METRICS = (
    *(REQUESTS, ANOMALIES, DEGRADED, RATE_LIMIT_DECISIONS, STORE_FAILURES, WITHOUT_STORE, STORE_WORKERS),
    *(MODEL_RELOADS, BATCH_TOKENS, QUEUE_SIZE, EVENTS_DROPPED),
    *(MEMORY_HITS, MEMORY_MISSES, MEMORY_EVICTED, MEMORY_BYTES, MEMORY_ENTRIES, CPU_SECONDS),
)

REQUEST_SECONDS = Distribution("vedette_request_seconds", "Time from request to verdict.", _SECONDS, 0)
QUEUE_WAIT = Distribution("vedette_queue_wait_seconds", "Time that work waited for a batch.", _SECONDS, 1)
BATCH_SIZE = Distribution("vedette_batch_size", "Pieces of work in a model batch.", _SIZES, 2)
LAG = Distribution("vedette_event_loop_lag_seconds", "How late the event loop ran a timer.", _LAGS, 3)
DISTRIBUTIONS = (REQUEST_SECONDS, QUEUE_WAIT, BATCH_SIZE, LAG)

MEMORY_MAX_BYTES = _cells.take()
RATE_SECONDS = _cells.take(RATE_S)  # which second (monotonic clock) a cell of RATE_COUNTS counts
RATE_COUNTS = _cells.take(RATE_S)
_FIXED = _cells.next

GAUGE_CELLS = (
    *(metric.first for metric in METRICS if metric.kind == "gauge" and not metric.outlives),
    MEMORY_MAX_BYTES,
)


def ring_size(workers: int) -> int:
    """Return how many of its last values a worker keeps for each distribution."""
    return max(_LEAST_RING, RING // workers)


def width(workers: int) -> int:
    """Return the number of cells of a row where `workers` share the memory."""
    return _FIXED + len(DISTRIBUTIONS) * ring_size(workers)


class Totals:
    """Sums over the workers of a service, dead ones included but for what they held."""

    def __init__(self, shared: SharedCells, ring: int) -> None:
        self._rows, living = shared.used()
        self._ring_size = ring
        self._sums = self._rows[:, :_FIXED].sum(axis=0)
        self._living = living[:, :_FIXED].sum(axis=0)
        self._started_monotonic_s = shared.started_monotonic_s
        self.pids = shared.pids(living)
        self.workers = len(living)

    def value(self, metric: Metric, value: str = "") -> float:
        """Return one value of a metric."""
        cells = self._living if metric.kind == "gauge" and not metric.outlives else self._sums
        return float(cells[metric.at(value)])

    def count(self, metric: Metric) -> int:
        """Return the value of a metric without label."""
        return int(self.value(metric))

    def living(self, cell: int) -> int:
        """Return the sum of a cell over the workers that live."""
        return int(self._living[cell])

    def by_label(self, metric: Metric) -> dict[str, int]:
        """Return label -> count, of what occurred."""
        found = {value: int(self.value(metric, value)) for value in metric.values}
        return {value: count for value, count in found.items() if count}

    def buckets(self, distribution: Distribution) -> tuple[list[float], float]:
        """Return the counts up to each bound and beyond the last, added up from the smallest; and the sum of values."""
        at = distribution.bucket_at
        counts = self._sums[at : at + len(distribution.bounds) + 1].cumsum()
        return counts.tolist(), float(self._sums[distribution.sum_at])

    def per_second(self) -> float:
        """Return the requests a second over the last minute."""
        now = time.monotonic()
        seconds = self._rows[:, RATE_SECONDS : RATE_SECONDS + RATE_S]
        counts = self._rows[:, RATE_COUNTS : RATE_COUNTS + RATE_S]
        recent = counts[(seconds > 0) & (now - seconds < RATE_S)].sum()
        return float(recent) / max(1.0, min(float(RATE_S), now - self._started_monotonic_s))

    def quantiles(self, distribution: Distribution, scale: float = 1.0) -> dict[str, float | None]:
        """Return quantiles of the last values by the nearest-rank method, None where nothing was observed."""
        at, size = distribution.ring_at(self._ring_size), self._ring_size
        buckets = self._rows[:, distribution.bucket_at : distribution.bucket_at + len(distribution.bounds) + 1]
        written = np.minimum(buckets.sum(axis=1), size)
        rings = self._rows[:, at : at + size]
        values = np.sort(rings[np.arange(size) < written[:, None]]) * scale
        ranks = {"p50": 50, "p95": 95, "p99": 99, "max": 100}
        found: dict[str, float | None] = {
            name: float(values[max(0, -(-q * len(values) // 100) - 1)]) if len(values) else None
            for name, q in ranks.items()
        }
        found["mean"] = float(values.mean()) if len(values) else None
        return found
