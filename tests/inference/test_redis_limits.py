"""What can be said of limits in Redis without one: the arithmetic, the URL, and the policies while it is away.

That the limits hold is shown on a real Redis in tests/system/test_redis.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.config import RateLimitSettings
from vedette.errors import ConfigError, LimitsUnavailable
from vedette.inference.rate_limiter import RateLimiter, RequestLimits
from vedette.inference.redis_limits import RedisLimits, decision_of
from vedette.inference.redis_store import Counted, connection_maker, place_of
from vedette.sinks.metrics import Metrics


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@given(
    st.integers(1, 50),
    st.lists(st.tuples(st.integers(0, 1_500_000), st.integers(1, 60)), min_size=1, max_size=40),
)
def test_what_redis_counted_is_decided_as_in_memory(limit: int, hits: list[tuple[int, int]]) -> None:
    """The counts that memory comes to, told as Redis tells them, give the same decision."""
    clock = Clock()
    now_us = 1_000_000_000
    limiter = RateLimiter(limit, clock=clock)
    for gap_us, weight in hits:
        now_us += gap_us
        clock.now = now_us / 1e6
        expected = limiter.hit(weight)
        window = limiter._window._windows._windows.get("all")
        previous, current = (window.previous, window.current) if window else (0, 0)
        counted = Counted(1 if expected.allowed else 2, previous, current, 1_000_000 - now_us % 1_000_000)
        seen = decision_of(counted, weight, limit, 10**6)
        assert (seen.allowed, seen.limit, seen.too_large) == (expected.allowed, limit, expected.too_large)
        assert seen.remaining == pytest.approx(expected.remaining, abs=1)  # where a float lies on the edge
        assert seen.retry_after_s == pytest.approx(expected.retry_after_s, abs=1e-4)


def test_the_limit_that_refused_is_the_one_that_is_told() -> None:
    assert decision_of(Counted(0, 0, 5, 500_000), 1, 100, 5).limit == 5
    assert decision_of(Counted(2, 0, 100, 500_000), 1, 100, 5).limit == 100
    allowed = decision_of(Counted(1, 10, 40, 500_000), 1, 100, 5)
    assert (allowed.allowed, allowed.limit, allowed.remaining, allowed.retry_after_s) == (True, 100, 55, 0.0)
    assert decision_of(Counted(0, 0, 0, 500_000), 6, 100, 5).too_large


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://cache", "cache:6379"),
        ("redis://user:secret@cache:6380/3", "cache:6380/3"),
        ("rediss://:secret@cache", "cache:6379 (TLS)"),
        ("redis://[2001:db8::1]:1/0", "[2001:db8::1]:1/0"),
        ("unix:///run/redis.sock?db=2&password=secret", "/run/redis.sock"),
        ("unix://user:secret@/run/redis.sock", "/run/redis.sock"),
    ],
)
def test_a_place_has_no_credentials(url: str, place: str) -> None:
    RateLimitSettings(redis_url=url)
    connection_maker(url)
    assert place_of(url) == place


@pytest.mark.parametrize("option", ["colour=blue", "db=secret", "socket_timeout=secret"])
def test_an_option_that_cannot_be_used_is_a_named_error(option: str) -> None:
    with pytest.raises(ConfigError, match="redis_url") as caught:
        connection_maker(f"redis://:secret@cache/?{option}")
    assert "secret" not in str(caught.value)


def test_the_url_is_not_shown_with_the_settings() -> None:
    assert "secret" not in repr(RateLimitSettings(redis_url="redis://:secret@cache"))


@pytest.mark.parametrize(
    "url", ["http://cache", "redis://", "redis://cache:0", "redis://cache:x", "unix://", "cache:6379"]
)
def test_what_is_no_redis_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="redis_url"):
        RateLimitSettings(redis_url=url)


def away(tmp_path: Path, metrics: Metrics, **more: Any) -> RedisLimits:
    """Limits in a Redis that is not there."""
    url = f"unix://:secret@{tmp_path}/nobody.sock"
    settings = RateLimitSettings(max_requests_per_second=10, per_ip=2, redis_url=url, **more)
    return RedisLimits(settings, RequestLimits(settings, clock=Clock()), metrics, clock=Clock())


async def test_without_redis_each_worker_keeps_its_share(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    limits = away(tmp_path, metrics)
    await limits.start()
    try:
        assert not limits.up
        decisions = [await limits.hit("192.0.2.1") for _ in range(4)]
        assert [decision.allowed for decision in decisions if decision] == [True, True, False, False]
    finally:
        await limits.close()
    seen = metrics.to_dict()["rate_limit_store"]
    assert seen["decided_without"] == {"local": 4}
    assert seen["failures"]["connection"] >= 1
    assert seen["workers"] == 0
    said = [record.getMessage() for record in caplog.records if "Redis" in record.getMessage()]
    assert len(said) == 1
    assert "nobody.sock is away" in said[0]
    assert "secret" not in caplog.text


async def test_without_redis_everything_passes_if_so_wanted(tmp_path: Path) -> None:
    metrics = Metrics()
    limits = away(tmp_path, metrics, on_store_failure="allow")
    await limits.start()
    try:
        assert [await limits.hit("192.0.2.1") for _ in range(20)] == [None] * 20
    finally:
        await limits.close()
    assert metrics.to_dict()["rate_limit_store"]["decided_without"] == {"allow": 20}


async def test_without_redis_nothing_passes_if_so_wanted(tmp_path: Path) -> None:
    metrics = Metrics()
    limits = away(tmp_path, metrics, on_store_failure="refuse")
    await limits.start()
    try:
        with pytest.raises(LimitsUnavailable) as caught:
            await limits.hit("192.0.2.1")
        assert caught.value.retry_after_s >= 1
    finally:
        await limits.close()
    assert metrics.to_dict()["requests"]["by_outcome"] == {"limits_unavailable": 1}


async def test_before_the_start_and_after_the_end_the_policy_holds(tmp_path: Path) -> None:
    limits = away(tmp_path, Metrics())
    assert (await limits.hit(None)) is not None
    await limits.close()
    await limits.start()
    await limits.close()
    assert (await limits.hit(None)) is not None
    with pytest.raises(ValueError, match="at least 1"):
        await limits.hit(None, 0)
