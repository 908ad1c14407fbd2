"""Pieces that came before: leaving them out changes no verdict, secrets are hashed, memory is bounded."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.inference.small_model import small_engine
from vedette.http_request import HTTPRequest
from vedette.inference.engine import Engine
from vedette.inference.score_memory import ScoreMemory
from vedette.inference.source_memory import MAX_CHARS, SourceMemory
from vedette.verdict import Verdict

PIECES = st.sampled_from(["a", "1", "x y", "<b>", "'", "%27", "%253Cb", "/", "..", "=", "é", "select", '"', "\ud800"])
TEXT = st.lists(PIECES, max_size=4).map("".join)
PAIRS = st.lists(st.tuples(TEXT, TEXT), max_size=4)


def requests() -> st.SearchStrategy[HTTPRequest]:
    def build(
        path: str, query: list[tuple[str, str]], cookies: list[tuple[str, str]], headers: list[str]
    ) -> HTTPRequest:
        target = "/" + path + "?" + "&".join(f"{name}={value}" for name, value in query)
        cookie = "; ".join(f"{name}={value}" for name, value in cookies)
        return HTTPRequest("GET", target, (("Cookie", cookie), *(("X-A", value) for value in headers)))

    return st.builds(build, TEXT, PAIRS, PAIRS, st.lists(TEXT, max_size=3))


def told(verdict: Verdict) -> object:
    found = sorted((finding.location, finding.name, finding.attack_class, finding.span) for finding in verdict.findings)
    return round(verdict.anomaly_score or 0.0, 4), verdict.is_anomaly, found, verdict.not_inspected


@settings(max_examples=40, deadline=None)
@given(st.lists(requests(), min_size=2, max_size=5))
def test_what_came_before_changes_no_verdict(sent: list[HTTPRequest]) -> None:
    used = small_engine()
    for request in (*sent, *sent):
        assert told(used.check(request)) == told(small_engine().check(request))


def names_read(engine: Engine, request: HTTPRequest) -> list[str]:
    prepared = engine.prepare(request)
    engine.infer(list(prepared.slices(4096)))
    return [field.name for field in prepared.fields]


def test_a_harmless_piece_is_read_once_and_an_attack_again() -> None:
    engine = small_engine()
    headers = (("Accept", "text/html"), ("Cookie", "theme=dark; note=a;b"), ("Content-Type", "application/json"))
    request = HTTPRequest("POST", "/shop/item?page=2&say=a%3Bb&q=<b>", headers, b'{"a": ["x;y", "<i>"], "n": 1}')
    first = ["path", "page", "say", "q", "Accept", "theme", "note", "", "Content-Type", "a[0]", "a[1]"]
    assert names_read(engine, request) == first
    assert names_read(engine, request) == ["q", "a[1]"]


def test_a_piece_whose_score_is_forgotten_is_read_again() -> None:
    engine = small_engine()
    request = HTTPRequest("GET", "/?say=a%3Bb")
    assert names_read(engine, request) == ["path", "say"]
    engine.memory._entries.clear()
    assert names_read(engine, request) == ["say"]


def test_the_score_of_a_known_piece_counts() -> None:
    engine = small_engine()
    request = HTTPRequest("GET", "/?say=a%3Bb")
    score = engine.check(request).anomaly_score
    assert engine.check(request).anomaly_score == score
    assert score is not None
    assert 0 < score < engine.threshold


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
    assert one.key("header", "X-Token", "ab") != one.key("header", "X-Tokena", "b")


def test_long_pieces_are_not_kept_and_nothing_is_without_room() -> None:
    assert memory().key("query", "q", "x" * (MAX_CHARS + 1)) is None
    assert memory(0).key("query", "q", "x") is None


def test_memory_is_bounded_and_what_is_used_stays() -> None:
    small = memory(40_000)
    often = small.key("query", "often", "often=1")
    assert often is not None
    small.add([(often, ())])
    for number in range(5_000):
        key = small.key("query", "q", f"q={number}")
        assert key is not None
        small.add([(key, ())])
        assert small.score(often) == 0.0
    assert len(small) < 200
