"""The event loop's thread asks to be run soon, the others give way, and neither changes what runs elsewhere."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

import pytest

from vedette.inference import scheduling
from vedette.inference.scheduling import give_way, wake_soon

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="priorities of threads are Linux's")


def in_thread(do: Callable[[], object]) -> tuple[object, int]:
    """Return what `do` returned in a thread of its own, and the thread's nice value behind it."""
    found: list[tuple[object, int]] = []

    def run() -> None:
        result = do()
        found.append((result, os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


def test_a_thread_gives_way_alone() -> None:
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    _, lowered = in_thread(give_way)
    assert lowered == min(19, before + 10)
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


def test_a_short_slice_leaves_the_priority() -> None:
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    _, nice = in_thread(wake_soon)
    assert nice == before
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_an_unknown_machine_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduling.platform, "machine", lambda: "vax")
    assert wake_soon() is False
