"""Figures and their conditions: distributions, spread, machine and versions, and how a report is printed.

Every report is one JSON object: `conditions` (machine, versions, the parameters of the run), then the figures, with
their units in their names. What a figure is taken over is said where it stands.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from vedette._version import __version__
from vedette.evaluation.cost import processor

PER_DECADE = 20  # bins of a histogram: each is 12 % wider than the one before
_PACKAGES = ("numpy", "onnxruntime", "uvicorn", "uvloop", "httptools", "msgspec", "fastapi")

Report = dict[str, Any]


def distribution(values: Sequence[float]) -> Report:
    """Mean, quantiles and a histogram of `values`, which are microseconds and not none.

    `histogram` has pairs of a bin's upper end and how many values lie in it; empty bins are left out.
    """
    ordered = sorted(values)
    bins: dict[int, int] = {}
    for value in ordered:
        place = math.ceil(math.log10(max(value, 0.1)) * PER_DECADE)
        bins[place] = bins.get(place, 0) + 1
    return {
        "n": len(ordered),
        "mean_us": rounded(statistics.fmean(ordered)),
        "p50_us": rounded(quantile(ordered, 0.5)),
        "p90_us": rounded(quantile(ordered, 0.9)),
        "p99_us": rounded(quantile(ordered, 0.99)),
        "max_us": rounded(ordered[-1]),
        "histogram": [[rounded(10 ** (place / PER_DECADE)), count] for place, count in sorted(bins.items())],
    }


def quantile(ascending: Sequence[float], q: float) -> float:
    """The value below which the share `q` of `ascending` lies."""
    return ascending[min(len(ascending) - 1, int(q * len(ascending)))]


def spread(values: Sequence[float], unit: str = "us") -> Report:
    """Median, lowest and highest of the runs that gave `values`, which are in `unit`."""
    return {
        f"median_{unit}": rounded(statistics.median(values)),
        f"spread_{unit}": [rounded(min(values)), rounded(max(values))],
        "runs": len(values),
    }


def rounded(value: float) -> float:
    """`value` with three digits that count: what a measurement here can tell."""
    if value == 0 or not math.isfinite(value):
        return value
    digits = 2 - math.floor(math.log10(abs(value)))
    return round(value, digits) if digits > 0 else int(round(value, digits))


def conditions(**parameters: object) -> Report:
    """What a figure depends on: machine, versions, time of day, how busy the machine was, and `parameters`."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "machine": f"{processor()}, {usable} of {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "versions": {
            "vedette": __version__,
            "python": f"{platform.python_implementation()} {platform.python_version()}",
            **{name: found for name in _PACKAGES if (found := _version(name))},
        },
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "load_before": os.getloadavg()[0],
        "parameters": parameters,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def arguments(doc: str | None, *, requests: int | None = None, passes: int | None = None) -> argparse.ArgumentParser:
    """The options that benchmarks share; those about requests only where there are any."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if requests is not None:
        parser.add_argument("files", nargs="*", metavar="FILE", help="requests (default: made-up browsing traffic)")
        parser.add_argument(
            "--attacks", nargs="+", default=[], metavar="FILE", help="attacks to mix in (default: generated)"
        )
        parser.add_argument("--attack-share", type=float, default=0.05, help="share of attacks (default: %(default)s)")
        parser.add_argument("--requests", type=int, default=requests, help="requests a pass (default: %(default)s)")
    if passes is not None:
        parser.add_argument("--passes", type=int, default=passes, help="passes (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of what is drawn and made up (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def run(main: Callable[[argparse.Namespace], Report], parser: argparse.ArgumentParser) -> None:
    """Parse the command line, measure, and print the report."""
    options = parser.parse_args()
    report = main(options)
    if options.json:
        print(json.dumps(report))
    else:
        print("\n".join(lines(report)))


def lines(report: Mapping[str, Any], indent: int = 0) -> list[str]:
    """`report` for a person: one line a figure, distributions in one line each, histograms left out."""
    shown: list[str] = []
    for name, value in report.items():
        lead = f"{' ' * indent}{name:{max(1, 30 - indent)}} "
        if name == "histogram":
            continue
        if isinstance(value, list) and value and all(isinstance(part, Mapping) for part in value):
            value = {str(part.get("name", place)): part for place, part in enumerate(value)}
        if isinstance(value, Mapping) and any(isinstance(part, Mapping) for part in value.values()):
            shown += [lead.rstrip(), *lines(value, indent + 2)]
        elif isinstance(value, Mapping):
            shown.append(lead + ", ".join(f"{key} {_text(part)}" for key, part in value.items() if key != "histogram"))
        else:
            shown.append(lead + _text(value))
    return shown


def _text(value: object) -> str:
    if isinstance(value, list):
        return " to ".join(map(_text, value)) if len(value) == 2 else ", ".join(map(_text, value)) or "none"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{rounded(value) if isinstance(value, float) else value:,}"
    return str(value)
