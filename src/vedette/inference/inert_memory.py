"""Pieces of requests that gave the model nothing to read, remembered: they need not be parsed and screened again.

Three quarters of a browsing request are headers, cookies and arguments that came before, letter by letter. Whether such
a piece is inert depends on the piece alone, so leaving it out changes no verdict. What is remembered is that it is
inert, under the piece itself; cookies, whose values are secrets, under their keyed BLAKE2b hash (RFC 7693, 128 bits),
and other secret fields not at all.

Two generations instead of a list of uses: the young one takes what is new and what is met again, and when it holds half
of the bytes allowed it becomes the old one, whose predecessor is forgotten. A look-up costs a fraction of a
microsecond. Safe to use from many threads: sets are changed by single operations, and a lost piece is only read again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from hashlib import blake2b

from vedette.parsing.field import SourceKey
from vedette.sinks.masking import is_secret

MAX_CHARS = 512  # a longer piece hardly ever comes again
_ENTRY_BYTES = 110  # table slot and key without its text
_HASH_BYTES = 120


class InertMemory:
    """Remembers at most about `max_bytes` worth of pieces; 0 remembers nothing."""

    def __init__(self, max_bytes: int) -> None:
        self._half = max_bytes // 2
        self._secret = os.urandom(32)
        self._young: set[SourceKey] = set()
        self._old: set[SourceKey] = set()
        self._used = 0

    def key(self, location: str, name: str, raw: str) -> SourceKey | None:
        """Return what stands for the piece `raw` of a request, None if it is not to be remembered."""
        if len(raw) > MAX_CHARS or len(name) > MAX_CHARS or not self._half:
            return None
        if location == "cookie":
            return blake2b(raw.encode("utf-8", "surrogatepass"), digest_size=16, key=self._secret).digest()
        if is_secret(location, name):
            return None
        return location, name, raw

    def __contains__(self, key: SourceKey) -> bool:
        if key in self._young:
            return True
        if key in self._old:
            self.add((key,))
            return True
        return False

    def add(self, keys: Iterable[SourceKey]) -> None:
        """Remember that these pieces are inert."""
        for key in keys:
            self._young.add(key)
            self._used += _size(key)
        if self._used > self._half:
            self._old, self._young, self._used = self._young, set(), 0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)


def _size(key: SourceKey) -> int:
    return _HASH_BYTES if isinstance(key, bytes) else _ENTRY_BYTES + sys.getsizeof(key[2])
