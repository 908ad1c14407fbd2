"""The service as a process: it refuses to start by name, says what it does, and stops when it is asked to."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time

import pytest

from tests.server.live import SCRIPT, environment
from vedette.config import Settings
from vedette.errors import BackendUnavailable, BundleError, ConfigError, VedetteError
from vedette.server.run import bind, exit_status
from vedette.server.summary import Loaded, summary_rows, warnings


def run(*arguments, cwd=None, **variables):
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(
        command, cwd=cwd, env=environment(**variables), capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_starts_says_so_serves_and_stops(started, number):
    service = started()
    assert service.get("/ready")[0] == 200
    status, verdict = service.post("/check", {"method": "GET", "path": "/"})
    assert (status, verdict["action"]) == (200, "allow")
    text = "\n".join(service.lines)
    for name in ("Vedette: ", "address: ", "model: ", "backend: ", "threshold: ", "mode: ", "rate limit: ", "bodies: "):
        assert f"\n{name}" in f"\n{text}"
    assert verdict["model_version"] in text
    assert service.stop(number) == 0
    assert not any("Traceback" in line for line in service.lines)


def test_it_finishes_what_it_has_begun(started):
    """A request that is under way when the signal comes is answered; the connection is closed after it."""
    service = started()
    service.get("/ready")
    port = int(service.url.rpartition(":")[2])
    body = b'{"method": "GET", "path": "/"}'
    head = b"POST /check HTTP/1.1\r\nHost: a\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=60) as conn:
        conn.sendall(head + body[:10])
        service.get("/health")  # by now the server has seen the head
        service.process.send_signal(signal.SIGTERM)
        wait_until_refused(port)
        conn.sendall(body[10:])
        answer = b""
        while chunk := conn.recv(65536):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b'"action":"allow"' in answer
    assert service.stop() == 0


def wait_until_refused(port):
    for _ in range(1000):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=60).close()
        except OSError:
            return
        time.sleep(0.01)
    raise AssertionError("the service still accepts connections")


def test_several_workers_answer_on_one_port_and_say_that_the_limit_is_split(started):
    service = started("--workers", "2")
    assert service.get("/ready")[0] == 200
    assert service.post("/check", {"method": "GET", "path": "/"})[1]["action"] == "allow"
    assert service.stop() == 0
    assert any("rate limit is split between 2 workers" in line for line in service.lines)


def test_a_port_in_use_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("--port", str(port))
    assert result.returncode == 2
    assert f"waf_service.port: {port} on 127.0.0.1 is in use" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--port", "70000"], 2, "--port"),
        (["--workers", "0"], 2, "--workers"),
        (["--host", "no.such.host.invalid"], 2, "waf_service.host"),
        (["--host", "192.0.2.1", "--port", "0"], 2, "waf_service.host"),
        (["--config", "missing.yaml"], 2, "missing.yaml"),
        (["--port", "0", "--model", "no-such-bundle"], 3, "no-such-bundle"),
    ],
)
def test_what_cannot_be_used_is_named_before_it_listens(tmp_path, arguments, status, message):
    result = run(*arguments, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (status, "")
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_an_unknown_key_is_named(tmp_path):
    (tmp_path / "waf.yaml").write_text("waf_service:\n  prot: 9000\n")
    result = run("--config", "waf.yaml", cwd=tmp_path)
    assert result.returncode == 2
    assert "prot" in result.stderr


@pytest.mark.parametrize("name", ["VEDETTE_WAF_SERVICE__PORT", "VEDETTE_WAF_SERVICE__WORKERS"])
def test_a_bad_variable_is_named(tmp_path, name):
    result = run(cwd=tmp_path, **{name: "-1"})
    assert result.returncode == 2
    assert name in result.stderr


def test_a_bad_proxy_network_is_named(tmp_path):
    result = run("--port", "0", cwd=tmp_path, VEDETTE_WAF_SERVICE__TRUSTED_PROXIES='["nonsense"]')
    assert result.returncode == 2
    assert "waf_service.trusted_proxies" in result.stderr


@pytest.mark.parametrize(
    ("error", "status"),
    [(ConfigError(""), 2), (BundleError(""), 3), (BackendUnavailable(""), 4), (VedetteError(""), 5)],
)
def test_exit_status(error, status):
    assert exit_status(error) == status


def test_bind_takes_ipv6():
    with bind("::1", 0) as bound:
        assert bound.family == socket.AF_INET6


def test_the_summary_says_where_the_limits_live_and_shows_no_password():
    def held(workers=1, **limiting):
        tree = {"waf_service": {"workers": workers}, "inference": {"rate_limiting": limiting}}
        rows = dict(summary_rows(Settings.model_validate(tree), Loaded("1", "onnx", 0.5), "http://127.0.0.1:1"))
        return rows.get("limits held")

    assert held() == "in memory"
    assert held(4) == "split between 4 workers"
    url = "rediss://user:secret@[2001:db8::1]:6380/2?ssl_password=hidden"
    assert held(4, redis_url=url) == "shared by Redis at [2001:db8::1]:6380/2 (TLS); while it is away: local"
    assert held(redis_url="redis://cache", on_store_failure="allow").startswith("shared by Redis at cache:6379;")
    assert held(redis_url="unix:///run/redis.sock?password=hidden").startswith("shared by Redis at /run/redis.sock;")
    assert held(enabled=False) is None
    shared = {"waf_service": {"workers": 4}, "inference": {"rate_limiting": {"redis_url": url}}}
    assert warnings(Settings.model_validate(shared)) == []


@pytest.mark.parametrize(
    "url",
    ["http://:secret@cache", "redis://:secret@", "redis://:secret@cache:99999", "unix:?x=secret", "redis://:secret@[x"],
)
def test_a_bad_redis_url_is_named_but_not_shown(tmp_path, url):
    result = run("--port", "0", cwd=tmp_path, VEDETTE_INFERENCE__RATE_LIMITING__REDIS_URL=url)
    assert result.returncode == 2
    assert "REDIS_URL" in result.stderr
    assert "secret" not in result.stderr


def test_a_redis_url_with_an_option_that_is_none_is_named(tmp_path):
    url = "redis://:secret@127.0.0.1:1/0?colour=blue"
    result = run("--port", "0", cwd=tmp_path, VEDETTE_INFERENCE__RATE_LIMITING__REDIS_URL=url)
    assert result.returncode == 2
    assert "inference.rate_limiting.redis_url" in result.stderr
    assert "secret" not in result.stderr


def test_one_worker_or_no_limit_needs_no_warning():
    assert warnings(Settings()) == []
    several = {"waf_service": {"workers": 4}, "inference": {"rate_limiting": {"enabled": False}}}
    assert warnings(Settings.model_validate(several)) == []


def test_summary_names_the_budget_or_the_chosen_threshold():
    loaded = Loaded(model_version="1", backend="onnx", threshold=0.5)
    budget = Settings.model_validate({"waf_service": {"false_positive_budget": 250}})
    assert "250 false alarms per million" in dict(summary_rows(budget, loaded, "http://127.0.0.1:1"))["threshold"]
    chosen = Settings.model_validate({"waf_service": {"threshold": 0.5}})
    assert "set by waf_service.threshold" in dict(summary_rows(chosen, loaded, "http://127.0.0.1:1"))["threshold"]
