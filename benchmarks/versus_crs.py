#!/usr/bin/env python3
"""What does a request cost Vedette, and what the most used rules, nginx with ModSecurity and CRS, on the same requests?

    python -m benchmarks.versus_crs [FILE...] [--attacks FILE...] [--blocks 9] [--plot FILE.svg] [--json]

Both are servers on the same core, and never busy at once; wrk runs on the other core. Vedette gets each request as
`POST /check`, nginx gets it as its client sent it and passes it on to an empty application on wrk's core. After a
first part, which both get and which is told apart, come blocks of requests that neither has seen: each block goes to
one, then to the other, then to nginx without rules, the first two changing places from block to block. The ratio is
that of a block, median over the blocks with their range; latencies are those of all blocks.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from benchmarks.shared.client import Answer, replay, statuses
from benchmarks.shared.figures import Report, arguments, conditions, distribution, rounded, run, spread
from benchmarks.shared.nginx import nginx_with_rules, versions, what_is_missing
from benchmarks.shared.process import cpu_s, pinning, vedette_service
from benchmarks.shared.traffic import check_message, load, passes_of, plain_message, source_of
from vedette.http_request import HTTPRequest

_PROOF = "text=hello&q=1%27%20UNION%20SELECT%20login,%20password%20FROM%20users--%20-"


class Side(NamedTuple):
    """One of those that are compared: its process, its port, what it gets for a request, and when it has blocked."""

    name: str
    pid: int
    port: int
    message: Callable[[HTTPRequest], bytes]
    blocks: Callable[[Answer], bool]


class Block(NamedTuple):
    """What one block of requests cost one side, in CPU microseconds a request, and its answers."""

    cpu_us: float
    answers: list[Answer]


def measure(options: argparse.Namespace) -> Report:
    missing = what_is_missing()
    if missing:
        raise SystemExit(f"not installed: {missing} (scripts/bench_deps.sh installs Debian's packages)")
    requests, attacks = load(options, options.requests + options.blocks * options.block_size)
    requests = [sendable(request) for request in requests]
    first, rest = requests[: options.requests], requests[options.requests :]
    parts = [first, *passes_of(rest, options.blocks)]
    report = conditions(
        requests=f"a first part of {len(first)}, then {options.blocks} blocks of {len(parts[1])}; {source_of(options)}",
        connections=options.connections,
        seed=options.seed,
        pinning=pinning(),
    )
    report["versions"] |= versions()
    measured: dict[str, list[Block]] = {}
    with vedette_service() as (pid, port), nginx_with_rules() as nginx:
        ours = Side("vedette", pid, port, check_message, lambda answer: answer.blocked)
        rules = Side("nginx_crs", nginx.pid, nginx.guarded, plain_message, lambda answer: answer.status == 403)
        alone = Side("nginx_alone", nginx.pid, nginx.alone, plain_message, lambda answer: False)
        _prove_that_bodies_are_read(nginx.guarded)
        for number, part in enumerate(parts):
            for side in (ours, rules, alone) if number % 2 else (rules, ours, alone):
                measured.setdefault(side.name, []).append(_block(side, part, options.connections))
    hostile = [place in attacks for place in range(sum(map(len, parts)))]
    figures: Report = {side.name: _figures(side, measured[side.name], hostile) for side in (ours, rules, alone)}
    return {"conditions": report, **figures, "crs_over_vedette": _ratios(measured, figures)}


def sendable(request: HTTPRequest) -> HTTPRequest:
    """`request` as any server takes it: no HEAD, whose answers wrk does not know to be empty; no bare spaces."""
    target = quote(request.target, safe="%/:?#[]@!$&'()*+,;=\"<>\\^`{|}~", errors="surrogateescape")
    target = target if target.startswith("/") else "/" + target.partition("://")[2].partition("/")[2]
    headers = tuple((name, value) for name, value in request.headers if not set(value) & set("\r\n\0"))
    return HTTPRequest("GET" if request.method == "HEAD" else request.method, target, headers, request.body)


def _prove_that_bodies_are_read(port: int) -> None:
    """End the program unless the rules let a harmless form through and block one with an attack in its body."""
    curl = (("Host", "localhost"), ("User-Agent", "curl/8.5.0"), ("Accept", "*/*"))
    form = (*curl, ("Content-Type", "application/x-www-form-urlencoded"))
    bodies = (_PROOF.partition("&")[0], _PROOF)
    sent = [plain_message(HTTPRequest("POST", "/", form, body.encode())) for body in bodies]
    found = [answer.status for answer in replay(port, sent, connections=1)]
    if found != [200, 403]:
        raise SystemExit(f"ModSecurity does not judge bodies as it should: {found} instead of 200 and 403")


def _block(side: Side, requests: Sequence[HTTPRequest], connections: int) -> Block:
    messages = [side.message(request) for request in requests]
    before = cpu_s(side.pid)
    answers = replay(side.port, messages, connections=connections)
    return Block((cpu_s(side.pid) - before) / len(messages) * 1e6, answers)


def _figures(side: Side, blocks: Sequence[Block], hostile: Sequence[bool]) -> Report:
    """The first block is told apart; whether attacks were blocked counts all."""
    first, *rest = blocks
    answers = [answer for block in rest for answer in block.answers]
    every = [*first.answers, *answers]
    blocked = [side.blocks(answer) for answer in every]
    return {
        "first_cpu_us": rounded(first.cpu_us),
        "cpu_us": spread([block.cpu_us for block in rest]),
        "latency": distribution([answer.latency_us for answer in answers]),
        "statuses": statuses(every),
        "blocked": {
            "attacks": sum(map(int.__mul__, map(int, blocked), map(int, hostile))),
            "of_attacks": sum(hostile),
            "harmless": sum(found and not bad for found, bad in zip(blocked, hostile, strict=True)),
            "of_harmless": len(hostile) - sum(hostile),
        },
    }


def _ratios(measured: dict[str, list[Block]], figures: Report) -> Report:
    pairs = zip(measured["nginx_crs"][1:], measured["vedette"][1:], strict=True)
    ratios = [rules.cpu_us / ours.cpu_us for rules, ours in pairs]
    rules, ours = figures["nginx_crs"]["latency"], figures["vedette"]["latency"]
    return {
        "cpu": rounded(statistics.median(ratios)),
        "cpu_spread": [rounded(min(ratios)), rounded(max(ratios))],
        "cpu_first_part": rounded(measured["nginx_crs"][0].cpu_us / measured["vedette"][0].cpu_us),
        **{f"latency_{name}": rounded(rules[f"{name}_us"] / ours[f"{name}_us"]) for name in ("p50", "p99")},
    }


def parser() -> argparse.ArgumentParser:
    options = arguments(__doc__, requests=2000)
    options.add_argument("--blocks", type=int, default=9, help="blocks after the first part (default: %(default)s)")
    options.add_argument("--block-size", type=int, default=400, help="requests of a block (default: %(default)s)")
    options.add_argument("--connections", type=int, default=1, help="keep-alive connections (default: %(default)s)")
    options.add_argument("--plot", type=Path, metavar="FILE", help="draw the figures (.svg or .png; needs matplotlib)")
    return options


def main(options: argparse.Namespace) -> Report:
    report = measure(options)
    if options.plot:
        from benchmarks.shared.plot import draw_versus

        draw_versus(report, options.plot)
    return report


if __name__ == "__main__":
    run(main, parser())
