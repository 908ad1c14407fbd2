"""The split: by source and site, the same every time; each is left out by one fold, and nothing left out trains."""

from __future__ import annotations

from collections import Counter

import pytest

from vedette.training.split import FOLDS, fold_of, group_of, in_sample, judges, part_of


@pytest.mark.parametrize("fold", FOLDS)
def test_what_a_fold_leaves_out_judges_and_all_else_trains_or_calibrates(fold: int) -> None:
    sites = [f"site-{number}" for number in range(600)]
    parts = {site: part_of("benign", site, is_site=True, fold=fold) for site in sites}
    assert {site for site, part in parts.items() if part == "test"} == {
        site for site in sites if fold_of("benign", site) == fold
    }
    counts = Counter(parts.values())
    assert 110 < counts["test"] < 190
    assert 60 < counts["calibrate"] < 130
    assert counts["train"] > 300


def test_every_source_judges_once() -> None:
    for group in ("faizann24/Fwaf", "PyPI brs-kb", "somebody/payloads", "generated:d2-ssti2"):
        parts = [part_of("attack", group, is_site=False, fold=fold) for fold in FOLDS]
        assert sorted(parts) == ["test", "train", "train", "train"]
        assert part_of("attack", group, is_site=False, fold=None) == "train"


@pytest.mark.parametrize(
    "copies",
    [("20142995/nuclei-templates", "runZeroInc/nuclei-templates", "geeknik/the-nuclei-templates"),
     ("Morzeux/HttpParamsDataset", "pralab/modsec-learn-dataset", "sqlmap 1.10.10 (templates expanded)"),
     ("LOLBAS-Project/LOLBAS", "GTFOBins/GTFOBins.github.io", "generated:d2-cmdi_lol")],
)  # fmt: skip
def test_sources_that_copy_each_other_lie_in_one_fold(copies: tuple[str, ...]) -> None:
    assert len({fold_of("attack", group) for group in copies}) == 1


def test_only_sites_calibrate_and_the_same_ones_whichever_fold_is_left_out() -> None:
    groups = [f"group-{number}" for number in range(300)]
    assert {part_of("benign", group, is_site=False, fold=None) for group in groups} == {"train"}
    calibrate = {g for g in groups if part_of("benign", g, is_site=True, fold=None) == "calibrate"}
    for fold in FOLDS:
        left = {g for g in calibrate if fold_of("benign", g) != fold}
        assert left == {g for g in groups if part_of("benign", g, is_site=True, fold=fold) == "calibrate"}


def test_ambiguous_records_are_in_no_part() -> None:
    assert part_of("ambiguous", "somebody/x", is_site=False, fold=None) == "drop"


def test_the_group_is_the_site_else_the_repository_else_the_generator() -> None:
    assert group_of({"site": "shop", "source": "a/b: c"}) == "shop"
    assert group_of({"source": "a/b: c.txt"}) == "a/b"
    assert group_of({"source": "generated", "id": "d2-deser2-17"}) == "generated:d2-deser2"


def test_a_large_collection_judges_by_a_share_and_a_small_one_whole() -> None:
    def share(source: str) -> float:
        return sum(judges({"id": f"a-{number}", "source": source}) for number in range(4000)) / 4000

    assert 0.17 < share("faizann24/Fwaf: x.txt") < 0.23
    assert share("somebody/payloads: x.txt") == 1.0
    assert in_sample({"id": "a"}, 0.5) == in_sample({"id": "a"}, 0.5)
