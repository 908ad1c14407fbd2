"""The pipeline: its table of requests, what no content may do, and the bounds with the names they go by."""

from __future__ import annotations

import base64
import gc
import gzip
import json
import random
import time
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.nothing_known import NothingKnown
from tests.parsing.cases_of import load_cases
from vedette.config import InspectionSettings
from vedette.http_request import HTTPRequest
from vedette.parsing.field import ParsedRequest
from vedette.parsing.pipeline import ParsingPipeline
from vedette.verdict import LOCATIONS

PIPELINE = ParsingPipeline()
FORM = "application/x-www-form-urlencoded"
BODY_HEADERS = ("Content-Type", "Content-Encoding", "content-encoding")


def parse(body: bytes, content_type: str = "", *headers: tuple[str, str], target: str = "/") -> ParsedRequest:
    declared = (("Content-Type", content_type),) if content_type else ()
    return PIPELINE.parse(HTTPRequest("POST", target, declared + headers, body))


def reasons(parsed: ParsedRequest) -> set[str]:
    return {part.reason for part in parsed.not_inspected}


@pytest.mark.parametrize("case", load_cases("requests"), ids=lambda case: case["name"])
def test_case(case: dict[str, Any]) -> None:
    body = base64.b64decode(case["body_base64"]) if "body_base64" in case else case.get("body", "").encode()
    headers = tuple((name, value) for name, value in case.get("headers", []))
    parsed = PIPELINE.parse(HTTPRequest(case.get("method", "GET"), case["target"], headers, body))
    wanted = []
    for location, name, value, *rest in case["fields"]:
        wanted.append((location, name, value, tuple(rest[0]) if rest else (), rest[1] if len(rest) > 1 else "value"))
    shown = [tuple(f) for f in parsed.fields if f.name not in BODY_HEADERS and f[:3] != ("path", "path", "/")]
    assert shown == wanted
    assert [[part.location, part.reason] for part in parsed.not_inspected] == case.get("not_inspected", [])


# -- bounds ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [65, 100_000])
def test_deep_json_is_reported_or_read_as_text(depth: int) -> None:
    parsed = parse(b'{"a":' * depth + b'"x\'"' + b"}" * depth, "application/json")
    assert reasons(parsed) == {"max_depth"} or any("x'" in field.value for field in parsed.fields)


def test_more_arguments_than_are_read_are_reported() -> None:
    for parsed in (
        parse(b"", target="/?" + "&".join(f"a{n}=v'" for n in range(100_000))),
        parse(b"&".join(b"a%d=v'" % n for n in range(100_000)), FORM),
        parse(json.dumps(["v'"] * 100_000).encode(), "application/json"),
        parse(b"<r>" + b"<a>v'</a>" * 100_000 + b"</r>", "text/xml"),
        parse(b"--B\r\n\r\nv'\r\n" * 100_000, "multipart/form-data; boundary=B"),
    ):
        assert len(parsed.fields) <= InspectionSettings().max_fields
        assert "max_fields" in reasons(parsed)


def test_a_gigabyte_of_gzip_is_cut_and_reported() -> None:
    encoder = zlib.compressobj(9, wbits=31)
    block = bytes(1 << 20)
    encoder.compress(block)
    encoder.flush(zlib.Z_FULL_FLUSH)
    unit = encoder.compress(block) + encoder.flush(zlib.Z_FULL_FLUSH)  # after a full flush, blocks repeat byte for byte
    bomb = zlib.compressobj(9, wbits=31).flush(zlib.Z_FULL_FLUSH) + unit * 1024
    parsed = parse(bomb, FORM, ("Content-Encoding", "gzip"))
    assert reasons(parsed) & {"max_inflate_ratio", "max_body_bytes"}
    assert sum(len(field.value) for field in parsed.fields) < 4 << 20


def test_what_lies_beyond_the_body_limit_is_reported() -> None:
    parsed = parse(b"a=" + b"x" * (1 << 20) + b"&b='", FORM)
    assert "max_body_bytes" in reasons(parsed)


def test_a_long_value_is_cut_and_reported() -> None:
    pipeline = ParsingPipeline(InspectionSettings(max_value_chars=64))
    parsed = pipeline.parse(HTTPRequest("GET", "/?a=" + "x" * 65 + "'"))
    assert (parsed.fields[-1].value, reasons(parsed)) == ("x" * 64, {"max_value_chars"})


def test_an_attack_behind_padding_is_a_field() -> None:
    assert parse(b"a=" + b"x" * 100_000 + b"%27+or+1%3D1", FORM).fields[-1].value.endswith("' or 1=1")
    assert parse(json.dumps({"a": "x" * 100_000 + "<script>"}).encode()).fields[-1].value.endswith("<script>")


