"""What the service says about itself: Prometheus text for machines, one JSON object for people and scripts.

Every instance has its own registry, so that services and tests in one process do not add up. The way of a request
pays a few microseconds: children of labelled metrics are looked up once and kept, quantiles come from a ring of the
last `RING` processing times that is sorted only when asked, and what other parts count anyway (score memory, queue
size) is read at scrape time.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from vedette._version import __version__
from vedette.verdict import Action, Verdict

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
RING = 4096
_RATE_S = 60

_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


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


class _MemoryCollector(Collector):
    """Reads the score memory's own counts when somebody scrapes."""

    def __init__(self, read: Callable[[], MemoryCounts]) -> None:
        self.read = read

    def collect(self) -> list[Metric]:
        counts = self.read()
        help_ = "Windows whose score was remembered."
        return [
            CounterMetricFamily("vedette_score_memory_hits", help_, value=counts.hits),
            CounterMetricFamily("vedette_score_memory_misses", "Windows that had to be scored.", value=counts.misses),
            CounterMetricFamily("vedette_score_memory_evicted", "Scores forgotten to make room.", value=counts.evicted),
            GaugeMetricFamily(
                "vedette_score_memory_bytes", "Bytes held by remembered scores.", value=counts.used_bytes
            ),
            GaugeMetricFamily("vedette_score_memory_entries", "Remembered scores.", value=counts.entries),
        ]


