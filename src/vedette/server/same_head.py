"""A client that keeps its connection sends one head over and over; only the length of the body behind it changes.

Once the parser has read such a head, bytes that begin with the same ones mean the same, but for that number: comparing
them saves the parsing, with a callback for each header.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

MAX_BYTES = 2048  # of a head that is kept, one for each connection
_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,5})(?=[ \t]*\r\n)", re.IGNORECASE)
_MAX_DIGITS = 5


class SameHead(NamedTuple):
    """A head around the digits of its Content-Length, and what the parser made of it."""

    before: bytes
    behind: bytes  # to the empty line
    url: bytes
    headers: tuple[tuple[bytes, bytes], ...]

    @classmethod
    def of(cls, data: bytes, url: bytes, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> SameHead | None:
        """The head of `data`, which was parsed into the rest; None unless `data` is one request, whole, whose head is
        short and states a length of at most five digits."""
        end = data.find(_END, 0, MAX_BYTES)
        if end < 0 or len(data) != end + len(_END) + len(body):
            return None
        length = _LENGTH.search(data, 0, end + len(_END))
        if length is None or int(length[1]) != len(body):
            return None
        return cls(data[: length.start(1)], data[length.end(1) : end + len(_END)], url, tuple(headers))

    def body_of(self, data: bytes) -> bytes | None:
        """The body of `data` if that is this head and a whole body of the length that it states, else None."""
        before, behind = self.before, self.behind
        if not data.startswith(before):
            return None
        start = len(before)
        end = data.find(behind, start, start + _MAX_DIGITS + len(behind))
        digits = data[start:end]
        if end < 0 or not digits.isdigit():
            return None
        body = data[end + len(behind) :]
        return body if len(body) == int(digits) else None
