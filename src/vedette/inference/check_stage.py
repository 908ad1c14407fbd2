"""One check on its way: prepared here or in a thread, its slices in the queue, its failures turned into outcomes.

    begin    small: prepare here, queue the first slice · large: hand it to the parsing thread
    finish   wait for the slices, at most one for each worker under way -> judge

`begin` never waits, so that many checks can be begun before the first of them is finished: they run together.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator
from typing import NamedTuple

from vedette.config import Settings
from vedette.errors import DeadlineExceeded, InferenceFailed, Overloaded, ServiceError
from vedette.http_request import HTTPRequest
from vedette.inference.engine import Engine
from vedette.inference.prepared import Prepared, Slice
from vedette.inference.queue_manager import QueueObserver, QueueStats, RequestQueueManager
from vedette.inference.turn import TURN
from vedette.parsing.native_reading import native
from vedette.verdict import Degraded, Verdict

ON_LOOP_BYTES = 8 * 1024  # a request up to this size is parsed on the event loop,
ON_LOOP_PIECES = 100  # unless it falls into so many arguments, members or cookies: each can cost 30 µs
_ALWAYS_ON_LOOP_BYTES = 1024  # not worth counting; at worst 250 pieces
INLINE_TOKENS = 256  # so many are run on the event loop: 1 to 2 ms, where to wake a thread costs a tenth of one
SLICE_TOKENS = 8192  # a request's share of a batch; a large one waits its turn again after each
# An answer is due this long before its deadline, or three times as long as the event loop was late of late, at most
# such a share of the time there is: one turn until the end of the wait is noticed, one until whoever waited has the
# word, and one more as no turn is as long as the one before. Inference stops as long before that again, so that a
# partial answer is in time too.
_MARGIN_S, _MARGIN_SHARE = 0.025, 0.1
_TURNS, _LATE_SHARE = 3, 0.5
_LATE_KEPT = 0.9  # of a lag, at each new one; the monitor tells twenty a second
STUCK_AFTER_S = 20.0  # a batch takes milliseconds, on a starved machine a second: a thread that runs so long hangs
_LARGE_WAITING = 64  # large requests that wait for the parsing thread

_log = logging.getLogger(__name__)


class Begun:
    """A check under way. Its answer has to be there at `due`, `allowed_s` after it was asked for; its work has to be
    done before `deadline`."""

    __slots__ = ("allowed_s", "deadline", "due", "engine", "failure", "first", "held", "prepared", "preparing",
                 "request", "request_id", "rest", "started_at")  # fmt: skip

    def __init__(
        self,
        engine: Engine,
        request: HTTPRequest,
        request_id: str | None,
        started_at: float,
        due: float,
        allowed_s: float,
        deadline: float,
    ) -> None:
        self.engine = engine
        self.request = request
        self.request_id = request_id
        self.started_at = started_at
        self.due = due
        self.allowed_s = allowed_s
        self.deadline = deadline
        self.prepared: Prepared | None = None
        self.preparing: asyncio.Future[Prepared] | None = None
        self.first: asyncio.Future[None] | None = None
        self.rest: Iterator[Slice] = iter(())
        self.failure: Degraded | None = None
        self.held: Slice | None = None  # what is to be run on the event loop

    @property
    def done(self) -> bool:
        """Whether nothing has to be waited for."""
        return self.preparing is None and self.first is None


class _Work(NamedTuple):
    """A slice of a check, for the engine that prepared it: a model swapped in later never answers for its
    predecessor."""

    begun: Begun
    piece: Slice


class CheckStage:
    """The parsing thread and the model's queue. Belongs to one event loop, from `start` to `close`."""

    def __init__(self, settings: Settings, max_workers: int, observer: QueueObserver) -> None:
        stage, queue = settings.inference.async_, settings.inference.queue
        self._timeout_s = settings.waf_service.timeout
        self._stage_timeout_s = stage.timeout
        self._max_workers = max_workers
        self._observer = observer
        self._late_s = 0.0
        self._usual_margin_s = self._margin(self._timeout_s)
        self._parser: RequestQueueManager[Begun, Prepared] = RequestQueueManager(
            _prepare, max_size=_LARGE_WAITING, max_batch=1, stuck_after_s=STUCK_AFTER_S, name="parse"
        )
        self._queue: RequestQueueManager[_Work, None] = RequestQueueManager(
            _infer,
            max_size=queue.max_size,
            max_batch=stage.batch_size,
            max_batch_cost=queue.max_batch_tokens,
            cost=lambda work: work.piece.cost,
            window_s=queue.batch_window_ms / 1000,
            max_workers=max_workers,
            stuck_after_s=STUCK_AFTER_S,
            observer=observer,
        )

    async def start(self) -> None:
        """Start the threads."""
        await self._parser.start()
        await self._queue.start()

    async def close(self, drain_s: float) -> None:
        """Finish what is under way within `drain_s` seconds; the rest ends in `NotReady`."""
        until = time.monotonic() + drain_s
        await self._parser.close(drain_s)
        await self._queue.close(max(0.0, until - time.monotonic()))

    def note_loop_lag(self, seconds: float) -> None:
        """Take in how late the event loop runs: answers are made ready so much earlier, those that wait already too."""
        self._late_s = max(seconds, _LATE_KEPT * self._late_s)
        self._usual_margin_s = self._margin(self._timeout_s)
        if _TURNS * self._late_s > _MARGIN_S:
            now = time.monotonic()
            self._parser.expire(lambda begun: self._is_due(begun, now))
            self._queue.expire(lambda work: self._is_due(work.begun, now))

    def _is_due(self, begun: Begun, now: float) -> bool:
        return begun.due - self._margin(begun.allowed_s) <= now

    def _margin(self, allowed_s: float) -> float:
        return max(min(_MARGIN_S, _MARGIN_SHARE * allowed_s), min(_TURNS * self._late_s, _LATE_SHARE * allowed_s))

    def stats(self) -> QueueStats:
        """Return a snapshot of the model's queue."""
        return self._queue.stats()

    def begin(
        self,
        engine: Engine,
        request: HTTPRequest,
        deadline_s: float | None,
        request_id: str | None,
        waited_s: float = 0.0,
        *,
        alone: bool = False,
    ) -> Begun:
        """Prepare `request` and queue what the model has to read. Raises `Overloaded` or `NotReady`.

        `deadline_s` may shorten the service's own deadline; both count from `waited_s` seconds ago. If the answer was
        due before now, nothing is done, and `finish` tells. What has little for the model to read is run here if it
        comes `alone`, else held for `run_held`.
        """
        now = time.monotonic()
        allowed_s, margin_s = self._timeout_s, self._usual_margin_s
        if deadline_s is not None and deadline_s < allowed_s:
            allowed_s, margin_s = deadline_s, self._margin(deadline_s)
        due = now - waited_s + allowed_s
        deadline = due - margin_s
        begun = Begun(engine, request, request_id, now, due, allowed_s, deadline)
        if now >= deadline:
            return begun
        if _is_large(request):
            with contextlib.suppress(DeadlineExceeded):  # `finish` tells
                begun.preparing = self._parser.submit(begun, deadline=deadline)
            return begun
        try:
            begun.prepared = engine.prepare(request, request_id=request_id)
        except Exception:  # a defect: the request was not read, which is a failure and never a benign verdict
            _log.exception("a request could not be prepared")
            return begun
        begun.held = self._small_piece(begun)
        if begun.held is None:
            self._submit_first(begun)
        elif alone:
            self.run_held([begun])
        return begun

    def _submit_first(self, begun: Begun) -> None:
        prepared = begun.prepared
        if prepared is None or not prepared.pending:
            return
        now = time.monotonic()
        begun.deadline = min(begun.deadline, now + self._stage_timeout_s)
        until = begun.deadline - self._margin(begun.deadline - now)
        begun.rest = prepared.slices(SLICE_TOKENS, until=until)
        try:
            begun.first = self._submit(begun, next(begun.rest))
        except DeadlineExceeded:
            begun.rest = iter(())

    def _small_piece(self, begun: Begun) -> Slice | None:
        """Return what the model has to read if that is little enough to be run on the event loop."""
        prepared = begun.prepared
        if prepared is None or not prepared.pending or not begun.engine.runs_inline:
            return None
        if time.monotonic() >= begun.deadline:
            return None
        piece = next(prepared.slices(INLINE_TOKENS))
        return piece if len(piece.slots) == len(prepared.pending) and piece.cost <= INLINE_TOKENS else None

    def run_held(self, checks: list[Begun]) -> None:
        """Run the model, here and together, over what is held of `checks` of one engine."""
        pieces = [begun.held for begun in checks if begun.held is not None]
        if not pieces:
            return
        self._observer.on_batch(len(pieces), sum([piece.cost for piece in pieces]), (0.0,) * len(pieces))
        try:
            checks[0].engine.infer(pieces)
        except Exception as error:  # as in a worker: a failure of the model's stage, whatever it was
            if len(checks) > 1:  # a poisonous one fails alone
                for begun in checks:
                    self.run_held([begun])
                return
            _log.warning("a model run failed: %s: %s", type(error).__name__, error)
            checks[0].failure = Degraded.MODEL_FAILED
        for begun in checks:
            begun.held = None

    def _submit(self, begun: Begun, piece: Slice) -> asyncio.Future[None]:
        begun.deadline = min(begun.deadline, begun.due - self._margin(begun.allowed_s))  # the loop may be later by now
        return self._queue.submit(_Work(begun, piece), deadline=begun.deadline)

    async def finish(self, begun: Begun) -> Verdict:
        """Wait for what was begun, and judge. Raises `Overloaded` or `NotReady`."""
        failure = begun.failure
        try:
            if begun.preparing is not None:
                begun.prepared = await begun.preparing
                self._submit_first(begun)
            if begun.first is not None:
                failure = await self._finish_slices(begun, begun.first)
        except ServiceError as error:
            abandon(begun)
            failure = _degraded(error)
            if failure is None:
                raise
        except asyncio.CancelledError:
            abandon(begun)
            raise
        return self.judge(begun, failure)

    def judge(self, begun: Begun, failure: Degraded | None) -> Verdict:
        """Return the verdict on what was read."""
        prepared = begun.prepared
        if prepared is None:
            late = failure is Degraded.TIMED_OUT or time.monotonic() >= begun.deadline
            reason = Degraded.TIMED_OUT if late else Degraded.MODEL_FAILED
            return begun.engine.unjudged(reason, started_at=begun.started_at, request_id=begun.request_id)
        return begun.engine.judge(prepared, failure)

    async def _finish_slices(self, begun: Begun, first: asyncio.Future[None]) -> Degraded | None:
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


