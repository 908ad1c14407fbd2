"""The same scan over a Ray cluster: parts of files are counted where there is room, and the counts merged in order.

The summary is that of `vedette.inference.scan.scan` over the same files. Only lists that were full may differ: those of
clients, paths and worst findings are bounded, and keep what they keep with a stated error in both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from vedette.config import Settings
from vedette.inference.engine import Engine
from vedette.inference.on_ray import here, in_order, ray_cluster, spread
from vedette.inference.scan import ReadingSource, Scanner, ScanOptions, ScanProgress, summary_of
from vedette.inference.scan_counters import ScanCounts
from vedette.sinks.scan_summary import ScannedSource, ScanSummary


class Part(Protocol):
    """A part of a file that any node can read, e.g. `vedette.ingestion.parts.FilePart`; `size` in bytes as stored."""

    @property
    def is_first(self) -> bool: ...
    @property
    def size(self) -> int: ...
    def source(self) -> ReadingSource: ...


@dataclass(frozen=True, slots=True)
class Counted:
    """What one part came to. `source` tells of the part as if it were a file."""

    source: ScannedSource
    counts: ScanCounts


def scan_on_ray(
    settings: Settings,
    judge: Engine,
    parts: Sequence[Part],
    options: ScanOptions | None = None,
    *,
    address: str | None = None,
    on_progress: Callable[[ScanProgress], None] | None = None,
) -> ScanSummary:
    """Judge every request of `parts` on the Ray cluster at `address` (see `ray_cluster`) and return the summary.

    `judge` is the engine of `settings`, loaded here: what it stands for is what the summary names. `on_progress` is
    called after each part, with the bytes of all. Raises `BackendUnavailable`, `ConfigError`, and `MalformedInput` for
    a file that can be read here but not on another node.
    """
    options = options or ScanOptions()
    started = time.perf_counter()
    with ray_cluster(address):
        answers = spread(settings, judge.model_version, parts, partial(count_part, options))
        answers = _reported(answers, parts, on_progress) if on_progress is not None else answers
        counts, sources = merged(parts, in_order(answers), options)
    return summary_of(counts, sources, judge, options, time.perf_counter() - started)


def merged(
    parts: Sequence[Part], counted: Iterable[Counted], options: ScanOptions
) -> tuple[ScanCounts, list[ScannedSource]]:
    """Return the counts of all parts and the files they make up. `counted` are those of `parts`, in order."""
    counts = options.counts()
    sources: list[ScannedSource] = []
    for part, one in zip(parts, counted, strict=True):
        if part.is_first:
            sources.append(one.source)
            counts.merge(one.counts)
            continue
        before = sources[-1]
        counts.merge(one.counts, lines_before=before.lines)
        sources[-1] = replace(
            before,
            lines=before.lines + one.source.lines,
            requests=before.requests + one.source.requests,
            problem=before.problem or one.source.problem,
        )
    return counts, sources


def count_part(options: ScanOptions, engine: Engine, part: Part) -> Counted:
    """Judge the requests of one part; what a node does. Raises `MalformedInput` where the file is not there."""
    scanner = Scanner(engine, options)
    scanner.read(here(part.source))
    return Counted(scanner.sources[0], scanner.counts)


def _reported(
    answers: Iterator[tuple[int, Counted]], parts: Sequence[Part], on_progress: Callable[[ScanProgress], None]
) -> Iterator[tuple[int, Counted]]:
    """Pass `answers` on, telling of each."""
    total = sum(part.size for part in parts)
    done = lines = requests = anomalies = unreadable = 0
    for index, counted in answers:
        done += parts[index].size
        lines += counted.counts.lines
        requests += counted.counts.requests
        anomalies += counted.counts.anomalies
        unreadable += counted.counts.unreadable.total
        on_progress(ScanProgress("", done, total, lines, requests, anomalies, unreadable))
        yield index, counted
