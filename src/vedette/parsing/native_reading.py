"""The first look at pairs, escapes and JSON by the library in C, where there is one.

What it returns is what the twins in `forms`, `decoders` and `values` would find; None leaves all to them.
"""

from __future__ import annotations

from vedette.native.loader import native_module
from vedette.native.rules import Rules
from vedette.parsing import shapes

RULES = Rules(
    {
        "plain_name": shapes.PLAIN_NAME,
        "name_danger": shapes.DANGEROUS_NAME,
        "plain_word": shapes.PLAIN_WORD,
        "packed": shapes.PACKED,
        "name_of_form": shapes.NAME_OF_FORM,
        "cut": shapes.CUT,
        "open": shapes.OPEN,
    },
    {"VARYING": shapes.VARYING, "OPERATOR": frozenset(name.lower() for name in shapes.OPERATORS)},
)
LAYERS = 2  # of percent-encoding that the library undoes by itself: MOST_LAYERS of native/reading.h
native = native_module(RULES)
