"""Remembered scores: exact keys, bounded bytes, no plain secrets, safe under threads."""

from __future__ import annotations

import threading
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.inference.score_memory import Remembered, ScoreMemory


def entry(score: float) -> Remembered:
    return Remembered(score, 1, 0, 0, 4)


def test_what_was_remembered_comes_back() -> None:
    memory = ScoreMemory(1 << 20)
    keys = [memory.key("query id", text, secret=False) for text in ("a", "b", "c" * 5000)]
    assert memory.look_up(keys) == [None, None, None]
    memory.remember([(keys[0], entry(0.1)), (keys[2], entry(0.9))])
    assert memory.look_up(keys) == [entry(0.1), None, entry(0.9)]
    stats = memory.stats()
    assert (stats.hits, stats.misses, stats.entries) == (2, 4, 2)


@settings(max_examples=200, deadline=None)
@given(st.tuples(st.text(), st.text()), st.tuples(st.text(), st.text()), st.booleans())
def test_different_windows_have_different_keys(one: tuple[str, str], other: tuple[str, str], secret: bool) -> None:
    memory = ScoreMemory(1 << 20)
    same = memory.key(*one, secret=secret) == memory.key(*other, secret=secret)
    assert same == (one == other)


@pytest.mark.parametrize(("text", "secret"), [("hunter2", True), ("x" * 5000, False), ("x" * 5000, True)])
def test_secrets_and_long_texts_are_kept_as_keyed_hashes(text: str, secret: bool) -> None:
    first, second = ScoreMemory(1 << 20), ScoreMemory(1 << 20)
    key = first.key("form secret", text, secret=secret)
    assert isinstance(key, bytes)
    assert len(key) == 16
    assert key != second.key("form secret", text, secret=secret)  # each memory has its own random key


def test_the_bytes_stay_bounded_and_the_longest_unused_goes_first() -> None:
    memory = ScoreMemory(100_000)
    hot = memory.key("query id", "hot", secret=False)
    memory.remember([(hot, entry(0.5))])
    for i in range(5000):
        memory.remember([(memory.key("query id", f"value {i}", secret=False), entry(0.1))])
        assert memory.look_up([hot])[0] is not None
        assert memory.stats().used_bytes <= 100_000
    stats = memory.stats()
    assert stats.evicted == 5001 - stats.entries
    assert memory.look_up([memory.key("query id", "value 0", secret=False)]) == [None]


def test_the_estimate_is_not_below_the_truth() -> None:
    tracemalloc.start()
    try:
        memory = ScoreMemory(1 << 30)
        before = tracemalloc.get_traced_memory()[0]
        for i in range(20_000):
            memory.remember([(memory.key("query id", f"value number {i}", secret=i % 2 == 0), entry(i / 20_000))])
        assert tracemalloc.get_traced_memory()[0] - before <= memory.stats().used_bytes
    finally:
        tracemalloc.stop()


def test_zero_bytes_remember_nothing() -> None:
    memory = ScoreMemory(0)
    key = memory.key("c", "t", secret=False)
    memory.remember([(key, entry(0.1))])
    assert memory.look_up([key]) == [None]


def test_writing_twice_counts_once() -> None:
    memory = ScoreMemory(1 << 20)
    key = memory.key("c", "t", secret=False)
    memory.remember([(key, entry(0.1))])
    used = memory.stats().used_bytes
    memory.remember([(key, entry(0.2))])
    assert memory.stats().used_bytes == used
    assert memory.look_up([key]) == [entry(0.2)]


def test_threads_share_it_without_losing_count() -> None:
    memory = ScoreMemory(50_000)

    def work(seed: int) -> None:
        for i in range(2000):
            key = memory.key("c", f"{(i * seed) % 500}", secret=False)
            memory.look_up([key])
            memory.remember([(key, entry(0.1))])

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 3, 7, 11)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stats = memory.stats()
    assert stats.hits + stats.misses == 8000
    assert stats.used_bytes <= 50_000
