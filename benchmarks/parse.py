#!/usr/bin/env python3
"""What does it cost to take a request apart, and to screen its fields?

    python -m benchmarks.parse [FILE...] [--attacks FILE...] [--requests 2000] [--passes 5] [--json]

`ParsingPipeline.parse` without any memory of earlier requests, then `windows_of` for each field: what the service pays
for what it has not seen before. Each request once, both steps one after the other, CPU time of the thread.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Sequence

from benchmarks.shared.figures import Report, arguments, conditions, distribution, rounded, run, spread
from benchmarks.shared.traffic import load, passes_of, source_of
from vedette.http_request import HTTPRequest
from vedette.parsing.pipeline import ParsingPipeline
from vedette.tokenization.http_tokenizer import windows_of


def measure(options: argparse.Namespace) -> Report:
    requests, _ = load(options, options.requests * options.passes)
    passes = passes_of(requests, options.passes)
    report = conditions(
        requests=f"{options.passes} passes of {len(passes[0])}, {source_of(options)}", seed=options.seed
    )
    gc.collect()
    gc.freeze()
    parse: list[list[float]] = []
    screen: list[list[float]] = []
    fields = windows = with_windows = 0
    for part in passes:
        counts = _take_apart(part, parse, screen)
        fields, windows, with_windows = fields + counts[0], windows + counts[1], with_windows + counts[2]
    count = sum(map(len, passes))
    return {
        "conditions": report,
        "parse": _figures(parse),
        "screen": _figures(screen),
        "fields_per_request": rounded(fields / count),
        "windows_per_request": rounded(windows / count),
        "share_of_requests_with_windows": round(with_windows / count, 3),
    }


def _take_apart(
    requests: Sequence[HTTPRequest], parse: list[list[float]], screen: list[list[float]]
) -> tuple[int, int, int]:
    """Add each request's microseconds of both steps; return fields, windows, and requests that have windows."""
    pipeline, now = ParsingPipeline(), time.thread_time_ns
    parsing, screening = [], []
    fields = windows = with_windows = 0
    for request in requests:
        began = now()
        parsed = pipeline.parse(request)
        between = now()
        found = sum(len(windows_of(field)) for field in parsed.fields)
        parsing.append((between - began) / 1000)
        screening.append((now() - between) / 1000)
        fields, windows, with_windows = fields + len(parsed.fields), windows + found, with_windows + (found > 0)
    parse.append(parsing)
    screen.append(screening)
    return fields, windows, with_windows


def _figures(passes: Sequence[list[float]]) -> Report:
    return {
        "cpu_us": spread([sum(part) / len(part) for part in passes]),
        "cpu_us_each": distribution([cost for part in passes for cost in part]),
    }


def parser() -> argparse.ArgumentParser:
    return arguments(__doc__, requests=2000, passes=5)


if __name__ == "__main__":
    run(measure, parser())
