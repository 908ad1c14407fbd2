"""The hot endpoints, POST /check and POST /check/batch, as plain ASGI.

One request, one story: head -> rate limit -> body -> `HTTPRequest` -> service -> verdict -> bytes. FastAPI with a
pydantic body costs 165 µs of CPU for this, a plain ASGI route with msgspec 46-71 (2026-11), so nothing stands between
the server and these functions but a look-up of the path.

The limit is asked before the body is read, so that a refused flood costs little. The event loop decodes bodies up to
64 KiB, at worst 2 ms of work (a query object of small numbers); larger ones are decoded by a thread of their own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import msgspec

from vedette.config import WafServiceSettings
from vedette.errors import Overloaded, RequestError
from vedette.inference.async_waf_service import AsyncWAFService, UnderWay
from vedette.inference.rate_limiter import Decision, RequestLimits
from vedette.inference.redis_limits import RedisLimits
from vedette.inference.scheduling import give_way
from vedette.inference.turn import TURN
from vedette.server.backlog import Backlog
from vedette.server.body import Receive, Send, too_large
from vedette.server.client_address import ClientAddresses
from vedette.server.endpoint import Call, Handler, answer_post
from vedette.server.errors import ApiError
from vedette.server.reading import Reading, read_batch, read_check
from vedette.server.schemas import BatchCheckResponse, CheckResponse
from vedette.verdict import Verdict

T = TypeVar("T")
ASGIApp = Callable[[Any, Receive, Send], Awaitable[None]]
INLINE_BYTES = 64 * 1024
DECODING = 64  # large bodies that wait for the decoding thread; as many as wait for the parsing thread after it
_encode = msgspec.json.Encoder().encode


class CheckRoutes:
    """Both endpoints over one service."""

    def __init__(
        self,
        service: AsyncWAFService,
        limits: RequestLimits,
        addresses: ClientAddresses,
        settings: WafServiceSettings,
        redis: RedisLimits | None = None,
    ) -> None:
        self._service = service
        self._metrics = service.metrics
        self._limits = limits
        self._redis = redis
        self._addresses = addresses
        self._max_bytes = settings.max_request_bytes
        self._max_batch = settings.max_batch
        self._decoding = 0
        self._backlog = Backlog(
            settings.max_wait or settings.timeout / 2, lambda: service.metrics.refused(Overloaded.outcome)
        )
        self._decoder = ThreadPoolExecutor(1, thread_name_prefix="vedette-decode", initializer=give_way)

    def close(self) -> None:
        """Release the decoding thread."""
        self._decoder.shutdown(wait=False, cancel_futures=True)

    async def check(self, scope: Any, receive: Receive, send: Send) -> None:
        """POST /check."""
        await answer_post(scope, receive, send, self._check, self._addresses, self._metrics)

    def check_at_once(
        self, headers: Sequence[tuple[bytes, bytes]], client: tuple[str, int] | None, body: bytes, waited_s: float
    ) -> bytes | ASGIApp:
        """Answer a whole POST /check without a task: the JSON of its verdict, or the application that says the rest,
        an error or what a thread is still busy with."""
        try:
            call = Call(headers, client, _nothing_to_receive, self._addresses, waited_s)
            self._limit(self._limits.hit(call.caller), 1)
            if len(body) > self._max_bytes:
                raise too_large(self._max_bytes)
            self._backlog.admit(len(body))
            reading = read_check(body, call.caller, believed=call.believed)
            found = self._service.check_at_once(
                reading.request, deadline_s=reading.deadline_s, request_id=call.request_id, waited_s=waited_s
            )
            if isinstance(found, Verdict):
                return encode(found)
        except Exception as error:  # told by `answer_post`, like every other
            return self._later(partial(_raise, error))
        return self._later(partial(self._finish, found, len(body)))

    def _later(self, handler: Handler) -> ASGIApp:
        async def app(scope: Any, receive: Receive, send: Send) -> None:
            await answer_post(scope, receive, send, handler, self._addresses, self._metrics)

        return app

    async def _finish(self, under_way: UnderWay, size: int, _call: Call) -> bytes:
        with self._backlog.holding(size):
            return encode(await self._service.finish(under_way))

    async def batch(self, scope: Any, receive: Receive, send: Send) -> None:
        """POST /check/batch."""
        await answer_post(scope, receive, send, self._batch, self._addresses, self._metrics)

    async def _check(self, call: Call) -> bytes:
        redis = self._redis
        self._limit(self._limits.hit(call.caller) if redis is None else await redis.hit(call.caller), 1)
        data = await self._read_body(call)
        waited_s = call.waited_s
        with self._backlog.holding(len(data)):
            if len(data) <= INLINE_BYTES:
                reading = read_check(data, call.caller, believed=call.believed)
            else:
                begun = time.monotonic()
                reading = await self._off_loop(lambda: read_check(data, call.caller, believed=call.believed))
                waited_s += time.monotonic() - begun
            verdict = await self._service.check(
                reading.request, deadline_s=reading.deadline_s, request_id=call.request_id, waited_s=waited_s
            )
        return encode(verdict)

    async def _read_body(self, call: Call) -> bytes:
        """The whole body, or nothing of a large one that would wait too long."""
        data = await call.read_body(self._max_bytes, self._backlog.admit)
        self._backlog.admit(len(data))  # others may have come meanwhile
        return data

    async def _batch(self, call: Call) -> bytes:
        started = time.perf_counter()
        redis = self._redis
        self._limit(self._limits.hit(call.caller) if redis is None else await redis.hit(call.caller), 1)
        data = await self._read_body(call)

        def read() -> list[Reading]:
            return read_batch(data, call.caller, believed=call.believed, max_batch=self._max_batch)

        with self._backlog.holding(len(data)):
            readings = read() if len(data) <= INLINE_BYTES else await self._off_loop(read)
            if (rest := len(readings) - 1) > 0:
                hit = self._limits.hit(call.caller, rest) if redis is None else await redis.hit(call.caller, rest)
                self._limit(hit, rest)
            results = await self._service.check_many(
                [reading.request for reading in readings],
                deadlines_s=[reading.deadline_s for reading in readings],
                waited_s=call.waited_s,
            )
        elapsed_ms = (time.perf_counter() - started) * 1e3
        return encode(BatchCheckResponse(results=list(results), processing_time_ms=elapsed_ms))

    def _limit(self, decision: Decision | None, weight: int) -> None:
        if decision is None:
            return
        self._metrics.limited(allowed=decision.allowed, weight=weight)
        if decision.allowed:
            return
        if decision.too_large:
            raise RequestError(
                f"a batch of this size never fits the limit of {decision.limit} requests a second", field="requests"
            )
        raise ApiError(
            "rate_limited", f"more than {decision.limit} requests a second", retry_after_s=decision.retry_after_s
        )

    async def _off_loop(self, read: Callable[[], T]) -> T:
        if self._decoding >= DECODING:
            self._metrics.refused(Overloaded.outcome)
            raise Overloaded("too many large bodies wait to be read")
        self._decoding += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._decoder, _in_turn, read)
        finally:
            self._decoding -= 1


def _in_turn(read: Callable[[], T]) -> T:
    with TURN:
        return read()


async def _raise(error: Exception, _call: Call) -> bytes:
    raise error


async def _nothing_to_receive() -> Any:
    return {"type": "http.disconnect"}


def encode(answer: CheckResponse | BatchCheckResponse) -> bytes:
    """Return the JSON of an answer; bytes of the request that are no Unicode are shown escaped (``\\udcff``)."""
    try:
        return _encode(answer)
    except UnicodeEncodeError:
        return _encode(_printable(msgspec.to_builtins(answer)))


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {key: _printable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(item) for item in value]
    return value
