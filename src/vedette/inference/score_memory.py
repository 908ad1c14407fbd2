"""What the model said about a window, remembered: an LRU bounded in bytes.

The key is exactly what the model reads, the context and the text of a window, so a remembered answer is the answer.
Short texts are kept as they are, which is the cheapest look-up; long ones, and those of secret fields whatever their
length, as BLAKE2b hashes (RFC 7693, 128 bits) keyed with a random key of this process: memory stays small, no secret
rests in it, and nobody outside can construct two texts with the same key.

One memory belongs to one model: a new model starts with an empty one. Thread safe. A look-up costs about a microsecond.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

MAX_PLAIN_CHARS = 48  # a longer text costs more memory than its hash (49 bytes as an object)
_ENTRY_BYTES = 380  # table slot, link, key tuple and value of one entry; 300 to 370 by tracemalloc, CPython 3.11

Key = tuple[str, str] | bytes


class Remembered(NamedTuple):
    """What the model said of a window: calibrated score, index of the strongest attack class, and the evidence.

    The evidence is the token range [start, end) of row `row` (see `HTTPTokenizer.encode`); it is empty where the score
    is no attack's. Tokens rather than characters, because texts that the model reads alike may differ in length.
    """

    score: float
    class_index: int
    row: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class MemoryStats:
    """Counts since the start, and what is held now. `used_bytes` is an estimate that errs upwards."""

    hits: int
    misses: int
    evicted: int
    entries: int
    used_bytes: int
    max_bytes: int


class ScoreMemory:
    """Remembers at most `max_bytes` worth of windows; 0 remembers nothing."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._key = os.urandom(32)
        self._lock = threading.Lock()
        self._entries: OrderedDict[Key, Remembered] = OrderedDict()
        self._used = 0
        self._hits = self._misses = self._evicted = 0

    def key(self, context: str, text: str, *, secret: bool) -> Key:
        """Return the key of a window; equal keys mean that the model reads the same."""
        if not secret and len(text) <= MAX_PLAIN_CHARS:
            return context, text
        head = context.encode("utf-8", "surrogatepass")
        digest = blake2b(len(head).to_bytes(4, "little"), digest_size=16, key=self._key)
        digest.update(head)
        digest.update(text.encode("utf-8", "surrogatepass"))
        return digest.digest()

    def look_up(self, keys: Sequence[Key]) -> list[Remembered | None]:
        """Return what is remembered for each of `keys`, None where nothing is."""
        entries = self._entries
        with self._lock:
            found = [entries.get(key) for key in keys]
            misses = 0
            for key, value in zip(keys, found, strict=True):
                if value is None:
                    misses += 1
                else:
                    entries.move_to_end(key)
            self._misses += misses
            self._hits += len(keys) - misses
        return found

    def recall(self, keys: Sequence[Key]) -> float | None:
        """Return the highest of the scores remembered for `keys`, None if one of them is not remembered."""
        entries = self._entries
        best = 0.0
        with self._lock:
            for key in keys:
                found = entries.get(key)
                if found is None:
                    return None
                entries.move_to_end(key)
                best = max(best, found.score)
            self._hits += len(keys)
        return best

    def remember(self, items: Iterable[tuple[Key, Remembered]]) -> None:
        """Store items, forgetting those unused for longest."""
        if not self._max_bytes:
            return
        with self._lock:
            for key, value in items:
                if key not in self._entries:
                    self._used += _size(key)
                self._entries[key] = value
            while self._used > self._max_bytes:
                key, _ = self._entries.popitem(last=False)
                self._used -= _size(key)
                self._evicted += 1

    def stats(self) -> MemoryStats:
        """Return a snapshot."""
        return MemoryStats(self._hits, self._misses, self._evicted, len(self._entries), self._used, self._max_bytes)


def _size(key: Key) -> int:
    """Bytes that an entry holds; contexts are few and shared."""
    if isinstance(key, bytes):
        return _ENTRY_BYTES
    return _ENTRY_BYTES + sys.getsizeof(key[1])
