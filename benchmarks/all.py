#!/usr/bin/env python3
"""All benchmarks one after the other, and `vedette bench`, into one JSON report (`make bench`).

    python -m benchmarks.all [FILE...] [--attacks FILE...] [--only NAME...] [--quick] [--output bench.json]

Prints each report as it comes. Those that send over HTTP run where wrk is installed, `versus_crs` where nginx, its
ModSecurity module and the rules are as well; what did not run is named with its reason. With FILEs those benchmarks
that take requests use them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.shared.figures import Report, lines
from benchmarks.shared.nginx import what_is_missing
from benchmarks.shared.process import VEDETTE

QUESTIONS = (
    "parse", "tokenise", "model", "in_process", "http_check", "http_batch", "worst_case", "versus_crs",
    "overload",
)  # fmt: skip
WITHOUT_REQUESTS = ("model", "worst_case")
BY_WRK = ("http_check", "http_batch", "versus_crs")
COMMAND = "vedette_bench"
QUICK = {
    "parse": "--requests 200 --passes 2",
    "tokenise": "--requests 200 --rounds 2",
    "model": "--rounds 2 --seconds 0.01",
    "in_process": "--requests 200 --passes 2",
    "http_check": "--requests 200 --passes 2",
    "http_batch": "--requests 256 --passes 2",
    "worst_case": "--rounds 1",
    "versus_crs": "--requests 100 --blocks 5 --block-size 40",
    "overload": "--requests 300 --seconds 1 --connections 100",
    COMMAND: "--requests 100 --rounds 1",
}
_LIMIT_S = 900


def main() -> int:
    """Run what was asked for; return 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", metavar="FILE", help="requests (default: made-up browsing traffic)")
    parser.add_argument("--attacks", nargs="+", default=[], metavar="FILE", help="attacks (default: generated)")
    parser.add_argument("--only", nargs="+", choices=(*QUESTIONS, COMMAND), default=[], help="run these alone")
    parser.add_argument("--output", type=Path, default=Path("bench.json"), help="the report (default: %(default)s)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="let versus_crs draw its figures")
    parser.add_argument("--quick", action="store_true", help="only see whether all run: few requests, poor figures")
    options = parser.parse_args()
    began = time.monotonic()
    reports: dict[str, Report] = {}
    failed = False
    for name in options.only or (*QUESTIONS, COMMAND):
        print(f"\n== {name}", flush=True)
        if missing := missing_for(name):
            reports[name] = {"not_run": f"not installed: {missing}"}
            print(f"not run: {missing} is not installed; make bench-deps installs Debian's packages")
            continue
        done = subprocess.run(command(name, options), stdout=subprocess.PIPE, text=True, timeout=_LIMIT_S, check=False)
        if done.returncode:
            failed = True
            reports[name] = {"not_run": f"ended with status {done.returncode}"}
            print(f"failed with status {done.returncode}")
            continue
        reports[name] = json.loads(done.stdout)
        print("\n".join(lines(reports[name])), flush=True)
    options.output.write_text(json.dumps(reports, indent=1) + "\n")
    print(f"\n{time.monotonic() - began:.0f} s; the report is in {options.output}")
    return int(failed)


def missing_for(name: str) -> str | None:
    """What benchmark `name` needs that is not installed."""
    if name in BY_WRK and shutil.which("wrk") is None:
        return "wrk"
    return what_is_missing() if name == "versus_crs" else None


def command(name: str, options: argparse.Namespace) -> list[str]:
    """The command line of benchmark `name`."""
    files = [str(Path(file).resolve()) for file in options.files]
    attacks = [str(Path(file).resolve()) for file in options.attacks]
    few = QUICK[name].split() if options.quick else []
    if name == COMMAND:
        return [*VEDETTE, "bench", *files, "--json", *few]
    given = [] if name in WITHOUT_REQUESTS else [*files, *(["--attacks", *attacks] if attacks else [])]
    plot = ["--plot", str(options.plot)] if name == "versus_crs" and options.plot else []
    return [sys.executable, "-m", f"benchmarks.{name}", *given, *plot, *few, "--json"]


if __name__ == "__main__":
    sys.exit(main())
