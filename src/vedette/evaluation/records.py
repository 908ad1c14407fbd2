"""Dataset files, JSON Lines plain or packed (gzip, xz, zstd, bzip2), read one labelled request at a time.

A bad line stops the reading with ``FILE:LINE: reason``: a figure over a file that was only partly read would mislead.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from vedette.errors import MalformedInput
from vedette.ingestion.compressed import ByteSource, FileRange, Readable, open_bytes
from vedette.ingestion.lines import LineSplitter, RawLine
from vedette.parsing.log_entry import LogEntry
from vedette.parsing.record import parse_record

_NO_METHOD = "INVALID"  # stands for a recorded method that no HTTP message can carry
MAX_LINE_BYTES = 64 * 1024 * 1024  # a record holds a whole body, perhaps as base64 of 16 MiB


def read_records(files: Iterable[Readable]) -> Iterator[LogEntry]:
    """Yield the records of `files` in order, each with its label. Raises `MalformedInput` naming file and line."""
    for file in files:
        yield from _read_file(file)


def _read_file(file: Readable) -> Iterator[LogEntry]:
    source = open_bytes(file)
    try:
        for line in _lines(source):
            try:
                yield from _record(line)
            except MalformedInput as error:
                where = f"{source.name}:{_lines_before(file) + line.number}"
                raise MalformedInput(f"{where}: {error}", field=error.field) from None
    finally:
        source.close()


def _lines(source: ByteSource) -> Iterator[RawLine]:
    lines = LineSplitter(MAX_LINE_BYTES)
    for block in source:
        yield from lines.feed(block)
    if (last := lines.finish()) is not None:
        yield last


def _lines_before(file: Readable) -> int:
    """Count the lines before a part of a file. Only a bad record pays for that."""
    if not isinstance(file, FileRange) or file.start == 0:
        return 0
    before = open_bytes(FileRange(file.path, file.name, 0, file.start))
    try:
        return sum(block.count(b"\n") for block in before)
    finally:
        before.close()


def _record(line: RawLine) -> Iterator[LogEntry]:
    if line.too_long:
        raise MalformedInput(f"the line is longer than {MAX_LINE_BYTES} bytes", field="layout")
    if not line.data.strip():
        return
    entry = labelled_request(line.data)
    if entry.label is None:
        raise MalformedInput("label is missing", field="label")
    yield entry


def labelled_request(data: bytes) -> LogEntry:
    """Like `parse_record`, but a method that is no token does not stop an evaluation: no model reads the method."""
    try:
        return parse_record(data)
    except MalformedInput as error:
        if error.field != "request":
            raise
        record = json.loads(data)
        return parse_record(json.dumps({**record, "method": _NO_METHOD}))
