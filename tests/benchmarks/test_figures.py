"""Figures: quantiles, bins, rounding, and what a person reads."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from benchmarks.shared.figures import distribution, lines, rounded, spread
from benchmarks.shared.process import cpu_s

SPIN = """
import time
def spin():
    until = time.thread_time() + 0.2
    while time.thread_time() < until:
        pass
"""


def test_a_distribution_of_a_thousand() -> None:
    found = distribution([float(value) for value in range(1, 1001)])
    assert (found["n"], found["p50_us"], found["p90_us"], found["p99_us"], found["max_us"]) == (
        1000,
        501,
        901,
        991,
        1000,
    )
    assert found["mean_us"] == 500
    ends = [end for end, _ in found["histogram"]]
    assert ends == sorted(ends)
    assert sum(count for end, count in found["histogram"] if end <= 100) == 100


@pytest.mark.parametrize(
    ("value", "shown"), [(0, 0), (1234.5, 1230), (99.96, 100.0), (0.012345, 0.0123), (7, 7.0), (-1234, -1230)]
)
def test_three_digits_count(value: float, shown: float) -> None:
    assert rounded(value) == shown


def test_median_and_range() -> None:
    assert spread([3, 1, 2], "ms") == {"median_ms": 2.0, "spread_ms": [1.0, 3.0], "runs": 3}


def test_lines_for_a_person() -> None:
    report = {"a": {"b": {"median_us": 1200, "spread_us": [1, 2]}, "histogram": [[1, 2]]}, "c": None, "d": []}
    assert [" ".join(line.split()) for line in lines(report)] == [
        "a",
        "b median_us 1,200, spread_us 1 to 2",
        "c None",
        "d none",
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="servers are measured by Linux's clocks")
def test_cpu_time_counts_threads_that_ended_and_children() -> None:
    code = f"""{SPIN}
import subprocess, sys, threading
thread = threading.Thread(target=spin)
thread.start()
thread.join()
child = subprocess.Popen([sys.executable, "-c", {SPIN!r} + "spin(); print(flush=True); input()"],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
print(flush=True)
input()
child.communicate(b"\\n")
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    both = cpu_s(process.pid)
    process.communicate(b"\n")
    assert 0.4 <= both < 30
    assert cpu_s(os.getpid()) == pytest.approx(time.process_time(), abs=0.5)
