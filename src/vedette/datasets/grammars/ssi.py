"""Server-side and edge-side includes: see ``data/ssi.grammar``."""

from __future__ import annotations

import random

from vedette.datasets.grammar import Split, load_grammar

_GRAMMAR = load_grammar("shell", "ssi")


def generate(rng: random.Random, split: Split = "all") -> str:
    """Return one payload as it stands in a decoded field."""
    return _GRAMMAR.draw(rng, split=split)
