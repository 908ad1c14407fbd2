"""The shipped model on cases written for this test: what everybody sends is found, what only looks like it passes.

These are attacks so plain that half of them stand in training data as well: this tells a broken bundle, not a good one.
How good the model is, on attacks that it never saw, is what `vedette evaluate` measures.
"""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from vedette.config import Settings
from vedette.http_request import HTTPRequest
from vedette.inference.engine import Engine, load_engine

CASES = json.loads((Path(__file__).parent / "shipped_model_cases.json").read_text("utf-8"))
BROWSER = (("Host", "shop.example"), ("Accept", "text/html"), ("Accept-Language", "en-US,en;q=0.9"))
JSON = (("Content-Type", "application/json"),)
FORM = (("Content-Type", "application/x-www-form-urlencoded"),)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return load_engine(Settings())


@pytest.fixture(scope="module")
def eager() -> Engine:
    """The same model where one false alarm in 200 requests is bearable, which is how detection is judged."""
    return load_engine(Settings.model_validate({"waf_service": {"false_positive_budget": 5_000}}))


def places(value: str) -> dict[str, HTTPRequest]:
    """`value` as it is sent in a query, a form and a JSON document."""
    encoded = quote(value, safe="")
    return {
        "query": HTTPRequest("GET", f"/search?page=2&q={encoded}", BROWSER),
        "form": HTTPRequest("POST", "/comment", (*BROWSER, *FORM), f"author=anna&comment={encoded}".encode()),
        "json": HTTPRequest("POST", "/api/items", (*BROWSER, *JSON), json.dumps({"id": 7, "note": value}).encode()),
    }


@pytest.mark.parametrize("family", sorted(CASES["attacks"]))
def test_plain_attacks_are_found_wherever_they_stand(eager: Engine, family: str) -> None:
    sent = [(value, place, request) for value in CASES["attacks"][family] for place, request in places(value).items()]
    missed = [(value, place) for value, place, request in sent if not eager.check(request).is_anomaly]
    assert len(missed) <= len(sent) // 20, missed


def test_harmless_values_pass(engine: Engine) -> None:
    alarms = [
        (value, place, verdict.findings[0])
        for value in CASES["harmless"]
        for place, request in places(value).items()
        if (verdict := engine.check(request)).is_anomaly
    ]
    assert alarms == []


@pytest.mark.parametrize("sign", ["%253C", "%u003c", "%26lt;", "%EF%BC%9C"])
def test_encodings_hide_nothing(engine: Engine, sign: str) -> None:
    verdict = engine.check(HTTPRequest("GET", f"/?q={sign}script>alert(1){sign}/script>"))
    assert verdict.is_anomaly
    assert verdict.attack_class == "xss"


@pytest.mark.parametrize("padding", ["A" * 100_000, "0123456789" * 10_000, " " * 100_000, "word " * 20_000])
def test_an_attack_behind_padding_is_found(engine: Engine, padding: str) -> None:
    body = f"comment={quote(padding)}%3Cscript%3Ealert(1)%3C/script%3E".encode()
    verdict = engine.check(HTTPRequest("POST", "/comment", FORM, body))
    assert verdict.is_anomaly
    assert verdict.not_inspected == ()


PROSE = "All human beings are born free and equal in dignity and rights. " * 4


@pytest.mark.parametrize(
    "attack",
    [
        "<script>alert(1)</script>",
        "' UNION SELECT password FROM users--",
        "; cat /etc/passwd",
        "../../../../etc/passwd",
        "<img src=x onerror=alert(1)>",
    ],
)
def test_prose_around_an_attack_does_not_hide_it(engine: Engine, attack: str) -> None:
    for length in (0, 8, 16, 32, 64, 128, 200):
        value = PROSE[:length] + attack + PROSE[:length]
        assert engine.check(HTTPRequest("GET", "/?q=" + quote(value, safe=""), BROWSER)).is_anomaly, length
    long = PROSE * 400 + attack + PROSE
    assert engine.check(HTTPRequest("POST", "/", (*BROWSER, *FORM), b"q=" + quote(long).encode())).is_anomaly


def test_a_value_cut_by_bare_ampersands_is_read_whole(engine: Engine) -> None:
    assert engine.check(HTTPRequest("GET", '/help.php?q="&cat /etc/passwd >x #', BROWSER)).is_anomaly


@pytest.mark.parametrize("path", ["/admin/config.php", "/cgi-bin/test.cgi", "/wp-login.php"])
def test_a_scanners_path_behind_an_attack_does_not_hide_it(engine: Engine, path: str) -> None:
    value = ";cat /etc/passwd " + PROSE + path * 3
    assert engine.check(HTTPRequest("GET", "/?q=" + quote(value, safe=""), BROWSER)).is_anomaly
