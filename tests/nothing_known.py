"""What a service knows that has seen nothing yet and remembers nothing: plain pairs are passed over, no more."""

from __future__ import annotations


class NothingKnown:
    """`inert` is the library's set of known pieces, None for the twins alone."""

    def __init__(self, inert: object = None) -> None:
        self.inert = inert
