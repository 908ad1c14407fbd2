"""The limits: sliding, per client, weighted, bounded, with a wait that is true."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.config import RateLimitSettings
from vedette.inference.rate_limiter import UNKNOWN_CLIENT, PerIPRateLimiter, RateLimiter, RequestLimits, client_key


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_limit_holds_and_comes_back() -> None:
    clock = Clock()
    limiter = RateLimiter(10, clock=clock)
    assert [limiter.hit().allowed for _ in range(12)] == [True] * 10 + [False] * 2
    refused = limiter.hit()
    assert (refused.remaining, refused.limit) == (0, 10)
    assert 0 < refused.retry_after_s <= 2
    clock.now += 2
    assert limiter.hit().allowed
    stats = limiter.stats()
    assert (stats.allowed, stats.refused) == (11, 3)


def test_the_window_slides_over_the_second_boundary() -> None:
    clock = Clock()
    limiter = RateLimiter(10, clock=clock)
    clock.now = 1000.9
    assert all(limiter.hit().allowed for _ in range(10))
    clock.now = 1001.05  # a fixed window would admit ten more here
    assert not limiter.hit(2).allowed
    clock.now = 1001.95
    assert limiter.hit(9).allowed


def test_remaining_counts_down() -> None:
    limiter = RateLimiter(5, clock=Clock())
    assert [limiter.hit(n).remaining for n in (1, 3, 1)] == [4, 1, 0]


def test_a_batch_counts_its_length_whole_or_not_at_all() -> None:
    limiter = RateLimiter(10, clock=Clock())
    assert limiter.hit(8).allowed
    assert not limiter.hit(3).allowed
    assert limiter.hit(2).allowed


def test_a_batch_larger_than_the_limit_is_refused_clearly() -> None:
    limiter = RateLimiter(10, clock=Clock())
    decision = limiter.hit(11)
    assert not decision.allowed
    assert decision.too_large
    assert decision.retry_after_s > 0
    assert limiter.hit(10).allowed


@pytest.mark.parametrize("weight", [0, -1])
def test_a_weight_below_one_is_refused(weight: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        RateLimiter(10).hit(weight)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 50),
    st.lists(st.tuples(st.floats(0, 1.5), st.integers(1, 50)), min_size=1, max_size=40),
)
def test_after_the_stated_wait_the_same_hit_passes(limit: int, hits: list[tuple[float, int]]) -> None:
    clock = Clock()
    limiter = RateLimiter(limit, clock=clock)
    for gap, weight in hits:
        clock.now += gap
        decision = limiter.hit(weight)
        assert decision.too_large == (weight > limit)
        if not decision.allowed and not decision.too_large:
            assert 0 < decision.retry_after_s < 2.1
            clock.now += decision.retry_after_s
            assert limiter.hit(weight).allowed


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 0.3), min_size=1, max_size=200))
def test_no_aligned_second_admits_more_than_the_limit(gaps: list[float]) -> None:
    clock = Clock()
    limiter = RateLimiter(7, clock=clock)
    admitted: dict[int, int] = {}
    for gap in gaps:
        clock.now += gap
        if limiter.hit().allowed:
            admitted[int(clock.now)] = admitted.get(int(clock.now), 0) + 1
    assert max(admitted.values()) <= 7


def test_clients_do_not_take_from_each_other() -> None:
    limiter = PerIPRateLimiter(2, clock=Clock())
    assert [limiter.hit("192.0.2.1").allowed for _ in range(3)] == [True, True, False]
    assert limiter.hit("192.0.2.2").allowed


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        (None, UNKNOWN_CLIENT),
        ("", UNKNOWN_CLIENT),
        ("not an address", UNKNOWN_CLIENT),
        ("192.0.2.7:80", UNKNOWN_CLIENT),
        ("1" * 10_000, UNKNOWN_CLIENT),
    ],
)
def test_client_key(address: str | None, key: str) -> None:
    assert client_key(address) == key


def test_a_flood_of_addresses_is_bounded_and_forgets_the_longest_silent() -> None:
    limiter = PerIPRateLimiter(1, max_ips=100, clock=Clock())
    limiter.hit("10.0.0.1")
    for i in range(1000):
        limiter.hit(f"172.16.{i // 256}.{i % 256}")
        assert not limiter.hit("10.0.0.1").allowed  # active, hence never forgotten
    stats = limiter.stats()
    assert stats.clients == 100
    assert stats.evicted == 901


def test_invalid_addresses_share_one_bucket() -> None:
    limiter = PerIPRateLimiter(1, clock=Clock())
    assert limiter.hit("nonsense").allowed
    assert not limiter.hit("other nonsense").allowed


def test_threads_together_never_pass_the_limit() -> None:
    limiter = RateLimiter(500, clock=Clock())
    allowed: list[int] = []

    def hammer() -> None:
        allowed.append(sum(limiter.hit().allowed for _ in range(400)))

    threads = [threading.Thread(target=hammer) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(allowed) == 500


def test_both_limits_and_the_clients_own_comes_first() -> None:
    clock = Clock()
    limits = RequestLimits(RateLimitSettings(max_requests_per_second=3, per_ip=2), clock=clock)
    answers = [limits.hit("192.0.2.1") for _ in range(5)]
    assert [answer.allowed for answer in answers if answer] == [True, True, False, False, False]
    other = limits.hit("192.0.2.2")
    assert other is not None
    assert other.allowed  # the flood did not eat the limit of all
    last = limits.hit("192.0.2.3")
    assert last is not None
    assert not last.allowed


def test_disabled_limits_decide_nothing() -> None:
    assert RequestLimits(RateLimitSettings(enabled=False)).hit("192.0.2.1", 10**6) is None
