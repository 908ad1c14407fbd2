#!/usr/bin/env python3
"""All benchmarks one after the other, and `vedette bench`, into one JSON report (`make bench`).

    python -m benchmarks.all [FILE...] [--attacks FILE...] [--only NAME...] [--output bench.json]

Prints each report as it comes. `versus_crs` runs where nginx, its ModSecurity module and the rules are installed; what
did not run is named with its reason. With FILEs those benchmarks that take requests use them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.shared.figures import Report, lines
from benchmarks.shared.nginx import what_is_missing
from benchmarks.shared.process import VEDETTE

QUESTIONS = (
    "parse", "tokenise", "model", "in_process", "http_check", "http_batch", "worst_case", "versus_crs",
)  # fmt: skip
WITHOUT_REQUESTS = ("model", "worst_case")
COMMAND = "vedette_bench"
_LIMIT_S = 900


def main() -> int:
    """Run what was asked for; return 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", metavar="FILE", help="requests (default: made-up browsing traffic)")
    parser.add_argument("--attacks", nargs="+", default=[], metavar="FILE", help="attacks (default: generated)")
    parser.add_argument("--only", nargs="+", choices=(*QUESTIONS, COMMAND), default=[], help="run these alone")
    parser.add_argument("--output", type=Path, default=Path("bench.json"), help="the report (default: %(default)s)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="let versus_crs draw its figures")
    options = parser.parse_args()
    began = time.monotonic()
    reports: dict[str, Report] = {}
    failed = False
    for name in options.only or (*QUESTIONS, COMMAND):
        print(f"\n== {name}", flush=True)
        if name == "versus_crs" and (missing := what_is_missing()):
            reports[name] = {"not_run": f"not installed: {missing}"}
            print(f"not run: {missing} is not installed; scripts/bench_deps.sh installs Debian's packages")
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


def command(name: str, options: argparse.Namespace) -> list[str]:
    """The command line of benchmark `name`."""
    files = [str(Path(file).resolve()) for file in options.files]
    attacks = [str(Path(file).resolve()) for file in options.attacks]
    if name == COMMAND:
        return [*VEDETTE, "bench", *files, "--json"]
    given = [] if name in WITHOUT_REQUESTS else [*files, *(["--attacks", *attacks] if attacks else [])]
    plot = ["--plot", str(options.plot)] if name == "versus_crs" and options.plot else []
    return [sys.executable, "-m", f"benchmarks.{name}", *given, *plot, "--json"]


if __name__ == "__main__":
    sys.exit(main())
