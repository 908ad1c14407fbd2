"""Files of any known kind as one stream of readings: access logs, HAR archives, JSON Lines, packed or not.

Every line gives a reading: a request, a counted reason why there is none, or nothing to read (blank, a directive).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from threading import Event

from vedette.errors import MalformedInput
from vedette.ingestion.compressed import ByteSource, FileRange, Readable, open_bytes, stored_size
from vedette.ingestion.lines import MAX_LINE_BYTES, LineSplitter, RawLine
from vedette.ingestion.tail import follow
from vedette.parsing.har import MAX_HAR_BYTES, iter_har
from vedette.parsing.log_entry import LogEntry, Reading
from vedette.parsing.log_parser import LogFormat, detect_format, format_of
from vedette.parsing.wire_text import to_text

SAMPLE_CHARS = 200
_DETECTION_LINES = 64
_DETECTION_BYTES = 4 * 1024 * 1024
_HAR_START = re.compile(rb"(?:\xef\xbb\xbf)?\s{0,64}\{\s{0,64}\"log\"\s{0,64}:\s{0,64}\{")


class RequestSource:
    """The requests of one file. Iterate once; `position` of `size` bytes (as stored) have been read so far."""

    def __init__(self, path: Readable, *, format: str = "auto", max_line_bytes: int = MAX_LINE_BYTES) -> None:
        """Open `path` (``-`` is standard input). `format` is ``auto``, ``har`` or what `format_of` takes.

        Raises `MalformedInput` where the file cannot be opened and `ConfigError` for a bad format.
        """
        self._spec = format
        self._format = None if format in ("auto", "har") else format_of(format)
        self._max_line_bytes = max_line_bytes
        self._path = path
        self._bytes: ByteSource | None = None  # opened when it is its turn: a thousand logs are not opened at once
        self._size = stored_size(path)
        self._damage: str | None = None
        self.format = format

    @property
    def name(self) -> str:
        """Path, or what stands for it."""
        path = self._path
        if isinstance(path, FileRange):
            return path.name
        if not isinstance(path, str | Path):
            return str(getattr(path, "name", "stream"))
        return "standard input" if str(path) == "-" else str(path)

    @property
    def position(self) -> int:
        """Bytes read so far, as stored."""
        return 0 if self._bytes is None else self._bytes.position

    @property
    def size(self) -> int | None:
        """Bytes in all, as stored; None for a stream."""
        return self._size

    def __iter__(self) -> Iterator[Reading]:
        """Yield a reading for each line or entry; raises `MalformedInput` where the format is not recognised.

        Damage inside a packed file is a reading with a problem, the last one.
        """
        number = 0
        self._bytes = source = open_bytes(self._path)
        try:
            blocks = self._blocks(source)
            first = next(blocks, b"")
            if self._spec == "har" or (self._spec == "auto" and is_har(first)):
                self.format = "har"
                readings = _har_readings(chain([first], blocks))
            else:
                readings = self._line_readings(chain([first], blocks))
            for reading in readings:
                number = reading.number
                yield reading
            if self._damage is not None:
                yield Reading(number + 1, problem=self._damage)
        finally:
            source.close()

    def _blocks(self, source: ByteSource) -> Iterator[bytes]:
        """Yield what can be unpacked; what is wrong after that is kept in `_damage`."""
        try:
            yield from source
        except MalformedInput as error:
            self._damage = str(error)

    def _line_readings(self, blocks: Iterable[bytes]) -> Iterator[Reading]:
        lines = _lines(blocks, self._max_line_bytes)
        if self._format is None:
            head = _take_head(lines)
            self._format = _format_of_head(head)
            lines = chain(head, lines)
        self.format = self._format.name
        for line in lines:
            yield read_line(line, self._format)


def is_har(first: bytes) -> bool:
    """Tell by the first bytes of a file whether it is a HAR archive."""
    return _HAR_START.match(first) is not None


def format_of_lines(blocks: Iterable[bytes]) -> LogFormat:
    """Return the format of a file by its first lines; raises `MalformedInput` where it is not recognised."""
    return _format_of_head(_take_head(_lines(blocks, MAX_LINE_BYTES)))


def follow_requests(
    path: Path, stop: Event, *, format: str = "auto", from_start: bool = False, poll_s: float = 0.25
) -> Iterator[Reading | None]:
    """Yield readings of the lines written to a log until `stop` is set; None when all written so far was read.

    The format is recognised from the start of the file, or else from the first line that comes.
    """
    parser = _known_format(path) if format == "auto" else format_of(format)
    for line in follow(path, stop, from_start=from_start, poll_s=poll_s):
        if line is None:
            yield None
            continue
        if parser is None:
            try:
                parser = detect_format([_text(line)])
            except MalformedInput:
                yield Reading(
                    line.number, problem="the log format was not recognised", sample=_text(line)[:SAMPLE_CHARS]
                )
                continue
        yield read_line(line, parser)


def read_line(line: RawLine, parser: LogFormat) -> Reading:
    """Return what `parser` makes of a line; never raises on its content."""
    text = _text(line)
    if not text:
        return Reading(line.number)
    if line.too_long:
        return Reading(line.number, problem="the line is too long", sample=text[:SAMPLE_CHARS])
    try:
        return Reading(line.number, parser.parse(text))
    except MalformedInput as error:
        return Reading(line.number, problem=str(error), sample=text[:SAMPLE_CHARS])


def _known_format(path: Path) -> LogFormat | None:
    try:
        source = open_bytes(path)
    except MalformedInput:
        return None
    try:
        return detect_format([_text(line) for line in _take_head(_lines(iter(source), MAX_LINE_BYTES))])
    except MalformedInput:
        return None
    finally:
        source.close()


def _text(line: RawLine) -> str:
    """Return a line as text; NULs before it are what a truncated, still open file leaves behind."""
    data = line.data.strip(b"\r")
    return to_text(data.lstrip(b"\x00") if data[:1] == b"\x00" else data).strip(" \t")


def _lines(blocks: Iterable[bytes], max_line_bytes: int) -> Iterator[RawLine]:
    splitter = LineSplitter(max_line_bytes)
    for block in blocks:
        yield from splitter.feed(block)
    if (last := splitter.finish()) is not None:
        yield last


def _take_head(lines: Iterator[RawLine]) -> list[RawLine]:
    head: list[RawLine] = []
    length = 0
    for line in lines:
        head.append(line)
        length += len(line.data)
        if len(head) >= _DETECTION_LINES or length > _DETECTION_BYTES:
            break
    return head


def _format_of_head(head: list[RawLine]) -> LogFormat:
    if all(not line.data.strip(b"\x00 \t\r") for line in head):
        return format_of("combined")  # nothing but blank lines: any format will do
    return detect_format([_text(line) for line in head])


def _har_readings(blocks: Iterable[bytes]) -> Iterator[Reading]:
    parts: list[bytes] = []
    length = 0
    for block in blocks:
        length += len(block)
        if length > MAX_HAR_BYTES:
            raise MalformedInput(f"the archive is larger than {MAX_HAR_BYTES} bytes", field="har")
        parts.append(block)
    for number, item in enumerate(iter_har(b"".join(parts)), 1):
        if isinstance(item, LogEntry):
            yield Reading(number, item)
        else:
            yield Reading(number, problem=str(item))
