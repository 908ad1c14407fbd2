#!/usr/bin/env python3
"""What does one `POST /check` cost the service, in CPU time, everything included, and how long does it take?

    python -m benchmarks.http_check [FILE...] [--attacks FILE...] [--requests 2000] [--passes 6] [--json]

Runs `vedette serve` on one core and wrk on another. Every request is sent once: the first pass meets an empty memory
("cold"), the later ones bring requests never sent before, of the same sites ("fresh"), a last pass sends the last
requests once more ("repeated"). Between the fresh passes go as many passes of small GETs, without cookies or body and
each with a target of its own ("small_get"). The CPU time is that of the service's processes, user and system; the
latency is what a client sees that keeps `--connections` requests under way.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence

from benchmarks.shared.client import Answer, replay, statuses
from benchmarks.shared.figures import Report, arguments, conditions, distribution, run, spread
from benchmarks.shared.process import cpu_s, pinning, vedette_service
from benchmarks.shared.traffic import check_message, load, passes_of, source_of
from vedette.http_request import HTTPRequest

_CURL = (("Host", "shop.example"), ("User-Agent", "curl/8.5.0"), ("Accept", "*/*"))


def measure(options: argparse.Namespace) -> Report:
    requests, attacks = load(options, options.requests * options.passes)
    passes = [[check_message(request) for request in part] for part in passes_of(requests, options.passes)]
    size = len(passes[0])
    rng = random.Random(options.seed)
    blocked = {"attacks": 0, "harmless": 0}
    fresh: list[tuple[float, list[Answer]]] = []
    small: list[tuple[float, list[Answer]]] = []
    report = conditions(
        requests=f"{options.passes} passes of {size}, {source_of(options)}",
        connections=options.connections,
        seed=options.seed,
        pinning=pinning(),
    )
    with vedette_service() as (pid, port):

        def sent(messages: Sequence[bytes]) -> tuple[float, list[Answer]]:
            before = cpu_s(pid)
            answers = replay(port, messages, connections=options.connections)
            return (cpu_s(pid) - before) / len(messages) * 1e6, answers

        for number, part in enumerate(passes):
            cost, answers = sent(part)
            fresh.append((cost, answers))
            for place, answer in enumerate(answers, start=number * size):
                blocked["attacks" if place in attacks else "harmless"] += answer.blocked
            if number:
                small.append(sent([check_message(request) for request in _small_gets(rng, size)]))
        repeated = sent(passes[-1])
    cold, *fresh = fresh
    return {
        "conditions": report,
        "cold": _figures([cold]),
        "fresh": _figures(fresh or [cold]),
        "repeated": _figures([repeated]),
        "small_get": _figures(small) if small else None,
        "blocked": {**blocked, "of_attacks": sum(place < size * len(passes) for place in attacks)},
    }


def _figures(passes: Sequence[tuple[float, list[Answer]]]) -> Report:
    answers = [answer for _, part in passes for answer in part]
    return {
        "cpu_us": spread([cost for cost, _ in passes]),
        "latency": distribution([answer.latency_us for answer in answers]),
        "statuses": statuses(answers),
    }


def _small_gets(rng: random.Random, count: int) -> list[HTTPRequest]:
    """So many requests as a shell script sends, each with a target of its own."""
    return [
        HTTPRequest("GET", f"/products/{rng.randrange(10**9)}?page={rng.randrange(99)}", _CURL) for _ in range(count)
    ]


def parser() -> argparse.ArgumentParser:
    options = arguments(__doc__, requests=2000, passes=6)
    options.add_argument("--connections", type=int, default=4, help="keep-alive connections (default: %(default)s)")
    return options


if __name__ == "__main__":
    run(measure, parser())
