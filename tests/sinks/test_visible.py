from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.sinks.visible import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("1' OR 1=1--", "1' OR 1=1--"),
        ("Grüße 日本 😀", "Grüße 日本 😀"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x1b[31m\x07\x00", "\\x1b[31m\\x07\\x00"),
        ("\x9b2J\x7f", "\\x9b2J\\x7f"),
        ("user\u202egnp.exe", "user\\u202egnp.exe"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("\udcff", "\\udcff"),
        ("\U000e0041", "\\U000e0041"),
        ("[red]markup[/red]", "[red]markup[/red]"),
    ],
)
def test_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text(st.characters(), max_size=50))
def test_nothing_that_a_terminal_would_obey_is_left(text: str) -> None:
    shown = visible(text)
    assert all(char.isprintable() or char == "\u3000" or char.isspace() for char in shown)
    assert not set(shown) & set(map(chr, [*range(32), *range(0x7F, 0xA0)]))
    assert len(shown) <= 10 * len(text)
    shown.encode()
