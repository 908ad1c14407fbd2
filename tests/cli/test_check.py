"""`vedette check` from its arguments to its exit status."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from vedette.inference import engine
from vedette.inference.engine import Engine

pytestmark = pytest.mark.usefixtures("small_model")
Vedette = Callable[..., tuple[int, str, str]]

ATTACK = "http://shop.example/?page=2&id=1%27%20OR%20%271%27"


def test_an_anomaly_is_shown_and_exits_with_1(vedette: Vedette) -> None:
    status, out, err = vedette("check", ATTACK)
    assert (status, err) == (1, "")
    assert ' BLOCK   sqli  in query "id"' in out
    assert "decoded by percent" in out
    assert "1' OR '1'" in out
    assert "~" in out


def test_a_harmless_request_exits_with_0(vedette: Vedette) -> None:
    status, out, _ = vedette("check", "/index.html?page=2")
    assert status == 0
    assert " ALLOW   no attack found" in out


@pytest.mark.parametrize(
    "arguments",
    [
        ("curl -G http://shop.example/ --data-urlencode \"id=1' OR '1'\"",),
        ("--", "curl", "http://shop.example/?id=1%27%20OR%20%271%27"),
        ("--url", "/", "-d", "id=1' OR '1'"),
        ("--url", "/", "-X", "PUT", "-H", "X-Id: 1' OR '1'"),
        ("/", "-d", '{"id": "1\' OR \'1\'"}'),
    ],
)
def test_every_way_to_give_a_request(vedette: Vedette, arguments: tuple[str, ...]) -> None:
    status, out, err = vedette("check", *arguments)
    assert (status, err) == (1, "")
    assert "sqli" in out


def test_a_raw_message_from_a_file_and_from_standard_input(
    vedette: Vedette, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = b"POST /login HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\nu=%3Cb%3E%3C"
    (tmp_path / "message.http").write_bytes(message)
    assert 'form "u"' in vedette("check", "message.http")[1]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(message)))
    assert 'form "u"' in vedette("check", "-")[1]


def test_json_is_the_verdict_of_the_service(vedette: Vedette) -> None:
    status, out, err = vedette("check", "--json", ATTACK)
    verdict = json.loads(out)
    assert (status, err, out.count("\n")) == (1, "", 1)
    assert (verdict["action"], verdict["is_anomaly"], verdict["attack_class"]) == ("block", True, "sqli")
    assert verdict["findings"][0]["name"] == "id"


def test_the_threshold_and_the_settings_hold(vedette: Vedette, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert vedette("check", "--threshold", "1", ATTACK)[0] == 0
    (tmp_path / "watch.yaml").write_text("waf_service: {mode: monitor}")
    assert " MONITOR " in vedette("check", "--config", "watch.yaml", ATTACK)[1]
    monkeypatch.setenv("VEDETTE_WAF_SERVICE__THRESHOLD", "1")
    assert vedette("check", ATTACK)[0] == 0


def test_secrets_stay_masked(vedette: Vedette) -> None:
    out = vedette("check", "/", "-H", "Cookie: session='hunter2'")[1]
    assert "[masked]" in out
    assert "hunter2" not in out


def test_no_verdict_exits_with_5(vedette: Vedette, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.inference.small_model import SmallRuntime, small_bundle

    runtime = SmallRuntime()
    runtime.poison = SmallRuntime.ids_with("'")
    monkeypatch.setattr(engine, "load_engine", lambda settings: Engine(small_bundle(), runtime, settings))
    status, out, _ = vedette("check", "/?id='")
    assert status == 5
    assert "no verdict was reached  degraded: model_failed" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("/a", "/b"), "one request at a time"),
        (("-X", "GE T", "/"), "method: must be an HTTP token"),
        (("--model", "nowhere", "--threshold", "2", "/"), "--threshold"),
        (("--config", "nowhere.yaml", "/"), "nowhere.yaml: cannot be read"),
        (("curl --frobnicate http://h/",), "frobnicate"),
    ],
)
def test_bad_input_is_one_clear_line(vedette: Vedette, arguments: tuple[str, ...], message: str) -> None:
    status, out, err = vedette("check", *arguments)
    assert (status, out) == (2, "")
    assert message in err


@pytest.mark.parametrize("command", [("check", "/"), ("scan", "log"), ("evaluate", "log"), ("optimize",), ("bench",)])
def test_a_missing_bundle_exits_with_3(
    vedette: Vedette, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log").write_text("x")
    status, _, err = vedette(*command, "--model", str(tmp_path / "no-bundle"))
    assert status == 3
    assert err.startswith("vedette: ")
    assert "no-bundle" in err
