"""Limits that workers share, on a real redis-server: exact, bounded, and right while it is away.

What is asserted hangs on counts and on Redis's own answers, never on how fast anything was.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from math import floor
from pathlib import Path
from typing import Any

import pytest

from tests.server.live import Process
from tests.system.programs import free_port, needs
from vedette.config import RateLimitSettings
from vedette.errors import LimitsUnavailable
from vedette.inference.rate_limiter import RequestLimits
from vedette.inference.redis_limits import RedisLimits
from vedette.inference.redis_store import Counted, RedisStore, StoreFailure
from vedette.inference.window_storage import BoundedWindows
from vedette.sinks.metrics import Metrics

pytestmark = pytest.mark.system
ASKERS = 4
PATIENT_MS = 5000  # where a test is about something else than time


class Redis:
    """A redis-server without a disk; can be stopped, killed, and started again in the same place."""

    def __init__(self, root: Path, password: str | None = None) -> None:
        needs("redis-server")
        self.port = free_port()
        credentials = "" if password is None else f":{password}@"
        self.url = f"redis://{credentials}127.0.0.1:{self.port}/0"
        self._command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self._command += ["--dir", str(root)]
        self._command += ["--requirepass", password] if password else []
        self.extra: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen([*self._command, *self.extra], stdout=subprocess.DEVNULL)
        for _ in range(400):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.025)
        pytest.fail("redis-server does not listen")

    def send(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            self._process.wait(20)

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(20)

    def ask(self, *words: str) -> bytes:
        """Return the raw answer to a command (none here is longer than one read)."""
        command = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in words)
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(command)
            return connection.recv(1 << 20)

    def connections(self) -> int:
        """Connections of ours, of all processes."""
        return self.ask("CLIENT", "LIST").count(b"name=vedette ")


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    server = Redis(tmp_path)
    server.start()
    yield server
    server.end()


def settings_of(redis: Redis, **more: Any) -> RateLimitSettings:
    tree = {"max_requests_per_second": 100, "per_ip": 20, "redis_timeout_ms": PATIENT_MS, **more}
    return RateLimitSettings.model_validate({"redis_url": redis.url, **tree})


@asynccontextmanager
async def limits_in(redis: Redis, metrics: Metrics | None = None, **more: Any) -> AsyncIterator[RedisLimits]:
    settings = settings_of(redis, **more)
    limits = RedisLimits(settings, RequestLimits(settings), metrics or Metrics())
    await limits.start()
    try:
        yield limits
    finally:
        await limits.close()


class Quiet:
    """Hears what a store tells."""

    def on_store_up(self, up: bool) -> None: ...

    def on_store_failure(self, reason: str) -> None: ...


async def eventually(holds: Callable[[], bool | Awaitable[bool]], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while True:
        seen = holds()
        if seen if isinstance(seen, bool) else await seen:
            return
        assert time.monotonic() < until
        await asyncio.sleep(0.02)


# -- exact ---------------------------------------------------------------------------------------------------------


def ask_many(settings: RateLimitSettings, key: str, number: int, rounds: int) -> list[Counted]:
    """Ask `number` times at once, `rounds` times; return what Redis counted. Runs in processes of their own."""

    async def ask() -> list[Counted]:
        store = RedisStore(settings, Quiet())
        await store.start()
        try:
            found: list[Counted] = []
            for _ in range(rounds):
                found += await asyncio.gather(*(store.hit(key, 1) for _ in range(number)))
            return found
        finally:
            await store.close()

    return asyncio.run(ask())


def assert_atomic(counted: list[Counted], limit: int) -> None:
    """In each second the admitted hits are numbered 1, 2, 3, ... up to the limit, and none was refused needlessly."""
    times = Counter(answer.current for answer in counted if answer.outcome == 1)
    assert max(times) <= limit
    in_order = [times[number] for number in range(1, max(times) + 1)]
    # As many seconds came to n as came at least so far: a lost update would give one number to two hits.
    assert in_order == sorted(in_order, reverse=True)
    for _, previous, current, left_us in (answer for answer in counted if answer.outcome != 1):
        assert floor(previous * left_us / 1e6 + current + 1e-6) + 1 > limit


@pytest.mark.parametrize("binding", ["of all", "of one"])
def test_the_limit_is_exact_over_processes_that_ask_at_once(redis: Redis, binding: str) -> None:
    limits = {"max_requests_per_second": 150, "per_ip": 10_000}
    if binding == "of one":
        limits = {"max_requests_per_second": 10_000, "per_ip": 150}
    settings = settings_of(redis, **limits)
    with multiprocessing.get_context("spawn").Pool(ASKERS) as pool:
        keys = ["192.0.2.1"] * ASKERS if binding == "of one" else [f"192.0.2.{i}" for i in range(ASKERS)]
        found = pool.starmap(ask_many, [(settings, key, 100, 3) for key in keys])
    counted = [answer for part in found for answer in part]
    assert len(counted) == ASKERS * 300
    assert {answer.outcome for answer in counted} == ({1, 2} if binding == "of all" else {0, 1})
    if binding == "of all":
        assert_atomic(counted, 150)
    else:
        # What is told of an admitted hit is the window of all: here the same hits, as nothing else was counted.
        assert_atomic(counted, 150)


async def test_redis_decides_as_memory_does(redis: Redis) -> None:
    """Hits of many weights, one after the other: the same outcomes and counts as window_storage.py comes to."""
    limit = 30
    settings = settings_of(redis, max_requests_per_second=limit, per_ip=10**6)
    now = 0.0
    memory = BoundedWindows(10, clock=lambda: now)
    began = floor(time.time())
    store = RedisStore(settings, Quiet())
    await store.start()
    try:
        for number in range(400):
            weight = 1 + number * 7 % 11
            outcome, previous, current, left_us = await store.hit("192.0.2.1", weight)
            passed = 1 - left_us / 1e6
            second = round(time.time() - passed)  # of Redis's clock, which is this machine's
            now = second - began + passed
            assert memory.count("all", limit, weight)[:3] == (outcome == 1, previous, current)
            await asyncio.sleep(0.01 * (number % 3))
    finally:
        await store.close()


async def test_a_refused_client_takes_nothing_from_the_others(redis: Redis) -> None:
    async with limits_in(redis, max_requests_per_second=30, per_ip=20) as limits:
        flood = asyncio.gather(*(limits.hit("192.0.2.1") for _ in range(25)))
        others = await asyncio.gather(*(limits.hit("::1") for _ in range(5)))
        assert all(decision and decision.allowed for decision in others)
        refused = [decision for decision in await flood if decision and not decision.allowed]
        assert all(decision.limit == 20 for decision in refused)
        assert len(refused) <= 5
        too_large = await limits.hit("192.0.2.9", 21)
        assert too_large is not None
        assert too_large.too_large


async def test_a_window_is_forgotten_in_redis(redis: Redis) -> None:
    async with limits_in(redis) as limits:
        await limits.hit("192.0.2.1")
        assert b"vedette:limit:192.0.2.1" in redis.ask("KEYS", "*")
        await eventually(lambda: b"192.0.2.1" not in redis.ask("KEYS", "*"))


@pytest.mark.parametrize(
    ("ahead_s", "left_behind", "current", "previous"),
    [
        (0, "{} 5 3", 6, 3),
        (1, "{} 5 3", 6, 3),  # Redis's clock was set back a little: the window stays where it was
        (5, "{} 5 3", 1, 0),  # or by more: it starts anew, and does not wait for the time to come back
        (-3, "{} 5 3", 1, 0),
        (0, "what somebody else wrote there", 1, 0),
    ],
)
async def test_what_is_found_there(redis: Redis, ahead_s: int, left_behind: str, current: int, previous: int) -> None:
    settings = settings_of(redis, redis_prefix="other:")
    store = RedisStore(settings, Quiet())
    await store.start()
    try:
        for _ in range(5):
            second = int(redis.ask("TIME").split(b"\r\n")[2])
            redis.ask("SET", "other:all", left_behind.format(second + ahead_s))
            counted = await store.hit("192.0.2.1", 1)
            if int(redis.ask("TIME").split(b"\r\n")[2]) == second:  # else a second began in between
                assert (counted.outcome, counted.current, counted.previous) == (1, current, previous)
                return
        pytest.fail("five times a second began in between")
    finally:
        await store.close()


# -- bounded -------------------------------------------------------------------------------------------------------


async def test_a_storm_of_callers_opens_no_connections(redis: Redis) -> None:
    async with limits_in(redis, redis_connections=3, max_requests_per_second=10**6, per_ip=10**6) as limits:
        assert redis.connections() == 3
        storm = [asyncio.create_task(limits.hit(f"192.0.2.{i % 250}")) for i in range(3000)]
        seen = 0
        while not all(task.done() for task in storm):
            seen = max(seen, await asyncio.to_thread(redis.connections))
        assert seen <= 3
        assert all(decision and decision.allowed for decision in await asyncio.gather(*storm))
        calls = redis.ask("INFO", "commandstats")
        made = int(calls.partition(b"cmdstat_evalsha:calls=")[2].partition(b",")[0])
        assert made <= 3000 / 32  # they went together
    await eventually(lambda: redis.connections() == 0)


async def test_callers_that_went_away_are_not_counted_and_hold_nothing_up(redis: Redis) -> None:
    async with limits_in(redis, per_ip=5) as limits:
        gone = [asyncio.create_task(limits.hit("192.0.2.1")) for _ in range(50)]
        await asyncio.sleep(0)
        for task in gone:
            task.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
        decision = await limits.hit("192.0.2.1")
        assert decision is not None
        assert decision.allowed


async def test_every_caller_is_told_whenever_the_store_goes_down(redis: Redis) -> None:
    """Waiting, in a call that has not begun, or in one that has."""
    for turns in range(4):
        store = RedisStore(settings_of(redis), Quiet())
        await store.start()
        hits = [store.hit("192.0.2.1", 1) for _ in range(200)]
        for _ in range(turns):
            await asyncio.sleep(0)
        store._take_down("down")
        answers = await asyncio.wait_for(asyncio.gather(*hits, return_exceptions=True), 30)
        assert len(answers) == 200
        assert all(isinstance(answer, StoreFailure | Counted) for answer in answers)
        await store.close()


# -- away ----------------------------------------------------------------------------------------------------------


async def test_down_at_the_start_then_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    server = Redis(tmp_path)
    metrics = Metrics()
    try:
        async with limits_in(server, metrics) as limits:
            assert not limits.up
            assert (await limits.hit("192.0.2.1")) is not None
            server.start()
            await eventually(lambda: limits.up)
            await limits.hit("192.0.2.1")
            seen = metrics.to_dict()["rate_limit_store"]
            assert (seen["workers"], seen["decided_without"]) == (1, {"local": 1})
            assert b"192.0.2.1" in server.ask("KEYS", "*")
    finally:
        server.end()
    said = [record.getMessage() for record in caplog.records if "Redis" in record.getMessage()]
    assert [("away" in text, "again" in text) for text in said] == [(True, False), (False, True)]


@pytest.mark.parametrize("policy", ["local", "allow", "refuse"])
async def test_killed_and_started_again(redis: Redis, policy: str, caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    async with limits_in(redis, metrics, on_store_failure=policy, per_ip=3) as limits:
        await limits.hit("192.0.2.1")
        redis.send(signal.SIGKILL)
        outcomes: Counter[str] = Counter()
        for _ in range(40):
            try:
                decision = await limits.hit("192.0.2.1")
            except LimitsUnavailable:
                outcomes["unavailable"] += 1
            else:
                outcomes["none" if decision is None else str(decision.allowed)] += 1
        if policy == "local":
            assert outcomes["True"] >= 3
            assert set(outcomes) == {"True", "False"}
        else:
            assert outcomes == {"none" if policy == "allow" else "unavailable": 40}
        assert metrics.to_dict()["rate_limit_store"]["decided_without"] == {policy: 40}
        redis.start()
        await eventually(lambda: limits.up)
        assert (await limits.hit("192.0.2.9")) is not None
    assert sum("is away" in record.getMessage() for record in caplog.records) == 1


async def test_no_caller_waits_for_a_redis_that_does_not_answer(redis: Redis) -> None:
    metrics = Metrics()
    async with limits_in(redis, metrics, redis_timeout_ms=200) as limits:
        await limits.hit("192.0.2.1")
        redis.send(signal.SIGSTOP)
        decisions = await asyncio.gather(*(limits.hit("192.0.2.1") for _ in range(200)))
        assert all(decision is not None for decision in decisions)
        assert not limits.up
        seen = metrics.to_dict()["rate_limit_store"]
        assert seen["decided_without"] == {"local": 200}
        # Two hundred callers were told by a few failed calls, and a stopped Redis is not asked again by each.
        assert 1 <= seen["failures"]["timeout"] <= 5
        redis.send(signal.SIGCONT)
        await eventually(lambda: limits.up)
        await limits.hit("192.0.2.1")
        assert metrics.to_dict()["rate_limit_store"]["decided_without"] == {"local": 200}
        await eventually(lambda: redis.connections() == 2)


async def test_a_redis_that_does_not_answer_holds_no_start_up(redis: Redis) -> None:
    metrics = Metrics()
    redis.send(signal.SIGSTOP)
    async with limits_in(redis, metrics) as limits:
        assert not limits.up
        assert (await limits.hit("192.0.2.1")) is not None
        redis.send(signal.SIGCONT)
        await eventually(lambda: limits.up)
    assert metrics.to_dict()["rate_limit_store"]["failures"]["timeout"] >= 1


async def test_a_script_that_was_forgotten_is_registered_again(redis: Redis) -> None:
    metrics = Metrics()
    async with limits_in(redis, metrics) as limits:
        await limits.hit("192.0.2.1")
        redis.ask("SCRIPT", "FLUSH")
        decision = await limits.hit("192.0.2.1")
        assert decision is not None
        assert decision.remaining == 98  # counted once each
        assert metrics.to_dict()["rate_limit_store"] == {"workers": 1, "failures": {}, "decided_without": {}}


async def test_a_redis_that_refuses_to_write_counts_nothing(redis: Redis) -> None:
    metrics = Metrics()
    async with limits_in(redis, metrics) as limits:
        redis.ask("REPLICAOF", "127.0.0.1", "1")  # read only from now on
        assert (await limits.hit("192.0.2.1")) is not None
        assert not limits.up
        await eventually(lambda: metrics.to_dict()["rate_limit_store"]["failures"].get("error", 0) >= 2)
        assert not limits.up
        redis.ask("REPLICAOF", "NO", "ONE")
        await eventually(lambda: limits.up)


async def test_a_closed_connection_is_replaced(redis: Redis) -> None:
    async with limits_in(redis) as limits:
        redis.ask("CLIENT", "KILL", "TYPE", "normal")
        assert (await limits.hit("192.0.2.1")) is not None
        await eventually(lambda: limits.up and redis.connections() == 2)


async def test_a_wrong_password_is_said_and_not_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    server = Redis(tmp_path, password="open-sesame")
    server.start()
    right = server.url
    try:
        async with limits_in(server) as limits:
            assert limits.up
        server.url = right.replace("open-sesame", "wrong-password")
        async with limits_in(server) as limits:
            assert not limits.up
        assert "WRONGPASS" in caplog.text or "invalid" in caplog.text
        assert "sesame" not in caplog.text
        assert "wrong-password" not in caplog.text
    finally:
        server.end()


async def test_a_user_who_may_do_no_more_than_the_page_says(redis: Redis) -> None:
    """The permissions named in docs/scaling.md are enough."""
    page = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text()
    rules = re.search(r"^ACL SETUSER vedette (.+)$", page, re.MULTILINE)
    assert rules is not None
    assert redis.ask("ACL", "SETUSER", "vedette", *rules[1].replace("PASSWORD", "secret").split()) == b"+OK\r\n"
    redis.url = f"redis://vedette:secret@127.0.0.1:{redis.port}/1"
    metrics = Metrics()
    async with limits_in(redis, metrics) as limits:
        assert limits.up
        assert (await limits.hit("192.0.2.1")) is not None
        assert metrics.to_dict()["rate_limit_store"] == {"workers": 1, "failures": {}, "decided_without": {}}


async def test_over_tls_the_certificate_is_checked(tmp_path: Path) -> None:
    needs("openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names, *files]
    subprocess.run(command, check=True, capture_output=True)
    port = free_port()
    server = Redis(tmp_path)
    server.extra = ["--tls-port", str(port), "--tls-auth-clients", "no"]
    server.extra += ["--tls-cert-file", str(certificate), "--tls-key-file", str(key)]
    server.start()
    try:
        server.url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate}"
        async with limits_in(server) as limits:
            assert limits.up
            assert (await limits.hit("192.0.2.1")) is not None
            assert b"192.0.2.1" in server.ask("KEYS", "*")
        server.url = f"rediss://127.0.0.1:{port}/0"  # signed by nobody we know
        async with limits_in(server) as limits:
            assert not limits.up
    finally:
        server.end()


async def test_over_a_unix_socket(tmp_path: Path) -> None:
    server = Redis(tmp_path)
    server.extra = ["--unixsocket", str(tmp_path / "redis.sock")]
    server.start()
    try:
        server.url = f"unix://{tmp_path}/redis.sock"
        async with limits_in(server) as limits:
            assert limits.up
            assert (await limits.hit("192.0.2.1")) is not None
    finally:
        server.end()


# -- the service -----------------------------------------------------------------------------------------------------


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    running: list[Process] = []

    def start(url: str, *flags: str, **limits: object) -> Process:
        prefix = "VEDETTE_INFERENCE__RATE_LIMITING__"
        variables = {prefix + name.upper(): str(value) for name, value in {"redis_url": url, **limits}.items()}
        running.append(Process(*flags, cwd=tmp_path, VEDETTE_WAF_SERVICE__EVENT_LOG__ENABLED="false", **variables))
        running[-1].get("/ready")
        return running[-1]

    yield start
    for service in running:
        service.end()


def check(service: Process) -> int:
    """Return the status of one check on a connection of its own."""
    body = json.dumps({"method": "GET", "path": "/"}).encode()
    try:
        with urllib.request.urlopen(service.url + "/check", body, timeout=60) as answer:
            status: int = answer.status
            return status
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code


def until(service: Process, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    end = time.monotonic() + 90
    while not holds(seen := service.metrics()):
        assert time.monotonic() < end, seen
        time.sleep(0.05)
    return seen


def test_two_services_of_two_workers_share_one_limit(redis: Redis, serve: Callable[..., Process]) -> None:
    """A whole limit for whoever asks, where it would be a half or a quarter if it were split, and not a bit more."""
    limit = 60
    services = [serve(redis.url, "--workers", "2", per_ip=limit, redis_timeout_ms=PATIENT_MS) for _ in range(2)]
    for service in services:
        until(service, lambda seen: seen["workers"] == seen["rate_limit_store"]["workers"] == 2)
        assert any(f"limits held: shared by Redis at 127.0.0.1:{redis.port}/0" in line for line in service.lines)
    assert redis.connections() == 8
    began = floor(time.time())
    with ThreadPoolExecutor(16) as pool:
        statuses = Counter(pool.map(check, services * 300))
    seconds = floor(time.time()) - began + 1
    assert statuses[200] + statuses[429] == 600
    assert statuses[200] <= limit * seconds
    assert statuses[200] >= limit
    for_each = [service.metrics() for service in services]
    assert sum(seen["rate_limit"]["allowed"] for seen in for_each) == statuses[200]
    assert all(seen["rate_limit_store"] == {"workers": 2, "failures": {}, "decided_without": {}} for seen in for_each)


def test_a_service_starts_without_redis_and_finds_it_later(tmp_path: Path, serve: Callable[..., Process]) -> None:
    server = Redis(tmp_path)
    try:
        service = serve(server.url, "--workers", "2", per_ip=1000)
        assert check(service) == 200
        server.start()
        until(service, lambda seen: seen["rate_limit_store"]["workers"] == 2)
        assert check(service) == 200
        server.send(signal.SIGKILL)
        assert [check(service) for _ in range(20)] == [200] * 20
        until(service, lambda seen: seen["rate_limit_store"]["workers"] == 0)
        server.start()
        until(service, lambda seen: seen["rate_limit_store"]["workers"] == 2)
        assert check(service) == 200
        assert service.stop() == 0
        text = "\n".join(service.lines)
        assert "Traceback" not in text
        assert text.count("is away") >= 2  # each of two workers, once for each time
    finally:
        server.end()


def test_a_service_that_refuses_without_redis_says_so(redis: Redis, serve: Callable[..., Process]) -> None:
    service = serve(redis.url, on_store_failure="refuse")
    assert check(service) == 200
    redis.send(signal.SIGKILL)
    body = json.dumps({"requests": [{"method": "GET", "path": "/"}]}).encode()
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(service.url + "/check/batch", body, timeout=60)
    assert caught.value.code == 503
    assert json.loads(caught.value.read())["error"]["code"] == "limits_unavailable"
    assert int(caught.value.headers["Retry-After"]) >= 1
    assert service.metrics()["requests"]["by_outcome"]["limits_unavailable"] == 1
    assert service.get("/ready")[0] == 200
