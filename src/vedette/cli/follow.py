"""A growing log as a source that ends when the user says so."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from types import FrameType

from vedette.ingestion.sources import follow_requests
from vedette.parsing.log_entry import Reading


class FollowedLog:
    """Readings of what is written to a log, from now until Ctrl-C or SIGTERM."""

    def __init__(self, path: Path, log_format: str = "auto", *, poll_s: float = 0.25) -> None:
        self.name = str(path)
        self.format = log_format
        self.position = 0
        self.size: int | None = None
        self.stop = Event()
        self._path = path
        self._poll_s = poll_s

    def __iter__(self) -> Iterator[Reading | None]:
        def end(number: int, frame: FrameType | None) -> None:
            self.stop.set()

        previous = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield from follow_requests(self._path, self.stop, format=self.format, poll_s=self._poll_s)
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
