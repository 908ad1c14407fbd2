"""What the model reads of a value: lower case, with runs that carry no meaning shortened.

Long digit runs, long runs of word characters (identifiers, hashes, padding) and long repeats of one character are cut
to a few of their characters, so that neither padding nor randomness spends the window. `SourceMap` maps a range of the
view back to the value.
"""

from __future__ import annotations

import re
from bisect import bisect_right

ELLIPSIS = "\u2026"
# A repeated character, a long word, a long number. Linear: each fails within a bounded look-ahead.
_RUN = re.compile(r"(?P<repeat>([^0-9])\2{11,})|(?P<word>[0-9a-z_\-]{33,})|(?P<number>[0-9]{5,})")
_LONG_WORD_HEAD, _LONG_WORD_TAIL, _REPEAT, _NUMBER = 14, 8, 6, 8


def fold_case(text: str) -> str:
    """Lower-case without changing the length (``str.lower`` maps a few characters to two)."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(low if len(low := char.lower()) == 1 else char for char in text)


def _shorten(match: re.Match[str]) -> str:
    text = match[0]
    if match["repeat"]:
        return text[:_REPEAT]
    if match["number"]:
        return "0" * min(len(text), _NUMBER)
    return text[:_LONG_WORD_HEAD] + ELLIPSIS + text[-_LONG_WORD_TAIL:]


def view(text: str) -> str:
    """Return what the model reads of `text`. Never longer than `text`; linear in its length."""
    return _RUN.sub(_shorten, fold_case(text))


class SourceMap:
    """Maps positions of ``view(text)`` back to positions of `text`."""

    def __init__(self, text: str) -> None:
        self._length = len(text)
        self._at = [0]  # positions in the view where a new offset begins
        self._from = [0]  # the position in the source that stands there
        shift = 0
        for match in _RUN.finditer(fold_case(text)):
            short = _shorten(match)
            shift += len(match[0]) - len(short)
            tail = 0 if match["number"] or match["repeat"] else _LONG_WORD_TAIL
            self._at.append(match.end() - shift - tail)
            self._from.append(match.end() - tail)

    def source(self, start: int, end: int) -> tuple[int, int]:
        """Range [start, end) of the view -> range of the source text."""
        return self._position(start), min(self._position(max(end - 1, 0)) + 1 if end > start else start, self._length)

    def _position(self, at: int) -> int:
        index = bisect_right(self._at, at) - 1
        return min(self._from[index] + at - self._at[index], self._length)
