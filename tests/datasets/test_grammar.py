"""The grammar language: groups, bindings, repeats, transforms, splits, and errors by line."""

from __future__ import annotations

import random

import pytest

from vedette.datasets.grammar import Grammar


def draw(text: str, seed: int = 0) -> str:
    return Grammar(text).draw(random.Random(seed))


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("@start\n  plain {text} 100%", {"plain {text} 100%"}),
        ("@start\n  ε", {""}),
        ("@start\n  «a¦b»", {"a", "b"}),
        ("@start\n  «¦x»y", {"y", "xy"}),
        ("@start\n  «v=«1¦2»»+«v»", {"1+1", "2+2"}),
        ("@start\n  «v:=«1¦2»»<«v»>", {"<1>", "<2>"}),
        ("@start\n  «one*2-3~, »\n@one\n  1", {"1, 1", "1, 1, 1"}),
        ("@start\n  «b64(«one»)»\n@one\n  id", {"aWQ="}),
        ("@start\n  a«lf»b«nul»", {"a\nb\x00"}),
        ("# comment\n@start\n  ×2 heavy\n  light", {"heavy", "light"}),
    ],
)
def test_productions(text: str, drawn: set[str]) -> None:
    assert {draw(text, seed) for seed in range(40)} == drawn


def test_recursion_ends() -> None:
    assert "x" in draw("@start\n  «start»«start»\n  x", seed=3)


@pytest.mark.parametrize("text", ["@start\nnot indented", "@start\n  «open", "@start\n  «»"])
def test_a_bad_grammar_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"grammar line|unclosed|cannot read"):
        Grammar(text)


def test_an_unknown_name_is_refused_when_drawn() -> None:
    with pytest.raises(KeyError, match="nowhere"):
        draw("@start\n  «nowhere»")
