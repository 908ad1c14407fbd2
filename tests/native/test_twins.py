"""The module in C says what its twins in Python say, or leaves the answer to them: of anything at all."""

from __future__ import annotations

import json
import random
import re
import threading
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.inference.small_model import small_engine
from tests.native_here import NATIVE_ONLY
from tests.nothing_known import NothingKnown
from vedette.config import InspectionSettings
from vedette.datasets.encoders import LOCATIONS, place
from vedette.datasets.generate import GENERATORS
from vedette.errors import RequestError
from vedette.evaluation.traffic import browsing
from vedette.http_request import HTTPRequest, validate_headers
from vedette.native import loader
from vedette.native.regex_to_c import patterns_h
from vedette.native.rules import Rules
from vedette.parsing import decoders, field, forms, native_reading, pipeline, values
from vedette.parsing.pipeline import ParsingPipeline
from vedette.parsing.record import parse_record
from vedette.tokenization import native_screen, screen, text_view

pytestmark = NATIVE_ONLY

PLACES = {"query": 0, "path": 1, "header": 2}
ODD = (
    "a b sel select union or and 1 0 9 ' \" < > / \\ .. . :// http https://www.example.com/ -- { } [ ] ( ) ; | & = % # "
    "@ * - _ é 一 İ K \ufb01 ＜ proto K A Z , : $ script rgb( drop ſ ß \U0001f600 javascript: onload= 127.0.0.1 "
    "xxxxxxxxxxxxxx 1,2,3,4,5,6,7,8, 0aa1bb2cc3dd4 %27 %u0027 %253C %E4%BD%A0 &lt; \\x3c +ADw- eyJhIjoi rO0ABXNy ;v= "
    "*/* Not __utma"
).split()
TEXT = st.lists(st.sampled_from([*ODD, " ", "  ", "\n", "\t", "\ud800", "\x00"]) | st.characters(), max_size=40).map(
    "".join
)
NATIVE = native_screen._native


def attacks(count: int) -> list[str]:
    """Attacks of every grammar, and hard negatives."""
    rng = random.Random(3)
    return [generator(rng) for generator in GENERATORS.values() for _ in range(count)]


def assert_alike(text: str) -> None:
    assert NATIVE is not None
    for location, place_ in PLACES.items():
        for whole in (True, False):
            found = NATIVE.is_inert(text, place_, whole)
            assert found in (None, screen.is_inert(text, location, whole=whole)), (location, whole)
    for is_cookie in (True, False):
        wanted = screen.is_inert_name(text, "cookie" if is_cookie else "query")
        assert NATIVE.is_inert_name(text, is_cookie) in (None, wanted)
    assert NATIVE.is_loaded(text) in (None, screen.is_loaded(text))
    for join in (0, 64):
        assert NATIVE.hot_spots(text, join) in (None, screen.hot_spots(text, join))
    assert NATIVE.view(text) in (None, text_view.view(text))
    percent = native_reading.native and native_reading.native.percent(text)
    assert percent in (None, decoders.percent_by_runs(text) if "%" in text else text)


@settings(max_examples=400, deadline=None)
@given(TEXT)
def test_any_text(text: str) -> None:
    assert_alike(text)


@settings(max_examples=60, deadline=None)
@given(TEXT, TEXT, st.integers(1, 60))
def test_long_texts(head: str, piece: str, times: int) -> None:
    assert_alike(head + piece * times)


def test_every_attack_and_hard_negative() -> None:
    for text in attacks(150):
        assert_alike(text)


@pytest.mark.parametrize("text", ["a." * 600, "'" * 5_000, "<" * 20_000, "a1" * 3_000, ("x=1&" * 500) + "\u4e00"])
def test_deep_and_long_repeats(text: str) -> None:
    assert_alike(text)


def test_most_texts_are_not_left_to_the_twin() -> None:
    assert NATIVE is not None
    texts = attacks(100)
    assert sum(NATIVE.is_inert(text, 0, True) is None for text in texts) < 0.02 * len(texts)
    assert all(NATIVE.view(text) is not None and NATIVE.hot_spots(text, 64) is not None for text in texts)


