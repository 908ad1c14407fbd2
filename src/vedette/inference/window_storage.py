"""A bounded in-memory storage for the sliding-window strategy of the `limits` library.

The library's own memory storage keeps every key it ever saw until a helper thread, started anew up to a hundred times
a second, has walked over all of them; under a flood of addresses that costs memory and the interpreter lock. Here each
key is one entry of two counters in an LRU table of at most `max_keys`: when it is full the key that was silent longest
is forgotten. It runs on the monotonic clock, needs no thread, and every operation is O(1).
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from math import floor
from typing import Any

from limits.storage import Storage
from limits.storage.base import SlidingWindowCounterSupport


class Window:
    """The two counters of one key: `current` for window number `index`, `previous` for the one before."""

    __slots__ = ("current", "index", "previous")

    def __init__(self, index: int) -> None:
        self.index = index
        self.current = 0
        self.previous = 0

    def roll(self, index: int) -> None:
        """Move on to window number `index`."""
        if index != self.index:
            self.previous = self.current if index == self.index + 1 else 0
            self.current = 0
            self.index = index


class BoundedWindowStorage(Storage, SlidingWindowCounterSupport):
    """Sliding-window counters for at most `max_keys` keys; thread safe. `clock` gives seconds."""

    STORAGE_SCHEME = ["vedette+memory"]  # noqa: RUF012  (the library's own spelling)

    def __init__(self, max_keys: int, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(None)
        self._max_keys = max_keys
        self._clock = clock
        self._lock = threading.Lock()
        self._windows: OrderedDict[str, Window] = OrderedDict()
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._windows)

    @property
    def base_exceptions(self) -> type[Exception]:
        """What a failing storage raises; this one does not fail."""
        return ValueError

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count `amount` for `key` if the weighted count of the last `expiry` seconds stays within `limit`."""
        if amount > limit:
            return False
        position = self._clock() / expiry
        index = int(position)
        with self._lock:
            window = self._windows.get(key)
            if window is None:
                window = self._windows[key] = Window(index)
                if len(self._windows) > self._max_keys:
                    self._windows.popitem(last=False)
                    self.evicted += 1
            else:
                self._windows.move_to_end(key)
                window.roll(index)
            weighted = window.previous * (1 - (position - index)) + window.current
            if floor(weighted) + amount > limit:
                return False
            window.current += amount
            return True

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """Return (previous count, seconds it still weighs, current count, seconds until it is forgotten)."""
        position = self._clock() / expiry
        index = int(position)
        left = (1 - (position - index)) * expiry
        with self._lock:
            window = self._windows.get(key)
            if window is None:
                return 0, 0.0, 0, left + expiry
            window.roll(index)
            return window.previous, left if window.previous else 0.0, window.current, left + expiry

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        """Forget `key`."""
        self.clear(key)

    def clear(self, key: str) -> None:
        """Forget `key`."""
        with self._lock:
            self._windows.pop(key, None)

    def reset(self) -> int:
        """Forget everything; return how many keys that were."""
        with self._lock:
            count = len(self._windows)
            self._windows.clear()
            return count

    def check(self) -> bool:
        """Memory is always there."""
        return True

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Fixed windows are not offered."""
        raise NotImplementedError("only sliding windows are kept here")

    def get(self, key: str) -> int:
        """Fixed windows are not offered."""
        raise NotImplementedError("only sliding windows are kept here")

    def get_expiry(self, key: str) -> float:
        """Fixed windows are not offered."""
        raise NotImplementedError("only sliding windows are kept here")

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError("a storage in memory cannot be sent to another process")
