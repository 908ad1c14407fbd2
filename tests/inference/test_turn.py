"""The turn goes round in order, is put aside and taken again, and is given back whatever happens."""

from __future__ import annotations

import threading
import time

import pytest

from vedette.inference import turn as turns
from vedette.inference.turn import Turn


def waiting(turn: Turn, number: int) -> None:
    """Return when so many threads wait."""
    until = time.monotonic() + 30
    while len(turn._waiting) < number and time.monotonic() < until:
        time.sleep(0.001)
    assert len(turn._waiting) == number


def test_a_turn_is_handed_over_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE_S", 60.0)
    turn, order = Turn(), list[int]()

    def take(number: int) -> None:
        with turn:
            order.append(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(3)]
    with turn:
        for number, thread in enumerate(threads):
            thread.start()
            waiting(turn, number + 1)
        assert not order
        turn.pass_on()  # all three were before
        assert order == [0, 1, 2]
        assert turn.held
    for thread in threads:
        thread.join()
    assert not turn.held


def test_a_turn_put_aside_is_free_meanwhile() -> None:
    turn, seen = Turn(), list[bool]()

    def look() -> None:
        with turn:
            seen.append(turn.held)

    with turn:
        with turn.aside():
            assert not turn.held
            thread = threading.Thread(target=look)
            thread.start()
            thread.join(30)
            assert seen == [True]
        assert turn.held
    with turn.aside():  # of one who has none
        assert not turn.held
    assert not turn.held


def test_a_turn_ends_with_an_error() -> None:
    turn = Turn()
    with pytest.raises(ValueError, match="x"), turn, turn.aside():
        raise ValueError("x")
    with turn:
        turn.pass_on()  # nobody waits
        assert turn.held


def test_a_turn_that_hangs_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE_S", 0.01)
    turn, done = Turn(), threading.Event()

    def hang() -> None:
        with turn:
            done.wait(30)

    thread = threading.Thread(target=hang)
    thread.start()
    while turn._holder is None:
        time.sleep(0.001)
    with turn:
        assert turn.held
        done.set()
        thread.join(30)
        assert turn.held  # whose it was before does not end it
    assert turn._holder is None
