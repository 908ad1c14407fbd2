"""curl command lines: the case table, and any text parses or raises one named error."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.parsing.cases_of import assert_request, load_cases, outcome
from vedette.errors import MalformedInput
from vedette.parsing.curl_command import is_curl_command, parse_curl

CASES = load_cases("curl_commands")


@pytest.mark.parametrize("case", [case for case in CASES if "error" not in case], ids=lambda case: case["name"])
def test_a_command_gives_the_request_that_curl_sends(case: dict[str, Any]) -> None:
    assert_request(parse_curl(case["command"]), case)


@pytest.mark.parametrize("case", [case for case in CASES if "error" in case], ids=lambda case: case["name"])
def test_a_command_that_cannot_be_read_names_the_option(case: dict[str, Any]) -> None:
    with pytest.raises(MalformedInput) as caught:
        parse_curl(case["command"])
    assert caught.value.field == case["error"]


def test_curl_commands_are_told_from_other_text() -> None:
    assert is_curl_command("$ curl http://shop.example/")
    assert is_curl_command("/usr/bin/curl -s x")
    assert not is_curl_command("GET / HTTP/1.1")
    assert not is_curl_command("curly braces")


@pytest.mark.parametrize("piece", ["'", '"', "\\", "$'", '^"', " -d ", "a ", '""', "\\\n", "# ", '\\"', "^\n"])
def test_a_long_hostile_command_is_read_in_one_pass(piece: str) -> None:
    for head in ("curl http://h/ -d ", "curl http://h/ -d '", 'curl ^"http://h/^" -d '):
        with contextlib.suppress(MalformedInput):
            parse_curl(head + piece * 100_000)


PIECES = st.sampled_from(
    ["curl", "http://h/", " ", "-d", "-F", "-H", "a=1;type=x", "X: y", "'", '"', "\\", "$'", "^", "^\"", "\n", "-G",
     "--json", "--url", "--data-urlencode", "@f", "|", "#", "é", "\x00", "-u", "://", "=", "\udc80", "\ud800"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(text=st.lists(PIECES | st.text(max_size=3), max_size=25).map(lambda parts: "curl " + "".join(parts)))
def test_any_command_parses_or_raises_one_named_error(text: str) -> None:
    result = outcome(parse_curl, text)
    assert result.field if isinstance(result, MalformedInput) else result.target
