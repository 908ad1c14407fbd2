"""More hard negatives, from short templates: see ``data/harmless.grammar``; `benign` holds the larger set.

Some are joined, as real fields hold more than one line, link or item.
"""

from __future__ import annotations

import random

from vedette.datasets.grammar import Split, load_grammar

_GRAMMAR = load_grammar("harmless")


def generate(rng: random.Random, split: Split = "all") -> str:
    """Return one harmless value as it stands in a decoded field."""
    text = _GRAMMAR.draw(rng, split=split)
    if rng.random() < 0.85:
        return text
    joiner = rng.choice(("\n", " ", "\n\n", ", ", "\r\n", " - "))
    others = [_GRAMMAR.draw(rng, rng.choice(("prose", "markup", "code", "lists", "names", "foreign")), split)
              for _ in range(rng.randint(1, 3))]  # fmt: skip
    return joiner.join([text, *others])
