"""The records that judge a run which left out a fold, written as `vedette evaluate` reads them."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from vedette.datasets import encoders
from vedette.datasets.generate import GENERATORS, generate_attack
from vedette.datasets.variants import varied
from vedette.evaluation.folds import FILES, GENERATED, HELD_OUT, MUTATED, PLAIN, VALUES
from vedette.http_request import HTTPRequest
from vedette.parsing.record import parse_record
from vedette.training.believe import GENERATED as GENERATED_SOURCE
from vedette.training.believe import disbelief
from vedette.training.corpus import Bag, Reader, is_copy, key_of, records_of, split_keys
from vedette.training.split import judges
from vedette.verdict import BENIGN

_GENERATED = 200  # attacks of each class
_MUTATED = 400  # attacks of each class, at most


def write_held_out(data: Path, bags: list[Bag], run: Path, fold: int) -> dict[str, int]:
    """Write the records of `fold`, and variants of them; return counts. Attacks that training has seen judge nothing,
    and those that the model reads alike judge once: lists copy each other, and a scanner asks many paths the same.

    Bare harmless values, which are no requests, go into a file of their own. Attacks from productions that are kept out
    of training go into another; of attacks that are bare values, the first of each class are written once more, plain
    and in other words. The files appear when all are complete.
    """
    writer, reader, seen = _Writer(), Reader(), split_keys(bags)
    copies = {
        bag.record_id for bag in bags if bag.part == "test" and bag.label != BENIGN and is_copy(bag.windows, seen)
    }
    disbelieved = {bag.record_id for bag in bags if bag.part == "drop"} - {""}
    rng, twins, left_out = random.Random(fold), Counter[str](), Counter({"copies": 0, "repeats": 0})
    judged: set[frozenset[str]] = set()
    with ExitStack() as stack:
        writer.open(run, stack)
        for record, part in records_of(data, fold):
            identifier, is_value = str(record.get("id", "")), record.get("kind") == "value"
            if part != "test" or identifier in disbelieved:
                continue
            if record["label"] == BENIGN:
                writer.write(VALUES if is_value else HELD_OUT, record)
            elif judges(record):
                windows = reader.windows(_request(record))
                if identifier in copies or is_copy(windows, seen):
                    left_out["copies"] += 1
                    continue
                if windows and key_of(windows) in judged:
                    left_out["repeats"] += 1
                    continue
                judged.add(key_of(windows))
                writer.write(HELD_OUT, record)
                if is_value and twins[record["class"]] < _MUTATED:
                    twins[record["class"]] += 1
                    writer.write(PLAIN, record)
                    kept = {key: record.get(key) for key in ("id", "label", "class", "source")}
                    varied_one = varied(record["value"], record["class"], rng)
                    writer.write(MUTATED, {**kept, "kind": "request", **varied_one})
        for record in _generated(fold, reader, seen):
            writer.write(GENERATED, record)
    for name in FILES:
        (run / f"{name}.new").replace(run / name)
    return {**writer.counts, **{f"{what} left out": n for what, n in left_out.items()}}


class _Writer:
    """The files of a run, and how many records each has got."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(FILES, 0)
        self._files: dict[str, IO[str]] = {}

    def open(self, run: Path, stack: ExitStack) -> None:
        for name in FILES:
            file = gzip.open(run / f"{name}.new", "wt", encoding="utf-8")  # noqa: SIM115 - the stack closes it
            self._files[name] = stack.enter_context(file)

    def write(self, name: str, record: dict[str, Any]) -> None:
        self.counts[name] += 1
        self._files[name].write(json.dumps({k: value for k, value in record.items() if value is not None}) + "\n")


def _request(record: dict[str, Any]) -> HTTPRequest:
    if record.get("kind") == "value":
        return _argument(record["value"])
    return parse_record(json.dumps(record)).request


def _argument(value: str) -> HTTPRequest:
    return HTTPRequest("GET", "/?q=" + quote(value, safe="", errors="surrogatepass"))


def _generated(fold: int, reader: Reader, seen: set[str]) -> Iterator[dict[str, Any]]:
    """Attacks from productions kept out of training, where that did not make the same from others."""
    rng = random.Random(f"kept apart {fold}")
    for name in GENERATORS:
        for number in range(_GENERATED if name != BENIGN else 0):
            value = generate_attack(name, rng, split="holdout")
            windows = reader.windows(_argument(value))
            made = {"class": name, "kind": "value", "value": value, "source": GENERATED_SOURCE}
            # What is not believed in training does not judge it either.
            if not is_copy(windows, seen) and (not windows or disbelief(made, windows) is None):
                placed = encoders.place(value, rng, location=encoders.usual_location(name, rng))
                yield {
                    "id": f"kept-apart-{name}-{number}",
                    "label": "attack",
                    "class": name,
                    "kind": "request",
                    **placed,
                }
