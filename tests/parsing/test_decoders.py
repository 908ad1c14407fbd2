"""Each decoder against its table of cases, and what holds of all of them for any text."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.parsing.cases_of import load_cases
from vedette.parsing import decoders
from vedette.parsing.values import decode

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=120)
CODED_PIECES = (
    "%", "25", "%25", "%3c", "%u003c", "%c0%af", "&", "#60;", "amp;", "&lt;", "\\", "u005c", "\\x5c", "\\74",
    "+ADw-", "+A", "\uff05", "\uff1c", "\ufdfa", "e\u0301", "\ud800", "a", "'", " ", "\x00",
)  # fmt: skip
CODED_TEXT = st.lists(st.sampled_from(CODED_PIECES), max_size=30).map("".join)
DECODERS = [
    decoders.percent, decoders.plus, decoders.entities, decoders.escapes, decoders.utf7, decoders.mojibake,
    decoders.compatibility,
]  # fmt: skip


@pytest.mark.parametrize("case", load_cases("decoders"), ids=lambda case: f"{case['decoder']}-{case['text']!a}")
def test_case(case: dict[str, Any]) -> None:
    assert getattr(decoders, case["decoder"])(case["text"]) == case["plain"]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"caf\xc3\xa9", "caf\u00e9"),
        (b"\xc0\xaf\xc1\x9c", "/\\"),
        (b"\xe0\x80\xaf\xf0\x80\x80\xaf", "//"),
        (b"\xf0\x8d\xa0\x80", "\ufffd"),  # an overlong surrogate
        (b"\xed\xa0\x80", "\u00ed\u00a0\u0080"),
        (b"\xff\xfe\x80a\xc3", "\u00ff\u00fe\u0080a\u00c3"),
        (b"\xe1\x80\xc3\xa9", "\u00e1\u0080\u00e9"),
        (b"\xc3\xc3\xa9\xe0\x80\xaf", "\u00c3\u00e9/"),
    ],
)
def test_utf8(data: bytes, text: str) -> None:
    assert decoders.utf8(data) == text


def test_utf8_reads_stray_bytes_together_as_it_reads_them_alone() -> None:
    rng = random.Random(5)
    for _ in range(2000):
        data = bytes(rng.choice(b"\x41\x80\xbf\xc2\xc3\xe1\xf1\xf5\xff") for _ in range(rng.randint(1, 9)))
        alone = data.decode("utf-8", "surrogateescape")
        want = "".join(chr(ord(char) - 0xDC00) if "\udc80" <= char <= "\udcff" else char for char in alone)
        assert decoders.utf8(data) == want


@pytest.mark.parametrize("decoder", DECODERS)
@given(text=st.one_of(ANY_TEXT, CODED_TEXT))
@example(text="\uff1c" + "\ufdfa" * 50)
def test_any_text_is_decoded_within_a_bound(decoder: Any, text: str) -> None:
    plain = decoder(text)
    assert len(plain) <= (18 if decoder is decoders.compatibility else 1) * len(text)  # U+FDFA folds to 18 characters


@given(st.one_of(ANY_TEXT, CODED_TEXT))
def test_decoding_ends_in_a_fixed_point(text: str) -> None:
    plain, _ = decode(text, (), 16)
    again, applied = decode(plain, (), 16)
    assert again == plain
    assert applied == ()
    assert len(plain) <= 18 * len(text)


@given(st.integers(1, 4), CODED_TEXT)
def test_passes_are_bounded(passes: int, text: str) -> None:
    assert len(decode(text, (), passes)[1]) <= 5 * passes + 1


@given(st.binary(max_size=200))
def test_any_bytes_are_text_without_surrogates(data: bytes) -> None:
    decoders.utf8(data).encode()
    assert decoders.without_surrogates(data.decode("utf-8", "surrogateescape")) == decoders.utf8(data)


@given(ANY_TEXT)
def test_without_surrogates_always_encodes(text: str) -> None:
    decoders.without_surrogates(text).encode()


def test_a_run_of_combining_marks_is_folded_in_linear_time() -> None:
    text = "\uff1c" + "\u0300\u0334" * 400_000  # canonical ordering of the whole run would take minutes
    assert decoders.compatibility(text)[0] == "<"
