"""Pieces of requests that came before and were harmless: they need not be parsed and screened again.

Most of a browsing request are headers, cookies and arguments that came before, letter by letter. What a model reads of
such a piece depends on the piece alone; so the memory keeps, for the piece as it was sent, the score memory's keys of
all that is read of it, none where it is inert. A piece is known for as long as the score memory holds an answer below
the threshold for each of them: then its score is theirs, and the piece itself is left out. An attack is always read
anew, because it has to be shown.

Pieces are kept as they are, those of secret fields under their keyed BLAKE2b hash (RFC 7693, 128 bits), as in the score
memory. Two generations stand in for a list of uses: the young one takes what is new and what is met again, and when it
holds half of the bytes allowed it becomes the old one, whose predecessor is forgotten. Safe to use from many threads:
dictionaries are changed by single operations, and a lost piece is only read again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from hashlib import blake2b

from vedette.inference.score_memory import Key, ScoreMemory
from vedette.parsing.field import SourceKey
from vedette.sinks.masking import is_secret

MAX_CHARS = 512  # a longer piece hardly ever comes again
MAX_KEYS = 8
_ENTRY_BYTES = 240  # table slot, key tuple and value tuple of an entry, without texts
_KEY_BYTES = 60


class SourceMemory:
    """Remembers at most about `max_bytes` worth of pieces; 0 remembers nothing."""

    def __init__(self, max_bytes: int, scores: ScoreMemory, threshold: float) -> None:
        self._half = max_bytes // 2
        self._scores = scores
        self._threshold = threshold
        self._secret = os.urandom(32)
        self._young: dict[SourceKey, tuple[Key, ...]] = {}
        self._old: dict[SourceKey, tuple[Key, ...]] = {}
        self._used = 0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def key(self, location: str, name: str, raw: str) -> SourceKey | None:
        """Return what stands for the piece `raw` of a request, None if it is not to be remembered."""
        if len(raw) > MAX_CHARS or len(name) > MAX_CHARS or not self._half:
            return None
        if location == "cookie" or is_secret(location, name):
            digest = blake2b(
                f"{location}\x00{name}\x00".encode("utf-8", "surrogatepass"), digest_size=16, key=self._secret
            )
            digest.update(raw.encode("utf-8", "surrogatepass"))
            return digest.digest()
        return location, name, raw

    def score(self, key: SourceKey) -> float | None:
        """Return the score of a piece that is known to be harmless, 0 if nothing of it is read; None if it is not."""
        read = self._young.get(key)
        if read is None:
            read = self._old.get(key)
            if read is None:
                return None
            self.add(((key, read),))
        if not read:
            return 0.0
        score = self._scores.recall(read)
        return score if score is not None and score < self._threshold else None

    def add(self, pieces: Iterable[tuple[SourceKey, tuple[Key, ...]]]) -> None:
        """Remember pieces and the score memory's keys of what is read of each."""
        for key, read in pieces:
            if len(read) <= MAX_KEYS:
                self._young[key] = read
                self._used += _size(key, read)
        if self._used > self._half:
            self._old, self._young, self._used = self._young, {}, 0


def _size(key: SourceKey, read: tuple[Key, ...]) -> int:
    return _ENTRY_BYTES + _KEY_BYTES * len(read) + (0 if isinstance(key, bytes) else sys.getsizeof(key[2]))
