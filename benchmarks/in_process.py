#!/usr/bin/env python3
"""What does a request cost in process: parse, screen, remembered values, tokenise, model, verdict?

    python -m benchmarks.in_process [FILE...] [--attacks FILE...] [--requests 2000] [--passes 6] [--json]

`Engine.check` in one thread, without HTTP, queue or event loop. Every request is judged once: the first pass meets an
empty memory ("cold"), the later ones bring requests never seen before, of the same sites ("fresh"); a last pass judges
the last requests once more ("repeated"). CPU time of the process, all threads, around each call.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Sequence

from benchmarks.shared.figures import Report, arguments, conditions, distribution, run, spread
from benchmarks.shared.traffic import load, passes_of, source_of
from vedette.config import Settings
from vedette.http_request import HTTPRequest
from vedette.inference.engine import Engine, load_engine


def measure(options: argparse.Namespace) -> Report:
    requests, attacks = load(options, options.requests * options.passes)
    passes = passes_of(requests, options.passes)
    engine = load_engine(Settings())
    engine.warm_up()
    report = conditions(
        requests=f"{options.passes} passes of {len(passes[0])}, {source_of(options)}",
        model=f"{engine.model_version}, {engine.runtime.variant.name}",
        seed=options.seed,
    )
    blocked = {"attacks": 0, "harmless": 0}
    costs = []
    gc.collect()
    gc.freeze()  # as the service does; the requests that wait here would be gone through again and again
    for number, part in enumerate(passes):
        cost, found = _judge(engine, part)
        costs.append(cost)
        for place, anomaly in enumerate(found, start=number * len(part)):
            blocked["attacks" if place in attacks else "harmless"] += anomaly
    repeated, _ = _judge(engine, passes[-1])
    return {
        "conditions": report,
        "cold": _figures(costs[:1]),
        "fresh": _figures(costs[1:] or costs),
        "repeated": _figures([repeated]),
        "anomalies": {**blocked, "of_attacks": sum(place < len(passes[0]) * len(passes) for place in attacks)},
    }


def _judge(engine: Engine, requests: Sequence[HTTPRequest]) -> tuple[list[float], list[bool]]:
    """CPU microseconds of each request, and which are anomalies."""
    costs, found = [], []
    for request in requests:
        began = time.process_time_ns()
        verdict = engine.check(request)
        costs.append((time.process_time_ns() - began) / 1000)
        found.append(verdict.is_anomaly is True)
    return costs, found


def _figures(passes: Sequence[list[float]]) -> Report:
    """Spread of the passes' means, distribution of all their requests, and how much the slowest of them weigh."""
    every = sorted(cost for part in passes for cost in part)
    slowest = every[len(every) * 99 // 100 :]
    return {
        "cpu_us": spread([sum(part) / len(part) for part in passes]),
        "cpu_us_each": distribution(every),
        "share_of_slowest_hundredth": round(sum(slowest) / sum(every), 3),
    }


def parser() -> argparse.ArgumentParser:
    return arguments(__doc__, requests=2000, passes=6)


if __name__ == "__main__":
    run(measure, parser())