# -- whole requests --------------------------------------------------------------------------------------------------


@pytest.fixture
def twins(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return what takes the library away."""

    def take() -> None:
        monkeypatch.setattr(native_screen, "_native", None)
        for module in (native_reading, decoders, field, forms, pipeline, values):
            monkeypatch.setattr(module, "native", None)
        monkeypatch.setattr("vedette.inference.piece_memory.native", None)

    return take


def record_request(record: dict[str, Any]) -> HTTPRequest:
    """The request of a dataset's record."""
    return parse_record(json.dumps({"id": "1", "label": "attack", **record})).request


def sample() -> list[HTTPRequest]:
    """Browsing, and attacks in every place of a request."""
    rng = random.Random(5)
    hostile = [
        record_request(place(rng.choice(texts), rng, rng.choice(LOCATIONS)))
        for texts in [attacks(20)]
        for _ in range(300)
    ]
    return [*browsing(400), *hostile]


def seen_by_the_model(requests: list[HTTPRequest], **inspection: Any) -> list[object]:
    """What an engine that remembers has to read of each request in turn."""
    engine = small_engine(inspection=inspection)
    found: list[object] = []
    for request in requests:
        prepared = engine.prepare(request)
        found.append(([tuple(window) for window in prepared.windows], prepared.views, prepared.not_inspected))
        engine.infer(list(prepared.slices(1 << 20)))
    return found


@pytest.mark.parametrize("inspection", [{}, {"max_depth": 2, "max_decode_passes": 1}, {"max_value_chars": 64}])
def test_requests_are_read_alike(twins: Callable[[], None], inspection: dict[str, int]) -> None:
    requests = sample()
    native = seen_by_the_model(requests, **inspection)
    twins()
    for request, ours, wanted in zip(requests, native, seen_by_the_model(requests, **inspection), strict=True):
        assert ours == wanted, request


PIECE = st.sampled_from(
    [
        *ODD,
        "%20",
        "%D7%A9",
        "+",
        "abcdefghijklmn",
        "0123456789ab",
        "eyJh",
        "QUJDREVGR0g",
        "/",
        "shop",
        "a",
        "%2520",
        "%25D7%25A9",
        "\u00c3\u00a9",
        "\u00e9",
        "&amp;",
        "&a;",
        "%26lt;",
        "Basic ",
        "bearer eyJ",
        "%2F",
        "%252f",
        "\u05d0",
    ]
)
SHORT = st.lists(PIECE | st.characters(), max_size=6).map("".join) | st.lists(PIECE, max_size=60).map("".join)
PACKED = st.binary(min_size=9, max_size=60) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "replace"))


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(["query", "form", "cookie", "header", "path", "json"]), SHORT, SHORT)
def test_of_a_piece_that_holds_nothing_the_model_reads_nothing(location: str, name: str, value: str) -> None:
    native = native_reading.native
    assert native is not None
    name = name.split("=")[0]
    raw = {"query": f"{name}={value}", "form": f"{name}={value}", "cookie": f" {name}={value}"}.get(location, value)
    found = native.inert(nothing_known().inert, location, "" if location == "cookie" else name, raw)
    if found is None:
        return
    out = field.FieldCollector(InspectionSettings())
    read: Callable[[field.FieldCollector, str, str], None] = {
        "query": forms._READ_PAIR["query"], "form": forms._READ_PAIR["form"], "cookie": forms._read_cookie,
        "header": pipeline._read_header, "path": values.read_path, "json": values._READ_LEAF["json"],
    }[location]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for module in (native_reading, decoders, field, forms, pipeline, values):
            patch.setattr(module, "native", None)
        read(out, "" if location == "cookie" else name, raw)
    assert (len(out.fields), 0.0) == found
    assert not out.not_inspected
    assert not any(native_screen_windows(one) for one in out.fields)


