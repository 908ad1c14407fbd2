"""What judging a request costs, in CPU time, and how a service behaves under concurrent callers.

    engine    requests one after another in one thread: process CPU time per request, all threads counted
    batches   so many requests at once through the engine, the model asked once for all of them
    service   `concurrency` callers at once through `AsyncWAFService`: throughput, latency, degraded answers

CPU time rather than wall-clock time, so that a busy machine does not change the figure much. Each mean is the median
of several rounds, with their spread; quantiles are those of all rounds' requests. Each round starts with an empty
memory and judges the first half of the requests ("cold"), then the other half, which it has not seen ("fresh"), then
that half once more, when it has seen every value before ("warm").
"""

from __future__ import annotations

import asyncio
import gc
import os
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from vedette._version import __version__
from vedette.config import Settings
from vedette.errors import ServiceError
from vedette.http_request import HTTPRequest
from vedette.inference.engine import Engine
from vedette.parsing.pipeline import ParsingPipeline

BATCH = 32
"""Requests of a batch."""
_SLICE_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU microseconds per request: the median over rounds and the lowest and highest round; quantiles and the most
    expensive of all requests, None where requests were not measured one by one."""

    name: str
    requests: int
    rounds: int
    cpu_us: float
    lowest_us: float
    highest_us: float
    anomalies: int
    p50_us: float | None = None
    p99_us: float | None = None
    max_us: float | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """A run of `AsyncWAFService`. Latencies in milliseconds, as a caller sees them."""

    concurrency: int
    requests: int
    requests_per_s: float
    cpu_us: float
    p50_ms: float
    p99_ms: float
    degraded: int
    refused: int


def conditions(engine: Engine, requests: Sequence[HTTPRequest], traffic: str) -> dict[str, str]:
    """Return what a figure depends on: machine, versions, model, and the requests measured with."""
    sizes = [
        len(request.target) + len(request.body) + sum(len(name) + len(value) for name, value in request.headers)
        for request in requests
    ]
    pipeline = ParsingPipeline()
    fields = [len(pipeline.parse(request).fields) for request in requests[:500]]
    return {
        "machine": f"{processor()}, {len(os.sched_getaffinity(0))} of {os.cpu_count()} cores, {platform.system()}",
        "versions": f"vedette {__version__}, Python {platform.python_version()}, onnxruntime {version('onnxruntime')}",
        "model": f"{engine.model_version}, {engine.runtime.variant.name} on {engine.runtime.device}",
        "requests": (
            f"{len(requests):,}, {traffic}; median {statistics.median(fields):.0f} fields, "
            f"{statistics.median(sizes):,.0f} bytes"
        ),
    }


def processor() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def engine_cost(
    engine: Engine, settings: Settings, requests: Sequence[HTTPRequest], *, rounds: int = 5, batch: int = BATCH
) -> tuple[Cost, ...]:
    """Measure on the halves of `requests`: "cold", "fresh" and "warm" as told above, then "batch": "fresh" with
    `batch` requests at a time. Fewer than two requests are measured "cold" and "warm" alone."""
    first, second = requests[: -(-len(requests) // 2)], requests[-(-len(requests) // 2) :]
    parts = {"cold": first, "fresh": second, "warm": second or first, "batch": second}
    measured: dict[str, list[_Round]] = {name: [] for name, part in parts.items() if part}
    gc.collect()
    gc.freeze()  # as the service does; the requests that wait here would be gone through again and again
    try:
        for _ in range(rounds):
            one = Engine(engine.bundle, engine.runtime, settings)
            for name in ("cold", "fresh", "warm"):
                if name in measured:
                    measured[name].append(_round(one, parts[name]))
            if "batch" in measured:
                other = Engine(engine.bundle, engine.runtime, settings)
                _round(other, first)
                measured["batch"].append(_round_of_batches(other, second, batch))
    finally:
        gc.unfreeze()
    return tuple(_cost(name, found) for name, found in measured.items())


class _Round(NamedTuple):
    """One way over some requests: microseconds of all together, of each alone where measured, and the anomalies."""

    total_us: float
    requests: int
    each_us: list[float]
    anomalies: int


def _round(engine: Engine, requests: Sequence[HTTPRequest]) -> _Round:
    costs, anomalies = [], 0
    for request in requests:
        began = time.process_time_ns()
        verdict = engine.check(request)
        costs.append((time.process_time_ns() - began) / 1e3)
        anomalies += verdict.is_anomaly is True
    return _Round(sum(costs), len(requests), costs, anomalies)


def _round_of_batches(engine: Engine, requests: Sequence[HTTPRequest], batch: int) -> _Round:
    anomalies, began = 0, time.process_time_ns()
    for start in range(0, len(requests), batch):
        prepared = [engine.prepare(request) for request in requests[start : start + batch]]
        engine.infer([piece for one in prepared for piece in one.slices(_SLICE_TOKENS)])
        anomalies += sum(engine.judge(one).is_anomaly is True for one in prepared)
    return _Round((time.process_time_ns() - began) / 1e3, len(requests), [], anomalies)


def _cost(name: str, rounds: Sequence[_Round]) -> Cost:
    means = [one.total_us / one.requests for one in rounds]
    each = sorted(cost for one in rounds for cost in one.each_us)
    quantiles = (_quantile(each, 0.5), _quantile(each, 0.99), each[-1]) if each else (None, None, None)
    return Cost(
        name,
        rounds[0].requests,
        len(rounds),
        statistics.median(means),
        min(means),
        max(means),
        rounds[-1].anomalies,
        *quantiles,
    )


def service_load(settings: Settings, requests: Sequence[HTTPRequest], *, concurrency: int) -> Load:
    """Measure a service of its own with `concurrency` callers, each sending its next request once it has an answer."""
    return asyncio.run(_service_load(settings, requests, concurrency))


async def _service_load(settings: Settings, requests: Sequence[HTTPRequest], concurrency: int) -> Load:
    from vedette.inference.async_waf_service import AsyncWAFService

    latencies: list[float] = []
    degraded = refused = 0
    todo = iter(requests)

    async def caller(service: AsyncWAFService) -> None:
        nonlocal degraded, refused
        for request in todo:
            began = time.perf_counter()
            # A request comes in a turn of its own, as from a socket; else one caller has all turns.
            await asyncio.sleep(0)
            try:
                verdict = await service.check(request)
                degraded += verdict.degraded is not None
            except ServiceError:
                refused += 1
            latencies.append(time.perf_counter() - began)

    quiet = settings.waf_service.model_copy(
        update={"event_log": settings.waf_service.event_log.model_copy(update={"enabled": False})}
    )
    async with AsyncWAFService(settings=settings.model_copy(update={"waf_service": quiet})) as service:
        cpu, began = time.process_time(), time.perf_counter()
        await asyncio.gather(*(caller(service) for _ in range(concurrency)))
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    latencies.sort()
    return Load(
        concurrency=concurrency,
        requests=len(latencies),
        requests_per_s=len(latencies) / wall,
        cpu_us=cpu / len(latencies) * 1e6,
        p50_ms=_quantile(latencies, 0.5) * 1e3,
        p99_ms=_quantile(latencies, 0.99) * 1e3,
        degraded=degraded,
        refused=refused,
    )


def _quantile(ascending: Sequence[float], q: float) -> float:
    return ascending[min(len(ascending) - 1, int(q * len(ascending)))]
