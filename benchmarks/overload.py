#!/usr/bin/env python3
"""What happens at three times what the service can do?

    python -m benchmarks.overload [FILE...] [--kinds browsing suspicious large] [--runs 5] [--times 3] [--seconds 10]

Starts `vedette serve`, finds how many checks a second it finishes, and offers, in one go, half of that, `--times` as
much, and half again, from another process whose requests come when they are due (see open_loop.py). Prints what became
of the requests, which share of the answers came within the deadline of a check, how late the event loop was, and how
soon after the flood answers were as fast as before it. A *browsing* request seldom needs the model, each *suspicious*
one does, and a *large* one brings 128 KiB of text never seen before. Several kinds take turns, each run with a service
of its own; of several runs the median is told, with the lowest and highest, and by `--json` each as it was.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

from benchmarks.shared import figures
from benchmarks.shared.process import cpu_s, pinning, vedette_service
from benchmarks.shared.traffic import check_object, load
from vedette.http_request import HTTPRequest

REFUSED = ("429", "503")
READ = ("ok", "degraded partially_inspected")
CALLERS = {"browsing": 32, "suspicious": 32, "large": 2}  # who keep the service busy while its capacity is measured
NORMAL = 2.0  # answers are as before once the p99 of a tenth of a second is below so many times that of before
WINDOW_S = 0.1
_WORDS = "select users where order price name value script table join update from into group limit".split()


def payload(request: HTTPRequest) -> str:
    """The body of POST /check for `request`."""
    return json.dumps(check_object(request))


def payloads(options: argparse.Namespace, kind: str) -> list[str]:
    """Bodies of POST /check."""
    count, rng = options.requests, random.Random(options.seed)
    if kind == "suspicious":
        made = (HTTPRequest("GET", f"/?id={n}'%20or%20{rng.getrandbits(40)}<{n}%20--%20") for n in range(count))
        return [payload(request) for request in made]
    if kind == "large":
        return [payload(large(rng)) for _ in range(min(count, 100))]
    return [payload(request) for request in load(options, count)[0]]


def large(rng: random.Random) -> HTTPRequest:
    """A form with 128 KiB of text that has to be read."""
    words = (f"{rng.choice(_WORDS)}'{rng.getrandbits(30)} ;" for _ in range(128 * 1024 // 17))
    return HTTPRequest("POST", "/", (("Content-Type", "text/plain"),), " ".join(words).encode())


def offer(port: int, phases: list[tuple[str, float | None, float]], bodies: list[str], connections: int) -> Any:
    """Run the client on the core that is not the service's."""
    plan = {"port": port, "payloads": bodies, "phases": phases, "connections": connections, "wait_s": 15}
    command = [sys.executable, str(Path(__file__).with_name("open_loop.py"))]
    seconds = sum(seconds for _, _, seconds in phases)
    done = subprocess.run(
        command, input=json.dumps(plan), capture_output=True, text=True, timeout=120 + 2 * seconds, check=False
    )
    if done.returncode or done.stderr:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def metrics(port: int) -> tuple[dict[str, float], Any]:
    """The histogram of the event loop's lag (bound -> count), and all metrics as JSON."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    mark = 'vedette_event_loop_lag_seconds_bucket{le="'
    buckets = {line.split('"')[1]: float(line.split()[-1]) for line in lines if line.startswith(mark)}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Accept": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return buckets, json.loads(answer.read())


def in_time(before: dict[str, float], after: dict[str, float]) -> float:
    """Which share of the loop's timers between two readings was less than 5 ms late."""
    counts = {bound: after[bound] - before[bound] for bound in after}
    return round(counts["0.005"] / counts["+Inf"], 5)


