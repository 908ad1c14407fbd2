"""Large calls: how long one would wait is told by the pace of those before it; who would wait too long is refused."""

from __future__ import annotations

import pytest

from vedette.errors import Overloaded
from vedette.server.backlog import ALWAYS, LARGE_BYTES, Backlog

SIZE = 100_000


class Calls:
    """A backlog whose calls are begun and ended by hand, with a clock of its own."""

    def __init__(self, max_wait_s=0.5):
        self.now, self.refused, self.open = 10.0, 0, []
        self.backlog = Backlog(max_wait_s, self.refuse, clock=lambda: self.now)

    def refuse(self):
        self.refused += 1

    def begin(self, size=SIZE):
        held = self.backlog.holding(size)
        held.__enter__()
        self.open.append(held)

    def end(self, after_s, place=0, error=None):
        self.now += after_s
        held = self.open.pop(place)
        assert not held.__exit__(None if error is None else type(error), error, None)

    def is_let_in(self, size=SIZE):
        before = self.refused
        try:
            self.backlog.admit(size)
        except Overloaded:
            assert self.refused == before + 1
            return False
        assert self.refused == before
        return True


def busy(pace_s, waiting):
    """Calls of which one was done each `pace_s`, and so many still wait."""
    calls = Calls()
    for _ in range(20 + waiting):
        calls.begin()
    for _ in range(20):
        calls.end(pace_s)
    return calls


def test_what_comes_before_any_was_done_is_let_in():
    calls = Calls()
    for _ in range(1000):
        assert calls.is_let_in()
        calls.begin()


@pytest.mark.parametrize("pace_s", [0.01, 0.05, 0.1])
def test_who_would_wait_too_long_is_refused(pace_s):
    fitting = int(0.5 / pace_s)
    assert busy(pace_s, fitting - 1).is_let_in()
    assert not busy(pace_s, fitting + 2).is_let_in()


def test_bytes_are_counted_and_not_calls():
    calls = busy(0.05, 4)
    assert calls.is_let_in(8 * SIZE)
    calls.begin(8 * SIZE)
    assert not calls.is_let_in(8 * SIZE)


def test_a_smaller_call_does_not_wait_for_all_of_a_larger_one():
    calls = busy(0.05, 0)
    calls.begin(8 * SIZE)
    calls.begin(8 * SIZE)
    assert not calls.is_let_in(8 * SIZE)
    assert calls.is_let_in(SIZE)
    assert calls.backlog.wait_s(SIZE) == pytest.approx(2 * 128 * 1024 / SIZE * 0.05)


def test_small_calls_are_let_in_and_count_for_nothing():
    calls = busy(0.1, 20)
    assert calls.is_let_in(LARGE_BYTES)
    before = calls.backlog.calls
    with calls.backlog.holding(LARGE_BYTES):
        assert calls.backlog.calls == before


def test_the_first_calls_are_let_in_whatever_the_pace():
    calls = busy(100.0, ALWAYS - 1)
    assert calls.is_let_in()
    calls.begin()
    assert not calls.is_let_in()


def test_the_pace_follows_what_comes_and_idle_time_is_none_of_it():
    calls = busy(0.1, 8)
    assert not calls.is_let_in()
    for _ in range(60):
        calls.begin()
        calls.end(0.01)
    assert calls.is_let_in()
    while calls.open:
        calls.end(0.01)
    calls.now += 1000
    for _ in range(9):
        calls.begin()
    calls.end(0.01)
    assert calls.is_let_in()


def test_after_a_pause_the_pace_is_soon_another():
    calls = busy(0.5, 0)
    for _ in range(30):
        calls.begin()
    for _ in range(8):
        calls.end(0.01)
    assert calls.backlog.wait_s(SIZE) < 22 * 0.2  # of 0.5 and 0.01 s that is nearer to the latter


def test_a_small_call_that_ends_behind_a_large_one_does_not_pay_for_it():
    calls = Calls()
    calls.begin(8 * SIZE)
    for _ in range(64):
        calls.begin(LARGE_BYTES + 8)
        calls.end(0.004, place=-1)
        calls.now += 0.1
        calls.end(0.0)
        calls.begin(8 * SIZE)
    calls.begin(8 * SIZE)
    assert calls.is_let_in(LARGE_BYTES + 8)
    assert calls.backlog.wait_s(8 * SIZE) == pytest.approx(2 * 0.104, rel=0.02)


@pytest.mark.parametrize("error", [KeyError(), Overloaded("full")])
def test_what_fails_or_is_refused_tells_nothing_of_the_pace_and_counts_no_more(error):
    calls = busy(0.1, 4)
    waits_s = calls.backlog.wait_s(SIZE)
    for _ in range(100):
        calls.begin()
        calls.end(0.0001, place=-1, error=error)
    assert calls.backlog.wait_s(SIZE) == waits_s
    assert calls.backlog.calls == 4


def test_a_call_counts_for_no_more_than_its_deadline_is_worth():
    calls = busy(0.1, 0)
    calls.begin(1 << 24)
    calls.begin(1 << 24)
    assert calls.backlog.wait_s(1 << 24) == pytest.approx(2 * (1 << 20) / SIZE * 0.1)
