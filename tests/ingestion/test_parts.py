"""Parts: together they hold the lines of a file, each once, and are read as the whole is."""

from __future__ import annotations

import gzip
import itertools
import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.errors import ConfigError, MalformedInput
from vedette.ingestion.compressed import FileRange, open_bytes, stored_size
from vedette.ingestion.parts import MAX_PART_BYTES, MIN_PART_BYTES, cut
from vedette.ingestion.sources import RequestSource
from vedette.parsing.log_entry import Reading

LINE = '192.0.2.1 - - [10/Oct/2025:13:00:36 +0000] "GET /{n} HTTP/1.1" 200 12 "-" "ua"\n'
LOG = "".join(LINE.format(n=n) for n in range(200)) + "garbage\n\n" + LINE.format(n="last").rstrip("\n")


def readings(path: Path, part_bytes: int, format: str = "auto") -> list[Reading]:
    """Read all parts, their lines numbered through as whoever puts them together does."""
    found: list[Reading] = []
    for part in cut([path], format=format, part_bytes=part_bytes):
        before = len(found)
        for one in pickle.loads(pickle.dumps(part)).source():
            assert one.number == len(found) - before + 1
            found.append(Reading(before + one.number, one.entry, one.problem, one.sample))
    return found


@pytest.mark.parametrize("part_bytes", [1, 79, 80, 81, 1000, 5000, 10**6])
def test_parts_hold_what_the_file_holds(tmp_path: Path, part_bytes: int) -> None:
    path = tmp_path / "access.log"
    path.write_text(LOG)
    assert readings(path, part_bytes) == list(RequestSource(path))
    parts = cut([path], part_bytes=part_bytes)
    assert sum(part.size for part in parts) == path.stat().st_size
    assert [part.is_first for part in parts] == [True] + [False] * (len(parts) - 1)
    assert {part.source().name for part in parts} == {str(path)}
    assert len(parts) == {1: 203, 10**6: 1}.get(part_bytes, len(parts))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300).map(lambda data: data.replace(b"x", b"\n")), st.integers(1, 64))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes, part_bytes: int) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes"
    path.write_bytes(b"-\n" + data)  # whatever it is, it is not packed
    assert readings(path, part_bytes, "combined") == list(RequestSource(path, format="combined"))


def test_a_line_that_looks_packed_in_the_middle_is_a_line(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_bytes(LINE.format(n=1).encode() + b"BZh91AY\n\x1f\x8b\n" + LINE.format(n=2).encode())
    assert readings(path, 1) == list(RequestSource(path))


def test_what_cannot_be_read_from_the_middle_stays_whole(tmp_path: Path) -> None:
    contents = {
        "a.gz": gzip.compress(LOG.encode() * 3),
        "a.har": b'{"log": {"entries": [' + b" " * 5000 + b"]}}",
        "w3c.log": b"#Fields: c-ip cs-method cs-uri-stem\n" + b"192.0.2.1 GET /\n" * 500,
        "noise": b"nothing like a log\n" * 500,
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
        (part,) = cut([tmp_path / name], part_bytes=16)
        assert part.format == "auto"
        assert part.range == FileRange(str(tmp_path / name), str(tmp_path / name))
    assert len(cut([tmp_path / "noise"], format="har", part_bytes=16)) == 1
    assert len(cut([tmp_path / "noise"], format="combined", part_bytes=16)) > 1


def test_own_formats_stay_what_was_asked_for(tmp_path: Path) -> None:
    spec = '$remote_addr "$request" $status'
    (tmp_path / "own.log").write_text('192.0.2.1 "GET / HTTP/1.1" 200\n' * 50)
    parts = cut([tmp_path / "own.log"], format=spec, part_bytes=100)
    assert {part.format for part in parts} == {spec}
    assert sum(reading.entry is not None for part in parts for reading in part.source()) == 50


def test_the_size_of_parts_fits_the_whole(tmp_path: Path) -> None:
    for size, expected in ((3 * MIN_PART_BYTES, 3), (MIN_PART_BYTES, 1)):
        path = tmp_path / "sparse.log"
        with open(path, "wb") as file:
            for n in range(size // 4096):
                file.seek(n * 4096)
                file.write(LINE.format(n=n).encode())
            file.truncate(size)
        assert len(cut([path])) == expected
    assert MAX_PART_BYTES > MIN_PART_BYTES


@pytest.mark.parametrize("place", ["nowhere.log", "-", "fifo", ""])
def test_what_is_no_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    with pytest.raises(MalformedInput):
        cut([place])
    with pytest.raises(ConfigError):
        cut([], format="nonsense")


def test_a_range_ends_where_it_says(tmp_path: Path) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(bytes(range(256)) * 40)
    for start, end in itertools.product((0, 1, 5000), (5000, 10_240, 20_000, None)):
        piece = FileRange(str(path), "name", start, end)
        source = open_bytes(piece)
        assert b"".join(source) == path.read_bytes()[start:end]
        assert source.position == min(end or 10_240, 10_240) - start
        source.close()
    assert stored_size(FileRange(str(path), "name", 5, None)) == 10_235
    with pytest.raises(MalformedInput, match="cannot read gone"):
        open_bytes(FileRange(str(tmp_path / "gone"), "gone"))
