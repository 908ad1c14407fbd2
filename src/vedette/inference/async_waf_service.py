"""The asynchronous way in: checks that never block the event loop and always end within their deadline.

    request -> prepare (small: here; large: in a thread) -> nothing pending? judge at once
                                                        -> else slices -> queue -> inference threads -> judge

Six requests in seven need no model run and are answered without leaving the event loop. What a check ends in:

    verdict                                  read, and judged
    verdict, degraded timed_out/model_failed time ran out or the model failed; action by `fail_mode`
    verdict, degraded partially_inspected    only part could be read; action by `on_partial`
    Overloaded, NotReady                     nothing was done; come back after `retry_after_s`
    RequestError                             what was given is no request
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple

from vedette.config import Settings
from vedette.errors import InferenceFailed, NotReady, Overloaded, RequestError, VedetteError
from vedette.http_request import HTTPRequest
from vedette.inference.check_stage import INLINE_TOKENS, Begun, CheckStage, abandon
from vedette.inference.engine import Engine, load_engine
from vedette.inference.overrides import settings_with
from vedette.inference.queue_manager import QueueStats
from vedette.inference.request_builder import build_request, request_of, validate_deadline
from vedette.sinks.events import EventLog
from vedette.sinks.metrics import Metrics
from vedette.verdict import Degraded, Verdict

_WAVE = 64  # requests of one batch call that are under way at once: one call must not fill the queue
_TURN_S = 0.002  # a batch call lets the event loop go on after this long


class _Serving(NamedTuple):
    """What serves one request from its first step to its last, whatever is swapped or closed meanwhile."""

    engine: Engine
    stage: CheckStage


class UnderWay(NamedTuple):
    """A check that waits for a thread."""

    stage: CheckStage
    begun: Begun


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
        self._stage: CheckStage | None = None
        self._events: EventLog | None = None
        self._starting = asyncio.Lock()
        self._reloading = asyncio.Lock()
        self._closed = False

    # -- life ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load and warm up the model and start the threads. A second call does nothing."""
        async with self._starting:
            if self._stage is not None:
                return
            if self._engine is None:
                self.swap(await asyncio.to_thread(self._load))
            log = self.settings.waf_service.event_log
            if log.enabled:
                self._events = events = EventLog(log.path)
                self.metrics.watch_events(lambda: events.dropped)
            max_workers = self.settings.inference.async_.max_workers or len(os.sched_getaffinity(0))
            stage = CheckStage(self.settings, max_workers, self.metrics)
            await stage.start()
            self._stage = stage
            self._closed = False

    async def close(self) -> None:
        """Take no more requests, finish those under way within `waf_service.drain_timeout`, and stop."""
        self._closed = True
        async with self._starting:
            stage, events = self._stage, self._events
            if stage is not None:
                await stage.close(self.settings.waf_service.drain_timeout)
            if events is not None:
                await asyncio.to_thread(events.close)
            self._stage = self._events = None

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
        return self._stage is not None and not self._closed

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
        return None if self._stage is None else self._stage.stats()

    def observe_loop_lag(self, seconds: float) -> None:
        """Note how late the event loop ran a timer, in the metrics and in the planning of answers."""
        self.metrics.observe_event_loop_lag(seconds)
        if self._stage is not None:
            self._stage.note_loop_lag(seconds)

    def swap(self, engine: Engine) -> Engine | None:
        """Serve `engine` from the next request on and return its predecessor; requests under way keep theirs."""
        former, self._engine = self._engine, engine
        self.metrics.set_model_version(engine.model_version)
        self.metrics.watch_memory(engine.memory.stats)
        return former

    async def reload(self) -> bool:
        """Load the configured model anew, and serve it from the next request on if it is another one.

        Returns whether it was. All work is done in a thread before the old one is let go: whatever is wrong is raised
        as at the start, and the old one serves on. Calls at the same time follow one another.
        """
        async with self._reloading:
            engine = await asyncio.to_thread(self._load)
            if engine.model_version == self.model_version:
                return False  # and the memory that fills with use is kept
            self.swap(engine)
            return True

    def _load(self) -> Engine:
        try:
            engine = load_engine(self.settings)
            engine.warm_up()
        except VedetteError:
            raise
        except Exception as error:  # what a backend says of a file that nobody could check beforehand
            raise InferenceFailed(f"the model cannot be run: {type(error).__name__}: {error}") from error
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
        self,
        request: HTTPRequest,
        *,
        deadline_s: float | None = None,
        request_id: str | None = None,
        waited_s: float = 0.0,
    ) -> Verdict:
        """Return the verdict on `request`, for which its caller has waited `waited_s` seconds already.

        Raises `Overloaded` or `NotReady`.
        """
        validate_deadline(deadline_s)
        if self._stage is None and not self._closed:
            await self.start()
        found = self.check_at_once(request, deadline_s=deadline_s, request_id=request_id, waited_s=waited_s)
        return found if isinstance(found, Verdict) else await self.finish(found)

    def check_at_once(
        self,
        request: HTTPRequest,
        *,
        deadline_s: float | None = None,
        request_id: str | None = None,
        waited_s: float = 0.0,
    ) -> Verdict | UnderWay:
        """Return the verdict on `request` if nothing has to be waited for, else what `finish` waits for.

        The service must have been started. Raises `Overloaded` or `NotReady`.
        """
        serving = self._serving_now()
        try:
            begun = serving.stage.begin(serving.engine, request, deadline_s, request_id, waited_s, alone=True)
            if begun.done:
                return self._record(request, serving.stage.judge(begun, begun.failure))
        except (Overloaded, NotReady) as error:
            self.metrics.refused(error.outcome)
            raise
        return UnderWay(serving.stage, begun)

    async def finish(self, under_way: UnderWay) -> Verdict:
        """Wait for a check under way. Raises `Overloaded` or `NotReady`."""
        try:
            return self._record(under_way.begun.request, await under_way.stage.finish(under_way.begun))
        except (Overloaded, NotReady) as error:
            self.metrics.refused(error.outcome)
            raise

    async def check_many(
        self,
        requests: Sequence[HTTPRequest],
        *,
        deadlines_s: Sequence[float | None] | None = None,
        waited_s: float = 0.0,
    ) -> list[Verdict]:
        """Return the verdicts on `requests`, in order. What the queue has no room for is degraded `overloaded`.

        An item's own deadline counts from `waited_s` seconds ago, the service's from the moment at which its turn
        comes. Raises `Overloaded` if there was room for none of them, and `NotReady`.
        """
        deadlines = deadlines_s if deadlines_s is not None else [None] * len(requests)
        if len(deadlines) != len(requests):
            raise RequestError("there must be a deadline, or None, for each request", field="deadlines_s")
        for index, deadline_s in enumerate(deadlines):
            validate_deadline(deadline_s, field=f"requests[{index}].deadline_s")
        serving = await self._serving()
        verdicts: list[Verdict] = []
        asked_at = time.monotonic() - waited_s
        for start in range(0, len(requests), _WAVE):
            late_s = time.monotonic() - asked_at
            wave = [
                (request, None if deadline_s is None else deadline_s - late_s)
                for request, deadline_s in zip(requests[start : start + _WAVE], deadlines[start:], strict=False)
            ]
            verdicts += await self._check_wave(serving, wave)
        if verdicts and all(verdict.degraded is Degraded.OVERLOADED for verdict in verdicts):
            raise Overloaded("the queue is full")
        return verdicts

    async def _check_wave(self, serving: _Serving, wave: list[tuple[HTTPRequest, float | None]]) -> list[Verdict]:
        begun: list[Begun | Verdict] = []
        held: list[Begun] = []  # what is to be run on the event loop, together
        tokens = 0
        turn_ends = time.monotonic() + _TURN_S
        try:
            for request, deadline_s in wave:
                item = self._begin_or_shed(serving, request, deadline_s)
                begun.append(item)
                if isinstance(item, Begun) and item.held is not None:
                    held.append(item)
                    tokens += item.held.cost
                    if tokens >= INLINE_TOKENS:
                        serving.stage.run_held(held)
                        held, tokens = [], 0
                if time.monotonic() > turn_ends:
                    await asyncio.sleep(0)
                    turn_ends = time.monotonic() + _TURN_S
            serving.stage.run_held(held)
            verdicts: list[Verdict] = []
            for item in begun:
                verdicts.append(item if isinstance(item, Verdict) else await self._finish_or_shed(serving, item))
                if time.monotonic() > turn_ends:
                    await asyncio.sleep(0)
                    turn_ends = time.monotonic() + _TURN_S
            return verdicts
        except BaseException:
            for item in begun:
                if isinstance(item, Begun):
                    abandon(item)
            raise

    def _begin_or_shed(self, serving: _Serving, request: HTTPRequest, deadline_s: float | None) -> Begun | Verdict:
        try:
            return serving.stage.begin(serving.engine, request, deadline_s, None)
        except Overloaded:
            return self._shed(serving.engine, request)

    async def _finish_or_shed(self, serving: _Serving, begun: Begun) -> Verdict:
        try:
            return self._record(begun.request, await serving.stage.finish(begun))
        except Overloaded:
            return self._shed(begun.engine, begun.request)

    def _shed(self, engine: Engine, request: HTTPRequest) -> Verdict:
        return self._record(request, engine.unjudged(Degraded.OVERLOADED, started_at=time.monotonic()))

    async def _serving(self) -> _Serving:
        """Return what serves a request that comes now, starting the service at the first call."""
        if self._stage is None and not self._closed:
            await self.start()
        return self._serving_now()

    def _serving_now(self) -> _Serving:
        if self._engine is None or self._stage is None or self._closed:
            self.metrics.refused(NotReady.outcome)
            raise NotReady("the service is closed or draining")
        return _Serving(self._engine, self._stage)

    def _record(self, request: HTTPRequest, verdict: Verdict) -> Verdict:
        self.metrics.record(verdict)
        if verdict.is_anomaly and self._events is not None:
            self._events.record(request, verdict)
        return verdict
