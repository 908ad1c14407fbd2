"""The split: by source and site, the same every time, and nothing held out trains."""

from __future__ import annotations

from collections import Counter

import pytest

from vedette.training.split import HELD_OUT_ATTACKS, group_of, part_of


def attack(source: str, number: int = 0) -> dict[str, object]:
    return {"id": f"a-{number}", "label": "attack", "class": "sqli", "source": source}


def benign(site: str) -> dict[str, object]:
    return {"id": "b", "label": "benign", "class": "benign", "site": site}


@pytest.mark.parametrize("name", HELD_OUT_ATTACKS)
def test_a_held_out_collection_never_trains(name: str) -> None:
    record = {"generated:": {"id": f"{name.partition(':')[2]}-7", "label": "attack", "source": "generated"}}
    for number in range(50):
        chosen = record.get(name[:10], attack(f"{name}lists: file.txt", number))
        assert part_of(chosen) in ("test", "drop")


def test_a_large_collection_gives_its_share() -> None:
    parts = Counter(part_of(attack("faizann24/Fwaf", number)) for number in range(4000))
    assert set(parts) == {"test", "drop"}
    assert 0.15 < parts["test"] / 4000 < 0.21


def test_other_collections_train() -> None:
    assert {part_of(attack("somebody/payloads", number)) for number in range(50)} == {"train"}


def test_a_site_lies_in_one_part_and_every_part_has_sites() -> None:
    parts = Counter(part_of(benign(f"site-{number}")) for number in range(600))
    assert {part_of(benign("site-5")) for _ in range(3)} == {part_of({**benign("site-5"), "id": "another"})}
    assert 60 < parts["test"] < 140
    assert 60 < parts["calibrate"] < 140
    assert parts["train"] > 300


def test_ambiguous_records_are_in_no_part() -> None:
    assert part_of({"id": "x", "label": "ambiguous", "source": "somebody/x"}) == "drop"


def test_the_group_is_the_site_else_the_repository_else_the_generator() -> None:
    assert group_of({"site": "shop", "source": "a/b: c"}) == "shop"
    assert group_of({"source": "a/b: c.txt"}) == "a/b"
    assert group_of({"source": "generated", "id": "d2-deser2-17"}) == "generated:d2-deser2"
