"""Logs judged in bulk: readings in, a running summary in bounded memory out.

    reading -> batch of requests -> prepare each -> infer together -> judge each -> counters -> ScanSummary

A batch is cut by requests, by bytes and, towards the model, by tokens, so that neither a flood of small requests nor a
few huge ones grow it. Nothing is kept of a request but counts, and the excerpt of the worst ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from vedette.errors import InferenceFailed, MalformedInput
from vedette.http_request import HTTPRequest
from vedette.inference.prepared import Prepared, Slice
from vedette.inference.scan_counters import ScanCounts
from vedette.parsing.log_entry import LogEntry, Reading
from vedette.parsing.url_parts import strip_port
from vedette.sinks.masking import mask_text, printable
from vedette.sinks.scan_summary import ScannedSource, ScanSummary, WorstFinding
from vedette.verdict import Degraded, Finding, Verdict

_BATCH_BYTES = 8 * 1024 * 1024
_INFER_TOKENS = 64 * 1024  # rows of one call to the model: 512 KiB of ids
_TEXT_CHARS = 256


class Judge(Protocol):
    """The part of `Engine` that a scan needs."""

    model_version: str
    threshold: float

    def prepare(self, request: HTTPRequest) -> Prepared:
        """Take a request apart."""
        ...

    def infer(self, batch: Sequence[Slice]) -> None:
        """Run the model over what is not known yet."""
        ...

    def judge(self, prepared: Prepared, failure: Degraded | None = None) -> Verdict:
        """Return the verdict."""
        ...


class ReadingSource(Protocol):
    """A file to scan, e.g. `vedette.ingestion.sources.RequestSource`. `position` of `size` bytes have been read."""

    @property
    def name(self) -> str: ...
    @property
    def format(self) -> str: ...
    @property
    def position(self) -> int: ...
    @property
    def size(self) -> int | None: ...
    def __iter__(self) -> Iterator[Reading | None]: ...


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """`client_header` names the header whose last address is the client, for a log written behind a proxy."""

    batch_size: int = 64
    top: int = 20
    worst: int = 50
    tracked: int = 4096
    samples: int = 3
    client_header: str | None = None

    def counts(self) -> ScanCounts:
        """Return empty counts of these sizes."""
        return ScanCounts(tracked=self.tracked, samples=self.samples, worst=self.worst)


@dataclass(frozen=True, slots=True)
class ScanProgress:
    """Where a scan stands: counts over all sources, and bytes (as stored) of the current one."""

    source: str
    position: int
    size: int | None
    lines: int
    requests: int
    anomalies: int
    unreadable: int


def scan(
    judge: Judge,
    sources: Iterable[ReadingSource],
    options: ScanOptions | None = None,
    *,
    on_progress: Callable[[ScanProgress], None] | None = None,
    on_anomaly: Callable[[WorstFinding], None] | None = None,
) -> ScanSummary:
    """Judge every request of `sources` and return the summary.

    `on_progress` is called after each batch and each source; `on_anomaly` for each anomaly, with its worst finding.
    A source that cannot be read as a whole is listed with its problem; the others are still scanned.
    """
    scanner = Scanner(judge, options, on_anomaly=on_anomaly)

    def report(source: ReadingSource) -> None:
        if on_progress is not None:
            on_progress(scanner.progress(source.name, source.position, source.size))

    for source in sources:
        scanner.read(source, partial(report, source))
    return scanner.summary()


class Scanner:
    """Takes readings one by one and keeps the running `counts` of all `sources`."""

    def __init__(
        self,
        judge: Judge,
        options: ScanOptions | None = None,
        *,
        on_anomaly: Callable[[WorstFinding], None] | None = None,
    ) -> None:
        self._judge = judge
        self._options = options = options or ScanOptions()
        self.counts = options.counts()
        self.sources: list[ScannedSource] = []
        self._on_anomaly = on_anomaly
        self._batch: list[tuple[int, LogEntry]] = []
        self._batch_bytes = 0
        self._source = ""
        self._source_counts = (0, 0)
        self._started = time.perf_counter()

    def read(self, source: ReadingSource, report: Callable[[], None] = lambda: None) -> None:
        """Judge the requests of `source`; `report` is called after each batch and at its end."""
        self.begin(source.name)
        problem = None
        try:
            for reading in source:
                if reading is None:
                    self.flush()
                elif not self.add(reading):
                    continue
                report()
        except MalformedInput as error:
            problem = str(error)
        self.end(source.format, problem)
        report()

    def begin(self, source: str) -> None:
        """Name the source of the readings that follow."""
        self._source = _short(source)
        self._source_counts = (self.counts.lines, self.counts.requests)

    def end(self, format: str, problem: str | None = None) -> None:
        """Finish the current source."""
        self.flush()
        lines, requests = self._source_counts
        self.sources.append(
            ScannedSource(self._source, format, self.counts.lines - lines, self.counts.requests - requests, problem)
        )

    def add(self, reading: Reading) -> bool:
        """Take one reading; return whether a batch was judged."""
        self.counts.lines += 1
        if reading.entry is None:
            if reading.problem is None:
                self.counts.other += 1
            else:
                self.counts.unreadable.add(reading.problem, reading.number, printable(mask_text(reading.sample)))
            return False
        request = reading.entry.request
        self._batch.append((reading.number, reading.entry))
        self._batch_bytes += len(request.body) + len(request.target)
        if len(self._batch) >= self._options.batch_size or self._batch_bytes >= _BATCH_BYTES:
            self.flush()
            return True
        return False

    def flush(self) -> None:
        """Judge what waits."""
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        prepared: list[Prepared] = []
        failure: Degraded | None = None
        waiting: list[Slice] = []
        cost = 0
        for _, entry in batch:
            item = self._judge.prepare(entry.request)
            prepared.append(item)
            for piece in item.slices(_INFER_TOKENS):
                waiting.append(piece)
                cost += piece.cost
                if cost >= _INFER_TOKENS:
                    failure = self._infer(waiting) or failure
                    waiting, cost = [], 0
        failure = self._infer(waiting) or failure
        for (number, entry), item in zip(batch, prepared, strict=True):
            self._record(number, entry, item, self._judge.judge(item, failure))

    def progress(self, source: str, position: int, size: int | None) -> ScanProgress:
        """Return where the scan stands."""
        counts = self.counts
        return ScanProgress(
            source, position, size, counts.lines, counts.requests, counts.anomalies, counts.unreadable.total
        )

    def summary(self) -> ScanSummary:
        """Return what was found so far."""
        self.flush()
        elapsed_s = time.perf_counter() - self._started
        return summary_of(self.counts, self.sources, self._judge, self._options, elapsed_s)

    def _infer(self, pieces: list[Slice]) -> Degraded | None:
        if not pieces:
            return None
        try:
            self._judge.infer(pieces)
        except InferenceFailed:
            return Degraded.MODEL_FAILED
        return None

    def _record(self, number: int, entry: LogEntry, prepared: Prepared, verdict: Verdict) -> None:
        counts = self.counts
        counts.requests += 1
        counts.not_judged += verdict.anomaly_score is None
        counts.partly += bool(verdict.not_inspected) and verdict.anomaly_score is not None
        is_anomaly = bool(verdict.is_anomaly and verdict.findings)
        if entry.time is not None:
            counts.times.add(entry.time, anomaly=is_anomaly)
        if not is_anomaly:
            return
        found = self._found(number, entry, prepared, verdict.findings[0])
        counts.add(found)
        if self._on_anomaly is not None:
            self._on_anomaly(found)

    def _found(self, number: int, entry: LogEntry, prepared: Prepared, finding: Finding) -> WorstFinding:
        request = entry.request
        agent, host = request.header("User-Agent"), request.header("Host")
        return WorstFinding(
            source=self._source,
            line=number,
            time=entry.time,
            client=self._client(request),
            method=_short(request.method),
            host=None if host is None else _short(host),
            path=_short(mask_text(request.target.partition("?")[0][: 4 * _TEXT_CHARS])),
            status=entry.status,
            user_agent=None if agent is None else _short(mask_text(agent[: 4 * _TEXT_CHARS])),
            score=finding.score,
            attack_class=finding.attack_class,
            location=finding.location,
            name=finding.name,
            excerpt=finding.excerpt,
            mark=mark_of(finding, prepared),
            decoded_by=tuple(finding.decoded_by),
        )

    def _client(self, request: HTTPRequest) -> str | None:
        client = request.client_ip
        if self._options.client_header is not None and (value := request.header(self._options.client_header)):
            client = strip_port(value.rpartition(",")[2].strip())
        return None if client is None else _short(client)


def summary_of(
    counts: ScanCounts, sources: Sequence[ScannedSource], judge: Judge, options: ScanOptions, elapsed_s: float
) -> ScanSummary:
    """Return the summary of a scan that counted `counts` in `elapsed_s` seconds."""
    return ScanSummary(
        sources=tuple(sources),
        model_version=judge.model_version,
        threshold=judge.threshold,
        lines=counts.lines,
        requests=counts.requests,
        anomalies=counts.anomalies,
        attackers=len(counts.clients),
        not_judged=counts.not_judged,
        partly_inspected=counts.partly,
        unreadable_lines=counts.unreadable.total,
        other_lines=counts.other,
        unreadable=counts.unreadable.reasons(),
        elapsed_s=elapsed_s,
        requests_per_s=counts.requests / elapsed_s if elapsed_s > 0 else 0.0,
        first_time=counts.times.first,
        last_time=counts.times.last,
        bin_s=counts.times.width_s,
        bins=counts.times.bins(),
        classes=counts.classes.top(64),
        clients=counts.clients.top(options.top),
        paths=counts.paths.top(options.top),
        statuses=counts.statuses.top(options.top),
        worst=counts.worst.worst(),
    )


def mark_of(finding: Finding, prepared: Prepared) -> tuple[int, int] | None:
    """Return where the span of `finding` stands in its excerpt; None where it is masked."""
    start, end = finding.span
    for field in prepared.fields:
        if field.location == finding.location and printable(field.name[:_TEXT_CHARS]) == finding.name:
            text = printable(field.value[start : min(end, start + len(finding.excerpt))])
            at = finding.excerpt.find(text) if text else -1
            while at < 0 and len(text) > 8:  # the excerpt may hold the start of a long span only
                text = text[: len(text) // 2]
                at = finding.excerpt.find(text)
            if at >= 0:
                return at, at + len(text)
    return None


def _short(text: str) -> str:
    return printable(text if len(text) <= _TEXT_CHARS else text[: _TEXT_CHARS - 1] + "…")
