"""Undo Content-Encoding under a bound on the output: a bomb costs what the limit costs, whatever it claims.

Input is fed in small steps, because a decoder hands back what follows the end of its stream as a copy: fed whole, a
body of thousands of empty members would be copied thousands of times.
"""

from __future__ import annotations

import sys
import zlib
from typing import NamedTuple

import brotli

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_STEP = 4 * 1024
_MAX_MEMBERS = 1024  # gzip members or zstd frames in one body; real ones have one, parallel compressors some dozens
_ZSTD_WINDOW_LOG = 23  # 8 MiB, what RFC 8878 section 3.1.1.1.2 asks of a decoder


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
    except (zlib.error, brotli.error, zstd.ZstdError):
        return Inflated(data, failed=True)
    return Inflated(data, failed=True)


def _zlib(data: bytes, limit: int, wbits: int) -> Inflated:
    out = bytearray()
    at, members = 0, 1
    pending = b""
    decoder = zlib.decompressobj(wbits)
    while len(out) < limit:
        if not pending:
            pending, at = data[at : at + _STEP], at + _STEP
            if not pending:
                return Inflated(bytes(out))
        try:
            out += decoder.decompress(pending, limit - len(out))
        except zlib.error:
            if not out:
                raise
            return Inflated(bytes(out), failed=True)
        pending = decoder.unconsumed_tail
        if decoder.eof:  # gzip members may follow each other (RFC 1952 section 2.2)
            pending = decoder.unused_data
            if members == _MAX_MEMBERS or not (pending or at < len(data)):
                break
            members, decoder = members + 1, zlib.decompressobj(wbits)
    return Inflated(bytes(out), cut=bool(pending) or at < len(data) or not decoder.eof)


def _brotli(data: bytes, limit: int) -> Inflated:
    decoder = brotli.Decompressor()
    out = bytearray(decoder.process(data, output_buffer_limit=limit))
    while len(out) < limit and not decoder.can_accept_more_data() and not decoder.is_finished():
        out += decoder.process(b"", output_buffer_limit=limit - len(out))
    return Inflated(bytes(out[:limit]), cut=len(out) > limit or (len(out) == limit and not decoder.is_finished()))


def _zstd(data: bytes, limit: int) -> Inflated:
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
    out = bytearray()
    at, frames = 0, 1
    pending = b""
    decoder = zstd.ZstdDecompressor(options=options)
    while len(out) < limit:
        if not pending and decoder.needs_input:
            pending, at = data[at : at + _STEP], at + _STEP
            if not pending:
                return Inflated(bytes(out))  # truncated
        try:
            out += decoder.decompress(pending, limit - len(out))
        except zstd.ZstdError:
            if not out:
                raise
            return Inflated(bytes(out), failed=True)
        pending = b""
        if decoder.eof:  # frames may follow each other (RFC 8878 section 3.1)
            pending = decoder.unused_data
            if frames == _MAX_MEMBERS or not (pending or at < len(data)):
                break
            frames, decoder = frames + 1, zstd.ZstdDecompressor(options=options)
    return Inflated(bytes(out), cut=bool(pending) or at < len(data) or not decoder.eof)
