"""Both limits held in Redis, so that they hold for all workers on all machines; and what happens when it is away.

    hit -> store up?  -> counted there, both limits in one call -> Decision
           away       -> on_store_failure: this worker's own share (local), everything (allow), 503 (refuse)

The algorithm is that of rate_limiter.py; the counts are read and written by one script in Redis, on Redis's clock, so
however many workers ask at the same time, no second lets through more than the limit.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol

from vedette.config import RateLimitSettings
from vedette.errors import LimitsUnavailable
from vedette.inference.rate_limiter import Decision, RequestLimits, client_key, refusal, room_left
from vedette.inference.redis_store import Counted, RedisStore, StoreFailure

_SAY_EVERY_S = 60.0
_POLICIES = {
    "local": "each worker keeps to its share of the limits by itself",
    "allow": "nothing is limited",
    "refuse": "requests are refused",
}
_log = logging.getLogger(__name__)


class LimitObserver(Protocol):
    """What is counted of the store. Called on the event loop; must be quick and must not raise."""

    def store_up(self, up: bool) -> None:
        """The store decides from now on, or the policy."""

    def store_failed(self, reason: str) -> None:
        """A call to the store, or an attempt to connect, failed: timeout, connection, error or busy."""

    def limited_without_store(self, policy: str) -> None:
        """A request was decided by the policy."""

    def refused(self, outcome: str, count: int = 1) -> None:
        """A request got no verdict."""


class RedisLimits:
    """Both limits as `settings` has them; `local` is this worker's share of them. Belongs to one event loop.

    Raises `ConfigError` where `redis_url` cannot be used.
    """

    def __init__(
        self,
        settings: RateLimitSettings,
        local: RequestLimits,
        observer: LimitObserver,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit_of_all = settings.max_requests_per_second
        self._limit_of_one = settings.per_ip
        self._policy = settings.on_store_failure
        self._local = local
        self._observer = observer
        self._clock = clock
        self._said_at: float | None = None
        self._said_away = False
        self._closed = False
        self._store = RedisStore(settings, self)

    @property
    def up(self) -> bool:
        """Whether Redis decides now."""
        return self._store.up

    async def start(self) -> None:
        """Connect. A Redis that cannot be reached is tried again until `close`."""
        await self._store.start()
        if not self._store.up:
            self._say()

    async def close(self) -> None:
        """Let go of Redis; hits that wait for it are decided by the policy."""
        self._closed = True
        await self._store.close()

    async def hit(self, client_ip: str | None, n: int = 1) -> Decision | None:
        """Count a request, or a batch of `n` as a whole, if it fits; the decision that binds, None where none is made.

        Waits for Redis at most `redis_timeout_ms`. Raises `LimitsUnavailable` where the policy is to refuse.
        """
        if n < 1:
            raise ValueError("a hit weighs at least 1")
        try:
            counted = await self._store.hit(client_key(client_ip), n)
        except StoreFailure:
            return self._without_store(client_ip, n)
        return decision_of(counted, n, self._limit_of_all, self._limit_of_one)

    def _without_store(self, client_ip: str | None, n: int) -> Decision | None:
        self._observer.limited_without_store(self._policy)
        if self._policy == "local":
            return self._local.hit(client_ip, n)
        if self._policy == "allow":
            return None
        self._observer.refused(LimitsUnavailable.outcome)
        raise LimitsUnavailable("the store of the rate limits cannot be asked")

    # -- what the store tells ------------------------------------------------------------------------------------

    def on_store_up(self, up: bool) -> None:
        """Pass it on, and say it."""
        self._observer.store_up(up)
        if not up:
            self._say()
        elif self._said_away:
            self._said_away = False
            _log.warning("rate limits: Redis at %s counts them again", self._store.place)

    def on_store_failure(self, reason: str) -> None:
        """Pass it on."""
        self._observer.store_failed(reason)

    def _say(self) -> None:
        """Once for each time that Redis is away, and once a minute at most where it comes and goes."""
        now = self._clock()
        if not self._closed and (self._said_at is None or now - self._said_at >= _SAY_EVERY_S):
            self._said_at = now
            self._said_away = True
            why = self._store.last_error or "closed"
            _log.warning("rate limits: Redis at %s is away (%s): %s", self._store.place, why, _POLICIES[self._policy])


def decision_of(counted: Counted, n: int, limit_of_all: int, limit_of_one: int) -> Decision:
    """Return the decision on a hit of weight `n` that Redis counted."""
    outcome, previous, current, left_us = counted
    left_s = left_us / 1e6
    if outcome == 1:
        return Decision(True, 0.0, room_left(limit_of_all, previous, current, left_s), limit_of_all)
    return refusal(limit_of_all if outcome == 2 else limit_of_one, n, previous, current, left_s)