def test_entities_in_attributes_do_not_grow() -> None:
    bomb = b'<!DOCTYPE a [<!ENTITY a "' + b"x" * 1000 + b'">]><a c="' + b"&a;" * 300_000 + b'"/>'
    assert sum(len(field.value) for field in parse(bomb, "text/xml").fields) < 3 * len(bomb)


def test_long_names_are_read_whole_and_kept_short() -> None:
    parsed = parse(b"", target="/?" + "x" * 5000 + "'=v'")
    name, value = parsed.fields[1:]
    assert (name.kind, len(name.value), len(name.name), len(value.name)) == ("name", 5001, 256, 256)


# -- any content -----------------------------------------------------------------------------------------------------

SEEDS = (
    b'{"a":{"b":["x",{"c":"y\'"}],"$gt":"","query":"query { a(b: \\"c\\") }"},"d":"\\u003c"}',
    b"--B\r\nContent-Disposition: form-data; name=a; filename*=UTF-8''x%27\r\nX: y\r\n\r\nv\r\n--B\r\n\r\nw\r\n--B--",
    b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c"><!ENTITY d SYSTEM "e">]><a b="&b;"><![CDATA[x]]>&d;<!--y--></a>',
    b"a=1%2527&b[]=%c0%af&c=%u003c&d=&amp;lt;&=x&eyJhIjoiYiJ9.eyJhIjoiYiJ9.&f=PHNjcmlwdD5hbGVydCgxKQ",
    gzip.compress(b"a=<script>", mtime=0),
    "{'a': \u2100\uff1c\u0300\u0334}".encode("utf-16"),
)
TYPES = (
    "", FORM, "application/json", "text/xml", "multipart/form-data; boundary=B", 'multipart/mixed; boundary="\ud800"',
    "application/graphql", "text/plain; charset=utf-16", "text/plain; charset=utf-7", f"{FORM}; charset=ibm037",
    "text/plain; charset=iso-2022-jp", "text/plain; charset=gb18030", "application/octet-stream", ";charset=\x00",
)  # fmt: skip
CODINGS = ("", "gzip", "deflate", "br", "zstd", "gzip, gzip", "identity,,x")
SPLICES = (
    b"'",
    b"\x00",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xf0\x8d\xa0\x80",
    b"--B",
    b"\r\n\r\n",
    b"]>",
    b"&b;",
    b"{",
    b'"',
    b"\\",
)
ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=60)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    body = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(body)))
        if draw(st.booleans()):
            body[at:at] = draw(st.sampled_from(SPLICES))
        else:
            del body[at : at + draw(st.integers(1, 20))]
    return bytes(body) * draw(st.sampled_from((1, 1, 1, 50)))


def check(parsed: ParsedRequest, size: int) -> None:
    limits = PIPELINE.limits
    assert len(parsed.fields) <= limits.max_fields
    for field in parsed.fields:
        assert field.location in LOCATIONS
        assert field.kind in ("value", "name")
        assert len(field.name) <= 256 + 64
        assert len(field.value) <= limits.max_value_chars
        (field.name + field.value).encode()
    for part in parsed.not_inspected:
        assert part.location in LOCATIONS
        assert part.reason
        part.name.encode()
    if not parsed.not_inspected:
        # Nested readings repeat a text a few times over; folding and inflation are bounded apart from that.
        assert sum(len(field.value) for field in parsed.fields) <= 200 * 18 * size + 100_000


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.binary(max_size=400), mutated()), st.sampled_from(TYPES), st.sampled_from(CODINGS), st.booleans())
def test_any_body_gives_fields(body: bytes, content_type: str, coding: str, pack: bool) -> None:
    if pack and coding.startswith("gzip"):
        body = gzip.compress(body, mtime=0)
    check(parse(body, content_type, ("Content-Encoding", coding)), len(body))


