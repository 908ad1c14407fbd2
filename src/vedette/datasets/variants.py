"""An attack in other words and elsewhere: mutated, encoded, in harmless text, in any place of a request."""

from __future__ import annotations

import json
import random
from typing import Any
from urllib.parse import quote_plus

from vedette.datasets import encoders, primitives
from vedette.datasets.generate import generate_benign
from vedette.datasets.mutators import WHOLE, is_whole, may_follow_text, mutate, standing_in_text

_ENCODINGS = (0, 0, 0, 1, 1, 2)
_PADDED = 0.3  # how many get harmless text around
_LONGEST_PADDING = 128 * 1024  # characters; lengths are drawn evenly by their logarithm
_LONG_PLACES = ("json", "form", "multipart", "xml")  # where a long value may stand


def varied(value: str, attack_class: str, rng: random.Random) -> dict[str, Any]:
    """Return a request record (method, url, headers, body) that attacks as `value` does.

    The payload is mutated by the operators of its family; three in ten stand in up to 128 KiB of harmless text, or
    between as much of it where only a whole value attacks; of the others half are encoded once or twice, unless they
    stand in a header, where nobody decodes. What attacks as a whole value stands where it is looked for.
    """
    value = mutate(value, attack_class, rng)
    if rng.random() < _PADDED:
        if is_whole(value, attack_class):
            return _between_harmless_text(value, rng)
        before, behind = _harmless_text(rng)
        lead = f"{before} " if may_follow_text(value, attack_class) else ""
        value = f"{lead}{standing_in_text(value, attack_class)} {behind}"
        return encoders.place(value, rng, location=rng.choice(_LONG_PLACES))
    whole = attack_class in WHOLE
    location = encoders.usual_location(attack_class, rng) if whole else rng.choice(encoders.LOCATIONS)
    if location != "header":
        of = encoders.UNDONE_BY_SERVERS if whole else tuple(encoders.ENCODERS)
        value, _ = encoders.encode(value, rng, layers=rng.choice(_ENCODINGS), of=of)
    return encoders.place(value, rng, location=location)


def _between_harmless_text(value: str, rng: random.Random) -> dict[str, Any]:
    """A form or a JSON object with `value` in one member and harmless text in the first and the last."""
    before, behind = _harmless_text(rng)
    location = rng.choice(("json", "form"))
    record = encoders.place(value, rng, location=location)
    first, last = primitives.ident(rng), primitives.ident(rng)
    if location == "json":
        members = json.dumps({first: before})[:-1], json.dumps({last: behind})[1:]
        record["body"] = f"{members[0]}, {record['body'][1:-1]}, {members[1]}"
    else:
        before, behind = (quote_plus(text, errors="surrogatepass") for text in (before, behind))
        record["body"] = f"{first}={before}&{record['body']}&{last}={behind}"
    return record


def _harmless_text(rng: random.Random) -> tuple[str, str]:
    """Up to 128 KiB of it, cut in two."""
    length = int(_LONGEST_PADDING ** rng.random())
    piece = generate_benign(rng) + " "
    padding = (piece * (length // len(piece) + 1))[:length]
    cut = rng.randint(0, length)
    return padding[:cut], padding[cut:]
