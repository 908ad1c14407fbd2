"""Pieces of requests that came before and were harmless: they need not be parsed and screened again.

Most of a browsing request are headers, cookies and arguments that came before, letter by letter. What a model reads of
such a piece depends on the piece alone, and so does what it says of it. Once a request is judged, each of its pieces of
which nothing was read, or only what scored below the threshold, is put into a set of the library's (native/inert.h), as
a keyed hash with its score; the next time it is left out. An attack is always read anew, because it has to be shown.

The headers that a client sends unchanged with each request, and its whole Cookie header, are a piece each too.

One memory belongs to one model. Safe to use from many threads. Where there is no library nothing is remembered. What is
left out does not compete for `max_windows`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vedette.parsing.field import Piece
from vedette.parsing.native_reading import native

if TYPE_CHECKING:
    from vedette.inference.score_memory import Remembered
    from vedette.tokenization.http_tokenizer import Window


class PieceMemory:
    """Remembers at most about `max_bytes` worth of pieces; 0 remembers nothing."""

    def __init__(self, max_bytes: int, threshold: float) -> None:
        self.inert = None if native is None or not max_bytes else native.inert_memory(max_bytes)
        self._threshold = threshold

    def __len__(self) -> int:
        return 0 if native is None or self.inert is None else native.inert_count(self.inert)

    def remember(
        self, pieces: Sequence[Piece], reads: Sequence[tuple[int, int, Window]], answers: Sequence[Remembered | None]
    ) -> None:
        """Take in the pieces of a request that was judged: `reads` are the (field, slot, window) of what a model had to
        read, ascending by field, `answers` what it said of each slot."""
        if native is None or self.inert is None:
            return
        fields = [index for index, _, _ in reads]
        for texts, start, end, values, known_score in pieces:
            score = known_score
            if fields and end > start:
                for _, slot, _ in reads[bisect_left(fields, start) : bisect_left(fields, end)]:
                    answer = answers[slot]
                    score = max(score, 1.0 if answer is None else answer.score)
            if score >= self._threshold:
                continue
            if isinstance(texts, list):
                native.remember_inert_group(self.inert, texts, values, score)
            else:
                native.remember_inert(self.inert, *texts, values, score)
