"""Pieces that came before: leaving them out changes no verdict, memory is bounded."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.inference.small_model import small_engine
from tests.native_here import NATIVE_ONLY
from vedette.config import WafServiceSettings
from vedette.http_request import HTTPRequest
from vedette.inference.engine import Engine
from vedette.inference.piece_memory import PieceMemory
from vedette.parsing.field import MOST_PIECES, Piece
from vedette.parsing.native_reading import native
from vedette.verdict import Verdict

PIECES = st.sampled_from(["a", "1", "x y", "<b>", "'", "%27", "%253Cb", "/", "..", "=", "é", "select", '"', "[", "]"])
TEXT = st.lists(PIECES, max_size=4).map("".join)
PAIRS = st.lists(st.tuples(TEXT, TEXT), max_size=4)
TREE = st.recursive(TEXT, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))
Pairs = list[tuple[str, str]]
MOST_FINDINGS = WafServiceSettings().max_findings


def requests() -> st.SearchStrategy[HTTPRequest]:
    def build(path: str, query: Pairs, cookies: Pairs, headers: list[str], body: Any) -> HTTPRequest:
        target = "/" + path + "?" + "&".join(f"{name}={value}" for name, value in query)
        cookie = "; ".join(f"{name}={value}" for name, value in cookies)
        kind = ("Content-Type", "application/json" if isinstance(body, dict) else "application/x-www-form-urlencoded")
        content = json.dumps(body) if isinstance(body, dict) else "&".join(f"{name}={value}" for name, value in body)
        sent = (("Cookie", cookie), kind, *(("X-A", value) for value in headers))
        return HTTPRequest("POST", target, sent, content.encode())

    return st.builds(build, TEXT, PAIRS, PAIRS, st.lists(TEXT, max_size=3), PAIRS | st.dictionaries(TEXT, TREE))


def told(verdict: Verdict) -> object:
    if len(verdict.findings) == MOST_FINDINGS:  # the rest is not read then: which are listed hangs on what is known
        return verdict.is_anomaly, verdict.not_inspected
    found = sorted((finding.location, finding.name) for finding in verdict.findings)
    return round(verdict.anomaly_score or 0.0, 4), verdict.is_anomaly, found, verdict.not_inspected


@pytest.mark.parametrize("limits", [{}, {"max_fields": 6, "max_depth": 2, "max_value_chars": 64}])
def test_what_came_before_changes_no_verdict(limits: dict[str, int]) -> None:
    @settings(max_examples=60, deadline=None)
    @given(st.lists(requests(), min_size=2, max_size=5))
    def check(sent: list[HTTPRequest]) -> None:
        used = small_engine(inspection=limits)
        for request in (*sent, *sent):
            assert told(used.check(request)) == told(small_engine(inspection=limits).check(request))

    check()


def test_what_was_refused_once_is_read_the_next_time() -> None:
    engine = small_engine(inspection={"max_fields": 16})
    flood = "/?" + "&".join(f"a{number}=x" for number in range(40))
    hostile = ("X-B", "<script>alert(1)</script>")
    engine.check(HTTPRequest("GET", flood, (("X-A", "1"), hostile)))
    assert engine.check(HTTPRequest("GET", "/", (hostile,))).is_anomaly


def names_read(engine: Engine, request: HTTPRequest) -> list[str]:
    """Of which fields the model reads something."""
    prepared = engine.prepare(request)
    engine.infer(list(prepared.slices(4096)))
    engine.judge(prepared)
    return [prepared.fields[index].name for index, _, _ in prepared.reads]


def test_a_harmless_piece_is_read_once_and_an_attack_again() -> None:
    engine = small_engine()
    headers = (("Accept", "text/html"), ("Cookie", "theme=dark blue; note=a,a;b"), ("Content-Type", "application/json"))
    body = b'{"a": ["x;y", "<i>", "short"], "n": 1}'
    request = HTTPRequest("POST", "/shop/item?page=over%20view&say=a%3Bb&q=<b>", headers, body)
    assert names_read(engine, request) == ["say", "q", "a[0]", "a[1]"]
    assert names_read(engine, request) == ["q", "a[1]"]


@NATIVE_ONLY
def test_headers_that_come_together_are_one_piece() -> None:
    engine = small_engine()
    headers = (("Accept", "a;b"), ("X-A", "c;d"), ("Cookie", "one=e,e;f; two=g|h"))
    assert names_read(engine, HTTPRequest("GET", "/", headers)) == ["Accept", "X-A", "two"]
    pieces = len(engine._pieces)
    assert names_read(engine, HTTPRequest("GET", "/", (("Referer", "/"), *headers))) == []
    assert len(engine._pieces) == pieces + 1  # the referrer
    odd = (("Accept", "a;b"), ("X;A", "c;d"))
    assert names_read(engine, HTTPRequest("GET", "/", odd)) == ["X;A", "X;A"]
    assert names_read(engine, HTTPRequest("GET", "/", odd)) == []
    assert names_read(engine, HTTPRequest("GET", "/", (*odd, ("X-A", "<i>")))) == ["X-A"]
    assert names_read(engine, HTTPRequest("GET", "/", (*odd, ("X-A", "<i>")))) == ["X-A"]


@NATIVE_ONLY
def test_what_was_not_judged_is_not_known() -> None:
    engine = small_engine()
    request = HTTPRequest("GET", "/?say=a%3Bb")
    engine.judge(engine.prepare(request))  # without the model's answer
    assert names_read(engine, request) == ["say"]
    assert names_read(engine, request) == []


@NATIVE_ONLY
def test_a_known_piece_does_not_vouch_for_a_name_that_it_shares() -> None:
    engine = small_engine()
    both = HTTPRequest("GET", "/?a%3Cb=1&a%3Cb=c%3Bd")
    assert names_read(engine, both).count("a<b") == 2
    assert "a<b" in names_read(engine, HTTPRequest("GET", "/?a%3Cb=c%3Bd"))


def test_the_score_of_a_known_piece_counts() -> None:
    engine = small_engine()
    request = HTTPRequest("GET", "/?say=a%3Bb")
    score = engine.check(request).anomaly_score
    assert names_read(engine, request) == []
    assert engine.check(request).anomaly_score == score
    assert score is not None
    assert 0 < score < engine.threshold
    assert engine.check(request).anomaly_score == score
    group = HTTPRequest("GET", "/?q=1", (("Cookie", "one=e,e; say=a;b; two=2"),))
    scores = {engine.check(group).anomaly_score for _ in range(4)}
    assert len(scores) == 1
    assert names_read(engine, HTTPRequest("GET", "/", (("Cookie", "one=e,e; say=a;b; two=2"),))) == []


def test_an_odd_name_is_read_again_though_its_value_is_inert() -> None:
    engine = small_engine()
    twice = HTTPRequest("GET", "/?a%3Cb=1&a%3Cb=1")
    assert "a<b" in names_read(engine, twice)
    assert "a<b" in names_read(engine, twice)


@NATIVE_ONLY
def test_memory_is_bounded_and_what_is_used_stays() -> None:
    assert native is not None
    small = PieceMemory(40_000, 0.5)

    def is_known(name: str, raw: str) -> bool:
        return native is not None and native.inert(small.inert, "json", name, raw) == (1, 0.25)

    def add(name: str, raw: str) -> None:
        small.remember([Piece(("json", name, raw), 0, 1, 1, 0.25)], [], [])

    add("often", "<1>")
    for number in range(5_000):
        add("q", f"<{number}>")
        assert is_known("often", "<1>")
    assert not is_known("q", "<0>")
    assert 100 < len(small) <= 512  # twice half of the 512 slots that 40,000 bytes have room for


@NATIVE_ONLY
def test_of_a_request_of_very_many_pieces_the_first_become_known() -> None:
    engine = small_engine()
    request = HTTPRequest("GET", "/?" + "&".join(f"q{number}={number},{number};" for number in range(MOST_PIECES + 50)))
    prepared = engine.prepare(request)
    engine.infer(list(prepared.slices(4096)))
    engine.judge(prepared)
    assert len(prepared.pieces) == MOST_PIECES
    assert names_read(engine, request)[0] == f"q{MOST_PIECES}"


def test_without_room_nothing_is_remembered() -> None:
    nothing = PieceMemory(0, 0.5)
    nothing.remember([Piece(("json", "a", "<1>"), 0, 0, 1, 0.0)], [], [])
    assert len(nothing) == 0


@NATIVE_ONLY
def test_pieces_that_hold_nothing_are_told_apart() -> None:
    assert native is not None
    one, other = native.inert_memory(1 << 20), native.inert_memory(1 << 20)
    assert native.remember_inert(one, "query", "a", "a=<b", 3, 0.25)
    assert native.inert(one, "query", "a", "a=<b") == (3, 0.25)
    for asked in (("form", "a", "a=<b"), ("query", "aa", "=<b"), ("query", "", "aa=<b"), ("query", "a", "a=<b\0")):
        assert native.inert(one, *asked) is None
    assert native.inert(other, "query", "a", "a=<b") is None
    assert not native.remember_inert(one, "query", "a", "x" * 10_000, 1, 0.0)
    assert not native.remember_inert(one, "query", "a", "\ud800", 1, 0.0)
    assert not native.remember_inert(one, "query", "a", "many", 1 << 15, 0.0)
    assert native.remember_inert_group(one, [("A", "<1"), ("B", "2")], 2, 0.0)
    assert native.inert_group(one, [("A", "<1"), ("B", "2")]) == (2, 0.0)
    for pieces in ([("B", "2"), ("A", "<1")], [("A", "<1")], [("A", "<1B"), ("", "2")], []):
        assert native.inert_group(one, pieces) is None
    assert native.inert_count(one) == 2
    with pytest.raises(ValueError, match="PyCapsule"):
        native.inert(object(), "query", "a", "a=<b")
