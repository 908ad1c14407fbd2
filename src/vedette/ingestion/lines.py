"""Blocks of bytes to lines of bounded length. Each byte is looked at once; one line is kept in memory at most."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

MAX_LINE_BYTES = 1024 * 1024
"""nginx and Apache take request heads of 8 to 64 KiB, but JSON records carry whole bodies."""


@dataclass(frozen=True, slots=True)
class RawLine:
    """A line without its ending. `number` counts from 1; of a line that is `too_long` only the start is here."""

    number: int
    data: bytes
    too_long: bool = False


class LineSplitter:
    """Cuts blocks at line feeds, wherever the blocks begin and end."""

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max = max_line_bytes
        self._number = 0
        self._pieces: list[bytes] = []
        self._length = 0

    @property
    def pending(self) -> bool:
        """Whether a line has begun that did not end yet."""
        return self._length > 0

    def feed(self, block: bytes) -> Iterator[RawLine]:
        """Yield the lines that end in `block`."""
        lines = block.split(b"\n")
        last = lines.pop()
        for line in lines:
            if self._length:
                self._keep(line)
                yield self._cut()
            else:
                self._number += 1
                if len(line) > self._max:
                    yield RawLine(self._number, line[: self._max], too_long=True)
                else:
                    yield RawLine(self._number, line)
        if last:
            self._keep(last)

    def finish(self) -> RawLine | None:
        """Return the last line where it has no line feed, and begin anew."""
        return self._cut() if self._length else None

    def _keep(self, piece: bytes) -> None:
        if self._length < self._max:
            self._pieces.append(piece[: self._max - self._length])
        self._length += len(piece)

    def _cut(self) -> RawLine:
        self._number += 1
        line = RawLine(self._number, b"".join(self._pieces), too_long=self._length > self._max)
        self._pieces, self._length = [], 0
        return line
