"""Records whose label is not believed neither train nor judge, whatever their label is."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path

import pytest

from vedette.evaluation.folds import HELD_OUT, VALUES
from vedette.training import held_out
from vedette.training.corpus import assign, read_file
from vedette.training.held_out import write_held_out
from vedette.training.split import fold_of


def test_disbelieved_records_of_both_labels_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_out, "_GENERATED", 0)
    site = next(f"site-{n}" for n in range(99) if fold_of("benign", f"site-{n}") == 1)
    source = next(f"who/{n}" for n in range(99) if fold_of("benign", f"who/{n}") == 1)
    records = [
        {"id": "v1", "label": "benign", "kind": "value", "value": "<script>alert(1)</script>", "source": source},
        {"id": "v2", "label": "benign", "kind": "value", "value": "Tom & Ann's shop (new)", "source": source},
        {"id": "r1", "label": "benign", "site": site, "method": "GET", "url": "/?q=%3Cscript%3Ealert(1)%3C/script%3E"},
        {"id": "r2", "label": "benign", "site": site, "method": "GET", "url": "/?q=what%27s+new?"},
    ]
    file = tmp_path / "data" / "benign" / "mixed.jsonl.xz"
    file.parent.mkdir(parents=True)
    with lzma.open(file, "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps(record) + "\n" for record in records)
    bags = read_file(file, seed=1)
    assign(bags, 1)
    assert {bag.record_id for bag in bags if bag.part == "drop"} == {"v1", "r1"}
    assert {bag.disbelief for bag in bags if bag.part == "drop"} == {"attack among harmless records"}

    write_held_out(tmp_path / "data", bags, tmp_path, 1)
    written = "".join(gzip.decompress((tmp_path / name).read_bytes()).decode() for name in (VALUES, HELD_OUT))
    assert [json.loads(line)["id"] for line in written.splitlines()] == ["v2", "r2"]


def test_attacks_that_are_read_alike_judge_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_out, "_GENERATED", 0)
    source = next(f"who/{n}" for n in range(99) if fold_of("attack", f"who/{n}") == 1)
    urls = ("/a?q=<svg+onload=alert(1)>", "/b?x=<svg%20onload=alert(22)>", "/a?q=<svg+onload=confirm(1)>", "/c", "/d")
    common = {"label": "attack", "class": "xss", "source": source}
    records = [{**common, "id": f"r{number}", "method": "GET", "url": url} for number, url in enumerate(urls)]
    records.append({**common, "id": "v", "kind": "value", "value": "<svg onload=alert(3)>"})
    file = tmp_path / "data" / "attacks" / "mixed.jsonl.xz"
    file.parent.mkdir(parents=True)
    with lzma.open(file, "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps(record) + "\n" for record in records)
    counts = write_held_out(tmp_path / "data", [], tmp_path, 1)
    written = gzip.decompress((tmp_path / HELD_OUT).read_bytes()).decode()
    assert [json.loads(line)["id"] for line in written.splitlines()] == ["r0", "r2", "r3", "r4"]
    assert counts["repeats left out"] == 2  # of /c and /d nothing is read that could be alike


def test_a_value_is_doubted_wherever_it_is_placed(tmp_path: Path) -> None:
    record = {"id": "a", "label": "attack", "class": "redirect", "kind": "value", "value": "http://a.example.com/b",
              "source": "who/lists"}  # fmt: skip
    for seed in range(12):
        file = tmp_path / f"{seed}" / "lists.jsonl.xz"
        file.parent.mkdir()
        with lzma.open(file, "wt", encoding="utf-8") as lines:
            lines.write(json.dumps(record) + "\n")
        assert [bag.disbelief for bag in read_file(file, seed)] == ["plain outside address"] * 3
