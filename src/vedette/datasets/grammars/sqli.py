"""SQL injection: see ``data/sqli.grammar``. The keywords are re-cased and the string is sometimes spread out."""

from __future__ import annotations

import random
import re

from vedette.datasets.grammar import Split, load_grammar

_GRAMMAR = load_grammar("sqli")
_KEYWORD = re.compile(r"\b[A-Z]{2,}\b")


def generate(rng: random.Random, split: Split = "all") -> str:
    """Return one SQL injection as it stands in a decoded field."""
    payload = _GRAMMAR.draw(rng, split=split)
    style = rng.random()
    if style < 0.45:
        return payload
    if style < 0.8:
        return _KEYWORD.sub(lambda match: match[0].lower(), payload)
    if style < 0.88:
        return _KEYWORD.sub(lambda match: match[0].capitalize(), payload)
    return _KEYWORD.sub(lambda match: _shuffled(match[0], rng), payload)


def _shuffled(word: str, rng: random.Random) -> str:
    return "".join(char.lower() if rng.random() < 0.5 else char for char in word)
