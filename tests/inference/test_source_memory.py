"""Pieces that came before: leaving them out changes no verdict, secrets are hashed, memory is bounded."""

from __future__ import annotations

import json
import tracemalloc
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.inference.small_model import small_engine
from tests.native_here import NATIVE_ONLY
from vedette.http_request import HTTPRequest
from vedette.inference.engine import Engine
from vedette.inference.score_memory import ScoreMemory
from vedette.inference.source_memory import MAX_CHARS, SourceMemory
from vedette.parsing.field import Field, Source
from vedette.parsing.native_reading import native
from vedette.sinks.masking import is_secret
from vedette.verdict import Verdict

PIECES = st.sampled_from(["a", "1", "x y", "<b>", "'", "%27", "%253Cb", "/", "..", "=", "é", "select", '"', "[", "]"])
TEXT = st.lists(PIECES, max_size=4).map("".join)
PAIRS = st.lists(st.tuples(TEXT, TEXT), max_size=4)
TREE = st.recursive(TEXT, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))
Pairs = list[tuple[str, str]]


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
    return [prepared.fields[index].name for index, _, _ in prepared.reads]


def test_a_harmless_piece_is_read_once_and_an_attack_again() -> None:
    engine = small_engine()
    headers = (("Accept", "text/html"), ("Cookie", "theme=dark blue; note=a,a;b"), ("Content-Type", "application/json"))
    body = b'{"a": ["x;y", "<i>", "short"], "n": 1}'
    request = HTTPRequest("POST", "/shop/item?page=over%20view&say=a%3Bb&q=<b>", headers, body)
    assert names_read(engine, request) == ["say", "q", "a[0]", "a[1]"]
    assert names_read(engine, request) == ["q", "a[1]"]


def test_headers_that_come_together_are_one_piece() -> None:
    engine = small_engine()
    headers = (("Accept", "a;b"), ("X-A", "c;d"), ("Cookie", "one=e,e;f; two=g|h"))
    assert names_read(engine, HTTPRequest("GET", "/", headers)) == ["Accept", "X-A", "two"]
    pieces = len(engine._sources)
    assert names_read(engine, HTTPRequest("GET", "/?q=1,1", (("Referer", "/"), *headers))) == []
    assert len(engine._sources) == pieces + 2
    odd = (("Accept", "a;b"), ("X;A", "c;d"))
    assert names_read(engine, HTTPRequest("GET", "/", odd)) == ["X;A", "X;A"]
    assert names_read(engine, HTTPRequest("GET", "/", odd)) == []
    assert names_read(engine, HTTPRequest("GET", "/", (*odd, ("X-A", "<i>")))) == ["X-A"]
    assert names_read(engine, HTTPRequest("GET", "/", (*odd, ("X-A", "<i>")))) == ["X-A"]


def test_a_piece_whose_score_is_forgotten_is_read_again() -> None:
    engine = small_engine()
    request = HTTPRequest("GET", "/?say=a%3Bb")
    assert names_read(engine, request) == ["say"]
    engine.memory._entries.clear()
    assert names_read(engine, request) == ["say"]
    assert names_read(engine, request) == []


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


def memory(max_bytes: int = 1 << 20) -> SourceMemory:
    return SourceMemory(max_bytes, ScoreMemory(1 << 20), 0.5)


def test_secrets_are_kept_as_keyed_hashes() -> None:
    one = memory()
    for location, name, raw in (
        ("query", "password", "password=hunter2"), ("header", "Authorization", "hunter2"), ("cookie", "", "a=hunter2"),
    ):  # fmt: skip
        key = one.key(location, name, raw)
        assert isinstance(key, bytes)
        assert len(key) == 16
        assert key != memory().key(location, name, raw)
    assert one.key("json", "token", "X\x00Y") != one.key("json", "token\x00X", "Y")
    assert one.key("header", "X-Token", "ab") != one.key("header", "X-Tokena", "b")


def test_a_secret_that_only_its_reading_shows_is_not_kept() -> None:
    engine = small_engine()
    document = b64encode(b'{"password": 345678}').decode()
    arguments = (
        "p%61ssword=hunter2", 'data={"password":"hunter3"}', 'more={"a":{"token":"hunter3x"}}', 'n={"pin":"123456,7"}',
        'o={"otp":"765432"}', "u=%257B%22pin%22:234567%257D", f"b={document}",
    )  # fmt: skip
    engine.check(HTTPRequest("GET", f"/?{'&'.join(arguments)}&plain=hunter4;x"))
    kept = str(list(engine._sources._young))
    assert "hunter4" in kept
    for secret in ("hunter2", "hunter3", "1234567", "123456", "765432", "234567", document):
        assert secret not in kept


def test_long_pieces_are_not_kept_and_nothing_is_without_room() -> None:
    assert memory().key("query", "q", "x" * (MAX_CHARS + 1)) is None
    assert memory().key("json", "n" * 300, "x") is None
    assert memory(0).key("query", "q", "x") is None


def add(memory: SourceMemory, name: str, raw: str, keys: int = 0) -> None:
    key = memory.key("json", name, raw)
    assert key is not None
    read = tuple(("json other", f"{raw}{number}") for number in range(keys))
    memory.add(Source(key, 0, 1, 1, piece=("json", name, raw)), [Field("json", name, raw)], read)


def is_known(memory: SourceMemory, name: str, raw: str) -> bool:
    if native is not None and memory.inert is not None and native.inert(memory.inert, "json", name, raw) == (1, 0.0):
        return True
    key = memory.key("json", name, raw)
    return key is not None and memory.recall(key) == (1, (), 0.0, ())


def test_memory_is_bounded_and_what_is_used_stays() -> None:
    small = memory(40_000)
    add(small, "often", "<1>")
    for number in range(5_000):
        add(small, "q", f"<{number}>")
        assert is_known(small, "often", "<1>")
    assert not is_known(small, "q", "<0>")
    assert len(small) < 300


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


@pytest.mark.parametrize(("name", "keys"), [("q", 0), ("\U0001f600" * 200, 0), ("\U0001f600" * 200, 8)])
def test_memory_keeps_to_its_budget(name: str, keys: int) -> None:
    budget = 2_000_000
    tracemalloc.start()
    filled = memory(budget)
    for number in range(12_000):
        add(filled, f"{name}{number}", f"value {number}", keys)
    is_secret.cache_clear()  # it keeps names of its own
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(filled) > 100
    assert used < 1.2 * budget
