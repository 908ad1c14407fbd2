"""Sliding-window counters in memory, for a bounded number of keys.

Each key is one entry of two counters in an LRU table of at most `max_keys`: when it is full the key that was silent
longest is forgotten. It runs on the monotonic clock, needs no thread, and every operation is O(1).
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from math import floor


class Window:
    """The two counters of one key: `current` for second number `index`, `previous` for the one before."""

    __slots__ = ("current", "index", "previous")

    def __init__(self, index: int) -> None:
        self.index = index
        self.current = 0
        self.previous = 0

    def roll(self, index: int) -> None:
        """Move on to second number `index`."""
        if index != self.index:
            self.previous = self.current if index == self.index + 1 else 0
            self.current = 0
            self.index = index


class BoundedWindows:
    """The counts of the last second and of the one before, for at most `max_keys` keys; thread safe.

    `clock` gives seconds.
    """

    def __init__(self, max_keys: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_keys = max_keys
        self._clock = clock
        self._lock = threading.Lock()
        self._windows: OrderedDict[str, Window] = OrderedDict()
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._windows)

    def count(self, key: str, limit: int, n: int) -> tuple[bool, int, int, float]:
        """Count `n` for `key` if the weighted count of the last second stays within `limit`.

        Returns whether it did; the previous and the current count, these `n` included; and the seconds (0..1) that are
        left of the current second, which are also the weight of the previous count.
        """
        now = self._clock()
        index = int(now)
        left_s = 1.0 - (now - index)
        with self._lock:
            window = self._windows.get(key)
            if window is None:
                if n > limit:
                    return False, 0, 0, left_s
                window = self._windows[key] = Window(index)
                if len(self._windows) > self._max_keys:
                    self._windows.popitem(last=False)
                    self.evicted += 1
            else:
                self._windows.move_to_end(key)
                window.roll(index)
            fits = n <= limit and floor(window.previous * left_s + window.current) + n <= limit
            if fits:
                window.current += n
            return fits, window.previous, window.current, left_s
