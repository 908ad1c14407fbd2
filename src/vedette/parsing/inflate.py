"""Undo Content-Encoding under a bound on the output: a bomb costs what the limit costs, whatever it claims."""

from __future__ import annotations

import zlib
from typing import NamedTuple

import brotli
import zstandard

_STEP = 64 * 1024


class Inflated(NamedTuple):
    """`cut` says that output was left unread; `failed` that the data was not in the declared coding."""

    data: bytes
    cut: bool = False
    failed: bool = False


def inflate(data: bytes, coding: str, limit: int) -> Inflated:
    """Decompress `data` (coding: gzip, x-gzip, deflate, br or zstd) to at most `limit` bytes.

    What was decompressed before an error is kept. Costs O(len(data) + limit) time and O(limit) memory.
    """
    try:
        if coding in ("gzip", "x-gzip"):
            return _zlib(data, limit, 16 + zlib.MAX_WBITS)
        if coding == "deflate":  # RFC 9110 8.4.1.2 means zlib; many senders mean raw DEFLATE
            return _zlib(data, limit, zlib.MAX_WBITS if data[:1] == b"\x78" else -zlib.MAX_WBITS)
        if coding == "br":
            return _brotli(data, limit)
        if coding == "zstd":
            return _zstd(data, limit)
    except (zlib.error, brotli.error, zstandard.ZstdError):
        return Inflated(data, failed=True)
    return Inflated(data, failed=True)


def _zlib(data: bytes, limit: int, wbits: int) -> Inflated:
    out = bytearray()
    while data and len(out) < limit:  # gzip members may follow each other (RFC 1952 section 2.2)
        decoder = zlib.decompressobj(wbits)
        try:
            out += decoder.decompress(data, limit - len(out))
        except zlib.error:
            if not out:
                raise
            return Inflated(bytes(out), failed=True)
        if not decoder.eof:
            return Inflated(bytes(out), cut=bool(decoder.unconsumed_tail) or len(out) >= limit)
        data = decoder.unused_data
    return Inflated(bytes(out), cut=bool(data))


def _brotli(data: bytes, limit: int) -> Inflated:
    decoder = brotli.Decompressor()
    out = bytearray(decoder.process(data, output_buffer_limit=limit))
    while len(out) < limit and not decoder.can_accept_more_data() and not decoder.is_finished():
        out += decoder.process(b"", output_buffer_limit=limit - len(out))
    return Inflated(bytes(out[:limit]), cut=not decoder.is_finished() and len(out) >= limit)


def _zstd(data: bytes, limit: int) -> Inflated:
    out = bytearray()
    reader = zstandard.ZstdDecompressor(max_window_size=8 * 1024 * 1024).stream_reader(data, read_across_frames=True)
    while len(out) < limit:
        step = reader.read(min(_STEP, limit - len(out)))
        if not step:
            return Inflated(bytes(out))
        out += step
    return Inflated(bytes(out), cut=bool(reader.read(1)))
