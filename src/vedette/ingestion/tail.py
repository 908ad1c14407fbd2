"""A log that is still being written: its lines as they come, across rotation and truncation.

The file is polled. Three things can happen to it besides growing, and each is told apart:

- renamed and created anew (logrotate ``create``): the path has another inode; the old file is read to its end first;
- copied and truncated (``copytruncate``): the file is shorter than what was read, or its first bytes are others;
- removed: it is waited for.

Between a copy and its truncation lines can be lost by logrotate itself; no reader can see those.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import BinaryIO

from vedette.ingestion.compressed import BLOCK_BYTES
from vedette.ingestion.lines import MAX_LINE_BYTES, LineSplitter, RawLine

_HEAD_BYTES = 256


def follow(
    path: Path,
    stop: Event,
    *,
    from_start: bool = False,
    poll_s: float = 0.25,
    max_line_bytes: int = MAX_LINE_BYTES,
) -> Iterator[RawLine | None]:
    """Yield the lines written to `path` from now on (or from its start), until `stop` is set.

    None is yielded whenever all that was written has been read: the moment to finish what is half done. A last line
    without a line feed is held back until it is whole, or until the file is rotated away or `stop` is set.
    """
    splitter = LineSplitter(max_line_bytes)
    tail = _Tail(path, from_start=from_start)
    try:
        while True:
            stopping = stop.is_set()
            while block := tail.read():
                yield from splitter.feed(block)
            if tail.moved_on():
                if (last := splitter.finish()) is not None:
                    yield last
                continue
            if stopping:
                break
            yield None
            stop.wait(poll_s)
        if (last := splitter.finish()) is not None:
            yield last
    finally:
        tail.close()


class _Tail:
    """The file behind a path, and how far it has been read."""

    def __init__(self, path: Path, *, from_start: bool) -> None:
        self._path = path
        self._from_start = from_start
        self._file: BinaryIO | None = None
        self._head = b""
        self._open()
        self._from_start = True  # whatever appears later is new

    def read(self) -> bytes:
        return self._file.read(BLOCK_BYTES) if self._file is not None else b""

    def moved_on(self) -> bool:
        """Turn to the new content where the file was replaced or truncated; tell whether it was. Call at its end."""
        if self._file is None:
            return self._open()
        try:
            named = os.stat(self._path)
        except OSError:
            return False  # between rename and create; the old file may still grow
        held = os.fstat(self._file.fileno())
        if (named.st_dev, named.st_ino) != (held.st_dev, held.st_ino):
            if held.st_size > self._file.tell():
                return False  # something was written after the last read: take it first
            return self._open()
        head = os.pread(self._file.fileno(), _HEAD_BYTES, 0)
        known = self._head
        self._head = head
        if held.st_size < self._file.tell() or head[: len(known)] != known:
            self._file.seek(0)
            return True
        return False

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> bool:
        try:
            opened = open(self._path, "rb", buffering=0)  # noqa: SIM115 - kept open, closed in close
        except OSError:
            return False
        self.close()
        if not self._from_start:
            opened.seek(0, os.SEEK_END)
        self._file = opened
        self._head = os.pread(opened.fileno(), _HEAD_BYTES, 0)
        return True
