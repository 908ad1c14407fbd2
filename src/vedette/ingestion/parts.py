"""Files cut into parts that are read by themselves, on whatever machine: the work of a scan over a cluster.

A large plain text file is cut where a line ends, so that the parts hold its lines, each once. What cannot be read from
the middle stays whole: packed files, HAR archives, and W3C logs, whose ``#Fields:`` line rules the lines after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from vedette.errors import MalformedInput
from vedette.ingestion.compressed import BLOCK_BYTES, FileRange, open_bytes, stored_size
from vedette.ingestion.sources import RequestSource, format_of_lines, is_har
from vedette.parsing.log_parser import format_of
from vedette.parsing.log_w3c import W3CFormat

MIN_PART_BYTES = 8 * 1024 * 1024  # some seconds of work, beside which the hand-over is nothing
MAX_PART_BYTES = 256 * 1024 * 1024
_PARTS = 4096  # about as many as there shall be, for the sake of whoever hands them out


@dataclass(frozen=True, slots=True)
class FilePart:
    """One part of a file and the format to read it in; `size` in bytes as stored. A file's parts follow each other."""

    range: FileRange
    format: str
    size: int

    @property
    def is_first(self) -> bool:
        """Whether the part is the first of its file."""
        return self.range.start == 0

    def source(self) -> RequestSource:
        """Open the part. Raises `MalformedInput` where the file cannot be read here."""
        return RequestSource(self.range, format=self.format)


def cut(files: Sequence[str | Path], *, format: str = "auto", part_bytes: int | None = None) -> list[FilePart]:
    """Return the parts of `files` in order; `part_bytes` None takes a size that fits the whole.

    `format` is that of `RequestSource`. Raises `MalformedInput` for what is no file or cannot be opened, and
    `ConfigError` for a bad format.
    """
    if format not in ("auto", "har"):
        format_of(format)
    sizes = [_size_of(path) for path in files]
    if part_bytes is None:
        part_bytes = min(max(sum(sizes) // _PARTS, MIN_PART_BYTES), MAX_PART_BYTES)
    return [part for path, size in zip(files, sizes, strict=True) for part in _cut(path, size, format, part_bytes)]


def _cut(path: str | Path, size: int, format: str, part_bytes: int) -> list[FilePart]:
    name, place = str(path), str(Path(path).absolute())
    whole = FilePart(FileRange(place, name), format, size)
    if size <= part_bytes:
        return [whole]
    read_as = _format_of_lines(path, format)
    if read_as is None:
        return [whole]
    with open(path, "rb") as file:
        ends = [*_line_ends(file, range(part_bytes, size, part_bytes), size), None]
    starts = [0, *(end for end in ends if end is not None)]
    return [
        FilePart(FileRange(place, name, start, end), read_as, (size if end is None else end) - start)
        for start, end in zip(starts, ends, strict=True)
    ]


def _format_of_lines(path: str | Path, format: str) -> str | None:
    """Return the format of a file whose lines can be read one by one, None for any other."""
    source = open_bytes(path)
    try:
        blocks = iter(source)
        first = next(blocks, b"")
        if source.kind != "plain" or format == "har" or (format == "auto" and is_har(first)):
            return None
        parser = format_of_lines(chain([first], blocks)) if format == "auto" else format_of(format)
    except MalformedInput:
        return None  # whoever reads it will say why
    finally:
        source.close()
    if isinstance(parser, W3CFormat):
        return None
    return parser.name if format == "auto" else format


def _line_ends(file: BinaryIO, wanted: Iterable[int], size: int) -> list[int]:
    """Return for each wanted offset the first one from it on at which a line begins, each once, `size` left out."""
    ends: list[int] = []
    for offset in wanted:
        if ends and offset <= ends[-1]:
            continue  # inside a line that is longer than a part
        end = _next_line(file, offset)
        if end >= size:
            break
        ends.append(end)
    return ends


def _next_line(file: BinaryIO, offset: int) -> int:
    position = offset - 1  # a line that begins right at the offset counts
    file.seek(position)
    while block := file.read(BLOCK_BYTES):
        at = block.find(b"\n")
        if at >= 0:
            return position + at + 1
        position += len(block)
    return position


def _size_of(path: str | Path) -> int:
    size = stored_size(path)
    if size is None:
        raise MalformedInput("only a file can be read on other machines, no stream", field=str(path))
    return size
