"""The queue's promises: one answer per item, bounds, deadlines, cancellation, failures and shutdown."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from vedette.errors import DeadlineExceeded, InferenceFailed, NotReady, Overloaded
from vedette.inference.queue_manager import RequestQueueManager


class Gate:
    """A `process` that doubles numbers, keeps its batches, and can be held shut."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.batches: list[list[int]] = []
        self.entered = threading.Event()
        self.opened = threading.Event()
        if is_open:
            self.opened.set()

    def __call__(self, items: list[int]) -> list[int]:
        self.batches.append(items)
        self.entered.set()
        assert self.opened.wait(10)
        return [2 * item for item in items]

    @property
    def seen(self) -> list[int]:
        return [item for batch in self.batches for item in batch]


def run(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(_await(story), 30))


async def _await(story: Callable[[], Awaitable[None]]) -> None:
    await story()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def test_every_item_gets_its_own_result() -> None:
    async def story() -> None:
        gate = Gate()
        queue = RequestQueueManager(gate, max_workers=3, max_batch=7)
        await queue.start()
        assert await asyncio.gather(*(queue.submit(i) for i in range(500))) == [2 * i for i in range(500)]
        assert max(map(len, gate.batches)) <= 7
        await queue.close()
        stats = queue.stats()
        assert (stats.submitted, stats.completed, stats.size, stats.batched_items) == (500, 500, 0, 500)

    run(story)


def test_what_is_submitted_together_runs_together() -> None:
    async def story() -> None:
        gate = Gate()
        queue = RequestQueueManager(gate, max_batch=32)
        await queue.start()
        await asyncio.gather(*(queue.submit(i) for i in range(20)))
        assert gate.batches == [list(range(20))]
        await queue.close()

    run(story)


def test_the_next_batch_forms_while_one_runs() -> None:
    async def story() -> None:
        gate = Gate(is_open=False)
        queue = RequestQueueManager(gate, max_batch=32)
        await queue.start()
        first = queue.submit(0)
        await until(gate.entered.is_set)
        rest = []
        for i in range(1, 6):
            rest.append(queue.submit(i))
            await asyncio.sleep(0)
        gate.opened.set()
        await asyncio.gather(first, *rest)
        assert gate.batches == [[0], [1, 2, 3, 4, 5]]
        await queue.close()

    run(story)


def test_batches_are_cut_by_cost_and_a_dear_item_runs_alone() -> None:
    async def story() -> None:
        gate = Gate()
        queue = RequestQueueManager(gate, max_batch_cost=10, cost=lambda item: item)
        await queue.start()
        await asyncio.gather(*(queue.submit(i) for i in (4, 6, 1, 99, 5, 5)))
        assert gate.batches == [[4, 6], [1], [99], [5, 5]]
        await queue.close()

    run(story)


def test_a_window_waits_for_company() -> None:
    async def story() -> None:
        gate = Gate()
        queue = RequestQueueManager(gate, max_batch=2, window_s=5.0)
        await queue.start()
        first = queue.submit(1)
        for _ in range(5):
            await asyncio.sleep(0.001)
        assert not gate.batches
        await asyncio.gather(first, queue.submit(2))
        assert gate.batches == [[1, 2]]
        last = queue.submit(3)
        await queue.close()  # draining does not wait for the window
        assert await last == 6

    run(story)


def test_a_window_ends_by_itself() -> None:
    async def story() -> None:
        queue = RequestQueueManager(Gate(), max_batch=8, window_s=0.01)
        await queue.start()
        assert await queue.submit(1) == 2
        await queue.close()

    run(story)


def test_overflow_is_refused_at_once_and_room_comes_back() -> None:
    async def story() -> None:
        gate = Gate(is_open=False)
        queue = RequestQueueManager(gate, max_size=3)
        await queue.start()
        running = queue.submit(0)
        await until(gate.entered.is_set)
        waiting = [queue.submit(i) for i in (1, 2, 3)]
        with pytest.raises(Overloaded) as refusal:
            queue.submit(4)
        assert refusal.value.retry_after_s > 0
        waiting[1].cancel()
        await asyncio.sleep(0.001)
        extra = queue.submit(5)
        gate.opened.set()
        assert await asyncio.gather(running, waiting[0], waiting[2], extra) == [0, 2, 6, 10]
        assert gate.seen == [0, 1, 3, 5]
        stats = queue.stats()
        assert (stats.overloaded, stats.cancelled, stats.largest_size) == (1, 1, 3)
        await queue.close()

    run(story)


