"""An attack in other words and elsewhere: mutated, encoded, in harmless text, in any place of a request."""

from __future__ import annotations

import random
from typing import Any

from vedette.datasets import encoders
from vedette.datasets.generate import generate_benign
from vedette.datasets.mutators import mutate

_ENCODINGS = (0, 0, 0, 1, 1, 2)
_PADDED = 0.3  # how many get harmless text around
_LONGEST_PADDING = 128 * 1024  # characters; lengths are drawn evenly by their logarithm
_LONG_PLACES = ("json", "form", "multipart", "xml")  # where a long value may stand


def varied(value: str, attack_class: str, rng: random.Random) -> dict[str, Any]:
    """Return a request record (method, url, headers, body) that attacks as `value` does.

    The payload is mutated by the operators of its family; three in ten stand in up to 128 KiB of harmless text, of the
    others half are encoded once or twice.
    """
    value = mutate(value, attack_class, rng)
    if rng.random() < _PADDED:
        return encoders.place(_in_harmless_text(value, rng), rng, location=rng.choice(_LONG_PLACES))
    value, _ = encoders.encode(value, rng, layers=rng.choice(_ENCODINGS))
    return encoders.place(value, rng)


def _in_harmless_text(value: str, rng: random.Random) -> str:
    length = int(_LONGEST_PADDING ** rng.random())
    piece = generate_benign(rng) + " "
    padding = (piece * (length // len(piece) + 1))[:length]
    cut = rng.randint(0, length)
    return f"{padding[:cut]} {value} {padding[cut:]}"
