"""The harmless generator: repeatable, varied, bounded, and free of what it must not teach as harmless."""

from __future__ import annotations

import random
import re
from importlib import resources

import pytest

from vedette.datasets import benign
from vedette.datasets.generate import generate_benign
from vedette.datasets.grammar import Draw

DRAWS = 3000

# Working attacks in their plainest form: none may ever be shown to a model as harmless.
ATTACKS = re.compile(
    r"<script>alert\(|\bon(?:error|load)\s*=\s*['\"]?alert|'\s*or\s*'?1'?\s*=\s*'?1|;\s*drop\s+table\s+\w+\s*--"
    r"|union\s+(?:all\s+)?select\s+null|(?:\.\./){3,}etc/passwd|\$\{jndi:|;\s*cat\s+/etc/passwd|\{\{7\*7\}\}"
    r"|\(\)\s*\{\s*:;\s*\}\s*;|<!ENTITY\s+\w+\s+SYSTEM",
    re.IGNORECASE,
)

# The folders that style sheets and modules climb to; handlers that call one function of the page's own.
FRONT_END = r"(?:assets|fonts|images|static|public|styles|shared|components|hooks|utils)/"
UI_CALL = (
    r"\\*[\"']?(?:return )?(?-i:(?:show|hide|toggle|switch|select|change|filter|sort|close|expand|collapse|scroll|"
    r"slide|pick|choose|apply|clear|add|remove|update|go|jump|back|on|do|track|log|load|open)"
    r"(?:[A-Z][A-Za-z]+\d*|_[a-z_]+)\()"
)
# What the forms of ASP.NET hold in place of an address, and links that print, close, go back or show a part of a page
# named by plain words and numbers.
POST_BACK = (
    r"(?:return )?WebForm_(?:DoPostBackWithOptions|FireDefaultButton)\("
    r"|(?:setTimeout\((?:[\"'\\]|&\w+;|&#39;|&amp;)+)?__doPostBack\("
    r"|window\.(?:print|close)\(\)|(?:window\.)?history\.(?:back\(\)|go\(-\d\))"
    r"|(?:show|hide|toggle|switch|select|change|filter|sort|close|expand|collapse|scroll|apply|clear|add|remove|update"
    r"|go|open|load|track)(?-i:[A-Z]|_)[A-Za-z_]+\d*\([\w\s'\"\\#,.;&%\-]*\)"
)
# Halves of attacks and whole statements or commands, which harmless text must not hold either.
HALVES = re.compile(
    r"javascript:\s*(?!(?:void(?:\(0\)|\(null\)| 0))?;*(?=[\s\"'`\\<,)}\]]|\Z)|v?\d+(?:\.\d+)+|"
    + POST_BACK
    + r")[^\s\"]"
    r"|(?:\.\.[/\\]){2,}(?!\.\.[/\\]|" + FRONT_END + ")"
    r"|\son(?:error|load|click|focus|mouseover)\s*=\s*(?!" + UI_CALL + r")[\"'\w]"
    r"|\bselect\s[\w*, \"]{1,40}\sfrom\s+[\w\"`]+\s+where\s(?!a = ')|\binsert\s+into\s+\w+\s*(?:\(|values)"
    r"|\bdelete\s+from\s+\w+\s+where\b|\bunion\s+(?:all\s+)?select\s+(?:\d|null\b|'|\w+,)"
    r"|['\"]\s*(?:or|and)\s+['\"]?\d+['\"]?\s*=\s*['\"]?\d"
    r"|(?:(?<!&lt);|&&|\|\|?|(?<!``)`|\$\()\s*(?:cat|ls|id|whoami|uname|curl|wget|ping|nc|bash|sh|rm|sleep)\b"
    r"(?=\s+[-/.~\d]|\s*[;|&`)]|\s*$)"
    r"|[{]\{\s*\d+\s*[*+-]\s*\d+\s*\}\}|\$\{\s*\d+\s*[*+-]\s*\d+\s*\}|\$\{jndi|/etc/(?:passwd|shadow)\b|<!ENTITY",
    re.IGNORECASE,
)


def _draws(seed: int, count: int = DRAWS) -> list[str]:
    rng = random.Random(seed)
    return [benign.generate(rng) for _ in range(count)]


def test_the_same_seed_draws_the_same_values() -> None:
    assert _draws(5, 300) == _draws(5, 300)
    assert _draws(5, 300) != _draws(6, 300)


def test_values_hardly_ever_repeat() -> None:
    assert len(set(_draws(1))) > 0.9 * DRAWS


def test_values_are_bounded_and_never_blank() -> None:
    assert all(text.strip() and len(text) <= benign.MAX_CHARS for text in _draws(2))


def test_values_hold_the_marks_that_alarm_naive_filters() -> None:
    texts = _draws(3, 3 * DRAWS)
    for mark in (
        "'",
        '"',
        "--",
        "<",
        ">",
        ";",
        "|",
        "{{",
        "${",
        "../",
        "select",
        "script",
        "%20",
        "\x00",
        "и",
        "و",
        "ו",
        "の",
        "=if(",
        "/var/log/",
        "<?xml",
        "mso-",
        "{/",
        "//www.",
        "urn:oasis:names:tc:saml",
        "$__",
        "activitymap",
        "{% e",
        "{{path/to/",
    ):
        assert sum(mark in text.lower() for text in texts) >= 3, mark


def test_no_value_is_a_plain_attack() -> None:
    for seed in range(3):
        found = [text for text in _draws(seed) if ATTACKS.search(text)]
        assert not found, found[:3]


def test_no_value_holds_half_an_attack_or_a_whole_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benign, "_BLOB_SHARE", 0.0)  # noise spells a command of two letters now and then
    rng = random.Random(8)
    found = [text for text in (generate_benign(rng) for _ in range(3 * DRAWS)) if HALVES.search(text)]
    assert not found, found[:3]


def test_every_rule_can_be_drawn() -> None:
    for rule in benign.benign_grammar().rules.values():
        rng = random.Random(rule.name)
        for _ in range(3 * len(rule.texts)):
            assert isinstance(rule(Draw(rng, "all")), str)


def test_no_rule_is_defined_twice() -> None:
    names: list[str] = []
    for part in benign.GRAMMARS:
        text = (resources.files("vedette.datasets") / "data" / f"benign_{part}.grammar").read_text(encoding="utf-8")
        names += re.findall(r"^@(\w+)", text, re.MULTILINE)
    assert len(names) == len(set(names))


def test_every_shape_that_is_not_of_a_grammar_gives_text() -> None:
    for shape in set(benign._SHAPES):
        rng = random.Random(9)
        assert len({shape(rng) for _ in range(50)}) > 25, shape.__name__
