"""The benchmarks that need wrk and nginx with ModSecurity: each runs on few requests and names its figures.

What is missing is skipped with its name; in CI it fails.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from benchmarks.shared import nginx
from benchmarks.shared.client import replay
from benchmarks.shared.nginx import nginx_with_rules
from benchmarks.shared.traffic import plain_message
from benchmarks.versus_crs import sendable
from tests.benchmarks.run_benchmark import is_distribution, is_spread, run_benchmark
from tests.server.live import running
from vedette.http_request import HTTPRequest

pytestmark = pytest.mark.system

FEW = ("--requests", "20", "--passes", "3")


def needs(missing: str | None, what: str) -> None:
    if missing is None:
        return
    message = f"{missing} is not installed: {what} was not tested (scripts/bench_deps.sh)"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture
def wrk() -> None:
    needs(None if shutil.which("wrk") else "wrk", "what sends requests")


@pytest.fixture
def crs(wrk: None) -> None:
    needs(nginx.what_is_missing(), "versus_crs")


async def answers(scope, receive, send):
    """Answer with a verdict; with nothing to "/none"; and close the connection after "/close"."""
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    status = 204 if scope["path"] == "/none" else 200
    headers = [(b"connection", b"close")] if scope["path"] == "/close" else []
    text = b'{"action":"block"}' if b"attack" in body else b'{"action":"allow"}'
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if status == 204 else text})


@pytest.mark.usefixtures("wrk")
@pytest.mark.parametrize("connections", [1, 3, 16])
def test_every_request_is_sent_once_and_paired_with_its_answer(connections: int) -> None:
    requests = [
        HTTPRequest(
            "POST", ("/", "/none", "/close")[number % 3], (("Host", "a"),), (b"attack" * 30_000, b"\r\n3\n")[number % 2]
        )
        for number in range(11)
    ]
    with running(answers) as port:
        found = replay(port, [plain_message(request) for request in requests], connections=connections)
    assert [answer.status for answer in found] == [(200, 204, 200)[number % 3] for number in range(11)]
    assert [answer.blocked for answer in found] == [number % 2 == 0 and number % 3 != 1 for number in range(11)]
    assert all(answer.latency_us > 0 for answer in found)


@pytest.mark.usefixtures("wrk")
def test_http_check() -> None:
    report = run_benchmark("http_check", *FEW, "--connections", "2")
    for name, passes in (("cold", 1), ("fresh", 2), ("repeated", 1), ("small_get", 2)):
        assert is_spread(report[name]["cpu_us"], runs=passes)
        assert is_distribution(report[name]["latency"], n=20 * passes)
        assert report[name]["statuses"] == {"200": 20 * passes}
    assert report["blocked"]["of_attacks"] == 3
    assert report["conditions"]["parameters"]["pinning"]


@pytest.mark.usefixtures("wrk")
def test_http_batch() -> None:
    report = run_benchmark("http_batch", *FEW, "--batch", "8")
    for name, passes in (("cold", 1), ("fresh", 2)):
        assert is_spread(report[name]["cpu_us"], runs=passes)
        assert is_distribution(report[name]["batch_latency"], n=3 * passes)
        assert report[name]["statuses"] == {"200": 3 * passes}


@pytest.mark.usefixtures("crs")
def test_versus_crs(tmp_path: Path) -> None:
    plot = tmp_path / "versus.svg"
    report = run_benchmark("versus_crs", "--requests", "20", "--blocks", "5", "--block-size", "6", "--plot", str(plot))
    for side in ("vedette", "nginx_crs", "nginx_alone"):
        assert report[side]["first_cpu_us"] > 0
        assert is_spread(report[side]["cpu_us"], runs=5)
        assert is_distribution(report[side]["latency"], n=30)
        assert sum(report[side]["statuses"].values()) == 50
        assert report[side]["blocked"]["of_attacks"] + report[side]["blocked"]["of_harmless"] == 50
    assert report["nginx_alone"]["blocked"]["attacks"] == 0
    ratio = report["crs_over_vedette"]
    assert ratio["cpu_spread"][0] <= ratio["cpu"] <= ratio["cpu_spread"][1]
    assert ratio.keys() == {"cpu", "cpu_spread", "cpu_first_part", "latency_p50", "latency_p99"}
    assert "modsecurity-crs" in report["conditions"]["versions"]
    assert plot.read_text().count("<svg") == 1


@pytest.mark.usefixtures("crs")
def test_the_rules_read_every_part_of_what_is_compared() -> None:
    attack = "1%27%20UNION%20SELECT%20login,%20password%20FROM%20users--%20-"
    plain = (("Host", "localhost"), ("User-Agent", "Mozilla/5.0"), ("Accept", "*/*"))
    form = (*plain, ("Content-Type", "application/x-www-form-urlencoded"))
    json_body = (*plain, ("Content-Type", "application/json"))
    requests = [
        HTTPRequest("GET", f"/?q={attack}", plain),
        HTTPRequest("GET", "/", (*plain, ("Cookie", f"q={attack}"))),
        HTTPRequest("POST", "/", form, f"q={attack}".encode()),
        HTTPRequest("POST", "/", json_body, b'{"q": "1\' UNION SELECT login, password FROM users-- -"}'),
        HTTPRequest("POST", "/", form, b"q=" + b"a" * 100_000 + f"&r={attack}".encode()),
        HTTPRequest("POST", "/", form, b"q=hello"),
        HTTPRequest("GET", "/?q=hello", (*plain, ("Cookie", "a=" + "b" * 20_000))),
    ]
    messages = [plain_message(sendable(request)) for request in requests]
    with nginx_with_rules() as server:
        guarded = [answer.status for answer in replay(server.guarded, messages, connections=1)]
        alone = [answer.status for answer in replay(server.alone, messages, connections=2)]
    assert guarded == [403] * 5 + [200] * 2
    assert alone == [200] * 7


def test_what_no_server_takes_is_made_sendable() -> None:
    odd = HTTPRequest("HEAD", "/a b?c=\xe9\x01%20", (("X", "a\r\nb"), ("Y", "z")))
    sent = sendable(odd)
    assert (sent.method, sent.target, sent.headers) == ("GET", "/a%20b?c=%C3%A9%01%20", (("Y", "z"),))
    assert sendable(HTTPRequest("GET", "http://a.example/b?c")).target == "/b?c"
    message = plain_message(HTTPRequest("POST", "/", (("Host", "a"), ("Connection", "close"), ("Z", "1")), b"xy"))
    assert message == b"POST / HTTP/1.1\r\nHost: a\r\nZ: 1\r\nContent-Length: 2\r\n\r\nxy"
