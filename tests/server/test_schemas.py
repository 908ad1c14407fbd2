"""What comes over the wire is read whole or refused by the name of the field."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.errors import RequestError
from vedette.server.errors import CODES, from_vedette
from vedette.server.reading import read_batch, read_check
from vedette.server.schemas import CheckRequest, InvalidJSON, body_bytes, decode_batch, decode_check

BAD = json.loads((Path(__file__).parent / "data" / "bad_requests.json").read_text())


def encode(**fields):
    return json.dumps({"method": "POST", "path": "/", **fields}).encode()


@pytest.mark.parametrize("case", BAD, ids=lambda case: case["case"])
def test_bad_request_is_named(case):
    with pytest.raises(RequestError) as caught:
        read_check(case["json"].encode(), "127.0.0.1", believed=True)
    error = from_vedette(caught.value)
    assert (error.status, error.code, error.field) == (case["status"], case["code"], case["field"])
    assert error.message


@pytest.mark.parametrize("case", [case for case in BAD if case["status"] == 422], ids=lambda case: case["case"])
def test_bad_item_is_named_with_its_index(case):
    good = '{"method": "GET", "path": "/"}'
    batch = f'{{"requests": [{good}, {good}, {good}, {case["json"]}]}}'
    with pytest.raises(RequestError) as caught:
        read_batch(batch.encode(), "127.0.0.1", believed=True, max_batch=10)
    assert caught.value.field == ("requests[3]" if case["field"] is None else f"requests[3].{case['field']}")


@pytest.mark.parametrize(
    "raw",
    [
        b'{"method": "GET", "path": "/\xff"}',
        b'{"method": "GET", "path": "/", "body": "\xff"}',
        b'{"method": "GET", "path": "/", "body": ["\xff"]}',
    ],
)
def test_not_utf8(raw):
    with pytest.raises(InvalidJSON):
        read_check(raw, "127.0.0.1", believed=True)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (None, None),
        ("", b""),
        ("a=1", b"a=1"),
        ("\u00e9\u0000", b"\xc3\xa9\x00"),
        ("null", b"null"),
        ({"a": [1, {"b": None}]}, b'{"a": [1, {"b": null}]}'),
        ([], b"[]"),
        (7, b"7"),
        (False, b"false"),
    ],
)
def test_body(body, expected):
    assert body_bytes(decode_check(encode(body=body))) == expected


def test_json_body_keeps_what_parsers_would_lose():
    data = b'{"method": "POST", "path": "/", "body": {"a": 1, "a": 1.0e400}}'
    assert body_bytes(decode_check(data)) == b'{"a": 1, "a": 1.0e400}'


@pytest.mark.parametrize("size", [0, 1, 2, 3, 786_431, 786_432, 786_433, 2_000_000])
def test_base64_of_any_length(size):
    body = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert body_bytes(decode_check(encode(body_base64=base64.b64encode(body).decode()))) == body


def test_base64_padding_inside_is_refused():
    text = "A" * (2**20 - 4) + "YQ==" + "AAAA"
    with pytest.raises(RequestError) as caught:
        body_bytes(decode_check(encode(body_base64=text)))
    assert caught.value.field == "body_base64"


@pytest.mark.parametrize("deep", [b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000])
@pytest.mark.parametrize("field", [b"body", b"headers", b"query_params", b"unknown"])
def test_hostile_depth_is_a_named_error(deep, field):
    with pytest.raises(RequestError):
        decode_check(b'{"method": "POST", "path": "/", "' + field + b'": ' + deep + b"}")


def test_depth_as_a_string_is_an_ordinary_body():
    assert body_bytes(decode_check(encode(body="[" * 100_000))) == b"[" * 100_000


def test_batch_over_the_maximum_names_both_numbers():
    with pytest.raises(RequestError, match=r"at most 2 .* has 3") as caught:
        decode_batch(b'{"requests": [7, 7, 7]}', max_batch=2)
    assert caught.value.field == "requests"


@pytest.mark.parametrize(
    ("data", "field"),
    [(b"{}", "requests"), (b'{"requests": null}', "requests"), (b"[]", None), (b'{"requests": [], "x": 1}', "x")],
)
def test_bad_envelope(data, field):
    with pytest.raises(RequestError) as caught:
        decode_batch(data, max_batch=2)
    assert caught.value.field == field


def refusal(read):
    """Return the error that `read` ends in, or None; anything but a `RequestError` is a defect."""
    try:
        read()
    except RequestError as error:
        return error
    return None


@given(st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_any_bytes_give_a_request_or_one_named_error(data):
    for error in (
        refusal(lambda: read_check(data, "::1", believed=False)),
        refusal(lambda: read_batch(data, "::1", believed=True, max_batch=4)),
    ):
        assert error is None or from_vedette(error).code in CODES


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(CheckRequest.__struct_fields__), json_values, max_size=8))
@settings(max_examples=300, deadline=None)
def test_any_object_gives_a_request_or_one_named_error(fields):
    error = refusal(lambda: read_check(msgspec.json.encode(fields), "::1", believed=True))
    named = error.field.split(".")[0].split("[")[0] if error and error.field else None
    assert named in (None, *CheckRequest.__struct_fields__)


def test_client_ip_counts_only_from_those_who_are_believed():
    data = encode(client_ip="2001:DB8::7")
    assert read_check(data, "127.0.0.1", believed=True).request.client_ip == "2001:db8::7"
    assert read_check(data, "203.0.113.9", believed=False).request.client_ip == "203.0.113.9"
    assert read_check(encode(), "203.0.113.9", believed=False).request.client_ip == "203.0.113.9"


def test_deadline_is_given_in_seconds():
    assert read_check(encode(deadline_ms=250), "::1", believed=True).deadline_s == 0.25
    assert read_check(encode(deadline_ms=1.5), "::1", believed=True).deadline_s == 0.0015
    assert read_check(encode(), "::1", believed=True).deadline_s is None
