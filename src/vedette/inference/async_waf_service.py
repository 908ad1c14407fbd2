"""The asynchronous way in: checks that never block the event loop and always end within their deadline.

    request -> prepare (small: here; large: in a thread) -> nothing pending? judge at once
                                                        -> else slices -> queue -> inference threads -> judge

Three requests in four need no model run and are answered without leaving the event loop. What a check ends in:

    verdict                                  read, and judged
    verdict, degraded timed_out/model_failed time ran out or the model failed; action by `fail_mode`
    verdict, degraded partially_inspected    only part could be read; action by `on_partial`
    Overloaded, NotReady                     nothing was done; come back after `retry_after_s`
    RequestError                             what was given is no request
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple

from vedette.config import Settings
from vedette.errors import DeadlineExceeded, InferenceFailed, NotReady, Overloaded, RequestError, ServiceError
from vedette.http_request import HTTPRequest
from vedette.inference.engine import Engine, load_engine
from vedette.inference.overrides import settings_with
from vedette.inference.prepared import Prepared, Slice
from vedette.inference.queue_manager import QueueStats, RequestQueueManager
from vedette.inference.request_builder import build_request, request_of, validate_deadline
from vedette.sinks.events import EventLog
from vedette.sinks.metrics import Metrics
from vedette.verdict import Degraded, Verdict

ON_LOOP_BYTES = 8 * 1024  # a request up to this size is parsed on the event loop, at worst some 2 ms
SLICE_TOKENS = 8192  # a request's share of a batch; a large one waits its turn again after each
_ANSWER_MARGIN_S = 0.025  # inference stops this long before the deadline, so that a partial answer is in time
_WAVE = 64  # requests of one batch call that are under way at once: one call must not fill the queue
_TURN_S = 0.002  # a batch call lets the event loop go on after this long
_LARGE_WAITING = 64  # large requests that wait for the parsing thread

_log = logging.getLogger(__name__)


class _Work(NamedTuple):
    """A slice and the engine that prepared it: a model swapped in later never answers for its predecessor."""

    engine: Engine
    piece: Slice


class _Reading(NamedTuple):
    """A large request on its way to the parsing thread."""

    engine: Engine
    request: HTTPRequest
    request_id: str | None


class _Begun:
    """A check under way."""

    __slots__ = ("deadline", "engine", "first", "prepared", "preparing", "request", "request_id", "rest", "started_at")

    def __init__(
        self, engine: Engine, request: HTTPRequest, request_id: str | None, started_at: float, deadline: float
    ) -> None:
        self.engine = engine
        self.request = request
        self.request_id = request_id
        self.started_at = started_at
        self.deadline = deadline
        self.prepared: Prepared | None = None
        self.preparing: asyncio.Future[Prepared] | None = None
        self.first: asyncio.Future[None] | None = None
        self.rest: Iterator[Slice] = iter(())


class AsyncWAFService:
    """Judges requests with one model, for any number of coroutines of one event loop.

    The first call starts it; `start`, `close` and ``async with`` do it explicitly. The keyword arguments override the
    `settings`; without settings the defaults hold and no event log is written. Raises `ConfigError` for a bad value,
    and, at the start, `BundleError` or `BackendUnavailable`.
    """

    def __init__(
        self,
        model_path: str | os.PathLike[str] | None = None,
        vocab_path: str | os.PathLike[str] | None = None,
        threshold: float | None = None,
        device: str = "auto",
        max_workers: int | None = None,
        batch_size: int | None = None,
        timeout: float | None = None,
        *,
        settings: Settings | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.settings = settings_with(
            settings,
            model_path=model_path,
            vocab_path=vocab_path,
            threshold=threshold,
            device=device,
            max_workers=max_workers,
            batch_size=batch_size,
            timeout=timeout,
        )
        self.metrics = metrics or Metrics()
        self._engine: Engine | None = None
        self._queue: RequestQueueManager[_Work, None] | None = None
        self._parser: RequestQueueManager[_Reading, Prepared] | None = None
        self._events: EventLog | None = None
        self._starting = asyncio.Lock()
        self._closed = False
        waf, stage = self.settings.waf_service, self.settings.inference.async_
        self._timeout_s = waf.timeout
        self._stage_timeout_s = stage.timeout
        self._max_workers = stage.max_workers or len(os.sched_getaffinity(0))

    # -- life ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load and warm up the model and start the threads. A second call does nothing."""
        async with self._starting:
            if self._queue is not None:
                return
            if self._engine is None:
                self.swap(await asyncio.to_thread(self._load))
            stage, queue = self.settings.inference.async_, self.settings.inference.queue
            log = self.settings.waf_service.event_log
            if log.enabled:
                self._events = events = EventLog(log.path)
                self.metrics.watch_events(lambda: events.dropped)
            self._parser = RequestQueueManager(_prepare, max_size=_LARGE_WAITING, max_batch=1, name="parse")
            self._queue = RequestQueueManager(
                _infer,
                max_size=queue.max_size,
                max_batch=stage.batch_size,
                max_batch_cost=queue.max_batch_tokens,
                cost=lambda work: work.piece.cost,
                window_s=queue.batch_window_ms / 1000,
                max_workers=self._max_workers,
                observer=self.metrics,
            )
            await self._parser.start()
            await self._queue.start()
            self._closed = False

    async def close(self) -> None:
        """Take no more requests, finish those under way within `waf_service.drain_timeout`, and stop."""
        self._closed = True
        async with self._starting:
            queue, parser, events = self._queue, self._parser, self._events
            if queue is None or parser is None:
                return
            drain_s = self.settings.waf_service.drain_timeout
            until = time.monotonic() + drain_s
            await parser.close(drain_s)
            await queue.close(max(0.0, until - time.monotonic()))
            if events is not None:
                await asyncio.to_thread(events.close)
            self._queue = self._parser = self._events = None

    async def __aenter__(self) -> AsyncWAFService:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def ready(self) -> bool:
        """Whether a model is loaded and requests are taken."""
        return self._queue is not None and not self._closed

    @property
    def model_version(self) -> str | None:
        """Version of the model that is served; None before the start."""
        return None if self._engine is None else self._engine.model_version

    @property
    def threshold(self) -> float | None:
        """Score from which a request is an anomaly; None before the start."""
        return None if self._engine is None else self._engine.threshold

    @property
    def backend(self) -> str | None:
        """How and where the model is run, e.g. ``onnx-int8 on cpu``; None before the start."""
        runtime = None if self._engine is None else self._engine.runtime
        return None if runtime is None else f"{runtime.variant.name} on {runtime.device}"

    def queue_stats(self) -> QueueStats | None:
        """Return a snapshot of the queue, None while there is none."""
        return None if self._queue is None else self._queue.stats()

    def swap(self, engine: Engine) -> Engine | None:
        """Serve `engine` from the next request on and return its predecessor; requests under way keep theirs."""
        former, self._engine = self._engine, engine
        self.metrics.set_model_version(engine.model_version)
        self.metrics.watch_memory(engine.memory.stats)
        return former

    def _load(self) -> Engine:
        engine = load_engine(self.settings)
        engine.warm_up()
        return engine

    # -- checks --------------------------------------------------------------------------------------------------

    async def check_request_async(
        self,
        method: str,
        path: str,
        query_params: Mapping[str, Any] | str | None = None,
        headers: Mapping[str, str] | Sequence[Sequence[str]] | None = None,
        body: Any = None,
        *,
        client_ip: str | None = None,
        deadline_s: float | None = None,
    ) -> Verdict:
        """Return the verdict on one request; see `build_request` for what the arguments may be.

        `deadline_s` may shorten the service's own deadline. Raises `RequestError`, `Overloaded` or `NotReady`.
        """
        request = build_request(
            method=method, path=path, query_params=query_params, headers=headers, body=body, client_ip=client_ip
        )
        return await self.check(request, deadline_s=deadline_s)

    async def check_batch_async(self, requests: Sequence[Mapping[str, Any] | HTTPRequest]) -> list[Verdict]:
        """Return the verdicts on `requests`, in order.

        Items are `HTTPRequest`s or mappings with the arguments of `check_request_async`. One invalid item refuses the
        batch whole (`RequestError` names it: ``requests[3].path``).
        """
        built = [request_of(item, at=f"requests[{index}]") for index, item in enumerate(requests)]
        deadlines = [None if isinstance(item, HTTPRequest) else item.get("deadline_s") for item in requests]
        return await self.check_many(built, deadlines_s=deadlines)

    async def check(
        self, request: HTTPRequest, *, deadline_s: float | None = None, request_id: str | None = None
    ) -> Verdict:
        """Return the verdict on `request`. Raises `Overloaded` or `NotReady`."""
        validate_deadline(deadline_s)
        engine = await self._serving()
        try:
            return await self._finish(self._begin(engine, request, deadline_s, request_id))
        except (Overloaded, NotReady) as error:
            self.metrics.refused(error.outcome)
            raise

    async def check_many(
        self, requests: Sequence[HTTPRequest], *, deadlines_s: Sequence[float | None] | None = None
    ) -> list[Verdict]:
        """Return the verdicts on `requests`, in order. What the queue has no room for is degraded `overloaded`.

        An item's own deadline counts from now, the service's from the moment at which its turn comes. Raises
        `Overloaded` if there was room for none of them, and `NotReady`.
        """
        deadlines = deadlines_s if deadlines_s is not None else [None] * len(requests)
        if len(deadlines) != len(requests):
            raise RequestError("there must be a deadline, or None, for each request", field="deadlines_s")
        for index, deadline_s in enumerate(deadlines):
            validate_deadline(deadline_s, field=f"requests[{index}].deadline_s")
        engine = await self._serving()
        verdicts: list[Verdict] = []
        asked_at = time.monotonic()
        for start in range(0, len(requests), _WAVE):
            late_s = time.monotonic() - asked_at
            wave = [
                (request, None if deadline_s is None else deadline_s - late_s)
                for request, deadline_s in zip(requests[start : start + _WAVE], deadlines[start:], strict=False)
            ]
            verdicts += await self._check_wave(engine, wave)
        if verdicts and all(verdict.degraded is Degraded.OVERLOADED for verdict in verdicts):
            raise Overloaded("the queue is full")
        return verdicts

    async def _check_wave(self, engine: Engine, wave: list[tuple[HTTPRequest, float | None]]) -> list[Verdict]:
        begun: list[_Begun | Verdict] = []
        turn_ends = time.monotonic() + _TURN_S
        try:
            for request, deadline_s in wave:
                begun.append(self._begin_or_shed(engine, request, deadline_s))
                if time.monotonic() > turn_ends:
                    await asyncio.sleep(0)
                    turn_ends = time.monotonic() + _TURN_S
            return [item if isinstance(item, Verdict) else await self._finish_or_shed(item) for item in begun]
        except BaseException:
            for item in begun:
                if isinstance(item, _Begun):
                    _abandon(item)
            raise

    def _begin_or_shed(self, engine: Engine, request: HTTPRequest, deadline_s: float | None) -> _Begun | Verdict:
        try:
            return self._begin(engine, request, deadline_s, None)
        except Overloaded:
            return self._shed(engine, request)

    async def _finish_or_shed(self, begun: _Begun) -> Verdict:
        try:
            return await self._finish(begun)
        except Overloaded:
            return self._shed(begun.engine, begun.request)

    def _shed(self, engine: Engine, request: HTTPRequest) -> Verdict:
        return self._record(request, engine.unjudged(Degraded.OVERLOADED, started_at=time.monotonic()))

    async def _serving(self) -> Engine:
        """Return the engine for a request that comes now, starting the service at the first call."""
        if self._queue is None and not self._closed:
            await self.start()
        if self._engine is None or self._closed:
            self.metrics.refused(NotReady.outcome)
            raise NotReady("the service is closed or draining")
        return self._engine

    def _begin(self, engine: Engine, request: HTTPRequest, deadline_s: float | None, request_id: str | None) -> _Begun:
        """Prepare `request` and queue what the model has to read; a large one is handed to the parsing thread."""
        now = time.monotonic()
        deadline = now + (self._timeout_s if deadline_s is None else min(deadline_s, self._timeout_s))
        begun = _Begun(engine, request, request_id, now, deadline)
        if _size(request) > ON_LOOP_BYTES:
            if self._parser is None:
                raise NotReady("the service is closed")
            with contextlib.suppress(DeadlineExceeded):  # `_finish` tells
                begun.preparing = self._parser.submit(_Reading(engine, request, request_id), deadline=deadline)
            return begun
        try:
            begun.prepared = engine.prepare(request, request_id=request_id)
        except Exception:  # a defect: the request was not read, which is a failure and never a benign verdict
            _log.exception("a request could not be prepared")
            return begun
        self._submit_first(begun)
        return begun

    def _submit_first(self, begun: _Begun) -> None:
        prepared = begun.prepared
        if prepared is None or not prepared.pending:
            return
        now = time.monotonic()
        begun.deadline = min(begun.deadline, now + self._stage_timeout_s)
        until = begun.deadline - min(_ANSWER_MARGIN_S, 0.2 * (begun.deadline - now))
        begun.rest = prepared.slices(SLICE_TOKENS, until=until)
        try:
            begun.first = self._submit(begun, next(begun.rest))
        except DeadlineExceeded:
            begun.rest = iter(())

    def _submit(self, begun: _Begun, piece: Slice) -> asyncio.Future[None]:
        if self._queue is None:
            raise NotReady("the service is closed")
        return self._queue.submit(_Work(begun.engine, piece), deadline=begun.deadline)

    async def _finish(self, begun: _Begun) -> Verdict:
        """Wait for what was begun, and judge."""
        failure: Degraded | None = None
        try:
            if begun.preparing is not None:
                begun.prepared = await begun.preparing
                self._submit_first(begun)
            if begun.first is not None:
                failure = await self._finish_slices(begun, begun.first)
        except ServiceError as error:
            _abandon(begun)
            failure = _degraded(error)
            if failure is None:
                raise
        except asyncio.CancelledError:
            _abandon(begun)
            raise
        prepared = begun.prepared
        if prepared is None:
            late = failure is Degraded.TIMED_OUT or time.monotonic() >= begun.deadline
            reason = Degraded.TIMED_OUT if late else Degraded.MODEL_FAILED
            verdict = begun.engine.unjudged(reason, started_at=begun.started_at, request_id=begun.request_id)
        else:
            verdict = begun.engine.judge(prepared, failure)
        return self._record(begun.request, verdict)

    async def _finish_slices(self, begun: _Begun, first: asyncio.Future[None]) -> Degraded | None:
        """Wait for all slices, at most one for each worker under way, so that others get their turn in between."""
        under_way = [first]
        failure: Degraded | None = None
        piece = next(begun.rest, None)
        try:
            while under_way or piece is not None:
                while piece is not None and len(under_way) < self._max_workers:
                    try:
                        under_way.append(self._submit(begun, piece))
                    except Overloaded:
                        break
                    piece = next(begun.rest, None)
                if not under_way:  # others filled the queue meanwhile: the rest stays unread
                    failure = Degraded.OVERLOADED
                    break
                await under_way[0] if len(under_way) == 1 else await _first_done(under_way)
                for future in [future for future in under_way if future.done()]:
                    under_way.remove(future)
                    future.result()
        except InferenceFailed as error:
            _log.warning("a model run failed: %s", error)
            failure = Degraded.MODEL_FAILED
        except DeadlineExceeded:
            failure = Degraded.TIMED_OUT
        finally:
            for future in under_way:
                future.cancel()
        if failure is not None and begun.prepared is not None:
            begun.prepared.abandoned = True
        return failure

    def _record(self, request: HTTPRequest, verdict: Verdict) -> Verdict:
        self.metrics.record(verdict)
        if verdict.is_anomaly and self._events is not None:
            self._events.record(request, verdict)
        return verdict


