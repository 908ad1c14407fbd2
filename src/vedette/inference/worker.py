"""A worker thread of the request queue: it runs one batch at a time and hands every entry an outcome.

Threads are daemons of our own and not an executor's: a hung model run can then neither block the end of the process
nor take a place in the pool for ever.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from vedette.errors import InferenceFailed, ServiceError
from vedette.inference.scheduling import give_way

T = TypeVar("T")
R = TypeVar("R")


class Entry(Generic[T, R]):
    """One item on its way: what to do, whom to tell, and until when (``time.monotonic()``)."""

    __slots__ = ("cost", "deadline", "enqueued_at", "future", "item", "settled", "timer", "withdraw")

    def __init__(
        self, item: T, future: asyncio.Future[R], enqueued_at: float, deadline: float | None, cost: int
    ) -> None:
        self.item = item
        self.future = future
        self.enqueued_at = enqueued_at
        self.deadline = deadline
        self.cost = cost
        self.timer: asyncio.TimerHandle | None = None
        self.withdraw: Callable[[Entry[T, R]], None] | None = None
        self.settled = False

    def settle(self) -> None:
        """The queue is about to answer: later events on the future are no cancellation."""
        self.settled = True
        if self.timer is not None:
            self.timer.cancel()

    def on_done(self, _future: asyncio.Future[R]) -> None:
        """Done without having been settled: the caller cancelled."""
        if self.settled:
            return
        self.settle()
        if self.withdraw is not None:
            self.withdraw(self)

    @property
    def wanted(self) -> bool:
        """Whether somebody still waits for the result; safe to ask from any thread."""
        return not self.future.done() and (self.deadline is None or time.monotonic() < self.deadline)


class Done(Generic[R]):
    """A result, told apart from an error by its type."""

    __slots__ = ("value",)

    def __init__(self, value: R) -> None:
        self.value = value


class Batch(Generic[T, R]):
    """Entries that run together, their cost, and afterwards one outcome for each."""

    __slots__ = ("cost", "entries", "outcomes", "started_at", "worker")

    def __init__(self, entries: list[Entry[T, R]], cost: int, started_at: float) -> None:
        self.entries = entries
        self.cost = cost
        self.started_at = started_at
        self.outcomes: list[Done[R] | ServiceError] = []
        self.worker: Worker[T, R] | None = None


class Worker(Generic[T, R]):
    """A daemon thread that runs `process` and delivers batches on `loop`."""

    def __init__(
        self,
        process: Callable[[list[T]], Sequence[R]],
        loop: asyncio.AbstractEventLoop,
        deliver: Callable[[Batch[T, R]], None],
        *,
        retry_singly: bool,
        name: str,
    ) -> None:
        self._process = process
        self._loop = loop
        self._deliver = deliver
        self._retry_singly = retry_singly
        self._inbox: queue.SimpleQueue[Batch[T, R] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"vedette-{name}", daemon=True)

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def run(self, batch: Batch[T, R]) -> None:
        """Run `batch`; it is delivered on the loop."""
        batch.worker = self
        self._inbox.put(batch)

    def stop(self) -> None:
        """End the thread after what it runs now."""
        self._inbox.put(None)

    def join(self, timeout_s: float) -> None:
        """Wait for the end of the thread."""
        self._thread.join(timeout_s)

    def _work(self) -> None:
        give_way()
        while (batch := self._inbox.get()) is not None:
            batch.outcomes = self._outcomes(batch.entries)
            try:
                self._loop.call_soon_threadsafe(self._deliver, batch)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return

    def _outcomes(self, entries: list[Entry[T, R]]) -> list[Done[R] | ServiceError]:
        outcomes = self._attempt([entry.item for entry in entries])
        if not isinstance(outcomes, InferenceFailed):
            return outcomes
        if len(entries) == 1 or not self._retry_singly:
            return [outcomes] * len(entries)
        return [self._alone(entry, outcomes) for entry in entries]

    def _alone(self, entry: Entry[T, R], failure: InferenceFailed) -> Done[R] | ServiceError:
        if not entry.wanted:
            return failure
        outcomes = self._attempt([entry.item])
        return outcomes if isinstance(outcomes, InferenceFailed) else outcomes[0]

    def _attempt(self, items: list[T]) -> list[Done[R] | ServiceError] | InferenceFailed:
        """Run `process`; whatever goes wrong in it must not end the thread, hence the wide net."""
        try:
            results = self._process(items)
            if len(results) != len(items):
                raise ValueError(f"{len(results)} results for {len(items)} items")
        except BaseException as error:
            failure = InferenceFailed(f"{type(error).__name__}: {error}")
            failure.__cause__ = error
            return failure
        return [Done(result) for result in results]
