"""Several processes count in one memory: their sums are right, and go on when one of them is killed and replaced."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

import pytest

from tests.sinks.test_metrics import samples, verdict
from vedette.inference.score_memory import MemoryStats
from vedette.sinks.metrics import Metrics
from vedette.sinks.shared_cells import SharedCells
from vedette.verdict import Action

SPAWN = multiprocessing.get_context("spawn")


def count(shared: SharedCells, orders: Connection) -> None:
    """A worker: does what it is told and answers with its metrics."""
    metrics = Metrics(shared)
    while True:
        number, ms = orders.recv()
        for _ in range(number):
            metrics.record(verdict(ms=ms))
        metrics.on_queue_size(5)
        metrics.store_up(True)
        metrics.watch_memory(lambda: MemoryStats(30, 10, 1, 4, 1680, 9999))
        metrics.publish()
        orders.send(metrics.to_dict())


class Worker:
    def __init__(self, shared: SharedCells) -> None:
        self.pipe, other = SPAWN.Pipe()
        self.process: SpawnProcess = SPAWN.Process(target=count, args=(shared, other), daemon=True)
        self.process.start()

    def ask(self, number: int = 0, ms: float = 1.0) -> dict[str, Any]:
        self.pipe.send((number, ms))
        assert self.pipe.poll(60)
        answer: dict[str, Any] = self.pipe.recv()
        return answer

    def kill(self) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join(60)


@contextmanager
def workers(shared: SharedCells, number: int) -> Iterator[list[Worker]]:
    found = [Worker(shared) for _ in range(number)]
    try:
        yield found
    finally:
        for worker in found:
            worker.process.kill()
            worker.process.join(60)


def test_counts_add_up_and_outlive_a_killed_worker() -> None:
    shared = Metrics.shared_memory(2)
    with workers(shared, 2) as (first, second):
        first.ask(10, 1.0)
        seen = second.ask(5, 3.0)
        assert seen["workers"] == 2
        assert seen["requests"]["by_outcome"] == {"allow": 15}
        assert seen["processing_time_ms"]["max"] == pytest.approx(3)
        assert first.ask()["processing_time_ms"]["mean"] == pytest.approx(5 / 3)
        assert (seen["queue"]["size"], seen["score_memory"]["hits"], seen["rate_limit_store"]["workers"]) == (10, 60, 2)

        first.kill()
        seen = second.ask()
        assert seen["workers"] == 1
        assert seen["requests"]["total"] == 15
        assert seen["score_memory"]["hits"] == 60
        # What a dead worker held is held no more.
        assert (seen["queue"]["size"], seen["score_memory"]["bytes"], seen["rate_limit_store"]["workers"]) == (
            5,
            1680,
            1,
        )

        with workers(shared, 1) as (third,):
            seen = third.ask(1, 1.0)
            assert (seen["workers"], seen["requests"]["total"], seen["queue"]["size"]) == (2, 16, 10)
            assert second.ask()["requests"]["total"] == 16
            assert len(shared.used()[0]) == 2  # it took over the row of the dead one


def test_prometheus_tells_the_sums_and_the_parent_counts_as_no_worker() -> None:
    shared = Metrics.shared_memory(2)
    with workers(shared, 2) as found:
        for worker in found:
            worker.ask(3)
        used, living = shared.used()
        assert len(used) == len(living) == 2
        assert sorted(shared.pids(living)) == sorted(worker.process.pid for worker in found)
        here = Metrics(shared)
        here.record(verdict(action=Action.BLOCK))
        seen = samples(here)
        assert seen["vedette_workers", ()] == 3
        assert seen["vedette_requests_total", ("allow",)] == 6
        assert seen["vedette_requests_total", ("block",)] == 1
        assert seen["vedette_request_seconds_count", ()] == 7
        assert seen["vedette_queue_size", ()] == 10
        name = "vedette_process_resident_memory_bytes"
        assert seen[name, ()] > samples(Metrics())[name, ()]


def test_what_a_dead_worker_held_is_not_held_by_its_successor() -> None:
    shared = Metrics.shared_memory(1)
    with workers(shared, 1) as (former,):
        former.ask(7, 2.0)
        former.kill()
    successor = Metrics(shared)
    seen = successor.to_dict()
    assert (seen["workers"], seen["queue"]["size"], seen["score_memory"]["bytes"]) == (1, 0, 0)
    assert (seen["requests"]["total"], seen["score_memory"]["hits"]) == (7, 30)
    successor.record(verdict(ms=4.0))
    seen = successor.to_dict()["processing_time_ms"]
    assert (seen["p50"], seen["max"]) == (pytest.approx(2), pytest.approx(4))


def test_beyond_the_last_row_a_worker_counts_for_itself_and_does_not_fail(caplog: pytest.LogCaptureFixture) -> None:
    shared = Metrics.shared_memory(1, spare_rows=0)
    with workers(shared, 1) as (other,):
        other.ask(3)
        metrics = Metrics(shared)
        assert "all 1 rows are taken" in caplog.text
        metrics.record(verdict())
        seen = metrics.to_dict()
        assert (seen["workers"], seen["requests"]["total"]) == (1, 3)


def test_memory_of_one_process_stays_there() -> None:
    with pytest.raises(TypeError):
        SharedCells.private(16).__getstate__()
