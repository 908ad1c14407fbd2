"""The generators: the same seed gives the same draws, draws differ, and no label contradicts another."""

from __future__ import annotations

import json
import random
from itertools import islice

import pytest

from vedette.datasets.encoders import LOCATIONS, place
from vedette.datasets.generate import GENERATORS, generate_attack, generate_records
from vedette.datasets.grammar import Grammar, is_held_out
from vedette.datasets.grammars import cmdi, sqli, traversal, xss
from vedette.http_request import validate_headers, validate_method
from vedette.verdict import ATTACK_CLASSES

FAMILIES = [name for name in GENERATORS if name != "benign"]


def test_every_injection_class_has_a_generator() -> None:
    assert set(FAMILIES) == set(ATTACK_CLASSES) - {"probe", "other"}


@pytest.mark.parametrize("family", GENERATORS)
def test_draws_are_the_same_for_the_same_seed_and_differ_among_themselves(family: str) -> None:
    first, second = random.Random(7), random.Random(7)
    draws = [GENERATORS[family](first) for _ in range(2000)]
    assert draws == [GENERATORS[family](second) for _ in range(2000)]
    assert all(isinstance(text, str) and text for text in draws)
    # Families whose grammar is small by nature (one-line probes, short markers) repeat a little more.
    assert len(set(draws)) > 0.75 * len(draws)


@pytest.mark.parametrize("family", ["sqli", "xss", "traversal", "cmdi", "crlf", "log4shell", "xxe"])
def test_the_classic_families_hardly_repeat(family: str) -> None:
    rng = random.Random(11)
    assert len({GENERATORS[family](rng) for _ in range(2000)}) > 1700


@pytest.mark.parametrize("family", FAMILIES)
def test_mutated_and_encoded_attacks_are_text(family: str) -> None:
    rng = random.Random(3)
    for _ in range(300):
        text = generate_attack(family, rng, mutate=True, encode_layers=rng.randrange(3))
        assert text
        text.encode("utf-8", "surrogatepass")


def test_harmless_values_hold_no_plain_attack() -> None:
    rng = random.Random(5)
    marks = (
        "<script>alert(",
        "union all select null",
        "../../../../etc/passwd",
        "${jndi:ldap",
        "() { :;};",
        "' or '1'='1",
    )
    for _ in range(5000):
        text = GENERATORS["benign"](rng).lower()
        assert not any(mark in text for mark in marks), text


def test_attacks_and_harmless_values_share_almost_nothing() -> None:
    rng = random.Random(9)
    benign = {GENERATORS["benign"](rng) for _ in range(8000)}
    for family in FAMILIES:
        shared = {text for text in (GENERATORS[family](rng) for _ in range(1000)) if text in benign}
        assert len(shared) <= 3, (family, sorted(shared)[:10])


def test_held_out_productions_never_appear_in_training() -> None:
    grammar = Grammar("@start !split\n" + "\n".join(f"  word{number}" for number in range(60)))
    rng = random.Random(1)
    train = {grammar.draw(rng, split="train") for _ in range(3000)}
    holdout = {grammar.draw(rng, split="holdout") for _ in range(3000)}
    assert not train & holdout
    assert len(train) + len(holdout) == 60
    assert all(is_held_out("start", text) for text in holdout)


@pytest.mark.parametrize("module", [sqli, xss, traversal, cmdi])
def test_each_split_of_a_family_still_varies(module: object) -> None:
    rng = random.Random(2)
    for split in ("train", "holdout"):
        assert len({module.generate(rng, split=split) for _ in range(500)}) > 300  # type: ignore[attr-defined]


def test_records_are_in_the_dataset_format() -> None:
    records = list(generate_records(400, seed=4))
    assert records == list(generate_records(400, seed=4))
    assert {record["label"] for record in records} == {"attack", "benign"}
    for record in records:
        validate_method(record["method"])
        validate_headers(record["headers"].items())
        assert record["url"].startswith("/")
        assert " " not in record["url"]
        json.dumps(record)


@pytest.mark.parametrize("location", LOCATIONS)
def test_every_attack_can_be_placed_anywhere(location: str) -> None:
    rng = random.Random(6)
    for family in FAMILIES:
        for value in islice(iter(lambda: GENERATORS[family](rng), None), 20):  # noqa: B023
            record = place(value, rng, location)
            validate_headers(record["headers"].items())
            assert record["body"] is None or record["body"].encode()
