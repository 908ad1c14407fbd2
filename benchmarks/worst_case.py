#!/usr/bin/env python3
"""What does the most expensive body cost, what is the verdict, and does anybody else wait for it?

    python -m benchmarks.worst_case [--kib 128] [--rounds 5] [--json]

Sends `vedette serve` bodies of dense, suspicious text that it has never seen, of several kinds in turn, one at a time:
once alone, for the CPU time of the service's processes, and another one while `GET /health` is asked again and again
over a second connection, for how long others wait. Loop lag is the service's own metric over the whole run.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from urllib.parse import quote_plus

from benchmarks.shared.figures import Report, arguments, conditions, rounded, run, spread
from benchmarks.shared.process import cpu_s, pinning, vedette_service
from benchmarks.shared.traffic import check_object
from vedette.config import Settings
from vedette.datasets.generate import GENERATORS, generate_benign
from vedette.evaluation.traffic import browsing
from vedette.http_request import HTTPRequest

_PROBE_EVERY_S = 0.002
_LAG = re.compile(r'vedette_event_loop_lag_seconds_bucket\{le="([^"]+)"\} (\S+)')
_SIGNS = "<>'\"();|&$`{}[]=-*/\\%#!?:,.^~@+"
_STEMS = "select union from where script alert eval exec cat passwd etc onerror src img or and 1 null sleep id".split()


def attacks(rng: random.Random) -> str:
    """An attack of any class."""
    names = sorted(name for name in GENERATORS if name != "benign")
    return GENERATORS[rng.choice(names)](rng)


def signs_and_stems(rng: random.Random) -> str:
    """Signs and the words of attacks, in no order that means anything."""
    return "".join(rng.choice((rng.choice(_STEMS), rng.choice(_SIGNS), rng.choice(_SIGNS), " ")) for _ in range(40))


def dense(make: Callable[[random.Random], str], rng: random.Random, size: int, joiner: str) -> str:
    """Pieces of `make`, joined, until there are `size` characters of ASCII."""
    pieces: list[str] = []
    total = 0
    while total < size:
        pieces.append(make(rng).encode("ascii", "ignore").decode())
        total += len(pieces[-1]) + len(joiner)
    return joiner.join(pieces)[:size]


def text_of_attacks(rng: random.Random, size: int) -> tuple[str, str]:
    return "text/plain", dense(attacks, rng, size, "\n")


def harmless_text_that_looks_hostile(rng: random.Random, size: int) -> tuple[str, str]:
    return "text/plain", dense(generate_benign, rng, size, "\n")


def json_string_of_signs(rng: random.Random, size: int) -> tuple[str, str]:
    text = dense(signs_and_stems, rng, size, " ")
    while (beyond := len(body := json.dumps({"text": text})) - size) > 0:  # escapes make it longer
        text = text[: -(1 + beyond // 2)]
    return "application/json", body


def form_of_many_attacks(rng: random.Random, size: int) -> tuple[str, str]:
    pairs: list[str] = []
    total = 0
    while total < size:
        pairs.append(f"f{len(pairs)}={quote_plus(attacks(rng)[:60].encode('ascii', 'ignore'))}")
        total += len(pairs[-1]) + 1
    return "application/x-www-form-urlencoded", "&".join(pairs)[:size]


KINDS = (text_of_attacks, harmless_text_that_looks_hostile, json_string_of_signs, form_of_many_attacks)


def measure(options: argparse.Namespace) -> Report:
    rng = random.Random(options.seed)
    waf = Settings().waf_service
    report = conditions(
        body=f"{options.kib} KiB", rounds=options.rounds, deadline_s=waf.timeout, seed=options.seed, pinning=pinning()
    )
    seen: dict[str, list[Report]] = {kind.__name__: [] for kind in KINDS}
    waits: dict[str, list[float]] = {kind.__name__: [] for kind in KINDS}
    with vedette_service() as (pid, port):
        for request in browsing(100):  # what is made at first use is there
            _check(port, request)
        before = _lags(port)
        for _ in range(options.rounds):
            for kind in KINDS:
                alone, beside = (_request(kind, rng, options.kib * 1024) for _ in range(2))
                cpu = cpu_s(pid)
                began = time.perf_counter()
                verdict = _check(port, alone)
                took = time.perf_counter() - began
                seen[kind.__name__].append({**verdict, "wall_ms": took * 1e3, "cpu_ms": (cpu_s(pid) - cpu) * 1e3})
                waits[kind.__name__] += _probed(port, beside)
        after = _lags(port)
    return {
        "conditions": report,
        "kinds": {name: _figures(verdicts, waits[name]) for name, verdicts in seen.items()},
        "event_loop_lag_s": {"buckets": _difference(before, after)},
    }


def _request(kind: Callable[[random.Random, int], tuple[str, str]], rng: random.Random, size: int) -> HTTPRequest:
    content_type, body = kind(rng, size)
    headers = (("Host", "shop.example"), ("Content-Type", content_type))
    return HTTPRequest("POST", "/comments", headers, body.encode())


def _check(port: int, request: HTTPRequest) -> Report:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/check", json.dumps(check_object(request)), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    verdict: Report = json.loads(answer.read())
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"the service answered {answer.status}: {verdict}")
    return verdict


def _probed(port: int, request: HTTPRequest) -> list[float]:
    """Check `request`; return the milliseconds that each `GET /health` meanwhile took."""
    waits: list[float] = []
    checking = threading.Thread(target=_check, args=(port, request))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.connect()
    checking.start()
    while checking.is_alive():
        began = time.perf_counter()
        connection.request("GET", "/health")
        connection.getresponse().read()
        waits.append((time.perf_counter() - began) * 1e3)
        time.sleep(_PROBE_EVERY_S)
    checking.join()
    connection.close()
    return waits


def _lags(port: int) -> dict[str, float]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/metrics")
    found = dict(_LAG.findall(connection.getresponse().read().decode()))
    connection.close()
    return {edge: float(count) for edge, count in found.items()}


def _difference(before: dict[str, float], after: dict[str, float]) -> dict[str, int]:
    """How many measurements of the lag lie below each edge and above the one before; empty ones are left out."""
    counts, below = {}, 0
    for edge, count in after.items():
        so_far = int(count - before.get(edge, 0))
        if so_far > below:
            counts[f"up to {edge}"] = so_far - below
        below = so_far
    return counts


def _figures(verdicts: list[Report], waits: list[float]) -> Report:
    unread = [part for verdict in verdicts for part in verdict["not_inspected"]]
    waits = sorted(waits)
    return {
        "cpu": spread([verdict["cpu_ms"] for verdict in verdicts], "ms"),
        "wall": spread([verdict["wall_ms"] for verdict in verdicts], "ms"),
        "actions": dict(Counter(verdict["action"] for verdict in verdicts)),
        "degraded": dict(Counter(str(verdict["degraded"]) for verdict in verdicts)),
        "not_inspected": dict(Counter(part["reason"] for part in unread)),
        "health_meanwhile": {
            "n": len(waits),
            "p50_ms": rounded(waits[len(waits) // 2]),
            "p99_ms": rounded(waits[len(waits) * 99 // 100]),
            "max_ms": rounded(waits[-1]),
        },
    }


def parser() -> argparse.ArgumentParser:
    options = arguments(__doc__)
    options.add_argument("--kib", type=int, default=128, help="KiB of a body (default: %(default)s)")
    options.add_argument("--rounds", type=int, default=5, help="bodies of each kind (default: %(default)s)")
    return options


if __name__ == "__main__":
    run(measure, parser())
