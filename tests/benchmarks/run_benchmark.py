"""Run a benchmark as a person does, on few requests, and read its JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
LIMIT_S = 120


def run_benchmark(name: str, *arguments: str) -> dict[str, Any]:
    """Return the report of `python -m benchmarks.NAME ARGUMENTS --json`."""
    done = started(name, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def started(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def is_spread(figures: dict[str, Any], *, runs: int, unit: str = "us") -> bool:
    """Whether `figures` are median and range of so many runs."""
    low, high = figures[f"spread_{unit}"]
    return figures["runs"] == runs and 0 < low <= figures[f"median_{unit}"] <= high


def is_distribution(figures: dict[str, Any], *, n: int) -> bool:
    """Whether `figures` are quantiles and a histogram of `n` values."""
    rising = [figures[name] for name in ("p50_us", "p90_us", "p99_us", "max_us")]
    in_bins = sum(count for _, count in figures["histogram"])
    return figures["n"] == in_bins == n and rising[0] > 0 and rising == sorted(rising) and figures["mean_us"] > 0
