"""Dataset files are read whole, or the reading stops with the file and the line."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from vedette.errors import MalformedInput
from vedette.evaluation.records import read_records

GOOD = [
    {"id": "1", "label": "benign", "method": "GET", "url": "/a?b=1", "headers": {"Host": "shop.example"}, "site": "s"},
    {"id": "2", "label": "attack", "class": "xss", "kind": "value", "value": "<b onload=x>é"},
    {"id": "3", "label": "ambiguous", "class": "sqli", "method": "POST", "url": "/", "headers": {}, "body": "a=1"},
]
TEXT = "\n".join(json.dumps(record) for record in GOOD) + "\n\n"


@pytest.mark.parametrize(
    ("name", "pack"), [("a.jsonl", bytes), ("a.jsonl.gz", gzip.compress), ("a.jsonl.xz", lzma.compress)]
)
def test_plain_and_packed_files_give_the_same_records(
    tmp_path: Path, name: str, pack: Callable[[bytes], bytes]
) -> None:
    (tmp_path / name).write_bytes(pack(TEXT.encode()))
    records = list(read_records([tmp_path / name, tmp_path / name]))
    assert [record.record_id for record in records] == ["1", "2", "3"] * 2
    assert [record.label for record in records[:3]] == ["benign", "attack", "ambiguous"]
    assert (records[0].site, records[1].attack_class) == ("s", "xss")
    assert (records[1].request.method, records[1].request.target) == ("GET", "/?q=%3Cb%20onload%3Dx%3E%C3%A9")
    assert records[2].request.body == b"a=1"


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "nonsense",
        '{"label": "evil", "method": "GET", "url": "/"}',
        '{"method": "GET", "url": "/"}',
        '{"label": "benign", "url": "/"}',
        '{"label": "attack", "kind": "value"}',
        '{"label": "attack", "kind": "value", "value": 3}',
        '{"label": "benign", "method": "GET", "url": "/", "headers": 7}',
        '{"label": "benign", "method": "GET", "url": "/", "body_base64": "!"}',
        "[" * 50_000,
    ],
)
def test_a_bad_line_is_named_with_its_file(tmp_path: Path, line: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps(GOOD[0]) + "\n" + line + "\n" + json.dumps(GOOD[1]))
    records = read_records([path])
    assert next(records).record_id == "1"
    with pytest.raises(MalformedInput) as caught:
        next(records)
    assert str(caught.value).startswith(f"{path}:2: ")


def test_a_method_that_is_no_token_is_judged_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_text(json.dumps({**GOOD[0], "method": "WAIT FOR IT 1"}))
    (record,) = read_records([path])
    assert (record.request.method, record.request.target, record.label) == ("INVALID", "/a?b=1", "benign")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(MalformedInput, match=r"none\.jsonl"):
        list(read_records([tmp_path / "none.jsonl"]))
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(gzip.compress(TEXT.encode() * 50)[:-30])
    with pytest.raises(MalformedInput) as caught:
        list(read_records([path]))
    assert "cut.jsonl.gz" in f"{caught.value} {caught.value.field}"
