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

from vedette.datasets.generate import GENERATORS, generate_records
from vedette.datasets.variants import varied
from vedette.evaluation.folds import FILES, GENERATED, HELD_OUT, MUTATED, PLAIN, VALUES
from vedette.training.corpus import Bag, is_copy, records_of, split_keys
from vedette.training.split import judges
from vedette.verdict import BENIGN

_GENERATED = 200  # attacks of each class
_MUTATED = 400  # attacks of each class, at most


def write_held_out(data: Path, bags: list[Bag], run: Path, fold: int) -> dict[str, int]:
    """Write the records of `fold`, without those that training has seen, and variants of them; return counts.

    Bare harmless values, which are no requests, go into a file of their own. Attacks made from productions that no
    training text used go into another; attacks that are bare values are written once more, plain and mutated.
    """
    seen = split_keys(bags)
    attacks = [bag for bag in bags if bag.part == "test" and bag.label != BENIGN]
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
                    kept = {key: record.get(key) for key in ("id", "label", "class", "source")}
                    write(MUTATED, {**kept, "kind": "request", **varied(record["value"], record["class"], rng)})
        for record in _generated(fold):
            write(GENERATED, record)
    return {**counts, "copies removed": len(copies)}


def _generated(fold: int) -> Iterator[dict[str, Any]]:
    for name in GENERATORS:
        if name != BENIGN:
            yield from generate_records(
                _GENERATED, fold, attack_share=1.0, classes=(name,), split="holdout", mutate_share=0.0
            )
