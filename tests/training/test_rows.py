"""Batches: half attacks, half harmless, within the window, padded, and the attack still in it."""

from __future__ import annotations

import random

import numpy as np
import pytest

from vedette.model.detector_config import CLASSES
from vedette.parsing.pipeline import ParsingPipeline
from vedette.tokenization.http_tokenizer import HTTPTokenizer
from vedette.training.corpus import Bag, Example, examples_of, home_of, is_copy, place_value, split_keys
from vedette.training.rows import Rows, Sampler, pad, rows_of

TOKENIZER = HTTPTokenizer.train(["union select", "harmless words here", "alert ( 1 )"] * 3, 500, 32)
MARK = "union select"


def example(text: str, label: str, origin: str = "attacks/x", bag: int = -1) -> Example:
    return Example("query text", text, label, origin, bag)


@pytest.fixture
def rows() -> Rows:
    harmless = [example(f"harmless words {number}", "benign", f"benign/{number % 3}") for number in range(60)]
    attacks = [example(f"{MARK} {number}", "sqli") for number in range(20)]
    generated = [example(f"alert({number})", "xss", "generated/xss") for number in range(20)]
    return rows_of([*harmless, *attacks, *generated], TOKENIZER)


def test_rows_hold_the_ids_of_their_texts(rows: Rows) -> None:
    assert len(rows) == 100
    assert rows.text(0).tolist() == TOKENIZER.encode_texts(["harmless words 0"])[0]
    assert rows.is_generated(np.arange(100)).sum() == 20


def test_an_attack_longer_than_a_window_is_a_bag_of_its_own() -> None:
    made = rows_of([example("x' or " * 60, "sqli")], TOKENIZER)
    assert len(made) > 1
    assert len(set(made.bag)) == 1
    assert made.bag[0] >= 0


def test_batches_are_half_attacks_within_the_window(rows: Rows) -> None:
    sampler = Sampler(rows, np.random.default_rng(1), TOKENIZER.max_tokens)
    batches = sampler.batches(64)
    labels = []
    for _ in range(16):
        ids, batch, certain = next(batches)
        assert ids.shape[0] == 64
        assert ids.shape[1] <= TOKENIZER.max_tokens
        assert (ids[:, :2] > 0).all()  # two context words
        assert (batch[certain] == CLASSES.index("xss")).all()  # the generated ones
        assert certain.sum() == (batch == CLASSES.index("xss")).sum()
        labels += batch.tolist()
    assert labels.count(0) == len(labels) // 2
    assert set(labels) == {0, CLASSES.index("sqli"), CLASSES.index("xss")}


def test_harmless_text_around_an_attack_leaves_the_attack_in_the_row(rows: Rows) -> None:
    sampler = Sampler(rows, np.random.default_rng(2), TOKENIZER.max_tokens)
    mark = TOKENIZER.encode_texts([MARK])[0]
    row = 60  # the first attack
    assert rows.label[row] == CLASSES.index("sqli")
    for _ in range(200):
        context, text = sampler._draw(row, surround=True)
        ids = [*context, *text.tolist()]
        assert len(ids) <= TOKENIZER.max_tokens
        assert any(ids[at : at + len(mark)] == mark for at in range(len(ids)))


def test_hard_attacks_are_drawn_more_often_but_not_a_few_by_heart(rows: Rows) -> None:
    attack = int(np.flatnonzero(rows.label > 0)[0])
    sampler = Sampler(rows, np.random.default_rng(3), TOKENIZER.max_tokens)
    label = next(label for label in np.unique(rows.label) if label not in (0, rows.label[attack]))
    sampler.hard_attacks = np.full(5_000, attack)
    assert 0.1 < sum(sampler._attack_row(label) == attack for _ in range(1_000)) / 1_000 < 0.2
    sampler.hard_attacks = np.full(100, attack)
    assert sum(sampler._attack_row(label) == attack for _ in range(1_000)) < 40


def test_hard_rows_are_drawn_more_often(rows: Rows) -> None:
    sampler = Sampler(rows, np.random.default_rng(3), TOKENIZER.max_tokens, hard=np.array([7]))
    hard = rows.text(7).tolist()
    drawn = [sampler._harmless()[1].tolist() for _ in range(600)]
    assert 0.3 < sum(text[: len(hard)] == hard for text in drawn) / 600 < 0.6


def test_an_attack_is_seen_in_every_place_however_seldom_that_is_recorded() -> None:
    often = [example(f"harmless words {number}", "benign") for number in range(2_000)]
    seldom = Example("header media", "harmless words", "benign", "benign/x", -1)
    made = rows_of([*often, seldom, example(MARK, "sqli")], TOKENIZER)
    sampler = Sampler(made, np.random.default_rng(4), TOKENIZER.max_tokens)
    media = made.contexts[made.context[2_000]]
    drawn = [sampler._draw(2_001, surround=True)[0] for _ in range(1_000)]
    assert 20 < sum(context == media for context in drawn) < 90  # a half of a tenth


