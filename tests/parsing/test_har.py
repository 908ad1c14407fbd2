"""HAR entries: the case table, whole archives, and any JSON parses or raises one named error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.parsing.cases_of import assert_request, load_cases, outcome
from vedette.errors import MalformedInput
from vedette.parsing.har import iter_har, parse_har_entry
from vedette.parsing.log_entry import LogEntry

CASES = load_cases("har_entries")


@pytest.mark.parametrize("case", [case for case in CASES if "error" not in case], ids=lambda case: case["name"])
def test_an_entry_gives_the_request(case: dict[str, Any]) -> None:
    entry = parse_har_entry(case["entry"])
    assert_request(entry.request, case)
    assert entry.time == case.get("time")
    assert entry.status == case.get("status")


@pytest.mark.parametrize("case", [case for case in CASES if "error" in case], ids=lambda case: case["name"])
def test_an_entry_that_cannot_be_read_names_the_key(case: dict[str, Any]) -> None:
    with pytest.raises(MalformedInput) as caught:
        parse_har_entry(case["entry"])
    assert caught.value.field == case["error"]


def test_one_bad_entry_does_not_take_the_archive_with_it() -> None:
    archive = json.dumps({"log": {"entries": [case["entry"] for case in CASES]}}).encode()
    readings = list(iter_har(b"\xef\xbb\xbf" + archive))
    assert len(readings) == len(CASES)
    assert [isinstance(reading, LogEntry) for reading in readings] == ["error" not in case for case in CASES]


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"log":{}}', b'{"log":{"entries":{}}}', b"[" * 100_000])
def test_what_is_no_archive_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedInput):
        list(iter_har(data))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["request", "method", "url", "headers", "postData", "text", "params", "name", "value", "cookies"]
            ),
            inner | st.sampled_from(["GET", "http://h/"]),
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(entry=JSON)
def test_any_entry_parses_or_raises_one_named_error(entry: object) -> None:
    result = outcome(parse_har_entry, entry)
    assert result.field if isinstance(result, MalformedInput) else result.request.target
