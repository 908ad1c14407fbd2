"""What the model reads of a value: lower case, with runs that carry no meaning shortened.

Long digit runs, lists of numbers, identifiers and hashes, long words, long repeats of one character and runs of blanks
are cut to a few of their characters, so that neither padding nor randomness spends the window. `SourceMap` maps a range
of the view back to the value.
"""

from __future__ import annotations

import re
from bisect import bisect_right

ELLIPSIS = "\u2026"
# Possessive quantifiers and bounded look-aheads: a run that fails is not tried again shorter, so a pass is linear.
_RUN = re.compile(
    r"(?P<blank>(?<![\t\n ])[\t ]{2,}+)"  # not what a line is indented by
    r"|(?P<lines>(?:\r?\n[\t ]*+){3,}+)"
    r"|(?P<repeat>([^0-9])\4{11,})"
    r"|(?P<list>(?<![0-9a-z])(?:[0-9]{1,20}+(?:[,;:|. ]-?|-)){7,}+)"  # coordinates, a fingerprint, columns
    r"|(?P<word>[0-9a-z_\-]{33,}+)"
    # A word of letters and digits in turns, at least four of them: an identifier, a digest, a piece of base64.
    r"|(?P<mixed>(?<![0-9a-z])(?=[0-9a-z]{12})(?:(?:[0-9]++[a-z]++){2,}+[0-9]*+|(?:[a-z]++[0-9]++){2,}+[a-z]*+))"
    r"|(?P<number>[0-9]{5,})"
)
_REPEAT = 6
_NUMBER, _LONG_NUMBER = 5, 6  # of nine digits and more, such as an address or a time, one more
_WORD = (14, 8)  # characters kept of a long word at its beginning and its end
# One that holds digits is an identifier and says nothing: kept are only letters at its end, and its first characters
# where they announce a serialised object or a hexadecimal literal.
_ANNOUNCES = re.compile(r"ro0|wey|ga[ijmnqrstuvwx]|aaeaaad|h4si|bah|aced|800[2-5]|y3bvc2l4|04086|0x|eyj|pd9|pht|tvqq")
_HEAD = 6
_LIST = (6, 1)
_DIGIT = re.compile(r"[0-9]")
_LETTERS_AT_END = re.compile(r"[a-z]+\Z")


def fold_case(text: str) -> str:
    """Lower-case without changing the length (``str.lower`` maps a few characters to two)."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(low if len(low := char.lower()) == 1 else char for char in text)


def _kept(match: re.Match[str]) -> tuple[int, int]:
    """How many characters of a run are kept at its beginning and its end."""
    kind = match.lastgroup
    if kind == "list":
        return _LIST
    if kind == "mixed" or _DIGIT.search(match[0]):
        # Letters at the end may be a word that only leans on digits: `1e0000000union select`.
        letters = _LETTERS_AT_END.search(match[0], len(match[0]) - _WORD[1])
        tail = len(letters[0]) if letters and len(letters[0]) > 1 else 0
        return (_HEAD if _ANNOUNCES.match(match[0]) else 0), tail
    return _WORD


def _shorten(match: re.Match[str]) -> str:
    text, kind = match[0], match.lastgroup
    if kind == "blank":
        return " "
    if kind == "lines":
        return "\n\n"
    if kind == "repeat":
        return text[:_REPEAT]
    if kind == "number":
        return "0" * (_LONG_NUMBER if len(text) > 8 else _NUMBER)
    head, tail = _kept(match)
    return text[:head] + ELLIPSIS + text[len(text) - tail :]


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
            tail = _kept(match)[1] if match.lastgroup in ("list", "word", "mixed") else 0
            self._at.append(match.end() - shift - tail)
            self._from.append(match.end() - tail)

    def source(self, start: int, end: int) -> tuple[int, int]:
        """Range [start, end) of the view -> range of the source text."""
        return self._position(start), min(self._position(max(end - 1, 0)) + 1 if end > start else start, self._length)

    def _position(self, at: int) -> int:
        index = bisect_right(self._at, at) - 1
        return min(self._from[index] + at - self._at[index], self._length)