def test_torn_rows_hold_tokens_of_harmless_rows_only(rows: Rows) -> None:
    sampler = Sampler(rows, np.random.default_rng(3), TOKENIZER.max_tokens, noise=1.0)
    known = {token for row in range(60) for token in rows.text(row).tolist()}
    drawn = [sampler._harmless() for _ in range(300)]
    assert {one.label for one in drawn} == {0}
    texts = [one.text.tolist() for one in drawn]
    assert all(set(text) <= known and 0 < len(text) <= TOKENIZER.max_tokens - 2 for text in texts)
    whole = {tuple(rows.text(row).tolist()) for row in range(60)}
    assert sum(tuple(text) not in whole for text in texts) > 200


def test_padding_is_zeros_behind() -> None:
    assert pad([[1, 2, 3], [4]]).tolist() == [[1, 2, 3], [4, 0, 0]]


def bag(label: str, part: str, *texts: str) -> Bag:
    return Bag(label, "g", "attacks/x", [("query text", text) for text in texts], part)


def test_what_stands_in_harmless_records_is_no_attack_and_single_windows_are_certain() -> None:
    examples = examples_of(
        [bag("benign", "train", "same"), bag("sqli", "train", "same", "evil'"), bag("xss", "train", "<a", "<b")]
    )
    assert [(e.text, e.label, e.bag) for e in examples] == [
        ("same", "benign", -1), ("evil'", "sqli", -1), ("<a", "xss", 1), ("<b", "xss", 1),
    ]  # fmt: skip


def test_what_shows_nothing_of_an_attack_is_none() -> None:
    plain, field = ("path path", "/shop/shell.php"), ("query text", ";id")
    bags = [
        Bag("cmdi", "g", "attacks/x", [plain, ("query url", "/shop?page=codes"), ("query other", "ab\u2026=")]),
        Bag("cmdi", "g", "attacks/x", [plain, field]),
        Bag("ssrf", "g", "attacks/x", [plain, ("query url", "a.example")]),
        Bag("traversal", "g", "attacks/x", [("path path", "/a/../b")]),
        Bag("probe", "g", "attacks/x", [("path path", "/b.bak")]),
        Bag("sqli", "g", "attacks/x", [("query text", "plain")], bare=True),
    ]
    assert [(e.text, e.label, e.bag) for e in examples_of(bags)] == [
        (";id", "cmdi", -1), ("a.example", "ssrf", -1), ("/a/../b", "traversal", -1), ("/b.bak", "probe", -1),
        ("plain", "sqli", -1),
    ]  # fmt: skip


def test_a_copy_has_all_its_windows_in_training_attacks() -> None:
    seen = split_keys([bag("sqli", "train", "a", "b"), bag("sqli", "test", "c"), bag("benign", "train", "d")])
    assert seen == {"a", "b"}
    assert is_copy(bag("xss", "test", "a").windows, seen)
    assert not is_copy(bag("xss", "test", "a", "c").windows, seen)
    assert not is_copy([], seen)


def test_a_bare_value_comes_out_of_any_place_as_it_went_in() -> None:
    rng = random.Random(4)
    for value in ("a'b <c>", '"; id #', "x& id >y", "\u00e9\u4e2d 100%"):
        for _ in range(40):
            fields = ParsingPipeline().parse(place_value(value, rng)).fields
            assert any(value in field.value for field in fields), (value, fields)


def test_some_bare_values_keep_their_ampersands_as_scanners_send_them() -> None:
    rng = random.Random(4)
    placed = [ParsingPipeline().parse(place_value("x=1&y=2", rng)).fields for _ in range(200)]
    whole = sum(any("x=1&y=2" in field.value for field in fields) for fields in placed)
    assert 160 <= whole < 200


def test_headers_hold_what_they_can_as_it_is_and_escape_the_rest() -> None:
    rng = random.Random(4)
    placed = [place_value(value, rng) for value in ("a' or 1=1", "a\nb") for _ in range(4000)]
    texts = {text for request in placed for name, text in request.headers if name in ("Referer", "Accept")}
    assert {"a' or 1=1", "a%27%20or%201%3D1", "a%0Ab"} == texts


def test_harmless_hosts_stand_as_the_host_that_is_asked_too() -> None:
    rng = random.Random(4)
    homes = [home_of("benign", host, rng) for host in ("root.word.ch", "perl.word.org:8443") for _ in range(100)]
    assert 60 <= homes.count("Host") <= 160
    drawn = (("ssrf", "root.word.ch"), ("benign", "word.min.js"), ("benign", "localhost"), ("benign", "user.name"))
    assert "Host" not in {home_of(*pair, rng) for pair in drawn for _ in range(50)}


def test_options_with_a_dollar_stand_as_names_of_parameters_too() -> None:
    rng = random.Random(4)
    homes = [home_of("benign", "$deltatoken", rng) for _ in range(200)]
    assert 40 <= homes.count("option") <= 120
    assert "option" not in {
        home_of(*drawn, rng) for drawn in (("benign", "$where"), ("nosqli", "$top")) for _ in range(99)
    }
    fields = ParsingPipeline().parse(place_value("$deltatoken", rng, "option")).fields
    assert any(field.value == "$deltatoken" for field in fields)
