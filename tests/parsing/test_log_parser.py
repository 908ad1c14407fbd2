"""Access-log lines: the case table, detection, and the promise that a line parses or raises one named error."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.parsing.cases_of import assert_request, load_cases, outcome
from vedette.errors import ConfigError, MalformedInput
from vedette.parsing.log_parser import FORMATS, detect_format, format_of, parse_log_line

CASES = load_cases("log_lines")
GOOD = [case for case in CASES if "error" not in case]


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case["name"])
def test_a_line_gives_the_request_as_it_was_sent(case: dict[str, Any]) -> None:
    entry = parse_log_line(case["line"], case["format"])
    assert_request(entry.request, case)
    for key in ("time", "status", "label", "attack_class", "site"):
        if key in case:
            assert getattr(entry, key) == case[key]


@pytest.mark.parametrize("case", [case for case in CASES if "error" in case], ids=lambda case: case["name"])
def test_a_line_that_holds_no_request_says_why(case: dict[str, Any]) -> None:
    with pytest.raises((MalformedInput, ConfigError)) as caught:
        parse_log_line(case["line"], case["format"])
    named = caught.value.key if isinstance(caught.value, ConfigError) else caught.value.field  # type: ignore[union-attr]
    assert named == case["error"]


NAMED = [case for case in GOOD if case["format"] in FORMATS and "imitates" not in case["name"]]


@pytest.mark.parametrize("case", NAMED, ids=lambda case: case["name"])
def test_a_named_format_is_recognised_from_its_lines(case: dict[str, Any]) -> None:
    entry = parse_log_line(case["line"])
    assert_request(entry.request, {key: case[key] for key in ("method", "target") if key in case})


@pytest.mark.parametrize(
    "name", ["combined", "common", "vhost_combined", "main", "json", "caddy", "alb", "s3", "jsonl"]
)
def test_detection_names_the_format(name: str) -> None:
    lines = [case["line"] for case in GOOD if case["format"] == name and "more columns" not in case["name"]]
    assert detect_format(["", *lines, "garbage"]).name == name


def test_detection_is_not_misled_by_lines_without_a_request() -> None:
    line = '192.0.2.1 - - [10/Oct/2025:13:55:36 +0000] "-" 408 0 "-" "-"'
    assert detect_format([line] * 3).name == "combined"


def test_detection_refuses_what_is_no_log() -> None:
    with pytest.raises(MalformedInput, match="not recognised") as caught:
        detect_format(["Dear diary,", "today it rained."])
    assert caught.value.field == "format"


def test_w3c_logs_follow_their_fields_line() -> None:
    iis = format_of("w3c")
    assert iis.parse("#Software: x") is None
    assert iis.parse("#Fields: date time cs-method cs-uri-stem cs-uri-query c-ip cs(User-Agent) sc-status") is None
    entry = iis.parse("2025-10-10 11:55:36 GET /a.aspx id=1 192.0.2.1 ua+1 200")
    assert entry is not None
    assert (entry.request.target, entry.time, entry.status) == ("/a.aspx?id=1", 1760097336.0, 200)

    cloudfront = detect_format(
        ["#Version: 1.0", "#Fields: date time c-ip cs-method cs(Host) cs-uri-stem cs(User-Agent)"]
    )
    assert cloudfront.name == "w3c"
    cloudfront.parse("#Fields: date time c-ip cs-method cs(Host) cs-uri-stem cs(User-Agent)")
    entry = cloudfront.parse("2025-10-10\t11:55:36\t192.0.2.1\tGET\tshop.example\t/a%20b\tMozilla/5.0%20(X11)")
    assert entry is not None
    assert entry.request.target == "/a%20b"
    assert entry.request.headers == (("Host", "shop.example"), ("User-Agent", "Mozilla/5.0 (X11)"))


def test_json_lines_with_invalid_utf8_are_still_read() -> None:
    entry = parse_log_line(b'{"method":"GET","uri":"/x\xff","remote_addr":"192.0.2.1"}', "json")
    assert entry.request.target == "/x\udcff"


def test_deep_json_is_refused() -> None:
    with pytest.raises(MalformedInput):
        parse_log_line('{"a":' * 100_000, "json")


@pytest.mark.parametrize("piece", ['"', "\\", '\\"', " ", " [", "- ", '" "', "[", "] ", "\\x"])
def test_a_long_hostile_line_is_read_in_one_pass(piece: str) -> None:
    line = '192.0.2.1 - - [10/Oct/2025:13:55:36 +0000] "GET /' + piece * 200_000
    for name in ("combined", "common", "main", "vhost_combined", "alb", "s3", "json", "w3c"):
        with contextlib.suppress(MalformedInput):
            parse_log_line(line, name)


@settings(max_examples=300, deadline=None)
@given(
    line=st.one_of(
        st.binary(max_size=300),
        st.sampled_from([c["line"] for c in CASES]).flatmap(
            lambda text: st.tuples(st.just(text), st.integers(0, 300), st.text(max_size=4)).map(
                lambda parts: (parts[0][: parts[1]] + parts[2] + parts[0][parts[1] :]).encode("utf-8", "surrogatepass")
            )
        ),
    ),
    name=st.sampled_from(["auto", *FORMATS]),
)
def test_any_line_parses_or_raises_one_named_error(line: bytes, name: str) -> None:
    result = outcome(parse_log_line, line, name)
    assert result.field if isinstance(result, MalformedInput) else result.request.target


@settings(max_examples=200, deadline=None)
@given(agent=st.binary(max_size=60), target=st.binary(max_size=60))
def test_what_nginx_and_apache_escape_comes_back_byte_for_byte(agent: bytes, target: bytes) -> None:
    def nginx(data: bytes) -> str:
        return "".join(f"\\x{b:02X}" if b < 32 or b > 126 or b in b'"\\' else chr(b) for b in data)

    def apache(data: bytes) -> str:
        return "".join(
            "\\" + chr(b) if b in b'"\\' else "\\n" if b == 10 else f"\\x{b:02x}" if b < 32 or b > 126 else chr(b)
            for b in data
        )

    for escape in (nginx, apache):
        line = f'1.1.1.1 - - [10/Oct/2025:13:55:36 +0000] "GET /{escape(target)} HTTP/1.1" 200 1 "-" "x{escape(agent)}"'
        entry = parse_log_line(line, "combined")
        assert entry.request.target.encode("utf-8", "surrogateescape") == b"/" + target
        agent_header = entry.request.header("User-Agent") or ""
        assert agent_header.encode("utf-8", "surrogateescape") == b"x" + agent
