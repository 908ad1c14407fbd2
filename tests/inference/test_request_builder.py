"""What a caller says becomes exactly one request, or an error naming the field."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.errors import RequestError
from vedette.http_request import HTTPRequest
from vedette.inference.request_builder import build_request, request_of, validate_deadline


@pytest.mark.parametrize(
    ("path", "query_params", "target"),
    [
        ("/a", None, "/a"),
        ("/a", {}, "/a"),
        ("/a", "", "/a"),
        ("/a", {"id": "123"}, "/a?id=123"),
        ("/a?x=1", {"id": "1 2&3"}, "/a?x=1&id=1+2%263"),
        ("/a?", {"id": "1"}, "/a?id=1"),
        ("/a?x&", {"id": "1"}, "/a?x&id=1"),
        ("/a#frag", {"id": "1"}, "/a?id=1#frag"),
        ("/a", {"id": ["7", 8, None, True, 1.5]}, "/a?id=7&id=8&id=&id=true&id=1.5"),
        ("/a", {"q": []}, "/a"),
        ("/a", "id=%27&x=<", "/a?id=%27&x=<"),
        ("/a?b=1", "?id=2", "/a?b=1&id=2"),
        ("/a", {"é": "\udcff"}, "/a?%C3%A9=%FF"),
    ],
)
def test_query_params(path: str, query_params: Any, target: str) -> None:
    assert build_request(method="GET", path=path, query_params=query_params).target == target


@pytest.mark.parametrize(
    ("body", "content", "types"),
    [
        (None, b"", []),
        ("", b"", []),
        ("a=1", b"a=1", []),
        ("é\udcff", b"\xc3\xa9\xff", []),
        ("\ud800", b"\xed\xa0\x80", []),
        (b"\x00\xff", b"\x00\xff", []),
        ({"a": [1, None]}, b'{"a":[1,null]}', ["application/json"]),
        ([], b"[]", ["application/json"]),
        (0, b"0", ["application/json"]),
        (False, b"false", ["application/json"]),
    ],
)
def test_bodies(body: Any, content: bytes, types: list[str]) -> None:
    request = build_request(method="POST", path="/", body=body)
    assert request.body == content
    assert [value for name, value in request.headers if name.lower() == "content-type"] == types


def test_a_given_content_type_stays_alone() -> None:
    request = build_request(method="POST", path="/", headers={"content-type": "text/x"}, body={"a": 1})
    assert request.headers == (("content-type", "text/x"),)
    assert build_request(method="POST", path="/", body=b"[]", body_is_json=True).header("Content-Type")


def test_repeated_headers_keep_their_order() -> None:
    pairs = [["X-A", "1"], ("X-B", "2"), ["X-A", "3"]]
    assert build_request(method="GET", path="/", headers=pairs).headers == (("X-A", "1"), ("X-B", "2"), ("X-A", "3"))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"method": "GE\x00T"}, "method"),
        ({"method": 7}, "method"),
        ({"method": ""}, "method"),
        ({"path": 7}, "path"),
        ({"path": None}, "path"),
        ({"headers": 7}, "headers"),
        ({"headers": "X: y"}, "headers"),
        ({"headers": [["a"]]}, "headers"),
        ({"headers": ["ab"]}, "headers"),
        ({"headers": {"a b": "c"}}, "headers"),
        ({"headers": {"a": 1}}, "headers.a"),
        ({"headers": {"a": "x\r\ny"}}, "headers.a"),
        ({"headers": {7: "x"}}, "headers"),
        ({"query_params": 7}, "query_params"),
        ({"query_params": {"a": {"b": 1}}}, "query_params.a"),
        ({"query_params": {"a": [[1]]}}, "query_params.a"),
        ({"query_params": {7: 1}}, "query_params"),
        ({"body": object()}, "body"),
        ({"client_ip": 7}, "client_ip"),
        ({"method_": "GET"}, "method_"),
    ],
)
def test_what_is_no_request_is_refused_by_name(change: dict[str, Any], field: str) -> None:
    item = {"method": "GET", "path": "/", **change}
    with pytest.raises(RequestError) as refusal:
        request_of(item)
    assert refusal.value.field == field
    with pytest.raises(RequestError) as refusal:
        request_of(item, at="requests[3]")
    assert refusal.value.field == f"requests[3].{field}"


@pytest.mark.parametrize("missing", ["method", "path"])
def test_missing_keys(missing: str) -> None:
    item = {"method": "GET", "path": "/"}
    del item[missing]
    with pytest.raises(RequestError) as refusal:
        request_of(item, at="requests[0]")
    assert refusal.value.field == f"requests[0].{missing}"


def test_a_request_is_taken_as_it_is() -> None:
    request = HTTPRequest("GET", "/")
    assert request_of(request) is request
    with pytest.raises(RequestError):
        request_of("GET /")  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [0, -1, float("nan"), "1", True])
def test_deadlines_are_positive_seconds(bad: Any) -> None:
    with pytest.raises(RequestError):
        validate_deadline(bad)


def test_a_good_deadline_stays() -> None:
    assert validate_deadline(None) is None
    assert validate_deadline(0.5) == 0.5


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.text(min_size=1), st.text(), max_size=5))
def test_encoded_params_decode_to_what_was_given(params: dict[str, str]) -> None:
    target = build_request(method="GET", path="/", query_params=params).target
    decoded = parse_qsl(urlsplit(target).query, keep_blank_values=True, errors="surrogateescape")
    printable = {k: v for k, v in params.items() if not any("\ud800" <= c <= "\udfff" for c in k + v)}
    assert printable.items() <= dict(decoded).items()


def test_a_deeply_nested_body_is_an_error_not_a_crash() -> None:
    body: list[Any] = []
    for _ in range(100_000):
        body = [body]
    with pytest.raises(RequestError):
        build_request(method="POST", path="/", body=body)
    while body:  # take it apart level by level
        body = body.pop()
