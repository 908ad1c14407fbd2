"""What the service says about itself: Prometheus text for machines, one JSON object for people and scripts.

Every figure is a cell of one row of doubles (metric_cells.py), so the way of a request pays a few additions, and the
workers of a service, who each have a row of one shared memory (shared_cells.py), are added up by whoever is asked.
Without several workers the row is this process's own, so that services and tests in one process do not add up. What
other parts count anyway (score memory, events) is read by `publish`: at every scrape, and once a second where others
have to see it. Not thread safe: everything is called on one event loop, or under one lock.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from vedette.sinks import metric_cells as layout
from vedette.sinks.exposition import CellsCollector
from vedette.sinks.metric_cells import Distribution, Totals
from vedette.sinks.shared_cells import SPARE_ROWS, SharedCells
from vedette.verdict import Action, Verdict

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
RING = layout.RING

_ALLOW, _ALLOW_AT = Action.ALLOW, layout.REQUESTS.at("allow")
_RATE_LIMIT_AT = {True: layout.RATE_LIMIT_DECISIONS.at("allowed"), False: layout.RATE_LIMIT_DECISIONS.at("refused")}
_BATCH_TOKENS_AT = layout.BATCH_TOKENS.at()


class MemoryCounts(Protocol):
    """What is told about the memory of scores."""

    @property
    def hits(self) -> int:
        """Windows whose score was known."""

    @property
    def misses(self) -> int:
        """Windows that went to the model."""

    @property
    def evicted(self) -> int:
        """Entries forgotten to make room."""

    @property
    def entries(self) -> int:
        """Entries held."""

    @property
    def used_bytes(self) -> int:
        """Bytes held."""

    @property
    def max_bytes(self) -> int:
        """Bytes that may be held."""


class _Observer:
    """Counts values into the cells of one `Distribution`: buckets, sum, and the ring of the last values."""

    def __init__(self, cells: memoryview[float], distribution: Distribution, ring_size: int) -> None:
        self._cells = cells
        self._bounds = distribution.bounds
        self._bucket_at = distribution.bucket_at
        self._sum_at = distribution.sum_at
        self._ring_at = distribution.ring_at(ring_size)
        self._ring_size = ring_size
        # A former owner of the row wrote as many values as it counted.
        buckets = cells[self._bucket_at : self._bucket_at + len(self._bounds) + 1]
        self._next = int(sum(buckets)) % ring_size

    def observe(self, value: float) -> None:
        cells = self._cells
        cells[self._bucket_at + bisect_left(self._bounds, value)] += 1.0
        cells[self._sum_at] += value
        at = self._next
        cells[self._ring_at + at] = value
        at += 1
        self._next = at if at < self._ring_size else 0


class Metrics:
    """All metrics of one service; also the observer of its queue and of its rate limits.

    `shared` is the memory in which the workers of a service count together (`shared_memory`); None counts alone.
    """

    def __init__(self, shared: SharedCells | None = None) -> None:
        self._shared = shared or SharedCells.private(layout.width(1))
        self._ring_size = layout.ring_size(self._shared.workers)
        self._cells = cells = self._shared.claim()
        for at in layout.GAUGE_CELLS:  # what a dead worker held is gone with it
            cells[at] = 0.0
        self._seconds = _Observer(cells, layout.REQUEST_SECONDS, self._ring_size).observe
        self._wait = _Observer(cells, layout.QUEUE_WAIT, self._ring_size).observe
        self._batch = _Observer(cells, layout.BATCH_SIZE, self._ring_size).observe
        self._lag = _Observer(cells, layout.LAG, self._ring_size).observe
        self._second = -1
        self._rate_at = layout.RATE_COUNTS
        self._cpu_s = 0.0
        self._read_memory: Callable[[], MemoryCounts] | None = None
        self._memory_seen = (0, 0, 0)
        self._read_dropped: Callable[[], int] | None = None
        self._dropped_seen = 0
        self._collector = CellsCollector(self.totals)
        self.registry = CollectorRegistry()
        self.registry.register(self._collector)

    @staticmethod
    def shared_memory(workers: int, *, spare_rows: int = SPARE_ROWS) -> SharedCells:
        """Return memory for the metrics of `workers` processes, to be handed to each of them.

        `spare_rows` more may count while workers are replaced.
        """
        return SharedCells(workers, layout.width(workers), spare_rows=spare_rows)

    # -- written on the way of a request -----------------------------------------------------------------------

    def record(self, verdict: Verdict) -> None:
        """Count a verdict."""
        cells = self._cells
        action = verdict.action
        cells[_ALLOW_AT if action is _ALLOW else layout.REQUESTS.at(action.value)] += 1.0
        self._seconds(verdict.processing_time_ms * 0.001)
        second = int(time.monotonic())
        if second != self._second:
            self._begin_second(second)
        cells[self._rate_at] += 1.0
        if verdict.is_anomaly:
            cells[layout.ANOMALIES.at(verdict.attack_class or layout.OTHER)] += 1.0
        if verdict.degraded is not None:
            cells[layout.DEGRADED.at(verdict.degraded.value)] += 1.0

    def _begin_second(self, second: int) -> None:
        slot = second % layout.RATE_S
        if self._cells[layout.RATE_SECONDS + slot] != second:
            self._cells[layout.RATE_SECONDS + slot] = second
            self._cells[layout.RATE_COUNTS + slot] = 0.0
        self._second, self._rate_at = second, layout.RATE_COUNTS + slot

    def refused(self, outcome: str, count: int = 1) -> None:
        """Count requests that got no verdict, by one of the outcomes that `vedette_requests_total` names."""
        self._cells[layout.REQUESTS.at(outcome)] += count

    def limited(self, *, allowed: bool, weight: int = 1) -> None:
        """Count a decision of the rate limits."""
        self._cells[_RATE_LIMIT_AT[allowed]] += weight

    def limited_without_store(self, policy: str) -> None:
        """Count a request whose limits were not decided by the shared store: local, allow, refuse."""
        self._cells[layout.WITHOUT_STORE.at(policy)] += 1.0

    def store_failed(self, reason: str) -> None:
        """Count a failed call to the shared store: timeout, connection, error, busy."""
        self._cells[layout.STORE_FAILURES.at(reason)] += 1.0

    def store_up(self, up: bool) -> None:
        """Note whether the shared store decides this worker's limits."""
        self._cells[layout.STORE_WORKERS.at()] = 1.0 if up else 0.0

    def on_queue_size(self, size: int) -> None:
        """Note how many pieces of work wait."""
        self._cells[layout.QUEUE_SIZE.at()] = size

    def on_batch(self, size: int, cost: int, waits_s: Sequence[float]) -> None:
        """Note a batch and how long each of its pieces waited."""
        self._batch(size)
        self._cells[_BATCH_TOKENS_AT] += cost
        for wait_s in waits_s:
            self._wait(wait_s)

    def reloaded(self, outcome: str) -> None:
        """Count a reload of the model: swapped, unchanged, refused."""
        self._cells[layout.MODEL_RELOADS.at(outcome)] += 1.0

    def observe_event_loop_lag(self, seconds: float) -> None:
        """Note the event loop's lag."""
        self._lag(seconds)

    # -- set up -------------------------------------------------------------------------------------------------

    def set_model_version(self, version: str) -> None:
        """Name the model that is served."""
        self._collector.model_version = version

    def watch_memory(self, read: Callable[[], MemoryCounts]) -> None:
        """Read the score memory's counts by `read` from now on.

        What a memory that takes the place of another counted before counts no more: it may have been watched already.
        """
        if self._read_memory is not None:
            self._publish_memory(self._read_memory())
            counts = read()
            self._memory_seen = (counts.hits, counts.misses, counts.evicted)
        self._read_memory = read

    def watch_events(self, dropped: Callable[[], int]) -> None:
        """Read the number of lost events by `dropped` from now on."""
        self._publish_dropped()
        self._dropped_seen = 0
        self._read_dropped = dropped

    def publish(self) -> None:
        """Bring the cells of what other parts count up to date, for the other workers to see."""
        cpu_s = time.process_time()
        self._cells[layout.CPU_SECONDS.at()] += cpu_s - self._cpu_s
        self._cpu_s = cpu_s
        if self._read_memory is not None:
            self._publish_memory(self._read_memory())
        self._publish_dropped()

    def _publish_memory(self, counts: MemoryCounts) -> None:
        cells = self._cells
        hits, misses, evicted = self._memory_seen
        cells[layout.MEMORY_HITS.at()] += counts.hits - hits
        cells[layout.MEMORY_MISSES.at()] += counts.misses - misses
        cells[layout.MEMORY_EVICTED.at()] += counts.evicted - evicted
        self._memory_seen = (counts.hits, counts.misses, counts.evicted)
        cells[layout.MEMORY_BYTES.at()] = counts.used_bytes
        cells[layout.MEMORY_ENTRIES.at()] = counts.entries
        cells[layout.MEMORY_MAX_BYTES] = counts.max_bytes

    def _publish_dropped(self) -> None:
        if self._read_dropped is not None:
            dropped = self._read_dropped()
            self._cells[layout.EVENTS_DROPPED.at()] += dropped - self._dropped_seen
            self._dropped_seen = dropped

    # -- read ---------------------------------------------------------------------------------------------------

    def totals(self) -> Totals:
        """Return the sums over all workers of the service as they are now."""
        self.publish()
        return Totals(self._shared, self._ring_size)

    def prometheus(self) -> bytes:
        """Return the Prometheus text format, version 0.0.4 (`CONTENT_TYPE`)."""
        return generate_latest(self.registry)

    def to_dict(self) -> dict[str, Any]:
        """Return the same as one JSON object. Times in milliseconds; quantiles over the last `RING` observations."""
        totals = self.totals()
        outcomes, anomalies = totals.by_label(layout.REQUESTS), totals.by_label(layout.ANOMALIES)
        hits, misses = totals.count(layout.MEMORY_HITS), totals.count(layout.MEMORY_MISSES)
        failures, without = totals.by_label(layout.STORE_FAILURES), totals.by_label(layout.WITHOUT_STORE)
        return {
            "uptime_s": time.time() - self._shared.started_at,
            "workers": totals.workers,
            "requests": {
                "total": sum(outcomes.get(action.value, 0) for action in Action),
                "by_outcome": outcomes,
                "per_second": totals.per_second(),
            },
            "anomalies": {"total": sum(anomalies.values()), "by_class": anomalies},
            "degraded": totals.by_label(layout.DEGRADED),
            "processing_time_ms": totals.quantiles(layout.REQUEST_SECONDS, 1000),
            "queue": {
                "size": totals.count(layout.QUEUE_SIZE),
                "wait_ms": totals.quantiles(layout.QUEUE_WAIT, 1000),
            },
            "batch_size": totals.quantiles(layout.BATCH_SIZE),
            "score_memory": {
                "hits": hits,
                "misses": misses,
                "hit_rate": hits / (hits + misses) if hits + misses else None,
                "entries": totals.count(layout.MEMORY_ENTRIES),
                "bytes": totals.count(layout.MEMORY_BYTES),
                "max_bytes": totals.living(layout.MEMORY_MAX_BYTES),
            },
            "rate_limit": totals.by_label(layout.RATE_LIMIT_DECISIONS),
            "rate_limit_store": {
                "workers": totals.count(layout.STORE_WORKERS),
                "failures": failures,
                "decided_without": without,
            },
            "event_loop_lag_ms": totals.quantiles(layout.LAG, 1000),
            "events_dropped": totals.count(layout.EVENTS_DROPPED),
        }
