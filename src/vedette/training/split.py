"""Which records train, calibrate and judge a model: by source and by site, never at random.

Attack sources in `HELD_OUT_ATTACKS` and one benign site or source in six judge; another sixth of the sites calibrates;
the rest trains. What a held-out record shares with the training records after decoding is removed from the held-out
side. The fold was chosen before any model was judged on it: whole collections, so that every family stands in it. The
template collections of scanners copy each other, so all of them train.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

Part = Literal["train", "calibrate", "test", "drop"]

# Collection -> share of its records that judge; the others of it are not used, lest one collection outvote all others.
HELD_OUT_ATTACKS = {
    "faizann24/": 0.18,
    "pralab/": 0.3,
    "PyPI brs-kb": 1.0,
    "LOLBAS-Project/": 1.0,
    "cujanovic/": 1.0,
    "Puliczek/": 1.0,
    "cr0hn/": 1.0,
    "ambionics/": 1.0,
    "generated:d2-misc_thin": 1.0,
    "generated:d2-log4shell2": 1.0,
    "generated:d2-ssti2": 1.0,
    "generated:d2-deser2": 1.0,
    "generated:d2-protopollution2": 1.0,
    "generated:d2-ldap_xpath": 1.0,
    "generated:d2-nosqli2": 1.0,
    "generated:d2-graphql": 1.0,
}
_SIXTHS = {"calibrate": 1, "test": 2}  # of the sites, by hash


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
        share = next((part for name, part in HELD_OUT_ATTACKS.items() if group.startswith(name)), None)
        if share is None:
            return "train"
        return "test" if in_sample(record, share) else "drop"
    if label != "benign":
        return "drop"
    sixth = _draw(group) % 6
    if sixth == _SIXTHS["calibrate"] and record.get("site"):  # calibration is about whole requests of browsing people
        return "calibrate"
    return "test" if sixth == _SIXTHS["test"] else "train"


def in_sample(record: dict[str, Any], share: float) -> bool:
    """Whether a record belongs to a random `share` of all; the same records every time."""
    return _draw(str(record.get("id"))) % 1000 < share * 1000


def _draw(key: str) -> int:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big")
