"""Bytes and text: nothing is lost either way, and odd JSON raises one named error."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.errors import MalformedInput
from vedette.parsing.wire_text import load_json, to_bytes, to_text, unescape_json, unescape_log


@given(data=st.binary(max_size=100))
def test_bytes_survive_as_text(data: bytes) -> None:
    assert to_bytes(to_text(data)) == data


@given(text=st.text(st.characters(codec=None, exclude_categories=()), max_size=50))
def test_any_text_has_bytes(text: str) -> None:
    assert isinstance(to_bytes(text), bytes)
    assert isinstance(unescape_log(text), str)
    assert isinstance(unescape_json(text), str)


@pytest.mark.parametrize(
    ("escaped", "plain"),
    [
        (r"\x22\x5C\xc3\xa9", '"\\é'),
        (r"\"\\\n\r\t\b\v", '"\\\n\r\t\b\v'),
        (r"\\x41", r"\x41"),
        (r"\xZZ\q\x4", r"\xZZ\q\x4"),
        (r"end\ ".strip(), "end\\"),
    ],
)
def test_log_escapes_are_undone_and_unknown_ones_stay(escaped: str, plain: str) -> None:
    assert unescape_log(escaped) == plain


def test_json_is_read_with_what_logs_put_into_it() -> None:
    assert load_json(b'{"a":"\xff","b":"\x01"}') == {"a": "\udcff", "b": "\x01"}


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 100_000, b'"' * 3, b"1" * 5000 + b"x", b"\xff\xfe{}"])
def test_what_is_no_json_is_one_error(data: bytes) -> None:
    with pytest.raises(MalformedInput) as caught:
        load_json(data, field="here")
    assert caught.value.field == "here"


@given(value=st.recursive(st.none() | st.text(max_size=5) | st.integers(), lambda inner: st.lists(inner, max_size=3)))
def test_json_comes_back(value: object) -> None:
    assert load_json(json.dumps(value).encode()) == value
