"""Pieces known to be inert: leaving them out changes no verdict, secrets are not kept, memory is bounded."""

from __future__ import annotations

import gc

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.inference.small_model import small_engine
from vedette.http_request import HTTPRequest
from vedette.inference.engine import Engine
from vedette.inference.inert_memory import MAX_CHARS, InertMemory
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
    found = [(finding.location, finding.name, finding.attack_class, finding.span) for finding in verdict.findings]
    return round(verdict.anomaly_score or 0.0, 4), verdict.is_anomaly, found, verdict.not_inspected


@settings(max_examples=40, deadline=None)
@given(st.lists(requests(), min_size=2, max_size=5))
def test_what_came_before_changes_no_verdict(sent: list[HTTPRequest]) -> None:
    used = small_engine()
    for request in (*sent, *sent):
        assert told(used.check(request)) == told(small_engine().check(request))


def names_read(engine: Engine, request: HTTPRequest) -> list[str]:
    return [field.name for field in engine.prepare(request).fields]


def test_an_inert_piece_is_read_once_and_others_again() -> None:
    engine = small_engine()
    request = HTTPRequest("GET", "/shop/item?page=2&q=<b>", (("Accept", "text/html"), ("Cookie", "theme=dark")))
    assert names_read(engine, request) == ["path", "page", "q", "Accept", "theme"]
    assert names_read(engine, request) == ["q"]


def test_an_odd_name_is_read_again_though_its_value_is_inert() -> None:
    engine = small_engine()
    twice = HTTPRequest("GET", "/?a%3Cb=1&a%3Cb=1")
    assert "a<b" in names_read(engine, twice)
    assert "a<b" in names_read(engine, twice)


def test_secrets_are_not_kept() -> None:
    memory = InertMemory(1 << 20)
    assert memory.key("query", "password", "password=hunter2") is None
    assert memory.key("header", "Authorization", "hunter2") is None
    key = memory.key("cookie", "", "sid=hunter2")
    assert isinstance(key, bytes)
    assert b"hunter2" not in key
    assert key != InertMemory(1 << 20).key("cookie", "", "sid=hunter2")


def test_long_pieces_are_not_kept_and_nothing_is_without_room() -> None:
    assert InertMemory(1 << 20).key("query", "q", "x" * (MAX_CHARS + 1)) is None
    assert InertMemory(0).key("query", "q", "x") is None


def test_memory_is_bounded_and_what_is_used_stays() -> None:
    memory = InertMemory(40_000)
    often = memory.key("query", "often", "often=1")
    assert often is not None
    memory.add([often])
    for number in range(5_000):
        key = memory.key("query", "q", f"q={number}")
        assert key is not None
        memory.add([key])
        assert often in memory
    assert len(memory) < 400
    held = [sum(map(len, filter(None, key))) for key in gc.get_referents(memory._young) if isinstance(key, tuple)]
    assert sum(held) < 40_000
