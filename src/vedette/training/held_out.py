"""The records that judge a run which left out a fold, written as `vedette evaluate` reads them."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from vedette.datasets import encoders
from vedette.datasets.generate import GENERATORS, generate_benign, generate_records
from vedette.datasets.mutators import mutate
from vedette.evaluation.folds import FILES, GENERATED, HELD_OUT, MUTATED, PLAIN, VALUES
from vedette.training.corpus import Bag, is_copy, records_of, split_keys
from vedette.training.split import judges
from vedette.verdict import BENIGN

_GENERATED = 200  # attacks of each class
_MUTATED = 400  # attacks of each class, at most
_ENCODED = (0, 0, 0, 1, 1, 2)  # encodings around a mutated attack
_PADDED, _LONGEST_PADDING = 0.3, 128 * 1024  # how many get harmless text around, characters
_LONG_PLACES = ("json", "form", "multipart", "xml")  # where a long value may stand


def write_held_out(data: Path, bags: list[Bag], run: Path, fold: int) -> dict[str, int]:
    """Write the records of `fold`, without those that training has seen, and variants of them; return counts.

    Bare harmless values, which are no requests, go into a file of their own. Attacks made from productions that no
    training text used go into another; attacks that are bare values are written once more, plain and mutated.
    """
    seen = split_keys(bags)
    attacks = [bag for bag in bags if bag.part == "test" and bag.label != BENIGN and not bag.wide]
    copies = {bag.record_id for bag in attacks if bag.record_id and is_copy(bag.windows, seen)}
    left_out = copies | {bag.record_id for bag in bags if bag.part == "drop"}
    rng, twins = random.Random(fold), Counter[str]()
    with ExitStack() as stack:
        out = {name: stack.enter_context(gzip.open(run / name, "wt", encoding="utf-8")) for name in FILES}
        counts = dict.fromkeys(FILES, 0)

        def write(name: str, record: dict[str, Any]) -> None:
            counts[name] += 1
            out[name].write(json.dumps({key: value for key, value in record.items() if value is not None}) + "\n")

        for record, part in records_of(data, fold):
            if part != "test" or record.get("id") in left_out:
                continue
            is_value = record.get("kind") == "value"
            if record["label"] == BENIGN:
                write(VALUES if is_value else HELD_OUT, record)
            elif judges(record):
                write(HELD_OUT, record)
                if is_value and twins[record["class"]] < _MUTATED:
                    twins[record["class"]] += 1
                    write(PLAIN, record)
                    write(MUTATED, _mutated(record, rng))
        for record in _generated(fold):
            write(GENERATED, record)
    return {**counts, "copies removed": len(copies)}


def _generated(fold: int) -> Iterator[dict[str, Any]]:
    for name in GENERATORS:
        if name != BENIGN:
            yield from generate_records(
                _GENERATED, fold, attack_share=1.0, classes=(name,), split="holdout", mutate_share=0.0
            )


def _mutated(record: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """The attack of `record` in other words, elsewhere, encoded, or in harmless text."""
    value = mutate(record["value"], record["class"], rng)
    value, _ = encoders.encode(value, rng, layers=rng.choice(_ENCODED))
    place = rng.choice(encoders.LOCATIONS)
    if rng.random() < _PADDED:
        place = rng.choice(_LONG_PLACES)
        spare = int(_LONGEST_PADDING ** rng.random())
        padding = generate_benign(rng)
        padding = ((padding + " ") * (spare // (len(padding) + 1) + 1))[:spare]
        cut = rng.randint(0, spare)
        value = f"{padding[:cut]} {value} {padding[cut:]}"
    placed = encoders.place(value, rng, location=place)
    kept = {key: record.get(key) for key in ("id", "label", "class", "source")}
    return {**kept, "kind": "request", **placed}