def test_what_could_not_be_done_in_time_is_refused_at_once() -> None:
    def slow(items: list[int]) -> list[int]:
        time.sleep(0.05)
        return items

    async def story() -> None:
        queue = RequestQueueManager(slow, max_batch=1)
        await queue.start()
        for _ in range(20):
            await queue.submit(0)  # after which the pace is known: 50 ms an item at least
        taken, refused = [], 0
        for i in range(20):
            try:
                taken.append(queue.submit(i, deadline=time.monotonic() + 0.12))
            except Overloaded:
                refused += 1
        patient = queue.submit(99, deadline=time.monotonic() + 60)
        assert 1 <= len(taken) <= 4
        assert refused == 20 - len(taken)
        assert await patient == 99
        await asyncio.gather(*taken, return_exceptions=True)
        await queue.close()
        stats = queue.stats()
        assert stats.overloaded == refused
        assert stats.submitted == stats.completed + stats.expired == 21 + len(taken)

    run(story)


def test_an_empty_queue_takes_work_whatever_the_pace() -> None:
    async def story() -> None:
        queue = RequestQueueManager(Gate(), max_batch=4)
        await queue.start()
        queue._past_s, queue._past_cost = 1000.0, 1.0
        assert await queue.submit(1, deadline=time.monotonic() + 5) == 2
        assert queue._past_s < 1000.0
        for _ in range(3):  # withdrawn and expired work is not counted as waiting
            gone = queue.submit(1, deadline=time.monotonic() + 5)
            gone.cancel()
            await asyncio.sleep(0)
        assert queue._waiting_cost == 0
        await queue.close()

    run(story)


def test_cancelled_and_expired_items_never_reach_process() -> None:
    async def story() -> None:
        gate = Gate(is_open=False)
        queue = RequestQueueManager(gate)
        await queue.start()
        blocker = queue.submit(0)
        await until(gate.entered.is_set)

        async def caller() -> int:
            return await queue.submit(1)

        task = asyncio.create_task(caller())
        late = queue.submit(2, deadline=time.monotonic() + 0.01)
        kept = queue.submit(3, deadline=time.monotonic() + 30)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(DeadlineExceeded):
            await late
        gate.opened.set()
        assert await asyncio.gather(blocker, kept) == [0, 6]
        assert gate.seen == [0, 3]
        stats = queue.stats()
        assert (stats.cancelled, stats.expired, stats.completed, stats.size) == (1, 1, 2, 0)
        await queue.close()

    run(story)


def test_items_can_be_taken_for_late() -> None:
    async def story() -> None:
        gate = Gate()
        gate.opened.clear()
        queue = RequestQueueManager(gate, max_batch=1)
        await queue.start()
        now = time.monotonic()
        soon, late, never = (queue.submit(n, deadline=when) for n, when in enumerate((now + 60, now + 120, None)))
        await until(lambda: gate.entered.is_set())
        also_soon = queue.submit(3, deadline=now + 60)
        queue.expire(lambda item: item in (0, 3))
        for future in (soon, also_soon):
            with pytest.raises(DeadlineExceeded):
                await future
        gate.opened.set()
        assert await asyncio.gather(late, never) == [2, 4]
        assert (queue.stats().expired, queue.stats().completed) == (2, 2)
        assert gate.seen == [0, 1, 2]
        await queue.close()

    run(story)


def test_a_deadline_in_the_past_is_refused_at_enqueue() -> None:
    async def story() -> None:
        gate = Gate()
        queue = RequestQueueManager(gate)
        await queue.start()
        with pytest.raises(DeadlineExceeded):
            queue.submit(1, deadline=time.monotonic() - 1)
        await queue.close()
        assert gate.seen == []

    run(story)


def test_a_deadline_that_passed_while_the_loop_was_busy_is_seen_at_batch_build() -> None:
    async def story() -> None:
        gate = Gate()
        queue = RequestQueueManager(gate)
        await queue.start()
        late = queue.submit(1, deadline=time.monotonic() + 0.02)
        time.sleep(0.05)  # the loop's timer cannot fire meanwhile; the batch is cut first
        with pytest.raises(DeadlineExceeded):
            await late
        assert gate.seen == []
        await queue.close()

    run(story)


def test_a_deadline_that_passed_while_the_model_ran_is_an_expiry_not_a_result() -> None:
    async def story() -> None:
        gate = Gate(is_open=False)
        queue = RequestQueueManager(gate)
        await queue.start()
        late = queue.submit(1, deadline=time.monotonic() + 0.01)
        with pytest.raises(DeadlineExceeded):
            await late
        gate.opened.set()
        assert await queue.submit(2) == 4  # the worker came back to the pool
        await queue.close()

    run(story)


def poisoned(items: list[int]) -> list[int]:
    if 13 in items:
        raise RuntimeError("unlucky")
    return [2 * item for item in items]


def test_a_poisonous_item_fails_alone() -> None:
    async def story() -> None:
        queue = RequestQueueManager(poisoned)
        await queue.start()
        results = await asyncio.gather(*(queue.submit(i) for i in (12, 13, 14)), return_exceptions=True)
        assert results[0] == 24
        assert results[2] == 28
        assert isinstance(results[1], InferenceFailed)
        assert "unlucky" in str(results[1])
        assert queue.stats().failed == 1
        await queue.close()

    run(story)


