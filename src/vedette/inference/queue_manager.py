"""One bounded queue between many callers and a few worker threads.

    submit ──> waiting (FIFO, bounded) ──> batch ──> worker thread ──> process(items) ──> results
       │            │                        │                              │
   Overloaded   DeadlineExceeded      expired and cancelled         InferenceFailed for
   NotReady     (a timer per item)    items are left out            exactly the items at fault

Promises: every caller gets one result or one named error, also at shutdown and when a worker fails or hangs; nothing
expired or cancelled reaches `process`; no more than `max_size` items wait, and none begins to wait for longer, at the
pace of the last batches, than its deadline allows. The next batch forms while one runs, so no
waiting window is needed to fill batches under load. All bookkeeping happens on the event loop, which therefore needs
no lock; worker threads only run `process` and hand the outcome back in one loop call per batch.

The manager is generic: it knows neither HTTP nor models. O(1) work per item, O(batch) per batch.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from vedette.errors import DeadlineExceeded, InferenceFailed, NotReady, Overloaded, ServiceError
from vedette.inference.worker import Batch, Entry, Worker

T = TypeVar("T")
R = TypeVar("R")

_PAST_KEPT = 0.9  # of the time and the cost of past batches, at each new one
_log = logging.getLogger(__name__)


class QueueObserver(Protocol):
    """What a queue tells about itself. Called on the event loop; must be quick and must not raise."""

    def on_queue_size(self, size: int) -> None:
        """`size` items wait after a change."""

    def on_batch(self, size: int, cost: int, waits_s: Sequence[float]) -> None:
        """A batch of `size` items and total `cost` was cut; `waits_s` is the time each of them waited."""


@dataclass(frozen=True, slots=True)
class QueueStats:
    """A snapshot: gauges first, then counts since the start. Every submitted item ends in exactly one outcome."""

    size: int
    in_flight_batches: int
    workers: int
    stuck_workers: int
    submitted: int
    completed: int
    overloaded: int
    refused: int
    expired: int
    cancelled: int
    failed: int
    batches: int
    batched_items: int
    largest_size: int


class RequestQueueManager(Generic[T, R]):
    """Batches items from any number of coroutines of one event loop for a synchronous `process`.

    `process` gets a list of items and returns a list of as many results, in order; it runs in one of `max_workers`
    threads. A batch ends at `max_batch` items or before `max_batch_cost` (the sum of `cost(item)`) is exceeded; an
    item dearer than that runs alone. With `window_s` > 0 a batch that is not full waits that long for company.

    If `process` raises or returns a wrong count for several items, they are run once more one by one, so that a
    poisonous item fails alone. A worker that runs longer than `stuck_after_s` is given up and replaced, at most
    `max_replacements` times at once; its callers get `InferenceFailed`, and what it returns later is dropped.
    """

    def __init__(
        self,
        process: Callable[[list[T]], Sequence[R]],
        *,
        max_size: int = 1024,
        max_batch: int = 32,
        max_batch_cost: int | None = None,
        cost: Callable[[T], int] | None = None,
        window_s: float = 0.0,
        max_workers: int = 1,
        stuck_after_s: float = 60.0,
        max_replacements: int = 8,
        retry_singly: bool = True,
        observer: QueueObserver | None = None,
        name: str = "inference",
    ) -> None:
        if min(max_size, max_batch, max_workers) < 1:
            raise ValueError("max_size, max_batch and max_workers must be at least 1")
        self._process = process
        self._max_size = max_size
        self._max_batch = max_batch
        self._max_batch_cost = max_batch_cost
        self._cost = cost
        self._window_s = window_s
        self._max_workers = max_workers
        self._stuck_after_s = stuck_after_s
        self._max_replacements = max_replacements
        self._retry_singly = retry_singly
        self._observer = observer
        self._name = name

        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: OrderedDict[Entry[T, R], None] = OrderedDict()
        self._idle: list[Worker[T, R]] = []
        self._running: dict[Batch[T, R], Worker[T, R]] = {}
        self._stuck: set[Worker[T, R]] = set()
        self._pump_handle: asyncio.Handle | None = None
        self._watch_handle: asyncio.TimerHandle | None = None
        self._window_handle: asyncio.TimerHandle | None = None
        self._draining = False
        self._drained: asyncio.Event | None = None
        self._submitted = self._completed = self._overloaded = self._refused = 0
        self._expired = self._cancelled = self._failed = 0
        self._batches = self._batched_items = self._largest_size = 0
        self._waiting_cost = 0
        self._past_s = self._past_cost = 0.0  # of the last batches, each weighing less than the one after it

    # -- life ----------------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether `submit` takes items."""
        return self._loop is not None and not self._draining

    @property
    def _waiting_s(self) -> float:
        """Seconds that a worker would need for what waits, at the pace of the last batches."""
        return self._waiting_cost * self._past_s / self._past_cost if self._past_cost else 0.0

    @property
    def size(self) -> int:
        """Items that wait for a batch."""
        return len(self._waiting)

    async def start(self) -> None:
        """Start the workers on the running event loop. A second call does nothing; a closed queue stays closed."""
        if self._loop is not None:
            return
        self._loop = loop = asyncio.get_running_loop()
        self._drained = asyncio.Event()
        self._idle = [self._new_worker(loop) for _ in range(self._max_workers)]
        self._watch_handle = loop.call_later(self._watch_interval_s, self._watch, loop)

    async def close(self, timeout_s: float = 10.0) -> None:
        """Take no more items, finish those that wait or run within `timeout_s`, then fail the rest with `NotReady`."""
        if self._loop is None or self._drained is None:
            self._draining = True
            return
        self._draining = True
        self._check_drained()
        self._schedule_pump()
        try:
            await asyncio.wait_for(self._drained.wait(), timeout_s)
        except TimeoutError:
            _log.warning("%s queue: closed with %d items unfinished", self._name, self._unfinished())
        unfinished = [*self._waiting, *(entry for batch in self._running for entry in batch.entries)]
        self._waiting.clear()
        self._waiting_cost = 0
        for entry in unfinished:
            self._fail(entry, NotReady("the service closed before this request was finished"))
        for worker in self._running.values():
            worker.stop()
        for handle in (self._pump_handle, self._watch_handle, self._window_handle):
            if handle is not None:
                handle.cancel()
        idle, self._idle, self._running = self._idle, [], {}
        for worker in idle:
            worker.stop()
        for worker in idle:  # each of them waits for its next batch, so it ends at once
            worker.join(timeout_s=5.0)

    def stats(self) -> QueueStats:
        """Return a snapshot of gauges and counts."""
        return QueueStats(
            size=len(self._waiting),
            in_flight_batches=len(self._running),
            workers=len(self._idle) + len(self._running),
            stuck_workers=len(self._stuck),
            submitted=self._submitted,
            completed=self._completed,
            overloaded=self._overloaded,
            refused=self._refused,
            expired=self._expired,
            cancelled=self._cancelled,
            failed=self._failed,
            batches=self._batches,
            batched_items=self._batched_items,
            largest_size=self._largest_size,
        )

    # -- taking items --------------------------------------------------------------------------------------------

    def submit(self, item: T, *, deadline: float | None = None) -> asyncio.Future[R]:
        """Queue `item` and return the future of its result; cancelling the future withdraws the item.

        `deadline` is a value of ``time.monotonic()``. Raises at once: `Overloaded` (queue full), `NotReady` (not
        started, draining or closed), `DeadlineExceeded` (already past). The future raises `DeadlineExceeded`,
        `InferenceFailed`, or `NotReady` if the queue closes first.
        """
        loop = self._loop
        if loop is None or self._draining:
            self._refused += 1
            raise NotReady("the service is draining" if loop else "the service has not started")
        now = time.monotonic()
        if deadline is not None and now >= deadline:
            self._submitted += 1
            self._expired += 1
            raise DeadlineExceeded("the deadline passed before the request was queued")
        if len(self._waiting) >= self._max_size:
            self._overloaded += 1
            raise Overloaded(f"the queue is full ({self._max_size} requests wait)", retry_after_s=1.0)
        if deadline is not None and self._waiting_s > (deadline - now) * self._max_workers:
            self._overloaded += 1
            raise Overloaded("more work waits than can be done before the deadline", retry_after_s=1.0)
        future: asyncio.Future[R] = loop.create_future()
        entry: Entry[T, R] = Entry(item, future, now, deadline, self._cost(item) if self._cost else 1)
        if deadline is not None:
            entry.timer = loop.call_later(deadline - now, self._expire, entry)
        future.add_done_callback(entry.on_done)
        entry.withdraw = self._withdraw
        self._submitted += 1
        self._waiting[entry] = None
        self._waiting_cost += entry.cost
        self._largest_size = max(self._largest_size, len(self._waiting))
        self._report_size()
        self._schedule_pump()
        return future

    def _withdraw(self, entry: Entry[T, R]) -> None:
        """The caller went away: forget the item, wherever it is."""
        self._cancelled += 1
        if entry in self._waiting:
            self._take(entry)
            self._report_size()
            self._check_drained()

    def expire(self, is_late: Callable[[T], bool]) -> None:
        """Take the deadlines of the items that wait or run and are late for passed."""
        running = [entry for batch in self._running for entry in batch.entries]
        for entry in [*self._waiting, *running]:
            if not entry.future.done() and is_late(entry.item):
                self._expire(entry)

    def _expire(self, entry: Entry[T, R]) -> None:
        if entry in self._waiting:
            self._take(entry)
            self._report_size()
        self._fail(entry, DeadlineExceeded("the deadline passed before a result was ready"))
        self._check_drained()

    def _take(self, entry: Entry[T, R]) -> None:
        del self._waiting[entry]
        self._waiting_cost -= entry.cost

    def _fail(self, entry: Entry[T, R], error: ServiceError) -> None:
        if entry.future.done():
            return
        if isinstance(error, DeadlineExceeded):
            self._expired += 1
        elif isinstance(error, InferenceFailed):
            self._failed += 1
        else:
            self._refused += 1
        entry.settle()
        entry.future.set_exception(error)

    # -- cutting batches -----------------------------------------------------------------------------------------

    def _schedule_pump(self) -> None:
        """Cut batches once the callbacks that are ready now have run: what is submitted together runs together."""
        if self._pump_handle is None and self._loop is not None and self._idle and self._waiting:
            self._pump_handle = self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_handle = None
        now = time.monotonic()
        while self._idle and self._waiting:
            wait_s = self._window_left_s(now)
            if wait_s > 0 and self._loop is not None:
                if self._window_handle is None:
                    self._window_handle = self._loop.call_later(wait_s, self._window_over)
                return
            batch = self._cut(now)
            if batch is None:
                break
            worker = self._idle.pop()
            self._running[batch] = worker
            worker.run(batch)
        self._report_size()
        self._check_drained()

    def _window_over(self) -> None:
        self._window_handle = None
        self._pump()

    def _window_left_s(self, now: float) -> float:
        """Seconds that the next batch may still wait for company."""
        if not self._window_s or self._draining or len(self._waiting) >= self._max_batch:
            return 0.0
        if self._max_batch_cost is not None and sum(entry.cost for entry in self._waiting) >= self._max_batch_cost:
            return 0.0
        return next(iter(self._waiting)).enqueued_at + self._window_s - now

    def _cut(self, now: float) -> Batch[T, R] | None:
        entries: list[Entry[T, R]] = []
        total = 0
        while self._waiting and len(entries) < self._max_batch:
            entry = next(iter(self._waiting))
            if entries and self._max_batch_cost is not None and total + entry.cost > self._max_batch_cost:
                break
            self._take(entry)
            if entry.future.done():
                continue
            if entry.deadline is not None and now >= entry.deadline:
                self._fail(entry, DeadlineExceeded("the deadline passed while the request waited"))
                continue
            entries.append(entry)
            total += entry.cost
        if not entries:
            return None
        self._batches += 1
        self._batched_items += len(entries)
        if self._observer is not None:
            self._observer.on_batch(len(entries), total, [now - entry.enqueued_at for entry in entries])
        return Batch(entries, total, now)

    # -- handing out results -------------------------------------------------------------------------------------

    def _deliver(self, batch: Batch[T, R]) -> None:
        """On the loop: `batch` came back from its worker with an outcome for each entry."""
        worker = self._running.pop(batch, None)
        if worker is None:  # given up as stuck, or the queue closed; the callers have their answers
            if batch.worker is not None:
                self._stuck.discard(batch.worker)
            return
        self._idle.append(worker)
        now = time.monotonic()
        self._past_s = _PAST_KEPT * self._past_s + now - batch.started_at
        self._past_cost = _PAST_KEPT * self._past_cost + batch.cost
        for entry, outcome in zip(batch.entries, batch.outcomes, strict=True):
            if entry.future.done():
                continue
            if entry.deadline is not None and now >= entry.deadline:
                self._fail(entry, DeadlineExceeded("the deadline passed while the model ran"))
            elif isinstance(outcome, ServiceError):
                self._fail(entry, outcome)
            else:
                self._completed += 1
                entry.settle()
                entry.future.set_result(outcome.value)
        self._check_drained()
        self._schedule_pump()

    # -- workers -------------------------------------------------------------------------------------------------

    def _new_worker(self, loop: asyncio.AbstractEventLoop) -> Worker[T, R]:
        worker = Worker(self._process, loop, self._deliver, retry_singly=self._retry_singly, name=self._name)
        worker.start()
        return worker

    @property
    def _watch_interval_s(self) -> float:
        return min(1.0, self._stuck_after_s / 2)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Background watch: give up workers that hang or died, and put new ones in their place."""
        now = time.monotonic()
        for batch, worker in list(self._running.items()):
            alive = worker.is_alive
            if alive and now - batch.started_at < self._stuck_after_s:
                continue
            for entry in batch.entries:
                self._fail(entry, InferenceFailed("the inference worker did not answer"))
            if alive and len(self._stuck) >= self._max_replacements:
                continue
            _log.error("%s worker %s: replaced it", self._name, "hangs" if alive else "died")
            del self._running[batch]
            if alive:
                self._stuck.add(worker)
                worker.stop()
            self._idle.append(self._new_worker(loop))
        self._schedule_pump()
        self._check_drained()
        self._watch_handle = loop.call_later(self._watch_interval_s, self._watch, loop)

    def _unfinished(self) -> int:
        return len(self._waiting) + sum(not e.future.done() for batch in self._running for e in batch.entries)

    def _check_drained(self) -> None:
        if self._draining and self._drained is not None and not self._unfinished():
            self._drained.set()

    def _report_size(self) -> None:
        if self._observer is not None:
            self._observer.on_queue_size(len(self._waiting))