class _Quantiles:
    """The last `RING` observations, in a ring."""

    def __init__(self) -> None:
        self._ring = array("d")
        self._next = 0

    def observe(self, value: float) -> None:
        if len(self._ring) < RING:
            self._ring.append(value)
        else:
            self._ring[self._next] = value
            self._next = (self._next + 1) % RING

    def snapshot(self, scale: float = 1.0) -> dict[str, float | int | None]:
        """Quantiles by the nearest-rank method, None where nothing was observed."""
        values = sorted(self._ring)
        count = len(values)
        ranks = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
        found: dict[str, float | int | None] = {
            name: values[max(0, -(-int(q * 100) * count // 100) - 1)] * scale if count else None
            for name, q in ranks.items()
        }
        found["mean"] = sum(values) / count * scale if count else None
        return found


class _Rate:
    """Events a second over the last minute, in a bucket for each second."""

    def __init__(self) -> None:
        self._counts = [0] * _RATE_S
        self._seconds = [-1] * _RATE_S
        self._since = time.monotonic()

    def add(self) -> None:
        second = int(time.monotonic())
        slot = second % _RATE_S
        if self._seconds[slot] != second:
            self._seconds[slot] = second
            self._counts[slot] = 0
        self._counts[slot] += 1

    def per_second(self) -> float:
        now = time.monotonic()
        recent = sum(n for n, at in zip(self._counts, self._seconds, strict=True) if now - at < _RATE_S)
        return recent / max(1.0, min(float(_RATE_S), now - self._since))


class Metrics:
    """All metrics of one service; also the observer of its queue."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.started_at = time.time()
        ProcessCollector(namespace="vedette", registry=registry)
        self._build = Info("vedette_build", "Version of Vedette and of the model it serves.", registry=registry)
        self.set_model_version("")
        self._requests = Counter(
            "vedette_requests",
            "Requests by outcome: allow, block, monitor; or refused: overloaded, not_ready, rate_limited, invalid, "
            "too_large.",
            ["outcome"],
            registry=registry,
        )
        self._anomalies = Counter("vedette_anomalies", "Anomalies found.", ["attack_class"], registry=registry)
        self._degraded = Counter(
            "vedette_degraded", "Verdicts that do not rest on a whole reading.", ["reason"], registry=registry
        )
        self._limits = Counter(
            "vedette_rate_limit_decisions", "Decisions of the rate limits.", ["decision"], registry=registry
        )
        self._seconds = Histogram(
            "vedette_request_seconds", "Time from request to verdict.", buckets=_SECONDS, registry=registry
        )
        self._wait = Histogram(
            "vedette_queue_wait_seconds", "Time that work waited for a batch.", buckets=_SECONDS, registry=registry
        )
        self._batch = Histogram(
            "vedette_batch_size", "Pieces of work in a model batch.", buckets=_SIZES, registry=registry
        )
        self._batch_tokens = Counter("vedette_batch_tokens", "Estimated tokens sent to the model.", registry=registry)
        self._queue_size = Gauge("vedette_queue_size", "Pieces of work that wait for a batch.", registry=registry)
        self._lag = Histogram(
            "vedette_event_loop_lag_seconds",
            "How late the event loop ran a timer.",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
            registry=registry,
        )
        self._reloads = Counter(
            "vedette_model_reloads",
            "Reloads of the model: swapped, unchanged (it is the one that is served), refused.",
            ["outcome"],
            registry=registry,
        )
        self._events_dropped = Gauge("vedette_events_dropped", "Events that could not be written.", registry=registry)
        self._children: dict[tuple[str, str], Counter] = {}
        self._memory: Callable[[], MemoryCounts] | None = None
        self._collector: _MemoryCollector | None = None
        self._rate = _Rate()
        self._times = _Quantiles()
        self._waits = _Quantiles()
        self._batches = _Quantiles()
        self._lags = _Quantiles()

    # -- written on the way of a request -----------------------------------------------------------------------

    def record(self, verdict: Verdict) -> None:
        """Count a verdict."""
        seconds = verdict.processing_time_ms / 1000
        self._child(self._requests, "requests", verdict.action.value).inc()
        self._seconds.observe(seconds)
        self._times.observe(seconds)
        self._rate.add()
        if verdict.is_anomaly:
            self._child(self._anomalies, "anomalies", verdict.attack_class or "other").inc()
        if verdict.degraded is not None:
            self._child(self._degraded, "degraded", verdict.degraded.value).inc()

    def refused(self, outcome: str, count: int = 1) -> None:
        """Count requests that got no verdict: overloaded, not_ready, rate_limited, invalid, too_large."""
        self._child(self._requests, "requests", outcome).inc(count)

    def limited(self, *, allowed: bool, weight: int = 1) -> None:
        """Count a decision of the rate limits."""
        self._child(self._limits, "limits", "allowed" if allowed else "refused").inc(weight)

    def on_queue_size(self, size: int) -> None:
        """Note how many pieces of work wait."""
        self._queue_size.set(size)

    def on_batch(self, size: int, cost: int, waits_s: Sequence[float]) -> None:
        """Note a batch and how long each of its pieces waited."""
        self._batch.observe(size)
        self._batches.observe(size)
        self._batch_tokens.inc(cost)
        for wait_s in waits_s:
            self._wait.observe(wait_s)
            self._waits.observe(wait_s)

    def reloaded(self, outcome: str) -> None:
        """Count a reload of the model: swapped, unchanged, refused."""
        self._reloads.labels(outcome).inc()

    def observe_event_loop_lag(self, seconds: float) -> None:
        """Note the event loop's lag."""
        self._lag.observe(seconds)
        self._lags.observe(seconds)

    # -- set up -------------------------------------------------------------------------------------------------

    def set_model_version(self, version: str) -> None:
        """Name the model that is served."""
        self._build.info({"version": __version__, "model_version": version})

    def watch_memory(self, read: Callable[[], MemoryCounts]) -> None:
        """Read the score memory's counts by `read` at every scrape."""
        if self._collector is None:
            self._collector = _MemoryCollector(read)
            self.registry.register(self._collector)
        self._memory = self._collector.read = read  # and nothing of the former one, so that it can go

    def watch_events(self, dropped: Callable[[], int]) -> None:
        """Read the number of lost events by `dropped` at every scrape."""
        self._events_dropped.set_function(dropped)

    # -- read ---------------------------------------------------------------------------------------------------

    def prometheus(self) -> bytes:
        """Return the Prometheus text format, version 0.0.4 (`CONTENT_TYPE`)."""
        return generate_latest(self.registry)

    def to_dict(self) -> dict[str, Any]:
        """Return the same as one JSON object. Times in milliseconds; quantiles over the last `RING` observations."""
        counts = self._by_label()
        outcomes, anomalies = counts["requests"], counts["anomalies"]
        verdicts = sum(outcomes.get(action.value, 0) for action in Action)
        memory = self._memory() if self._memory else None
        looked_up = memory.hits + memory.misses if memory else 0
        return {
            "uptime_s": time.time() - self.started_at,
            "requests": {"total": verdicts, "by_outcome": outcomes, "per_second": self._rate.per_second()},
            "anomalies": {"total": sum(anomalies.values()), "by_class": anomalies},
            "degraded": counts["degraded"],
            "processing_time_ms": self._times.snapshot(1000),
            "queue": {"size": _gauge(self._queue_size), "wait_ms": self._waits.snapshot(1000)},
            "batch_size": self._batches.snapshot(),
            "score_memory": {
                "hits": memory.hits if memory else 0,
                "misses": memory.misses if memory else 0,
                "hit_rate": memory.hits / looked_up if memory and looked_up else None,
                "entries": memory.entries if memory else 0,
                "bytes": memory.used_bytes if memory else 0,
                "max_bytes": memory.max_bytes if memory else 0,
            },
            "rate_limit": counts["limits"],
            "event_loop_lag_ms": self._lags.snapshot(1000),
            "events_dropped": _gauge(self._events_dropped),
        }

    def _child(self, metric: Counter, group: str, label: str) -> Counter:
        child = self._children.get((group, label))
        if child is None:
            child = self._children[group, label] = metric.labels(label)
        return child

    def _by_label(self) -> dict[str, dict[str, int]]:
        """Name of each labelled counter -> label -> count."""
        found: dict[str, dict[str, int]] = {"requests": {}, "anomalies": {}, "degraded": {}, "limits": {}}
        counters = {"requests": self._requests, "anomalies": self._anomalies}
        counters |= {"degraded": self._degraded, "limits": self._limits}
        for group, counter in counters.items():
            for sample in next(iter(counter.collect())).samples:
                if sample.name.endswith("_total"):
                    found[group][next(iter(sample.labels.values()))] = int(sample.value)
        return found


def _gauge(gauge: Gauge) -> int:
    return int(next(iter(gauge.collect())).samples[0].value)
