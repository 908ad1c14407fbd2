"""One request out of flags, URL, curl command line, raw message or record."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.cli.request_input import RequestFlags, from_bytes, from_url, read_request
from vedette.errors import RequestError
from vedette.http_request import HTTPRequest

RAW = b"POST /login?next=%2F HTTP/1.1\r\nHost: shop.example\r\nContent-Type: text/plain\r\n\r\nhello"


@pytest.mark.parametrize(
    ("url", "target", "host"),
    [
        ("http://shop.example/a?b=1", "/a?b=1", "shop.example"),
        ("https://shop.example", "/", "shop.example"),
        ("shop.example/a", "/a", "shop.example"),
        ("shop.example?next=http://x/", "/?next=http://x/", "shop.example"),
        ("/a?b=c d", "/a?b=c%20d", None),
        ("?q=1", "/?q=1", None),
        ("/a?u=http://x/", "/a?u=http://x/", None),
        ("http://shop.example/?id=1' OR 1=1--", "/?id=1'%20OR%201=1--", "shop.example"),
        ("/ä?q=%27#fragment", "/%C3%A4?q=%27", None),
        ("http://[::1]:8000/x", "/x", "[::1]:8000"),
    ],
)
def test_urls(url: str, target: str, host: str | None) -> None:
    request = from_url(url)
    assert (request.method, request.target, request.header("host")) == ("GET", target, host)


@pytest.mark.parametrize(
    "words",
    [
        ["curl -X PUT -d a=1 'http://shop.example/p?x=%20y'"],
        ["curl", "-X", "PUT", "-d", "a=1", "http://shop.example/p?x=%20y"],
    ],
)
def test_curl_command_lines(words: Sequence[str]) -> None:
    request = read_request(words, RequestFlags())
    assert (request.method, request.target, request.body) == ("PUT", "/p?x=%20y", b"a=1")


def test_files_are_told_apart_by_how_they_begin(tmp_path: Path) -> None:
    record = json.dumps({"method": "GET", "url": "/r?a=1", "headers": {}, "body": None, "label": "benign"})
    for name, content in {"raw": RAW, "curl": b"curl http://h/c\n", "record": record.encode()}.items():
        (tmp_path / name).write_bytes(content)
    targets = [read_request([str(tmp_path / name)], RequestFlags()).target for name in ("raw", "curl", "record")]
    assert targets == ["/login?next=%2F", "/c", "/r?a=1"]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    for words in (["-"], []):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(RAW)))
        assert read_request(words, RequestFlags()).body == b"hello"


def test_flags_build_a_request() -> None:
    flags = RequestFlags("PATCH", "/x", ("X-A: 1", "X-A:2", "X-B:"), '{"a": 1}', "192.0.2.1")
    assert read_request([], flags) == HTTPRequest(
        "PATCH",
        "/x",
        (("X-A", "1"), ("X-A", "2"), ("X-B", ""), ("Content-Type", "application/json")),
        b'{"a": 1}',
        "192.0.2.1",
    )


def test_flags_change_a_request(tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(b"\xff\x00a=1")
    request = read_request(["/x"], RequestFlags(headers=("Content-Type: a/b",), data=f"@{body}"))
    assert (request.method, request.body, request.header("content-type")) == ("POST", b"\xff\x00a=1", "a/b")


@pytest.mark.parametrize(
    ("words", "flags", "message"),
    [
        (["/a", "/b"], RequestFlags(), "one request at a time; what is '/b'?"),
        (["/a"], RequestFlags(url="/b"), "give the request once"),
        (["http:///x"], RequestFlags(), "not a URL"),
        (["/a"], RequestFlags(headers=("no colon",)), "not NAME: VALUE: 'no colon'"),
        (["/a"], RequestFlags(headers=("bad name: x",)), "is not an HTTP token"),
        (["/a"], RequestFlags(headers=("A: x\r\nB: y",)), "must not hold CR, LF or NUL"),
        (["/a"], RequestFlags(method="GE T"), "must be an HTTP token"),
        (["/a"], RequestFlags(data="@/nowhere/at/all"), "cannot be read"),
        (["curl --frobnicate http://h/"], RequestFlags(), "frobnicate"),
    ],
)
def test_what_is_no_request_is_refused_by_name(words: Sequence[str], flags: RequestFlags, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_request(words, flags)
    assert message in str(caught.value)


@given(st.binary(max_size=300) | st.text(max_size=100).map(lambda text: f"curl {text}".encode()))
def test_any_file_gives_a_request_or_one_named_error(data: bytes) -> None:
    try:
        assert isinstance(from_bytes(data), HTTPRequest)
    except RequestError as error:
        assert str(error)  # noqa: PT017
