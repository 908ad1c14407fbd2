"""Encoders against the standard library's decoders, and placers against its parsers."""

from __future__ import annotations

import base64
import html
import json
import random
import re
import unicodedata
from email.parser import BytesParser
from email.policy import HTTP
from urllib.parse import parse_qsl, unquote, unquote_plus, urlsplit
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.datasets import encoders

TEXTS = ["' OR 1=1-- ", "<svg/onload=alert(1)>", "../../etc/passwd", "naïve ☃ 𝄞", "a+b&c=d;e", "tab\there\nnl"]
ASCII = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=60)


def _unescape(text: str) -> str:
    return re.sub(r"%u([0-9a-f]{4})|\\u([0-9a-f]{4})", lambda match: chr(int(match[1] or match[2], 16)), text)


def _joined(text: str) -> str:
    """Join surrogate pairs."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16")


DECODERS = {
    "percent": unquote, "percent_plus": unquote_plus, "percent_all": unquote, "percent_some": unquote,
    "percent_twice": lambda text: unquote(unquote(text)),
    "percent_thrice": lambda text: unquote(unquote(unquote(text))), "percent_u": lambda text: _joined(_unescape(text)),
    "html_decimal": html.unescape, "html_hex": html.unescape, "html_unterminated": html.unescape,
    "html_named": html.unescape, "json_unicode": lambda text: _joined(_unescape(text)),
    "base64": lambda text: base64.b64decode(text).decode(),
    "base64_url": lambda text: base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode(),
}  # fmt: skip


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("text", TEXTS)
def test_an_encoder_is_undone_by_the_decoder_it_mirrors(name: str, text: str) -> None:
    for seed in range(10):
        assert DECODERS[name](encoders.ENCODERS[name](text, random.Random(seed))) == text


@given(ASCII, st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_byte_escapes_and_full_width_are_undone(text: str, seed: int) -> None:
    rng = random.Random(seed)
    assert re.sub(
        r"\\x([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), encoders.hex_escape(text, rng)
    ) == text or ("\\x" in text)
    assert "".join(chr(int(part, 8)) for part in encoders.octal_escape(text, rng).split("\\")[1:]) == text
    assert unicodedata.normalize("NFKC", encoders.full_width(text, rng)) == unicodedata.normalize("NFKC", text)


def test_overlong_forms_hold_the_code_point() -> None:
    assert encoders.overlong("/", random.Random(0)) in {"%c0%af", "%e0%80%af"}
    assert {encoders.overlong(".", random.Random(seed)) for seed in range(20)} == {"%c0%ae", "%e0%80%ae"}


def test_layers_are_named_from_the_inside_out() -> None:
    text, names = encoders.encode("x y", random.Random(1), layers=2)
    assert len(names) == 2
    assert text != "x y"


@pytest.mark.parametrize("text", TEXTS)
def test_places_keep_the_value(text: str) -> None:
    for seed in range(30):
        rng = random.Random(seed)
        query = encoders.place(text, rng, "query")
        assert text in [value for _, value in parse_qsl(urlsplit(query["url"]).query, keep_blank_values=True)]
        form = encoders.place(text, rng, "form")
        assert text in [value for _, value in parse_qsl(form["body"], keep_blank_values=True)]
        assert json.dumps(text)[1:-1] in json.dumps(json.loads(encoders.place(text, rng, "json")["body"]))
        document = ElementTree.fromstring(encoders.place(text, rng, "xml")["body"].encode())
        found = [part for node in document.iter() for part in (node.text, *node.attrib.values()) if part]
        assert text in found or text.replace("\n", " ").replace("\t", " ") in found
        cookie = encoders.place(text, rng, "cookie")["headers"]["Cookie"]
        assert text in [unquote(part.partition("=")[2]) for part in cookie.split("; ")] or text in cookie


def test_a_multipart_body_is_read_by_a_mail_parser() -> None:
    for seed in range(30):
        record = encoders.place("needle 'value'", random.Random(seed), "multipart")
        head = f"Content-Type: {record['headers']['Content-Type']}\r\n\r\n".encode()
        message = BytesParser(policy=HTTP).parsebytes(head + record["body"].encode())
        parts = list(message.iter_parts())
        assert any("needle 'value'" in (part.get_filename() or "") + str(part.get_content()) for part in parts)


def test_what_a_place_cannot_hold_stands_elsewhere() -> None:
    for seed in range(40):
        rng = random.Random(seed)
        record = encoders.place("a\nb", rng, "header")
        assert "a%0Ab" in record["headers"]["Cookie"]
        body = json.loads(encoders.place("union\x0cselect", rng, "xml")["body"])
        assert "union\\fselect" in json.dumps(body)
        for value in ("//host.example/", "/\\host.example"):
            url = encoders.place(value, rng, "path")["url"]
            assert url.startswith(("//host", "/%5Chost"))
        part = encoders.place("a\r\nb", rng, "multipart")["body"]
        assert "a\r\nb" in part
