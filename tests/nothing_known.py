"""What a service knows that has seen nothing yet and remembers nothing: plain pairs are passed over, no more."""

from __future__ import annotations


class NothingKnown:
    """`inert` is the library's set of pieces that hold nothing, None for the twins alone."""

    def __init__(self, inert: object = None) -> None:
        self.inert = inert

    def key(self, location: str, name: str, raw: str) -> None:
        return None

    def key_of_group(self, pieces: object) -> None:
        return None

    def recall(self, key: object) -> None:
        return None

    def hand_over(self, key: object, piece: object, known: object) -> None:
        raise AssertionError("nothing was recalled")
