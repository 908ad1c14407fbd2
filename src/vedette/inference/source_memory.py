"""Pieces of requests that came before and were harmless: they need not be parsed and screened again.

Most of a browsing request are headers, cookies and arguments that came before, letter by letter. What a model reads of
such a piece depends on the piece alone; so the memory keeps, for the piece as it was sent, the score memory's keys of
all that is read of it, none where it is inert. A piece is known for as long as the score memory holds an answer below
the threshold for each of them: then its score is theirs, and the piece itself is left out. An attack is always read
anew, because it has to be shown.

The headers that a client sends unchanged with each request, and its whole Cookie header, are looked up as one piece
each before they are taken apart.

Most pieces hold nothing to be read at all; those are a hash each, in a set of the library's (native/inert.h). So are,
from the second time on that they are recalled, those with something to be read, with their score.

Others are kept as they are, those of secret fields, groups, and what may hold a document under their keyed BLAKE2b hash
(RFC 7693, 128 bits), as in the score memory. Two generations stand in for a list of uses: the young one takes what is
new and what is met again, and when it holds half of the bytes allowed it becomes the old one, whose predecessor is
forgotten. Safe to use from many threads: a lost update costs no more than reading a piece again. What is left out does
not compete for `max_windows`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from hashlib import blake2b

import msgspec

from vedette.inference.score_memory import Key, ScoreMemory
from vedette.parsing.field import Field, Known, Piece, Source, SourceKey
from vedette.parsing.native_reading import native
from vedette.sinks.masking import is_secret

MAX_CHARS = 512  # a longer piece hardly ever comes again
MAX_NAME = 256
MAX_KEYS = 8
MAX_GROUP_BYTES, MAX_GROUP_KEYS = 8192, 32
_pack = msgspec.msgpack.encode
_ENTRY_BYTES = 420  # table slot, key tuple with the heads of its texts, and value tuples of an entry
# Names that hold a whole pair, or base64 of a JSON document: what they say may be a secret.
_OPENED = re.compile("&|ey[JA]|ewo|W3s|WyJ")


class SourceMemory:
    """Remembers at most about `max_bytes` worth of pieces; 0 remembers nothing."""

    def __init__(self, max_bytes: int, scores: ScoreMemory, threshold: float) -> None:
        self.inert = None if native is None or not max_bytes else native.inert_memory(max_bytes // 4)
        self._half = (max_bytes if self.inert is None else max_bytes - max_bytes // 4) // 2
        self._scores = scores
        self._threshold = threshold
        self._secret = os.urandom(32)
        self._young: dict[SourceKey, Known] = {}  # scores are looked up when they are asked for
        self._old: dict[SourceKey, Known] = {}
        self._used = 0

    def __len__(self) -> int:
        inert = 0 if native is None or self.inert is None else native.inert_count(self.inert)
        return len(self._young) + len(self._old) + inert

    def key(self, location: str, name: str, raw: str) -> SourceKey | None:
        """Return what stands for the piece `raw` of a request, None if it is not to be remembered."""
        if len(raw) > MAX_CHARS or len(name) > MAX_NAME or not self._half:
            return None
        if location == "cookie" or is_secret(location, name) or "{" in raw or "%7" in raw or _OPENED.search(name):
            piece = f"{location} {len(name)} {name}{raw}".encode("utf-8", "surrogatepass")
            return blake2b(piece, digest_size=16, key=self._secret).digest()
        return location, name, raw

    def key_of_group(self, pieces: Sequence[tuple[str, str]]) -> SourceKey | None:
        """Return what stands for `pieces` of a request that came together, None if they are not to be remembered."""
        if not self._half:
            return None
        try:
            packed = _pack(pieces)
        except UnicodeEncodeError:  # bytes that are no UTF-8: rare, and read piece by piece
            return None
        if len(packed) > MAX_GROUP_BYTES:
            return None
        return blake2b(packed, digest_size=16, key=self._secret, person=b"group").digest()

    def recall(self, key: SourceKey) -> Known | None:
        """Return what is known of a harmless piece, None if it has to be read."""
        entry = self._young.get(key)
        if entry is None:
            entry = self._old.get(key)
            if entry is None:
                return None
            self._store(key, entry)
        score = entry.score
        if entry.keys:
            recalled = self._scores.recall(entry.keys)
            if recalled is None or recalled >= self._threshold:
                return None
            score = max(score, recalled)
        return Known(entry.values, entry.names, score, entry.keys)

    def hand_over(self, key: SourceKey, piece: Piece, known: Known) -> None:
        """Leave a piece that was recalled to the library's set."""
        if not known.names and self._hand_over(piece, known.values, known.score) and self._young.pop(key, None) is not None:
            self._used -= _size(key, known)

    def add(self, source: Source, fields: Sequence[Field], keys: tuple[Key, ...]) -> None:
        """Remember a piece that was read: its `fields`, and the score memory's keys of what is read of them.

        A piece is not kept where only its reading showed that it holds a secret (``p%61ssword=...``).
        """
        score = 0.0  # of what the set knows, which has no keys
        for known in source.known:
            keys += known.keys
            if not known.keys:
                score = max(score, known.score)
        if not (keys or source.names) and self._hand_over(source.piece, source.values, score):
            return
        if len(keys) > (MAX_GROUP_KEYS if source.known else MAX_KEYS):
            return
        if not isinstance(source.key, bytes):
            location, name, _ = source.key  # of which `key` knows that they are none of a secret
            if source.opened:  # names of numbers and of what is passed over show in no field
                return
            for field in fields:
                if (field.name != name or field.location != location) and is_secret(*field[:2], field.kind):
                    return
        self._store(source.key, Known(source.values, source.names, score, keys))

    def _hand_over(self, piece: Piece, values: int, score: float) -> bool:
        """Put a piece into the library's set, by its hash alone. Returns False where that cannot be."""
        if native is None or self.inert is None:
            return False
        if isinstance(piece, list):
            return native.remember_inert_group(self.inert, piece, values, score)
        return native.remember_inert(self.inert, *piece, values, score)

    def _store(self, key: SourceKey, entry: Known) -> None:
        self._young[key] = entry
        self._used += _size(key, entry)
        if self._used > self._half:
            self._old, self._young, self._used = self._young, {}, 0


def _size(key: SourceKey, entry: Known) -> int:
    """Bytes that an entry holds, its score keys as if they were held by nothing else."""
    size = _ENTRY_BYTES + (0 if isinstance(key, bytes) else _text_bytes(key[1]) + _text_bytes(key[2]))
    for name in entry.names:
        size += 64 + _text_bytes(name)
    for held in entry.keys:
        size += 128 if isinstance(held, bytes) else 128 + _text_bytes(held[1])
    return size


def _text_bytes(text: str) -> int:
    return len(text) if text.isascii() else 4 * len(text)
