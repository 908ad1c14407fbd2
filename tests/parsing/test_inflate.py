"""Content codings undone under a bound: every coding, joined members, damage, bombs."""

from __future__ import annotations

import gzip
import sys
import tracemalloc
import zlib
from collections.abc import Callable

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.parsing.inflate import Inflated, inflate

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TEXT = b"id=1' OR 1=1-- " * 1000
LIMIT = 1 << 20


def raw_deflate(data: bytes) -> bytes:
    encoder = zlib.compressobj(wbits=-15)
    return encoder.compress(data) + encoder.flush()


CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstd.compress,
}
JOINED = ["gzip", "zstd"]


@pytest.mark.parametrize("coding", CODINGS)
def test_round_trip(coding: str) -> None:
    for text in (b"", b"x", TEXT):
        assert inflate(CODINGS[coding](text), coding, LIMIT) == Inflated(text)


def test_raw_deflate_is_read_too() -> None:
    assert inflate(raw_deflate(TEXT), "deflate", LIMIT) == Inflated(TEXT)


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("limit", [1, 4096, len(TEXT) - 1])
def test_output_stops_at_the_limit_and_says_so(coding: str, limit: int) -> None:
    assert inflate(CODINGS[coding](TEXT), coding, limit) == Inflated(TEXT[:limit], cut=True)


@pytest.mark.parametrize("coding", CODINGS)
def test_output_of_just_the_limit(coding: str) -> None:
    result = inflate(CODINGS[coding](TEXT), coding, len(TEXT))
    assert result.data == TEXT


@pytest.mark.parametrize("coding", JOINED)
def test_joined_members_are_read_to_the_end(coding: str) -> None:
    joined = b"".join(CODINGS[coding](bytes([65 + n]) * 50) for n in range(20))
    assert inflate(joined, coding, LIMIT) == Inflated(b"".join(bytes([65 + n]) * 50 for n in range(20)))


@pytest.mark.parametrize("coding", JOINED)
def test_a_body_of_empty_members_is_cut_and_cheap(coding: str) -> None:
    body = CODINGS[coding](b"") * 400_000  # fed whole, each member would copy the rest: terabytes
    assert inflate(body, coding, LIMIT) == Inflated(b"", cut=True)


@pytest.mark.parametrize("coding", CODINGS)
def test_a_truncated_body_keeps_what_was_read(coding: str) -> None:
    packed = CODINGS[coding](bytes(range(256)) * 40)
    result = inflate(packed[: len(packed) * 3 // 4], coding, LIMIT)
    assert (bytes(range(256)) * 40).startswith(result.data)
    assert not result.cut


@pytest.mark.parametrize("coding", [*CODINGS, "unheard-of"])
def test_what_is_not_in_the_coding_stays_as_it_is(coding: str) -> None:
    assert inflate(b"\xf1not packed at all", coding, LIMIT) == Inflated(b"\xf1not packed at all", failed=True)


@pytest.mark.parametrize("coding", CODINGS)
def test_a_bomb_costs_what_the_limit_costs(coding: str) -> None:
    bomb = CODINGS[coding](bytes(64 << 20))
    tracemalloc.start()
    try:
        result = inflate(bomb, coding, 1 << 16)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (len(result.data), result.cut) == (1 << 16, True)
    assert peak < 1 << 20


@given(st.binary(max_size=200), st.sampled_from(sorted(CODINGS)), st.booleans(), st.integers(1, 100))
def test_any_bytes_are_read_within_the_limit(data: bytes, coding: str, framed: bool, limit: int) -> None:
    body = CODINGS[coding](data)[: len(data)] + data if framed else data
    result = inflate(body, coding, limit)
    assert result.failed or len(result.data) <= limit