@settings(max_examples=500, deadline=None)
@given(SHORT | TEXT)
def test_texts_are_decoded_alike(text: str) -> None:
    native = native_reading.native
    assert native is not None
    found = native.decode(text)
    if found is not None:
        assert values.decode_by_passes(text, (), 3) == (found[0], ("percent",) * found[1])


def test_no_character_is_torn_by_the_trimming_of_cookies() -> None:
    native, seen = native_reading.native, nothing_known().inert
    assert native is not None
    for code in (*range(0x80, 0xD800), *range(0xE000, 0x20000)):
        char = chr(code)
        if char.encode()[-1] not in (0x85, 0xA0) or char.isspace():
            continue
        for name in ("f=web.con", "f=x", f"{char}f=1", f"f{char}=1"):
            raw = name if char in name else name + char
            if native.inert(seen, "cookie", "", raw) is not None:
                out = field.FieldCollector(InspectionSettings())
                forms._read_cookie(out, "", raw)
                assert not any(native_screen_windows(one) for one in out.fields), ascii(raw)


def test_characters_that_the_library_takes_for_settled_are_touched_by_no_decoder() -> None:
    native, seen = native_reading.native, nothing_known().inert
    assert native is not None
    settled = 0
    for code in (*range(0x80, 0xD800), *range(0xE000, 0x20000)):
        text = f"x{chr(code)}y"
        if native.inert(seen, "json", "a", text) is not None:
            settled += 1
            assert values.decode_by_passes(text, (), 3) == (text, ()), hex(code)
            assert native.decode(text) == (text, 0)
            accented = f"e{chr(code)}\u0301 {chr(code)}{chr(code)}"
            if native.inert(seen, "json", "a", accented) is not None:
                assert values.decode_by_passes(accented, (), 3) == (accented, ())
    assert settled > 30_000


@settings(max_examples=300, deadline=None)
@given(
    SHORT | PACKED.map(lambda data: b64encode(data).decode()),
    st.booleans(),
    st.sampled_from(["", "\n", " ", "\r\n", "\u2028"]),
    st.integers(1, 4),
)
def test_what_is_no_base64_of_text_is_told(text: str, strip: bool, tail: str, times: int) -> None:
    native = native_reading.native
    assert native is not None
    text = (text.rstrip("=") if strip or times > 1 else text) * times + tail
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoders, "native", None)
        plain = decoders.base64_text(text)
    assert plain is None or native.may_be_base64(text)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(SHORT, SHORT) | st.tuples(st.sampled_from(["Host", "X-A", "a b", ""]), TEXT), max_size=3))
def test_headers_that_are_valid_are_taken_as_they_are(pairs: list[tuple[str, str]]) -> None:
    native = native_reading.native
    assert native is not None
    found = native.valid_headers(pairs)
    if found is not None:
        assert found == validate_headers(pairs)
    elif all("\ud800" not in name + value for name, value in pairs):
        with pytest.raises(RequestError):
            validate_headers(pairs)


KEYS = (
    st.sampled_from(["a", "b_c", "query", "$gt", "prototype", "constructor", "__x", "naïve", "x" * 130, "", "a.b"])
    | TEXT
)
DOCUMENT = st.recursive(
    TEXT
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(["12", "-1.5", "word"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def nothing_known() -> NothingKnown:
    """As the service begins."""
    assert native_reading.native is not None
    return NothingKnown(native_reading.native.inert_memory(0))


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(KEYS, DOCUMENT, max_size=4) | st.lists(DOCUMENT, max_size=4), st.booleans())
def test_documents_give_the_fields_that_hold_something(document: Any, is_ascii: bool) -> None:
    body = json.dumps(document, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
    request = HTTPRequest("POST", "/", (("Content-Type", "application/json"),), body)
    everything = ParsingPipeline(InspectionSettings()).parse(request).fields
    left = ParsingPipeline(InspectionSettings()).parse(request, nothing_known()).fields
    windows = native_screen_windows
    assert [field_ for field_ in everything if windows(field_)] == [field_ for field_ in left if windows(field_)]


def native_screen_windows(one: field.Field) -> bool:
    """Whether the model would read something of a field."""
    from vedette.tokenization.http_tokenizer import windows_of

    return bool(windows_of(one))


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 01}',
        '{"a": NaN}',
        '{"a": 1,}',
        "[1 2]",
        '["\\q"]',
        '["\\u12"]',
        '{"a"}',
        "[",
        "[[[[",
        '{"a": "b"} x',
        "{'a': 1}",
    ],
)
def test_what_is_no_json_is_left_to_the_twin(text: str) -> None:
    assert native_reading.native is not None
    assert native_reading.native.json(text, "", 64, None, "json", 4096) is None


