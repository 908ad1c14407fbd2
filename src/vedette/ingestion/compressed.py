"""Files as blocks of plain bytes, whatever they are packed with; the kind is told by magic bytes, not by the suffix.

Unpacking is streamed: no block is longer than `BLOCK_BYTES`, however small the input, so a bomb costs time
and never memory; and one that unpacks to more than `MAX_RATIO` times its size is given up. Damage and truncation are a
`MalformedInput` after all that could be read.
"""

from __future__ import annotations

import bz2
import lzma
import os
import stat
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from vedette.errors import MalformedInput

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BLOCK_BYTES = 256 * 1024
MAX_RATIO = 2000
"""DEFLATE cannot exceed 1032; logs pack 10 to 200 times."""
_RATIO_FROM_BYTES = 256 * 1024 * 1024
_XZ_MEMORY_BYTES = 128 * 1024 * 1024  # xz -9 needs 65 MiB
_ZSTD_WINDOW_LOG = 27  # 128 MiB, what `zstd --long` asks for

_MAGIC = ((b"\x1f\x8b", "gzip"), (b"\xfd7zXZ\x00", "xz"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh", "bzip2"))


@dataclass(frozen=True, slots=True)
class FileRange:
    """Bytes `start` to `end` (None: to the end of the file) of the file at `path`, which messages call `name`.

    Only a range from the start may be packed; what lies behind is plain, whatever it looks like.
    """

    path: str
    name: str
    start: int = 0
    end: int | None = None


Readable = str | Path | BinaryIO | FileRange


class ByteSource:
    """The plain bytes of a file, or of `size` bytes of one. `position` counts the bytes as stored."""

    def __init__(self, raw: BinaryIO, *, name: str, size: int | None = None, is_plain: bool = False) -> None:
        self.name = name
        self.position = 0
        self._raw = raw
        self._size = size
        self._head = self._read(4096)
        packed = (kind for magic, kind in _MAGIC if not is_plain and self._head.startswith(magic))
        self.kind = next(packed, "plain")

    def __iter__(self) -> Iterator[bytes]:
        """Yield blocks until the end; raises `MalformedInput` where the packed data are damaged."""
        unpacked = 0
        for block in self._unpacked():
            unpacked += len(block)
            if unpacked > _RATIO_FROM_BYTES and unpacked > MAX_RATIO * self.position:
                raise MalformedInput(f"the file unpacks to more than {MAX_RATIO} times its size", field=self.name)
            if block:
                yield block

    def close(self) -> None:
        """Close the file underneath."""
        self._raw.close()

    def _unpacked(self) -> Iterator[bytes]:
        try:
            if self.kind == "plain":
                while block := self._next():
                    yield block
            else:
                yield from self._members()
        except (zlib.error, lzma.LZMAError, zstd.ZstdError, EOFError, OSError):
            raise MalformedInput(f"the {self.kind} data are damaged or cut off", field=self.name) from None

    def _members(self) -> Iterator[bytes]:
        """Unpack gzip, xz, zstd or bzip2, of which several members may follow each other."""
        pending = self._next()
        while pending:
            member = _member(self.kind)
            while not member.eof:
                if not pending and member.needs_input:
                    pending = self._next()
                    if not pending:
                        raise EOFError
                yield member.decompress(pending, BLOCK_BYTES)
                pending = b""
            pending = member.unused_data or self._next()
            pending = pending.lstrip(b"\x00") or self._next()  # tar and tape padding

    def _next(self) -> bytes:
        head, self._head = self._head, b""
        return head or self._read(BLOCK_BYTES)

    def _read(self, count: int) -> bytes:
        data = self._raw.read(count if self._size is None else min(count, self._size - self.position))
        self.position += len(data)
        return data


def open_bytes(path: Readable) -> ByteSource:
    """Open a file, ``-`` (standard input) or a binary stream; raises `MalformedInput` where that is not possible."""
    if isinstance(path, FileRange):
        size = None if path.end is None else path.end - path.start
        try:
            raw = open(path.path, "rb")  # noqa: SIM115 - the source closes it
            raw.seek(path.start)
        except (OSError, ValueError) as error:
            raise _unopened(path.name, error) from None
        return ByteSource(raw, name=path.name, size=size, is_plain=path.start > 0)
    if not isinstance(path, str | Path):
        return ByteSource(path, name=str(getattr(path, "name", "stream")))
    if str(path) == "-":
        return ByteSource(sys.stdin.buffer, name="standard input")
    try:
        return ByteSource(open(path, "rb"), name=str(path))
    except (OSError, ValueError) as error:
        raise _unopened(path, error) from None


def stored_size(path: Readable) -> int | None:
    """Return the bytes of a file as stored, None for a stream; raises `MalformedInput` where it cannot be read."""
    if isinstance(path, FileRange):
        end = path.end if path.end is not None else stored_size(path.path)
        return None if end is None else end - path.start
    if not isinstance(path, str | Path) or str(path) == "-":
        return None
    try:
        status = os.stat(path)
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            return None  # a pipe can be opened once only
        with open(path, "rb"):
            return status.st_size
    except (OSError, ValueError) as error:
        raise _unopened(path, error) from None


def _unopened(path: str | Path, error: Exception) -> MalformedInput:
    reason = error.strerror if isinstance(error, OSError) else None
    return MalformedInput(f"cannot read {path}: {reason or error}", field=str(path))


class _Member(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


def _member(kind: str) -> _Member:
    if kind == "xz":
        return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES)
    if kind == "zstd":
        return zstd.ZstdDecompressor(options={int(zstd.DecompressionParameter.window_log_max): _ZSTD_WINDOW_LOG})
    return bz2.BZ2Decompressor() if kind == "bzip2" else _GzipMember()


class _GzipMember:
    """zlib's decompressor with the interface of the others: input that was not used yet is kept inside."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)
        self._produced_less = True

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    @property
    def needs_input(self) -> bool:
        return self._produced_less and not self._inner.unconsumed_tail

    def decompress(self, data: bytes, max_length: int) -> bytes:
        out = self._inner.decompress(self._inner.unconsumed_tail + data, max_length)
        self._produced_less = len(out) < max_length
        return out
