"""A log that is followed: growth, rotation by rename, by copy and truncation, removal, and the last half line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from threading import Event

from vedette.ingestion.lines import RawLine
from vedette.ingestion.tail import follow


class Follower:
    """Steps through a followed file: `read` returns what was written until now."""

    def __init__(self, path: Path, *, from_start: bool = True) -> None:
        self.stop = Event()
        self._lines: Iterator[RawLine | None] = follow(path, self.stop, from_start=from_start, poll_s=0.001)

    def read(self) -> list[bytes]:
        lines: list[bytes] = []
        for line in self._lines:
            if line is None:
                break
            lines.append(line.data)
        return lines

    def finish(self) -> list[bytes]:
        self.stop.set()
        return [line.data for line in self._lines if line is not None]


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_lines_are_given_when_they_are_whole(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(b"old\n")
    tail = Follower(log)
    assert tail.read() == [b"old"]
    append(log, b"one\ntw")
    assert tail.read() == [b"one"]
    append(log, b"o\n")
    assert tail.read() == [b"two"]
    append(log, b"half")
    assert tail.read() == []
    assert tail.finish() == [b"half"]


def test_following_begins_at_the_end(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(b"old\n")
    tail = Follower(log, from_start=False)
    assert tail.read() == []
    append(log, b"new\n")
    assert tail.read() == [b"new"]


def test_rename_and_create_loses_no_line(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(b"a\n")
    tail = Follower(log)
    assert tail.read() == [b"a"]
    append(log, b"b\nlast half")
    os.rename(log, tmp_path / "access.log.1")
    append(tmp_path / "access.log.1", b" is whole\n")
    assert tail.read() == [b"b", b"last half is whole"]
    append(tmp_path / "access.log.1", b"late")
    log.write_bytes(b"c\nd\n")
    assert tail.read() == [b"late", b"c", b"d"]
    append(log, b"e\n")
    assert tail.read() == [b"e"]


def test_copy_and_truncate_starts_again(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(b"first line\nsecond line\n")
    tail = Follower(log)
    assert len(tail.read()) == 2
    os.truncate(log, 0)
    append(log, b"x\n")
    assert tail.read() == [b"x"]


def test_truncation_is_seen_even_when_the_file_has_grown_past_the_old_end(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(b"1 old line\n")
    tail = Follower(log)
    assert tail.read() == [b"1 old line"]
    os.truncate(log, 0)
    append(log, b"2 new line, longer\n3 another\n")
    lines = tail.read() + tail.read()
    assert lines[-2:] == [b"2 new line, longer", b"3 another"]


def test_a_file_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    tail = Follower(log, from_start=False)
    assert tail.read() == []
    log.write_bytes(b"first\n")
    assert tail.read() == [b"first"]
    log.unlink()
    assert tail.read() == []
    log.write_bytes(b"again\n")
    assert tail.read() == [b"again"]
    assert tail.finish() == []