def test_a_document_deeper_than_the_limit_is_left_to_the_twin() -> None:
    assert native_reading.native is not None
    assert native_reading.native.json("[" * 5 + '"<"' + "]" * 5, "", 5, None, "json", 4096) is not None
    assert native_reading.native.json("[" * 6 + '"<"' + "]" * 6, "", 5, None, "json", 4096) is None
    assert native_reading.native.json("[" * 100_000, "", 1 << 30, None, "json", 4096) is None


def test_a_document_of_too_many_strings_is_left_to_the_twin() -> None:
    assert native_reading.native is not None
    assert native_reading.native.json('{"a":["<1>","<2>"],"b":"<3>"}', "", 64, None, "json", 3) is not None
    assert native_reading.native.json('{"a":["<1>","<2>"],"b":"<3>"}', "", 64, None, "json", 2) is None


def test_a_small_stack_is_enough() -> None:
    found: list[object] = []

    def read() -> None:
        native = native_reading.native
        assert native is not None
        document = "[" * 60 + '"<x>"' + "]" * 60
        found.append(native.json(document, "", 64, native.inert_memory(0), "json", 4096))
        found.append(native_screen.hot_spots("a." * 600 + "<" * 2000, 64))

    before = threading.stack_size(160 * 1024)
    try:
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert len(found) == 2
    assert found[0] is not None


@pytest.mark.parametrize(
    "text", ["PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg/a/b", "a" * 6 + "PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg"]
)
def test_a_path_without_a_slash_is_left_to_the_twin(text: str) -> None:
    assert native_reading.native is not None
    assert native_reading.native.inert(nothing_known().inert, "path", "path", text) is None


def test_the_wrong_arguments_are_refused() -> None:
    assert NATIVE is not None
    calls: list[Callable[[], object]] = [
        lambda: NATIVE.is_inert(b"bytes", 0, True),  # type: ignore[arg-type]
        lambda: NATIVE.view(None),  # type: ignore[arg-type]
        lambda: NATIVE.is_inert("a"),  # type: ignore[call-arg]
        lambda: NATIVE.hot_spots(1, 2),  # type: ignore[arg-type]
    ]
    for call in calls:
        with pytest.raises(TypeError):
            call()


def test_many_threads_read_at_once() -> None:
    texts = ["<b>" * 8_000, "a=1&" * 9_000, "\u4e00<" * 9_000, "select 1 " * 4_000]
    wanted = [screen.hot_spots(text, 64) for text in texts]
    failures: list[int] = []

    def read(index: int) -> None:
        for _ in range(20):
            if native_screen.hot_spots(texts[index], 64) != wanted[index]:
                failures.append(index)

    threads = [threading.Thread(target=read, args=(index,)) for index in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


# -- rules -----------------------------------------------------------------------------------------------------------


def test_a_module_compiled_from_other_rules_is_not_used() -> None:
    assert loader.native_module(native_screen.RULES) is not None
    changed = Rules({**native_screen.RULES.patterns, "word": re.compile("other")}, *native_screen.RULES[1:])
    assert loader.native_module(changed) is None


@pytest.mark.parametrize("pattern", [r"(?:ab)*?c", "|".join(f"{number}x{number}" for number in "abcdefghi" * 9)])
def test_what_cannot_be_compiled_is_told(pattern: str) -> None:
    with pytest.raises(NotImplementedError, match="odd"):
        patterns_h([Rules({"odd": re.compile(pattern)})])
