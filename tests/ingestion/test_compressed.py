"""Packed files: every kind comes back whole, damage is named, and bombs cost no memory."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.errors import MalformedInput
from vedette.ingestion import compressed
from vedette.ingestion.compressed import ByteSource, open_bytes, stored_size

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PACK: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "zstd": zstd.compress,
    "bzip2": bz2.compress,
}
TEXT = b"".join(b"line %d of a log that is packed\n" % i for i in range(12_000))


def read(data: bytes) -> bytes:
    return b"".join(ByteSource(io.BytesIO(data), name="test"))


@pytest.mark.parametrize("kind", PACK)
def test_the_kind_is_told_by_its_magic_and_unpacked(kind: str) -> None:
    packed = PACK[kind](TEXT)
    source = ByteSource(io.BytesIO(packed), name="test")
    assert source.kind == kind
    assert b"".join(source) == TEXT
    assert source.position == len(packed)


@pytest.mark.parametrize("kind", ["gzip", "xz", "zstd", "bzip2"])
def test_members_that_follow_each_other_are_read(kind: str) -> None:
    assert read(PACK[kind](TEXT) + PACK[kind](b"more\n")) == TEXT + b"more\n"


def test_zeros_after_gzip_data_are_padding() -> None:
    assert read(gzip.compress(b"a\n") + b"\x00" * 1000) == b"a\n"


@pytest.mark.parametrize("kind", ["gzip", "xz", "zstd", "bzip2"])
@pytest.mark.parametrize("cut", [0.5, 0.99])
def test_a_file_cut_off_gives_its_beginning_and_then_a_named_error(kind: str, cut: float) -> None:
    packed = PACK[kind](TEXT)
    blocks = []
    with pytest.raises(MalformedInput, match=f"{kind} data are damaged or cut off"):
        blocks.extend(ByteSource(io.BytesIO(packed[: int(len(packed) * cut)]), name="test"))
    assert TEXT.startswith(b"".join(blocks))


@pytest.mark.parametrize("kind", ["gzip", "xz", "zstd"])
def test_a_bomb_is_unpacked_in_bounded_memory_and_given_up(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressed, "_RATIO_FROM_BYTES", 12 * 1024 * 1024)
    monkeypatch.setattr(compressed, "MAX_RATIO", 100)
    bomb = PACK[kind](bytes(24 * 1024 * 1024))
    tracemalloc.start()
    with pytest.raises(MalformedInput, match="unpacks to more than"):
        max(map(len, ByteSource(io.BytesIO(bomb), name="test")))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40 * 1024 * 1024


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.log", tmp_path, "nul\x00.log"):
        with pytest.raises(MalformedInput, match="cannot read"):
            open_bytes(path)
        with pytest.raises(MalformedInput, match="cannot read"):
            stored_size(path)


@settings(max_examples=200, deadline=None)
@given(kind=st.sampled_from(sorted(PACK)), start=st.integers(0, 120), noise=st.binary(min_size=1, max_size=8))
def test_damaged_data_give_bytes_or_one_named_error(kind: str, start: int, noise: bytes) -> None:
    packed = PACK[kind](b"GET / HTTP/1.1\n" * 30)
    try:
        read(packed[:start] + noise + packed[start + len(noise) :])
    except MalformedInput as error:
        message = str(error)
    else:
        message = ""
    assert message == "" or "damaged" in message