@settings(max_examples=200, deadline=None)
@given(ANY_TEXT, ANY_TEXT, st.lists(st.tuples(ANY_TEXT, ANY_TEXT), max_size=4), st.binary(max_size=50))
def test_any_request_gives_fields(method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> None:
    for names in (
        headers,
        [("Cookie", value) for _, value in headers],
        [("Content-Type", value) for _, value in headers],
    ):
        check(PIPELINE.parse(HTTPRequest(method, target, tuple(names), body)), 1000 + len(body))


@settings(max_examples=200, deadline=None)
@given(st.recursive(st.text(max_size=8) | st.integers() | st.none(), lambda inner: st.lists(inner, max_size=4)
                    | st.dictionaries(st.text(max_size=8), inner, max_size=4), max_leaves=20))  # fmt: skip
def test_no_text_of_a_json_document_is_lost(document: Any) -> None:
    def texts(node: Any) -> list[str]:
        if isinstance(node, str):
            return [node] if node.isalpha() and node.isascii() else []
        inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        return [text for child in inner for text in texts(child)]

    leaves = texts(document) if isinstance(document, list | dict) else []
    values = [field.value for field in parse(json.dumps(document).encode(), "application/json").fields]
    assert all(any(leaf in value for value in values) for leaf in leaves)


# What was quadratic once, or would be with a careless pattern; the unit is repeated to fill the body.
FLOODS = {
    "plain URL": (b"u=http://", b"aa.", b"'"), "combining marks": ("a=\uff1c".encode(), "\u0300\u0334".encode(), b""),
    "signs": (b"a=", b"'", b""), "stray bytes": (b"a=", b"\xff", b""), "word": (b"a=", b"A", b"!"),
    "entities": (b"a=", b"&amp;amp;".replace(b"&", b"%26"), b""), "escapes": (b"a=", b"\\u005c", b""),
    "data URLs": (b"a=", b"data:;a;base64", b""),
    "parameters": (b"--B\r\nContent-Disposition: x", b';name="', b"\r\n\r\n"),
    "doctypes": (b"<?xml", b"<!DOCTYPE ", b""), "arrays": (b"[", b"[],", b"[]]"), "nesting": (b"", b"[", b""),
}  # fmt: skip


@pytest.mark.parametrize("flood", FLOODS)
def test_time_is_linear_in_the_body(flood: str) -> None:
    """CPU time at eight times the size: eight times as long if linear, sixty-four if quadratic; the best of three."""
    head, unit, tail = FLOODS[flood]

    def cost(size: int) -> float:
        body = head + unit * (size // len(unit)) + tail
        content_type = "multipart/form-data; boundary=B" if body[:2] == b"--" else ""
        spent = []
        for _ in range(3):
            gc.collect()  # whose cost hangs on all that the other tests have left
            gc.disable()
            start = time.process_time()
            parse(body, content_type)
            spent.append(time.process_time() - start)
            gc.enable()
        return min(spent)

    assert cost(256 * 1024) < 28 * cost(32 * 1024) + 0.05


def test_nested_encodings_do_not_multiply() -> None:
    text = "<script>" * 200
    rng = random.Random(3)
    for _ in range(12):
        text = rng.choice((lambda t: json.dumps({"a": t, "b": t}), lambda t: base64.b64encode(t.encode()).decode()))(
            text
        )
        if len(text) > 1 << 19:
            break
    parsed = parse(text.encode())
    assert sum(len(field.value) for field in parsed.fields) < 8 * len(text)


PACKED = "JyB1bmlvbiBzZWxlY3QgdXNlcixwYXNzd29yZCBmcm9tIHVzZXJzLS0gLQ"


@pytest.mark.parametrize("place", ["query", "cookie", "header"])
def test_a_packed_name_of_a_plain_pair_is_read_by_a_service_too(place: str) -> None:
    headers = {"query": (), "cookie": (("Cookie", f"{PACKED}=1"),), "header": ((PACKED, "1"),)}[place]
    request = HTTPRequest("GET", f"/?{PACKED}=1" if place == "query" else "/", headers)
    for known in (None, NothingKnown()):
        fields = ParsingPipeline().parse(request, known).fields
        assert any("union select" in field.value for field in fields if field.location == place), known


def test_a_packed_name_that_comes_again_is_read_once() -> None:
    body = json.dumps([{PACKED: 1, "a": f"some text {n} here"} for n in range(3_000)]).encode()
    parsed = ParsingPipeline().parse(HTTPRequest("POST", "/", (("Content-Type", "application/json"),), body))
    assert sum("union select" in field.value for field in parsed.fields) == 1
    assert parsed.not_inspected == []


def test_an_operand_that_may_be_a_secret_is_not_told() -> None:
    body = json.dumps({"password": {"$eq": "!@#$%^&*", "$ne": "hunter2", "$in": ["!?!"], "$regex": ".*"}}).encode()
    fields = ParsingPipeline().parse(HTTPRequest("POST", "/", (("Content-Type", "application/json"),), body)).fields
    names = [field.value for field in fields if field.kind == "name"]
    assert names == [
        '{"password": {"$eq": "x"}}', '{"password": {"$ne": "x"}}', '{"password": {"$in": ["x"]}}',
        '{"password": {"$regex": ".*"}}',
    ]  # fmt: skip
