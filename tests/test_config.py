"""Settings: precedence of the four places, and every kind of mistake refused by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scripts import generate_docs
from vedette.config import Settings
from vedette.config_keys import keys
from vedette.config_loader import load_settings
from vedette.errors import ConfigError

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # so that the project's own config/ is not read


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(tmp_path: Path, text: str | bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(write(tmp_path / "c.yaml", text))
    return str(caught.value)


def test_defaults_serve_without_any_file() -> None:
    assert load_settings() == Settings()
    service = Settings().waf_service
    assert (service.host, service.port, service.workers, service.threshold) == ("127.0.0.1", 8000, 1, None)


def test_flags_beat_environment_beats_files_beats_defaults(tmp_path: Path) -> None:
    file = write(tmp_path / "c.yaml", "waf_service:\n  port: 1001\n  host: 0.0.0.0\n  workers: 3\n")
    environ = {"VEDETTE_WAF_SERVICE__PORT": "1002", "VEDETTE_WAF_SERVICE__HOST": "::1", "HOME": "/"}
    loaded = load_settings(file, environ=environ, overrides={"waf_service.port": 1003, "waf_service.host": None})
    assert (loaded.waf_service.port, loaded.waf_service.host, loaded.waf_service.workers) == (1003, "::1", 3)
    assert loaded.waf_service.timeout == Settings().waf_service.timeout


def test_files_in_the_working_directory_are_found(tmp_path: Path) -> None:
    write(tmp_path / "config/config.yaml", "waf_service: {port: 1}")
    write(tmp_path / "config/inference.yaml", "inference: {async: {batch_size: 7}}")
    loaded = load_settings()
    assert (loaded.waf_service.port, loaded.inference.async_.batch_size) == (1, 7)


def test_one_file_may_hold_both_sections_but_no_key_stands_twice(tmp_path: Path) -> None:
    both = write(tmp_path / "both.yaml", "waf_service: {port: 1}\ninference: {device: cpu}\n")
    assert load_settings(both).inference.device == "cpu"
    assert load_settings(both, both).waf_service.port == 1
    other = write(tmp_path / "other.yaml", "waf_service:\n  port: 2\n")
    with pytest.raises(ConfigError, match=r"other\.yaml:2: waf_service\.port: already set in .*both\.yaml:1"):
        load_settings(both, other)


@pytest.mark.parametrize("text", ["", "\n# nothing\n", "---\n", "waf_service:\n", "waf_service: {}\ninference: ~\n"])
def test_empty_files_and_sections_are_fine(tmp_path: Path, text: str) -> None:
    assert load_settings(write(tmp_path / "c.yaml", text)) == Settings()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("waf_service:\n  prot: 1\n", "c.yaml:2: waf_service.prot: unknown key; did you mean port?"),
        ("waf_servise: {}", "c.yaml:1: waf_servise: unknown key; did you mean waf_service?"),
        ("port: 80", "c.yaml:1: port: unknown key; did you mean waf_service.port?"),
        ("waf_service: {port: 1, port: 2}", "c.yaml:1: waf_service.port: given twice"),
        ("waf_service: 5", "c.yaml:1: waf_service must be a mapping"),
        ("- a\n- b\n", "c.yaml:1: the file must be a mapping"),
        ("just words", "c.yaml:1: the file must be a mapping"),
        ("? [a, b]\n: c\n", "unknown key"),
        ("waf_service: &x {port: 1}\ninference: *x\n", "aliases are not allowed"),
        ("waf_service: {port: 1\n", "not valid YAML"),
        ("waf_service: {}\n---\nwaf_service: {}\n", "not valid YAML"),
        ("waf_service: {host: !!python/object/apply:os.getcwd []}", "not valid YAML"),
        (b"\x00\xff\xfe", "not valid YAML"),
        ("waf_service: {host: 2001-13-45}", "month must be in 1..12"),
        ("[" * 20_000, "nested too deeply"),
        ("#" * (1024 * 1024 + 1), "larger than"),
        (
            "waf_service:\n\n  port: 70000",
            "c.yaml:3: waf_service.port: must be less than or equal to 65535 (got 70",
        ),
        ("waf_service: {port: [1]}", "waf_service.port: must be a valid integer (got [1])"),
        ("waf_service: {port: null}", "waf_service.port: must be a valid integer (got None)"),
        ("waf_service: {host: 7}", "waf_service.host: must be a valid string (got 7)"),
        ("waf_service: {timeout: .nan}", "waf_service.timeout: must be a finite number (got nan)"),
        ("waf_service: {mode: blok}", "waf_service.mode: must be 'block' or 'monitor' (got 'blok')"),
        ("waf_service: {trusted_proxies: [10.0.0.0/8, nowhere]}", "waf_service.trusted_proxies: 'nowhere' does not"),
        ("inference: {async: {timeout: 0}}", "inference.async.timeout: must be greater than 0 (got 0)"),
        ("inference: {async_: {timeout: 1}}", "inference.async_: unknown key; did you mean async?"),
    ],
)
def test_a_bad_file_is_refused_by_place_and_name(tmp_path: Path, text: str | bytes, message: str) -> None:
    assert message in refused(tmp_path, text)


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    message = refused(tmp_path, "waf_service:\n  port: -1\n  workers: 0\n")
    assert [line.split(": ")[1] for line in message.splitlines()] == ["waf_service.port", "waf_service.workers"]


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read: No such file"):
        load_settings(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(tmp_path)


@pytest.mark.parametrize(
    ("environ", "key", "value"),
    [
        ({"VEDETTE_WAF_SERVICE__PORT": "9000"}, "waf_service.port", 9000),
        ({"VEDETTE_INFERENCE__RATE_LIMITING__ENABLED": "false"}, "inference.rate_limiting.enabled", False),
        ({"VEDETTE_INFERENCE__ASYNC__MAX_WORKERS": ""}, "inference.async.max_workers", None),
        ({"VEDETTE_WAF_SERVICE__THRESHOLD": "null"}, "waf_service.threshold", None),
        ({"VEDETTE_WAF_SERVICE__THRESHOLD": "0.25"}, "waf_service.threshold", 0.25),
        (
            {"VEDETTE_WAF_SERVICE__TRUSTED_PROXIES": "10.0.0.0/8, ::1"},
            "waf_service.trusted_proxies",
            ("10.0.0.0/8", "::1"),
        ),
        ({"VEDETTE_WAF_SERVICE__TRUSTED_PROXIES": '["10.1.2.3"]'}, "waf_service.trusted_proxies", ("10.1.2.3",)),
        ({"VEDETTE_WAF_SERVICE__TRUSTED_PROXIES": ""}, "waf_service.trusted_proxies", ()),
        ({"VEDETTE_PORT": "tcp://10.0.0.1:8000", "VEDETTE_SERVICE_HOST": "10.0.0.1"}, "waf_service.port", 8000),
        ({"VEDETTE_PORT_8000_TCP_ADDR": "10.0.0.1", "VEDETTE_SERVICE_PORT_HTTP": "1"}, "waf_service.port", 8000),
    ],
)
def test_environment(environ: Mapping[str, str], key: str, value: object) -> None:
    node = load_settings(environ=environ).model_dump(by_alias=True)
    for part in key.split("."):
        node = node[part]
    assert node == value


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"VEDETTE_WAF_SERVICE__PROT": "1"}, "SERVICE__PROT: no such setting; did you mean VEDETTE_WAF_SERVICE__PORT?"),
        ({"VEDETTE_THRESHOLD": "1"}, "environment variable VEDETTE_THRESHOLD: no such setting"),
        ({"VEDETTE_WAF_SERVICE__PORT": "eighty"}, "VEDETTE_WAF_SERVICE__PORT: waf_service.port: must be"),
        ({"VEDETTE_WAF_SERVICE__TRUSTED_PROXIES": "[1"}, "not a JSON list"),
    ],
)
def test_a_bad_variable_is_refused_by_name(environ: Mapping[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(environ=environ)
    assert message in str(caught.value)


def test_unknown_overrides_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"waf_service\.prot: unknown key; did you mean port") as caught:
        load_settings(overrides={"waf_service.prot": 1})
    assert caught.value.key == "waf_service.prot"


def test_settings_are_frozen() -> None:
    with pytest.raises(Exception, match="frozen"):
        Settings().waf_service.port = 1  # type: ignore[misc]


def test_every_key_can_be_set_by_its_variable() -> None:
    for key in keys():
        value = json.dumps(key.default) if key.is_list or key.default is None else str(key.default)
        assert load_settings(environ={key.env: value}) == Settings(), key.dotted


def test_the_sample_files_hold_every_key_at_its_default() -> None:
    assert load_settings(ROOT / "config/config.yaml", ROOT / "config/inference.yaml") == Settings()
    text = (ROOT / "config/config.yaml").read_text() + (ROOT / "config/inference.yaml").read_text()
    assert all(f"{key.path[-1]}:" in text for key in keys())


def test_every_key_is_described() -> None:
    assert [key.dotted for key in keys() if not key.field.description] == []


@pytest.mark.parametrize("page", generate_docs.PAGES)
def test_generated_pages_are_up_to_date(page: str) -> None:
    assert (ROOT / page).read_text() == generate_docs.PAGES[page](), "run `make docs`"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.text("waf_service:port{}[]&*!|>-# \n\t01.~\"'", max_size=200).map(str.encode))
def test_any_bytes_give_settings_or_one_named_error(tmp_path: Path, raw: bytes) -> None:
    file = write(tmp_path / "c.yaml", raw)
    try:
        assert isinstance(load_settings(file), Settings)
    except ConfigError as error:
        assert "c.yaml" in str(error)  # noqa: PT017


def test_every_bound_has_its_reason() -> None:
    page = (ROOT / "RATIONALE.md").read_text()
    bounds = [key for key in keys() if key.type_name.startswith(("integer", "number"))]
    missing = [
        key.dotted for key in bounds if f"`{'.'.join(key.path[1:])}`" not in page and f"`{key.path[-1]}`" not in page
    ]
    assert missing == []
