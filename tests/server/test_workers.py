"""Several workers are one service: their metrics add up, also when one of them is killed and replaced."""

from __future__ import annotations

import os
import re
import signal
import time
import urllib.request

import pytest

from tests.server.live import Process

COUNTERS = re.compile(r"^(vedette_\w+(?:_total|_count|_sum|_bucket)(?:\{[^}]*\})?) ([0-9.e+-]+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    running = Process("--workers", "2", cwd=tmp_path_factory.mktemp("workers"))
    try:
        running.get("/ready")
        yield running
    finally:
        running.end()


def eventually(read, holds, seconds=90):
    """Read until it holds; return what was read."""
    until = time.monotonic() + seconds
    while not holds(seen := read()):
        assert time.monotonic() < until, seen
        time.sleep(0.05)
    return seen


def counters(service):
    with urllib.request.urlopen(service.url + "/metrics", timeout=60) as answer:
        return {name: float(value) for name, value in COUNTERS.findall(answer.read().decode())}


def scrape_until(service, holds):
    """Scrape whichever worker answers until it holds; no counter may fall on the way."""
    former: dict[str, float] = {}
    until = time.monotonic() + 90
    while True:
        try:
            seen = counters(service)
        except OSError:  # the connection went to a worker that was killed
            continue
        fallen = {name: (value, seen.get(name)) for name, value in former.items() if seen.get(name, -1.0) < value}
        assert fallen == {}
        former = seen
        if holds():
            return seen
        assert time.monotonic() < until
        time.sleep(0.02)


def test_any_worker_tells_the_sums_of_all(service):
    eventually(service.metrics, lambda seen: seen["workers"] == 2)
    before = service.metrics()["requests"]["total"]
    attack = {"method": "GET", "path": "/?q=<script>alert(document.cookie)</script>"}
    for _ in range(30):
        service.post("/check", {"method": "GET", "path": "/"})
    for _ in range(10):
        service.post("/check", attack)
    for _ in range(20):  # each scrape is a connection of its own, so both workers are asked
        seen = service.metrics()
        assert seen["requests"]["total"] == before + 40
        assert seen["requests"]["by_outcome"]["block"] == 10
        assert seen["anomalies"]["by_class"] == {"xss": 10}
        assert seen["rate_limit"]["allowed"] == before + 40
    values = counters(service)
    assert values["vedette_request_seconds_count"] == before + 40
    assert values['vedette_requests_total{outcome="block"}'] == 10


def test_counters_do_not_fall_when_a_worker_is_killed_and_replaced(service):
    eventually(service.metrics, lambda seen: seen["workers"] == 2)
    workers = eventually(service.workers, lambda found: len(found) == 2)
    for _ in range(20):
        service.post("/check", {"method": "GET", "path": "/"})
    total = service.metrics()["requests"]["total"]
    os.kill(workers[0], signal.SIGKILL)
    scrape_until(service, lambda: workers[0] not in service.workers() and len(service.workers()) == 2)
    eventually(service.metrics, lambda seen: seen["workers"] == 2)
    assert service.get("/ready")[0] == 200
    assert service.metrics()["requests"]["total"] == total
    for _ in range(20):
        service.post("/check", {"method": "GET", "path": "/"})
    assert service.metrics()["requests"]["total"] == total + 20
