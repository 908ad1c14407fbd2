"""What judging a request costs, in CPU time, and how a service behaves under concurrent callers.

    engine    requests one after another in one thread: process CPU time per request, all threads counted
    service   `concurrency` callers at once through `AsyncWAFService`: throughput, latency, degraded answers

CPU time rather than wall-clock time, so that a busy machine does not change the figure much. Each figure is the median
of several rounds, with their spread. Each round of "cold" starts with an empty score memory; "warm" has seen every
value before.
"""

from __future__ import annotations

import asyncio
import os
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from vedette._version import __version__
from vedette.config import Settings
from vedette.errors import ServiceError
from vedette.http_request import HTTPRequest
from vedette.inference.engine import Engine
from vedette.parsing.pipeline import ParsingPipeline


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU microseconds per request: the median over rounds and the lowest and highest round."""

    name: str
    requests: int
    rounds: int
    cpu_us: float
    lowest_us: float
    highest_us: float
    anomalies: int


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
    engine: Engine, settings: Settings, requests: Sequence[HTTPRequest], *, rounds: int = 5
) -> tuple[Cost, Cost]:
    """Measure on `requests` with an empty memory at the start of each round ("cold"), then with a full one ("warm")."""
    fresh = [Engine(engine.bundle, engine.runtime, settings) for _ in range(rounds)]
    cold = [_round(one, requests) for one in fresh]
    warm = [_round(fresh[-1], requests) for _ in range(rounds)]
    return _cost("cold", requests, cold), _cost("warm", requests, warm)


def _round(engine: Engine, requests: Sequence[HTTPRequest]) -> tuple[float, int]:
    began = time.process_time()
    anomalies = sum(engine.check(request).is_anomaly is True for request in requests)
    return (time.process_time() - began) / len(requests) * 1e6, anomalies


def _cost(name: str, requests: Sequence[HTTPRequest], rounds: list[tuple[float, int]]) -> Cost:
    costs = [cost for cost, _ in rounds]
    return Cost(
        name, len(requests), len(costs), statistics.median(costs), min(costs), max(costs), anomalies=rounds[-1][1]
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