class Used:
    """CPU seconds of the service, sampled beside the client."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._samples: list[tuple[float, float]] = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def __enter__(self) -> Used:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._ending.wait(0.05):
            self._samples.append((time.time(), cpu_s(self._pid)))

    def between(self, start_at: float, seconds: float) -> float:
        """CPU seconds from `start_at` (of the wall clock) on."""
        inside = [cpu for at, cpu in self._samples if start_at <= at <= start_at + seconds]
        return inside[-1] - inside[0] if inside else 0.0


def quantile(values: list[float], share: float) -> float | None:
    """Nearest rank, in milliseconds."""
    ordered = sorted(values)
    return round(ordered[max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1)] * 1000, 2) if ordered else None


def share_within(taken: list[float], deadline_s: float) -> float | None:
    """The share that came within `deadline_s`."""
    return round(sum(seconds <= deadline_s for seconds in taken) / len(taken), 5) if taken else None


def summary(found: dict[str, list[list[float]]], deadline_s: float) -> dict[str, Any]:
    """What became of the requests of one phase."""
    answers = [taken for _, taken in found.get("ok", [])]
    degraded = [taken for outcome, seen in found.items() if outcome.startswith("degraded") for _, taken in seen]
    refused = [taken for outcome in REFUSED for _, taken in found.get(outcome, [])]
    return {
        "outcomes": {outcome: len(seen) for outcome, seen in sorted(found.items())},
        "answers_in_time": share_within(answers, deadline_s),
        "degraded_in_time": share_within(degraded, deadline_s),
        "latency_ms": {f"p{share * 100:g}": quantile(answers, share) for share in (0.5, 0.99, 0.999, 1.0)},
        "refusal_ms": {f"p{share * 100:g}": quantile(refused, share) for share in (0.5, 0.99, 1.0)},
    }


def recovered_after_s(found: dict[str, list[list[float]]], normal_ms: float, seconds: float) -> float | None:
    """When after the flood the requests that came due were answered as fast as before, for good."""
    windows: dict[int, list[float]] = {}
    for outcome, seen in found.items():
        for due, taken in seen:
            windows.setdefault(int(due / WINDOW_S), []).append(taken if outcome == "ok" else 60.0)
    for start_at in range(int(seconds / WINDOW_S)):
        late = [windows[n] for n in range(start_at, start_at + 3) if n in windows]  # three in a row
        if late and all((quantile(taken, 0.99) or 0.0) <= NORMAL * normal_ms for taken in late):
            return round(start_at * WINDOW_S, 2)
    return None


def run_once(options: argparse.Namespace, kind: str) -> dict[str, Any]:
    """Measure one kind of requests once."""
    bodies = payloads(options, kind)
    if options.deadline_ms:
        bodies = [json.dumps({**json.loads(body), "deadline_ms": options.deadline_ms}) for body in bodies]
    deadline_s = options.deadline_ms / 1e3 if options.deadline_ms else 1.0
    with vedette_service() as (pid, port):
        closed = offer(port, [("warm up", None, 2), ("capacity", None, 4)], bodies, CALLERS[kind])
        capacity = sum(len(closed["phases"]["capacity"].get(outcome, ())) for outcome in READ) / 4
        before, _ = metrics(port)
        phases = [
            ("before", capacity / 2, options.seconds),
            ("flood", capacity * options.times, options.seconds),
            ("after", capacity / 2, options.seconds),
        ]
        with Used(pid) as used:
            seen = offer(port, list(phases), bodies, options.connections)
        time.sleep(0.2)
        after, told = metrics(port)
    report: dict[str, Any] = {
        "capacity_per_s": round(capacity),
        "offered_per_s": round(capacity * options.times),
        "deadline_ms": deadline_s * 1000,
    }
    for name, _, seconds in phases:
        report[name] = summary(seen["phases"].get(name, {}), deadline_s)
        report[name]["service_cpu"] = round(used.between(seen["at"][name], seconds) / seconds, 2)
    normal_ms = report["before"]["latency_ms"]["p99"] or 0.0
    report["back_to_normal_after_s"] = recovered_after_s(seen["phases"].get("after", {}), normal_ms, options.seconds)
    report["unanswered"] = seen["missing"]
    report["loop_timers_in_time"] = in_time(before, after)
    report["loop_lag_max_ms"] = round(told["event_loop_lag_ms"]["max"], 1)
    report["queue_left"] = told["queue"]["size"]
    report["client_late_p99_ms"] = {name: round(late * 1e3, 2) for name, late in seen["client_late_p99_s"].items()}
    return report


def spread(values: list[float | None], unit: str) -> dict[str, Any]:
    """`figures.spread` of those runs that have the figure."""
    known = [value for value in values if value is not None]
    return figures.spread(known, unit) if known else {"runs": 0}


def overview(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of several runs of one kind, with the lowest and highest."""
    floods = [run["flood"] for run in runs]
    answers = [flood["outcomes"].get("ok", 0) for flood in floods]
    late = [round(n * (1 - (flood["answers_in_time"] or 0.0))) for n, flood in zip(answers, floods, strict=True)]
    refused = [sum(flood["outcomes"].get(name, 0) for name in REFUSED) for flood in floods]
    return {
        "capacity": spread([run["capacity_per_s"] for run in runs], "per_s"),
        "flood_answers": {**spread(answers, "calls"), "late_in_all": sum(late), "in_all": sum(answers)},
        "flood_refused": spread(refused, "calls"),
        "flood_latency_p50": spread([flood["latency_ms"]["p50"] for flood in floods], "ms"),
        "flood_latency_p99": spread([flood["latency_ms"]["p99"] for flood in floods], "ms"),
        "back_to_normal_after": spread([run["back_to_normal_after_s"] for run in runs], "s"),
        "unanswered": spread([run["unanswered"] for run in runs], "calls"),
        "loop_timers_in_time": spread([run["loop_timers_in_time"] for run in runs], "share"),
        "loop_lag_max": spread([run["loop_lag_max_ms"] for run in runs], "ms"),
    }


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Run the benchmark."""
    parameters = {name: getattr(options, name) for name in ("times", "seconds", "connections", "runs", "seed")}
    report: dict[str, Any] = {"conditions": figures.conditions(**parameters, pinning=pinning())}
    each: dict[str, list[dict[str, Any]]] = {kind: [] for kind in options.kinds}
    for _ in range(options.runs):
        for kind, done in each.items():
            done.append(run_once(options, kind))
    for kind, done in each.items():
        report[kind] = overview(done) if options.runs > 1 else done[0]
        if options.runs > 1 and options.json:
            report[kind]["each"] = done
    return report


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = figures.arguments(__doc__, requests=20_000)
    parser.add_argument(
        "--kinds", nargs="+", choices=sorted(CALLERS), default=["browsing"], help="what is sent (default: browsing)"
    )
    parser.add_argument("--runs", type=int, default=1, help="of each kind (default: %(default)s)")
    parser.add_argument("--times", type=float, default=3.0, help="of the capacity, in the flood (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each phase (default: %(default)s)")
    parser.add_argument("--deadline-ms", type=float, help="a deadline in each request, beside the service's of 1 s")
    parser.add_argument("--connections", type=int, default=2_000, help="of the client (default: %(default)s)")
    figures.run(run, parser)


if __name__ == "__main__":
    main()
