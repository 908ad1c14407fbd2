"""Dataset files, JSON Lines plain or packed (gzip, xz, zstd, bzip2), read one labelled request at a time.

A bad line stops the reading with ``FILE:LINE: reason``: a figure over a file that was only partly read would mislead.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from vedette.errors import MalformedInput
from vedette.ingestion.compressed import open_bytes
from vedette.ingestion.lines import LineSplitter, RawLine
from vedette.parsing.log_entry import LogEntry
from vedette.parsing.record import parse_record

_NO_METHOD = "INVALID"  # stands for a recorded method that no HTTP message can carry
MAX_LINE_BYTES = 64 * 1024 * 1024  # a record holds a whole body, perhaps as base64 of 16 MiB


def read_records(paths: Iterable[str | Path]) -> Iterator[LogEntry]:
    """Yield the records of `paths` in order, each with its label. Raises `MalformedInput` naming file and line."""
    for path in paths:
        yield from _read_file(path)


def _read_file(path: str | Path) -> Iterator[LogEntry]:
    source = open_bytes(path)
    try:
        lines = LineSplitter(MAX_LINE_BYTES)
        for block in source:
            for line in lines.feed(block):
                yield from _record(source.name, line)
        if (last := lines.finish()) is not None:
            yield from _record(source.name, last)
    finally:
        source.close()


def _record(file: str, line: RawLine) -> Iterator[LogEntry]:
    where = f"{file}:{line.number}"
    if line.too_long:
        raise MalformedInput(f"{where}: the line is longer than {MAX_LINE_BYTES} bytes", field="layout")
    if not line.data.strip():
        return
    try:
        entry = labelled_request(line.data)
    except MalformedInput as error:
        raise MalformedInput(f"{where}: {error}", field=error.field) from None
    if entry.label is None:
        raise MalformedInput(f"{where}: label is missing", field="label")
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
