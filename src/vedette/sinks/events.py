"""One JSON line for each anomaly, written by a thread of its own.

The caller hands over a reference and goes on: the line is built and written elsewhere, so neither the event loop nor
an inference thread ever waits for a disk or a blocked pipe. The backlog is bounded; what does not fit, and what cannot
be written (full disk, missing directory, no permission), is counted, warned about once, and tried again with the next
event. A file that was renamed or removed by log rotation is opened anew. Excerpts come masked from the engine; path
and names are masked here, and the query, where most secrets stand, is left out.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from vedette.http_request import HTTPRequest
from vedette.sinks.masking import mask_text, printable
from vedette.verdict import Finding, Verdict

_MAX_PATH_CHARS = 1024
_log = logging.getLogger(__name__)


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the log. `time` is RFC 3339 in UTC."""

    time: str
    id: str
    client: str | None
    method: str
    path: str
    action: str
    score: float | None
    threshold: float
    attack_class: str | None = msgspec.field(name="class")
    findings: tuple[Finding, ...]
    degraded: str | None
    model_version: str


class Occurrence(NamedTuple):
    """What waits to be written: small whatever the request was, so that the backlog is bounded in bytes too."""

    at: float
    client: str | None
    method: str
    path: str
    verdict: Verdict


class EventLog:
    """Appends events to `path`, or to standard output where it is None, from a background thread.

    `max_backlog` events wait at most. `close` writes what waits, for at most `timeout_s` seconds.
    """

    def __init__(self, path: str | None = None, *, max_backlog: int = 4096) -> None:
        self._path = path
        self._backlog: queue.Queue[Occurrence | None] = queue.Queue(max_backlog)
        self._dropped = 0
        self._written = 0
        self._warned = False
        self._closed = False
        self._file: int | None = None
        self._torn = False  # the file ends in half a line
        self._encoder = msgspec.json.Encoder()
        self._thread = threading.Thread(target=self._work, name="vedette-events", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Events that were lost."""
        return self._dropped

    @property
    def written(self) -> int:
        """Events that were written."""
        return self._written

    def record(self, request: HTTPRequest, verdict: Verdict) -> None:
        """Log `verdict` if it found an anomaly. Never waits and never raises."""
        if not verdict.is_anomaly:
            return
        if self._closed:
            self._dropped += 1
            return
        try:
            path = request.target[:_MAX_PATH_CHARS].partition("#")[0].partition("?")[0]
            self._backlog.put_nowait(Occurrence(time.time(), request.client_ip, request.method, path, verdict))
        except queue.Full:
            self._lose(1, "more events come than can be written")

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what waits and stop; further events are counted as dropped."""
        if self._closed:
            return
        self._closed = True
        try:
            self._backlog.put(None, timeout=timeout_s)
        except queue.Full:
            return
        self._thread.join(timeout_s)

    # -- the writer ------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        running = True
        while running:
            batch = [self._backlog.get()]
            while len(batch) < 256:
                try:
                    batch.append(self._backlog.get_nowait())
                except queue.Empty:
                    break
            running = None not in batch
            self._write_batch([item for item in batch if item is not None])
        self._close_file()

    def _write_batch(self, items: list[Occurrence]) -> None:
        lines = []
        for item in items:
            try:
                lines.append(self._encoder.encode(event_of(item)) + b"\n")
            except Exception as error:  # one odd event must not end the log
                self._lose(1, repr(error))
        if not lines:
            return
        try:
            self._write(b"".join(lines))
        except OSError as error:
            self._close_file()
            self._lose(len(lines), str(error))
        else:
            self._written += len(lines)
            self._warned = False

    def _write(self, data: bytes) -> None:
        file = self._open()
        left = memoryview(b"\n" + data if self._torn else data)
        while left:
            done = os.write(file, left)
            left = left[done:]
            self._torn = bool(left)
        self._torn = False

    def _open(self) -> int:
        """Return the open file, opening it anew where rotation has put another, or none, at the path."""
        if self._path is None:
            return 1
        if self._file is not None:
            try:
                now, ours = os.stat(self._path), os.fstat(self._file)
                if (now.st_dev, now.st_ino) == (ours.st_dev, ours.st_ino):
                    return self._file
            except FileNotFoundError:
                pass
            self._close_file()
            self._torn = False
        # Requests of clients may be in there: nobody but owner and group reads it.
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        return self._file

    def _close_file(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _lose(self, count: int, why: str) -> None:
        self._dropped += count
        if not self._warned:
            self._warned = True
            _log.warning("event log %s: %s; events are dropped and counted", self._path or "(standard output)", why)


def event_of(occurrence: Occurrence) -> Event:
    """Return the line's content, free of secrets."""
    verdict = occurrence.verdict
    time_ = datetime.fromtimestamp(occurrence.at, UTC).isoformat(timespec="milliseconds")
    return Event(
        time=time_.replace("+00:00", "Z"),
        id=verdict.request_id,
        client=occurrence.client,
        method=occurrence.method,
        path=printable(mask_text(occurrence.path)),
        action=verdict.action.value,
        score=verdict.anomaly_score,
        threshold=verdict.threshold,
        attack_class=verdict.attack_class,
        findings=verdict.findings,
        degraded=verdict.degraded.value if verdict.degraded else None,
        model_version=verdict.model_version,
    )