async def _first_done(futures: list[asyncio.Future[None]]) -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


def _prepare(batch: list[_Reading]) -> list[Prepared]:
    return [reading.engine.prepare(reading.request, request_id=reading.request_id) for reading in batch]


def _infer(batch: list[_Work]) -> list[None]:
    by_engine: dict[Engine, list[Slice]] = {}
    for engine, piece in batch:
        by_engine.setdefault(engine, []).append(piece)
    for engine, pieces in by_engine.items():
        engine.infer(pieces)
    return [None] * len(batch)


def _abandon(begun: _Begun) -> None:
    """Nobody waits for this check any more: withdraw what is queued and let inference skip what is not run yet."""
    if begun.prepared is not None:
        begun.prepared.abandoned = True
    for future in (begun.preparing, begun.first):
        if future is not None:
            future.cancel()


def _degraded(error: ServiceError) -> Degraded | None:
    """The failures that are a verdict; the others are raised."""
    if isinstance(error, DeadlineExceeded):
        return Degraded.TIMED_OUT
    return Degraded.MODEL_FAILED if isinstance(error, InferenceFailed) else None


def _size(request: HTTPRequest) -> int:
    """Characters and bytes that have to be read."""
    return len(request.target) + len(request.body) + sum(len(value) for _, value in request.headers)
