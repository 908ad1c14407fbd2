"""Sliding-window limits, for all clients together and for each client address.

The strategy is the sliding-window *counter*: the count of the current second plus the share of the previous second that
still lies in the window. The moving window, which remembers the time of every hit, would be exact, but holds up to
`per_ip` timestamps for each client (100,000 clients at 1,000 a second: gigabytes) where the counter holds two integers,
and moves that list at every hit. The counter is exact for steady traffic, errs by the unevenness of one second
otherwise, and no second ever admits more than twice the limit.

A hit in memory never waits, so it is synchronous. Measured 2026-11, CPU of both limits of one request on a busy core:
3.5 µs; 16 µs with the strategy of the `limits` library over the same counters. A tracked client takes 323 bytes.
Limits across processes: redis_limits.py.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from functools import lru_cache
from math import floor

import msgspec

from vedette.config import RateLimitSettings
from vedette.inference.window_storage import BoundedWindows

UNKNOWN_CLIENT = "unknown"
"""The bucket that every missing or invalid address shares: garbage must not open a bucket of its own."""

_STEP_S = 0.001  # the bound is strict, so a wait ends a little behind it


class Decision(msgspec.Struct, frozen=True):
    """The answer to a hit.

    `retry_after_s` is 0 when allowed, else the seconds after which the same hit would pass if nothing else came.
    `too_large` says that it can never pass, as its weight exceeds `limit`.
    """

    allowed: bool
    retry_after_s: float
    remaining: int
    limit: int
    too_large: bool = False


class LimiterStats(msgspec.Struct, frozen=True):
    """Weights allowed and refused since the start; clients tracked now, and forgotten to make room."""

    allowed: int
    refused: int
    clients: int
    evicted: int


class _SlidingWindow:
    """Hits on keys against one limit per second."""

    def __init__(self, max_per_second: int, max_keys: int, clock: Callable[[], float]) -> None:
        self.limit = max_per_second
        self._windows = BoundedWindows(max_keys, clock)
        self._allowed = 0
        self._refused = 0

    def hit(self, key: str, n: int) -> Decision:
        if n < 1:
            raise ValueError("a hit weighs at least 1")
        fits, previous, current, left_s = self._windows.count(key, self.limit, n)
        if fits:
            self._allowed += n
            return Decision(True, 0.0, max(0, self.limit - floor(previous * left_s + current)), self.limit)
        self._refused += n
        return refusal(self.limit, n, previous, current, left_s)

    def stats(self) -> LimiterStats:
        return LimiterStats(self._allowed, self._refused, len(self._windows), self._windows.evicted)


def refusal(limit: int, n: int, previous: int, current: int, left_s: float) -> Decision:
    """Return the decision on a hit of weight `n` that did not fit.

    `previous` and `current` are the counts of the two seconds, `left_s` (0..1) what is left of the current one.
    """
    remaining = room_left(limit, previous, current, left_s)
    if n > limit:
        return Decision(False, 1.0, remaining, limit, too_large=True)
    room = limit - n + 1  # the weighted count must fall below this
    if current < room:  # the previous count needs only to fade; it is > 0, as the hit was refused
        wait_s = max(_STEP_S, left_s - (room - current) / previous + _STEP_S)
    else:
        wait_s = left_s + 1 - room / current + _STEP_S
    return Decision(False, wait_s, remaining, limit)


def room_left(limit: int, previous: int, current: int, left_s: float) -> int:
    """Return what weight would still fit."""
    return max(0, limit - floor(previous * left_s + current))


class RateLimiter:
    """One limit for all clients together. Thread safe; counts of the statistics may lag under threads."""

    def __init__(self, max_requests_per_second: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._window = _SlidingWindow(max_requests_per_second, 1, clock)

    def hit(self, n: int = 1) -> Decision:
        """Count a request, or a batch of `n` as a whole, if it fits."""
        return self._window.hit("all", n)

    def stats(self) -> LimiterStats:
        """Return a snapshot."""
        return self._window.stats()


class PerIPRateLimiter:
    """One limit for each client address, at most `max_ips` of them tracked; the longest silent is forgotten."""

    def __init__(self, per_ip: int, *, max_ips: int = 100_000, clock: Callable[[], float] = time.monotonic) -> None:
        self._window = _SlidingWindow(per_ip, max_ips, clock)

    def hit(self, client_ip: str | None, n: int = 1) -> Decision:
        """Count a request, or a batch of `n` as a whole, of the client if it fits."""
        return self._window.hit(client_key(client_ip), n)

    def stats(self) -> LimiterStats:
        """Return a snapshot."""
        return self._window.stats()


class RequestLimits:
    """Both limits as `settings` has them. The client's comes first, so that one flood leaves room for the others."""

    def __init__(self, settings: RateLimitSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.enabled = settings.enabled
        self.total = RateLimiter(settings.max_requests_per_second, clock=clock)
        self.per_ip = PerIPRateLimiter(settings.per_ip, max_ips=settings.max_ips, clock=clock)

    def hit(self, client_ip: str | None, n: int = 1) -> Decision | None:
        """Return the decision that binds, or None where the limits do not apply."""
        if not self.enabled:
            return None
        decision = self.per_ip.hit(client_ip, n)
        return self.total.hit(n) if decision.allowed else decision


@lru_cache(maxsize=4096)
def client_key(client_ip: str | None) -> str:
    """Return the bucket of an address: IPv4 as it is (mapped into IPv6 or not), IPv6 by its /64.

    A /64 is what one subscriber holds (RFC 6177), so single IPv6 addresses are no identity.
    """
    if not client_ip or len(client_ip) > 64:
        return UNKNOWN_CLIENT
    try:
        address = ipaddress.ip_address(client_ip.partition("%")[0])
    except ValueError:
        return UNKNOWN_CLIENT
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{ipaddress.IPv6Address(int(address) >> 64 << 64)}/64"
