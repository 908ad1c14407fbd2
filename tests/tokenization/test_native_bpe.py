"""The encoder in C gives the ids of the library, or leaves a text to it."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.native_here import NATIVE_ONLY
from tests.tiny_bundle import tokenizer
from vedette.bundle import load_model
from vedette.tokenization import native_bpe as native
from vedette.tokenization.http_tokenizer import _SPLIT, HTTPTokenizer

pytestmark = NATIVE_ONLY
SHIPPED = load_model().tokenizer
SCRIPTS = [
    "a1 '",
    " \t\n\x0b\x0c\r\x1c\x1f",
    "select union<>=/-;",
    "\u05d0\u05e9 a",
    "\u4e2d\u6587 a1\uff0c",
    "\u00a0\u2003\u3000\u200b a",
]


def ours(words: HTTPTokenizer, texts: list[str]) -> list[list[int] | None]:
    encoder = words._native
    assert encoder is not None
    return encoder.encode(texts)


@settings(max_examples=300)
@given(st.lists(st.text(st.one_of(*[st.sampled_from(letters) for letters in SCRIPTS], st.characters(codec="utf-8")))))
def test_ids_are_those_of_the_library(texts: list[str]) -> None:
    for words in (SHIPPED, tokenizer()):
        for found, wanted in zip(ours(words, texts), words._encode_by_library(texts), strict=True):
            assert found is None or found == wanted
        assert words.encode_texts(texts) == words._encode_by_library(texts)


def test_every_character_below_u10000_is_told_apart_as_the_library_does() -> None:
    chars = [chr(code) for code in range(0x10000) if not 0xD800 <= code < 0xE000]
    texts = ["".join(f"{a} {a}b1{a}{a}" for a in chars[at : at + 16]) for at in range(0, len(chars), 16)]
    texts += [f" {char}a" for char in chars[:0x3100]]
    found = ours(SHIPPED, texts)
    assert sum(ids is not None for ids in found) > 0.6 * len(texts)
    wanted = SHIPPED._encode_by_library(texts)
    assert [text for text, left, right in zip(texts, found, wanted, strict=True) if left not in (None, right)] == []


def test_text_of_live_traffic_is_not_left_to_the_library() -> None:
    texts = ["q=1' or 1=1--", "", "\u05e9\u05dc\u05d5\u05dd <b>", "\u4f60\u597d\uff0c\u4e16\u754c", "a" * 512]
    assert None not in ours(SHIPPED, texts)
    assert ours(SHIPPED, ["'" * 513, "\U0001f600", "\ud800"]) == [None] * 3


def test_long_and_random_text() -> None:
    rng = random.Random(3)
    letters = [chr(code) for code in range(1, 0x180)]
    texts = [
        "".join(rng.choice(rng.choice((letters, "ab'< "))) for _ in range(rng.randint(0, 3000))) for _ in range(40)
    ]
    assert SHIPPED.encode_texts(texts) == SHIPPED._encode_by_library(texts)


def test_without_the_library_in_c_the_other_one_encodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "native_library", lambda: "it was not compiled")
    plain = HTTPTokenizer.from_json(SHIPPED.to_json())
    assert plain._native is None
    assert plain.encode_texts(["a' or 1=1"]) == SHIPPED.encode_texts(["a' or 1=1"])


@pytest.mark.parametrize(
    "change",
    [
        {"normalizer": {"type": "Lowercase"}},
        {"pre_tokenizer": {"type": "Whitespace"}},
        {"model": {"ignore_merges": True}},
        {"model": {"vocab": {"!": 70_000}, "merges": []}},
        {"model": {"vocab": {"a": 1}, "merges": [("a", "b")]}},
    ],
)
def test_a_vocabulary_of_another_kind_is_left_to_the_library(change: dict[str, dict[str, object]]) -> None:
    file = json.loads(SHIPPED.to_json())
    model = {**file["model"], **change.get("model", {})}
    assert native.native_bpe(json.dumps(file), _SPLIT) is not None
    assert native.native_bpe(json.dumps({**file, **change, "model": model}), _SPLIT) is None
    assert native.native_bpe(json.dumps(file), "another") is None
