"""Attacks in other words and elsewhere: what attacks as a whole value only stays one."""

from __future__ import annotations

import json
import random

import pytest

from vedette.datasets import variants
from vedette.datasets.variants import varied
from vedette.parsing.pipeline import ParsingPipeline
from vedette.parsing.record import parse_record

PIPELINE = ParsingPipeline()


@pytest.mark.parametrize(
    ("attack_class", "value"), [("traversal", "..\\..\\boot.ini"), ("redirect", "https:/\\evil.example")]
)
def test_harmless_text_stands_beside_a_whole_value(
    attack_class: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(variants, "_PADDED", 1.0)
    monkeypatch.setattr(variants, "mutate", lambda value, *_: value)
    rng, padding = random.Random(3), 0
    for _ in range(60):
        entry = parse_record(json.dumps({"label": "attack", **varied(value, attack_class, rng)}))
        assert value in [field.value for field in PIPELINE.parse(entry.request).fields]
        padding = max(padding, len(entry.request.body))
    assert padding > 10_000


def test_a_payload_stands_in_harmless_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variants, "_PADDED", 1.0)
    monkeypatch.setattr(variants, "mutate", lambda value, *_: value)
    rng, around = random.Random(4), 0
    for _ in range(40):
        entry = parse_record(json.dumps({"label": "attack", **varied("' or 1=1", "sqli", rng)}))
        found = [field.value for field in PIPELINE.parse(entry.request).fields if " ' or 1=1 " in field.value]
        around += bool(found)
    assert around >= 36  # XML cannot hold every sign, and loses blanks at its edges


def test_a_header_holds_the_payload_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variants, "_PADDED", 0.0)
    monkeypatch.setattr(variants, "mutate", lambda value, *_: value)
    monkeypatch.setattr(variants, "_ENCODINGS", (2,))
    monkeypatch.setattr(variants.encoders, "LOCATIONS", ("header",))
    rng = random.Random(5)
    assert all("1 or 1=1" in varied("1 or 1=1", "sqli", rng)["headers"].values() for _ in range(40))


def test_an_address_stands_where_addresses_do_in_what_servers_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variants, "_PADDED", 0.0)
    rng = random.Random(6)
    for _ in range(80):
        record = varied("//host.example", "redirect", rng)
        sent = f"{record['url']} {record.get('body')} {record['headers'].get('Cookie')}"
        assert "&#" not in sent
        assert "%5Cx" not in sent
        assert not any("host.example" in text for name, text in record["headers"].items() if name != "Cookie")


def test_sql_without_an_end_gets_one_in_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variants, "_PADDED", 1.0)
    monkeypatch.setattr(variants, "mutate", lambda value, *_: value)
    rng = random.Random(7)
    for _ in range(20):
        entry = parse_record(json.dumps({"label": "attack", **varied("1 or 1=1", "sqli", rng)}))
        assert any("1 or 1=1 --" in field.value for field in PIPELINE.parse(entry.request).fields)
