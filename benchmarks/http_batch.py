#!/usr/bin/env python3
"""What does a request cost the service when 32 come together in one `POST /check/batch`?

    python -m benchmarks.http_batch [FILE...] [--attacks FILE...] [--requests 2048] [--passes 6] [--json]

As `http_check`, with batches: every request once, the first pass "cold", the later ones "fresh". CPU time of the
service's processes divided by the requests; the latency is that of a whole batch.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from benchmarks.shared.client import Answer, replay, statuses
from benchmarks.shared.figures import Report, arguments, conditions, distribution, run, spread
from benchmarks.shared.process import cpu_s, pinning, vedette_service
from benchmarks.shared.traffic import batch_message, load, passes_of, source_of


def measure(options: argparse.Namespace) -> Report:
    requests, _ = load(options, options.requests * options.passes)
    passes = passes_of(requests, options.passes)
    size = len(passes[0])
    report = conditions(
        requests=f"{options.passes} passes of {size}, {source_of(options)}",
        batch=options.batch,
        connections=options.connections,
        seed=options.seed,
        pinning=pinning(),
    )
    measured: list[tuple[float, list[Answer]]] = []
    with vedette_service() as (pid, port):
        for part in passes:
            messages = [batch_message(part[at : at + options.batch]) for at in range(0, size, options.batch)]
            before = cpu_s(pid)
            answers = replay(port, messages, connections=options.connections)
            measured.append(((cpu_s(pid) - before) / size * 1e6, answers))
    return {"conditions": report, "cold": _figures(measured[:1]), "fresh": _figures(measured[1:] or measured)}


def _figures(passes: Sequence[tuple[float, list[Answer]]]) -> Report:
    answers = [answer for _, part in passes for answer in part]
    return {
        "cpu_us": spread([cost for cost, _ in passes]),
        "batch_latency": distribution([answer.latency_us for answer in answers]),
        "statuses": statuses(answers),
    }


def parser() -> argparse.ArgumentParser:
    options = arguments(__doc__, requests=2048, passes=6)
    options.add_argument("--batch", type=int, default=32, help="requests of a batch (default: %(default)s)")
    options.add_argument("--connections", type=int, default=2, help="keep-alive connections (default: %(default)s)")
    return options


if __name__ == "__main__":
    run(measure, parser())
