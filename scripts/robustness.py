"""The robustness gate: write what the shipped model finds of tests/model/robustness.jsonl.gz beside that file.

The set is fixed: attacks of every family in other words, encoded, in harmless text and anywhere in a request, and
harmless values that look scary, all from the project's own grammars. A test holds the shipped model to the figures, so
that none of them falls unseen. With --draw the set itself is drawn anew, which makes older figures incomparable.
"""

from __future__ import annotations

import gzip
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vedette.config import Settings
from vedette.datasets import encoders
from vedette.datasets.generate import GENERATORS, generate_attack, generate_benign
from vedette.datasets.variants import varied
from vedette.evaluation.evaluate import evaluate
from vedette.evaluation.records import read_records
from vedette.inference.engine import load_engine
from vedette.verdict import BENIGN

SET = Path(__file__).resolve().parent.parent / "tests" / "model" / "robustness.jsonl.gz"
FIGURES = SET.with_name("robustness.json")
_SEED = 2026
_PER_CLASS, _HARMLESS = 60, 2_000


def records() -> Iterator[dict[str, Any]]:
    """Yield the records of the set."""
    rng = random.Random(_SEED)  # noqa: S311
    for name in GENERATORS:
        for number in range(_PER_CLASS if name != BENIGN else 0):
            request = varied(generate_attack(name, rng), name, rng)
            yield {"id": f"{name}-{number}", "label": "attack", "class": name, **request}
    for number in range(_HARMLESS):
        request = encoders.place(generate_benign(rng), rng)
        yield {"id": f"harmless-{number}", "label": "benign", "class": BENIGN, **request}


def figures() -> dict[str, Any]:
    """What the shipped model finds of the set: counts of attacks found by class, and of false alarms."""
    report = evaluate(read_records([SET]), load_engine(Settings()))
    return {
        "model": report.model_version,
        "attacks": report.attacks.n,
        "found": {name: count.hits for name, count in sorted(report.by_class.items())},
        "harmless": report.benign.n,
        "false_alarms": report.benign.hits,
    }


def main() -> None:
    """Draw the set where asked to, and write the figures."""
    if "--draw" in sys.argv[1:]:
        with SET.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as packed:
            for record in records():
                packed.write(json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")
    FIGURES.write_text(json.dumps(figures(), indent=2) + "\n", "utf-8")
    print(FIGURES.read_text("utf-8"), end="")


if __name__ == "__main__":
    main()