def test_without_retry_exactly_that_batch_fails() -> None:
    async def story() -> None:
        queue = RequestQueueManager(poisoned, max_batch=2, retry_singly=False)
        await queue.start()
        results = await asyncio.gather(*(queue.submit(i) for i in (12, 13, 14, 15)), return_exceptions=True)
        assert [isinstance(result, InferenceFailed) for result in results] == [True, True, False, False]
        await queue.close()

    run(story)


@pytest.mark.parametrize("answer", [[], [1], [1, 2, 3, 4], None])
def test_a_wrong_count_is_a_failure_never_a_mix_up(answer: Any) -> None:
    async def story() -> None:
        def process(items: list[int]) -> Sequence[int]:
            return answer if len(items) == 3 else items

        queue = RequestQueueManager(process, retry_singly=False)
        await queue.start()
        results = await asyncio.gather(*(queue.submit(i) for i in range(3)), return_exceptions=True)
        assert all(isinstance(result, InferenceFailed) for result in results)
        assert await queue.submit(7) == 7
        await queue.close()

    run(story)


def test_even_system_exit_in_process_does_not_end_the_worker() -> None:
    async def story() -> None:
        def process(items: list[int]) -> list[int]:
            if items == [0]:
                raise SystemExit
            return items

        queue = RequestQueueManager(process)
        await queue.start()
        with pytest.raises(InferenceFailed):
            await queue.submit(0)
        assert await queue.submit(1) == 1
        await queue.close()

    run(story)


def test_close_drains_what_waits_and_refuses_what_comes() -> None:
    async def story() -> None:
        gate = Gate(is_open=False)
        queue = RequestQueueManager(gate, max_batch=1)
        await queue.start()
        futures = [queue.submit(i) for i in range(4)]
        await until(gate.entered.is_set)
        closing = asyncio.create_task(queue.close())
        await asyncio.sleep(0)
        with pytest.raises(NotReady):
            queue.submit(9)
        gate.opened.set()
        await closing
        assert await asyncio.gather(*futures) == [0, 2, 4, 6]
        with pytest.raises(NotReady):
            queue.submit(9)

    run(story)


def test_close_with_a_stuck_worker_gives_named_failures() -> None:
    async def story() -> None:
        gate = Gate(is_open=False)
        queue = RequestQueueManager(gate, max_batch=1)
        await queue.start()
        futures = [queue.submit(i) for i in range(3)]
        await until(gate.entered.is_set)
        await queue.close(timeout_s=0.01)
        results = await asyncio.gather(*futures, return_exceptions=True)
        assert all(isinstance(result, NotReady) for result in results)
        gate.opened.set()

    run(story)


def test_before_start_nothing_is_taken() -> None:
    async def story() -> None:
        queue = RequestQueueManager(Gate())
        assert not queue.is_open
        with pytest.raises(NotReady):
            queue.submit(1)
        await queue.close()

    run(story)


def test_a_stuck_worker_is_replaced_and_its_callers_are_told() -> None:
    async def story() -> None:
        gate = Gate(is_open=False)

        def process(items: list[int]) -> list[int]:
            return gate(items) if items == [0] else items

        queue = RequestQueueManager(process, stuck_after_s=0.02, max_replacements=1)
        await queue.start()
        with pytest.raises(InferenceFailed):
            await queue.submit(0)
        assert await queue.submit(5) == 5
        assert queue.stats().stuck_workers == 1
        gate.opened.set()
        await until(lambda: queue.stats().stuck_workers == 0)
        assert queue.stats().workers == 1
        await queue.close()

    run(story)


def test_observer_sees_sizes_waits_and_batches() -> None:
    class Observer:
        def __init__(self) -> None:
            self.sizes: list[int] = []
            self.batches: list[tuple[int, int]] = []

        def on_queue_size(self, size: int) -> None:
            self.sizes.append(size)

        def on_batch(self, size: int, cost: int, waits_s: Sequence[float]) -> None:
            assert len(waits_s) == size
            assert min(waits_s) >= 0
            self.batches.append((size, cost))

    async def story() -> None:
        observer = Observer()
        queue = RequestQueueManager(Gate(), observer=observer, cost=lambda item: item + 1)
        await queue.start()
        await asyncio.gather(*(queue.submit(i) for i in range(3)))
        assert observer.batches == [(3, 6)]
        assert max(observer.sizes) == 3
        assert observer.sizes[-1] == 0
        await queue.close()

    run(story)


@pytest.mark.parametrize("bad", [{"max_size": 0}, {"max_batch": 0}, {"max_workers": 0}])
def test_bounds_below_one_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        RequestQueueManager(Gate(), **bad)  # type: ignore[arg-type]
