"""Files of every kind as readings: detection, counting, hostile bytes, HAR, damage and following."""

from __future__ import annotations

import gzip
import io
import json
import os
from pathlib import Path
from threading import Event, Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.errors import ConfigError, MalformedInput
from vedette.ingestion.sources import RequestSource, follow_requests

LINE = '192.0.2.%d - - [10/Oct/2025:13:55:36 +0000] "GET /p%d HTTP/1.1" 200 12 "-" "ua"\n'


def log(count: int) -> bytes:
    return "".join(LINE % (i % 250, i) for i in range(count)).encode()


def test_a_packed_log_is_recognised_and_read(tmp_path: Path) -> None:
    path = tmp_path / "access.log"  # no suffix: the magic tells
    path.write_bytes(gzip.compress(log(3000)))
    source = RequestSource(path)
    readings = list(source)
    assert [reading.entry.request.target for reading in readings if reading.entry] == [f"/p{i}" for i in range(3000)]
    assert readings[-1].number == 3000
    assert source.format == "combined"
    assert source.position == source.size == path.stat().st_size


def test_every_line_is_accounted_for() -> None:
    data = (
        log(3)
        + b"\n\x00\x00\x00\n\xff\xfe garbage\n"
        + b"x" * 5000
        + b"\n"
        + (LINE % (1, 9)).replace("GET /p9 ", "").encode()
    )
    readings = list(RequestSource(io.BytesIO(data), max_line_bytes=1000))
    assert [reading.number for reading in readings] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [reading.entry is not None for reading in readings] == [True] * 3 + [False] * 5
    assert [reading.problem for reading in readings[3:]] == [
        None,
        None,
        "the line does not fit the log format",
        "the line is too long",
        "not an HTTP request line",
    ]
    assert all(len(reading.sample) <= 200 for reading in readings)


def test_nuls_left_by_a_truncation_do_not_hide_the_line_after_them() -> None:
    (reading,) = RequestSource(io.BytesIO(b"\x00" * 300 + log(1)))
    assert reading.entry is not None


def test_a_har_is_told_from_json_logs() -> None:
    entries = [{"request": {"method": "GET", "url": "http://h/a"}}, {"request": {}}]
    source = RequestSource(io.BytesIO(json.dumps({"log": {"version": "1.2", "entries": entries}}, indent=1).encode()))
    readings = list(source)
    assert source.format == "har"
    assert readings[0].entry is not None
    assert readings[1].problem == "request.method is not a string"


def test_damage_ends_the_stream_with_a_counted_problem() -> None:
    packed = gzip.compress(log(20))
    readings = list(RequestSource(io.BytesIO(packed[:-4])))
    assert sum(reading.entry is not None for reading in readings) == 20
    assert readings[-1].problem == "the gzip data are damaged or cut off"


def test_one_line_of_many_megabytes_is_one_counted_line() -> None:
    data = gzip.compress(log(1) + b"A" * (24 * 1024 * 1024) + b"\n" + log(1), compresslevel=1)
    readings = list(RequestSource(io.BytesIO(data)))
    assert [reading.problem for reading in readings] == [None, "the line is too long", None]


def test_what_is_no_log_is_refused_as_a_whole() -> None:
    with pytest.raises(MalformedInput, match="not recognised"):
        list(RequestSource(io.BytesIO(b"Dear diary,\ntoday it rained.\n")))
    with pytest.raises(ConfigError, match="neither a log format string"):
        RequestSource(io.BytesIO(b""), format="nonsense")


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\x00" * 10])
def test_an_empty_log_has_no_requests(data: bytes) -> None:
    assert [reading for reading in RequestSource(io.BytesIO(data)) if reading.entry or reading.problem] == []


def test_a_log_is_followed_with_its_format(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_bytes(log(2))
    stop = Event()
    readings = follow_requests(path, stop, poll_s=0.001)
    assert next(readings) is None
    path.write_bytes(log(3) + b"garbage\n")  # truncated and written anew
    got = [reading for reading in (next(readings) for _ in range(3)) if reading]
    with path.open("ab") as file:
        file.write(log(1))
    stop.set()
    got += [reading for reading in readings if reading]
    assert got[-1].entry is not None
    assert "the line does not fit the log format" in {reading.problem for reading in got}


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=300), format=st.sampled_from(["auto", "combined", "json", "jsonl", "har", "w3c"]))
def test_any_file_gives_readings_or_one_named_error(data: bytes, format: str) -> None:
    try:
        numbers = [reading.number for reading in RequestSource(io.BytesIO(data), format=format)]
    except MalformedInput:
        numbers = []
    assert numbers == sorted(numbers)


def test_a_named_pipe_is_read_as_a_stream(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = Thread(target=pipe.write_bytes, args=(log(500),))
    source = RequestSource(pipe)
    writer.start()
    readings = list(source)
    writer.join()
    assert source.size is None
    assert sum(reading.entry is not None for reading in readings) == 500
