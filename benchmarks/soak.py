#!/usr/bin/env python3
"""Does the service's memory stay flat, minute after minute, at 80 % of what it can do?

    python -m benchmarks.soak [FILE...] [--minutes 10] [--share 0.8] [--json]

Starts `vedette serve`, finds how many checks a second it finishes over 20 s, offers `--share` of that from another
process, and reads the resident memory of the service every second. The memories of scores and of pieces of requests
grow until they hold what they may (`inference.score_memory.max_bytes`), so their size is read as well, and growth is
told from the end of the first tenth of the time on, with and without theirs.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.overload import CALLERS, READ, metrics, offer, payloads, summary
from benchmarks.shared import figures
from benchmarks.shared.process import vedette_service
from vedette.evaluation.cost import processor

MIB = 1024 * 1024
CAPACITY_S = 20  # a processor that others use as well may be half as fast again for seconds


def resident(pid: int) -> float:
    """Resident memory in MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Run the benchmark."""
    bodies = payloads(options, options.kind)
    samples: list[tuple[float, float]] = []  # MiB: resident, held by the memory of scores
    ending = threading.Event()
    with vedette_service() as (pid, port):

        def sample() -> None:
            while not ending.wait(1.0):
                samples.append((resident(pid), metrics(port)[1]["score_memory"]["bytes"] / MIB))

        closed = offer(port, [("warm up", None, 3), ("capacity", None, CAPACITY_S)], bodies, CALLERS[options.kind])
        rate = options.share * sum(len(closed["phases"]["capacity"].get(outcome, ())) for outcome in READ) / CAPACITY_S
        seconds = options.minutes * 60
        watcher = threading.Thread(target=sample)
        watcher.start()
        try:
            seen = offer(port, [("soak", rate, seconds)], bodies, 500)
        finally:
            ending.set()
            watcher.join()
        time.sleep(0.2)
        told = metrics(port)[1]
    settled = samples[len(samples) // 10 :]
    tenth = max(1, len(settled) // 10)
    first, last = settled[:tenth], settled[-tenth:]
    growth = statistics.median(rss for rss, _ in last) - statistics.median(rss for rss, _ in first)
    remembered = statistics.median(held for _, held in last) - statistics.median(held for _, held in first)
    return {
        "machine": f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "kind": options.kind,
        "minutes": options.minutes,
        "offered_per_s": round(rate),
        **summary(seen["phases"].get("soak", {}), 1.0),
        "rss_mib": {"start": round(samples[0][0], 1), "settled": round(first[0][0], 1), "end": round(last[-1][0], 1)},
        "growth_mib": round(growth, 1),
        "rss_by_minute_mib": [round(rss) for rss, _ in samples[:: max(1, round(len(samples) / options.minutes))]],
        "of_it_scores_mib": round(remembered, 1),
        "loop_lag_ms": {name: round(told["event_loop_lag_ms"][name], 1) for name in ("p99", "max")},
        "unanswered": seen["missing"],
    }


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = figures.arguments(__doc__, requests=20_000)
    parser.add_argument(
        "--kind", choices=sorted(CALLERS), default="browsing", help="what is sent (default: %(default)s)"
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="(default: %(default)s)")
    parser.add_argument("--share", type=float, default=0.8, help="of the capacity (default: %(default)s)")
    figures.run(run, parser)


if __name__ == "__main__":
    main()