async def _first_done(futures: list[asyncio.Future[None]]) -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


def _prepare(batch: list[Begun]) -> list[Prepared]:
    with TURN:
        return [begun.engine.prepare(begun.request, request_id=begun.request_id) for begun in batch]


def _infer(batch: list[_Work]) -> list[None]:
    by_engine: dict[Engine, list[Slice]] = {}
    for begun, piece in batch:
        by_engine.setdefault(begun.engine, []).append(piece)
    with TURN:
        for engine, pieces in by_engine.items():
            engine.infer(pieces)
    return [None] * len(batch)


def abandon(begun: Begun) -> None:
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


def _is_large(request: HTTPRequest) -> bool:
    """Whether reading `request` could take the event loop more than a few milliseconds."""
    chars, semicolons = _weight(request.headers)
    size = len(request.target) + len(request.body) + chars
    if size <= _ALWAYS_ON_LOOP_BYTES or size > ON_LOOP_BYTES:
        return size > ON_LOOP_BYTES
    pieces = request.target.count("&") + request.body.count(b"&") + request.body.count(b",")
    return pieces + semicolons > ON_LOOP_PIECES


def _weight(headers: tuple[tuple[str, str], ...]) -> tuple[int, int]:
    """Characters and semicolons of the values."""
    if native is not None:
        return native.weight(headers)
    return sum([len(value) for _, value in headers]), sum([value.count(";") for _, value in headers])
