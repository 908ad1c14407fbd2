"""Raw HTTP messages: the case table, limits, and any bytes parse or raise one named error."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.parsing.cases_of import assert_request, load_cases, outcome
from vedette.errors import MalformedInput
from vedette.parsing.raw_message import MAX_HEAD_BYTES, parse_raw_message

CASES = load_cases("raw_messages")


@pytest.mark.parametrize("case", [case for case in CASES if "error" not in case], ids=lambda case: case["name"])
def test_a_message_gives_the_request(case: dict[str, Any]) -> None:
    assert_request(parse_raw_message(case["message"]), case)
    assert_request(parse_raw_message(case["message"].encode()), case)


@pytest.mark.parametrize("case", [case for case in CASES if "error" in case], ids=lambda case: case["name"])
def test_a_message_that_cannot_be_read_names_the_part(case: dict[str, Any]) -> None:
    with pytest.raises(MalformedInput) as caught:
        parse_raw_message(case["message"])
    assert caught.value.field == case["error"]


def test_bytes_that_are_no_utf8_are_kept() -> None:
    request = parse_raw_message(b"POST /\xff HTTP/1.1\r\nA: \xfe\r\n\r\n\x00\xfd")
    assert request.target == "/\udcff"
    assert request.headers == (("A", "\udcfe"),)
    assert request.body == b"\x00\xfd"


def test_a_head_without_end_is_bounded() -> None:
    with pytest.raises(MalformedInput, match="head is longer"):
        parse_raw_message(b"GET / HTTP/1.1\r\nA: " + b"x" * MAX_HEAD_BYTES)


def test_a_hundred_thousand_chunks_are_joined() -> None:
    body = b"1\r\na\r\n" * 100_000 + b"0\r\n\r\n"
    request = parse_raw_message(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
    assert request.body == b"a" * 100_000


HEADS = st.sampled_from(
    [b"", b"GET / HTTP/1.1\r\n", b"POST / HTTP/1.1\nTransfer-Encoding: chunked\n\n", b"\r", b"A: b\r"]
)


@settings(max_examples=300, deadline=None)
@given(head=HEADS, rest=st.binary(max_size=200))
def test_any_message_parses_or_raises_one_named_error(head: bytes, rest: bytes) -> None:
    result = outcome(parse_raw_message, head + rest)
    assert result.field if isinstance(result, MalformedInput) else result.target
