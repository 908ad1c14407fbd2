"""Whether a large call can still be answered in time: those before it are in threads, where the gate sees them no more.

A call that the event loop reads itself waits for its turn alone (see `gate`). A large one then waits for the decoding
thread, the parsing thread and the model, and each call that is let in beyond what they can do makes all of them late,
until none is answered before its deadline is near. So it is told here how many bytes of large calls are under way and
at which pace they were done of late, and a call that would wait longer than `max_wait_s` is refused, where its head
says how long it is before its body is read: nothing of it is decoded.

Calls count once their body is here: who sends slowly keeps nobody out. The first `ALWAYS` are let in whatever the pace,
so that a wrong estimate cannot shut the service.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vedette.errors import Overloaded

LARGE_BYTES = 8 * 1024  # a call over this is parsed in a thread, or may be
ALWAYS = 2
_WEIGHT = 32  # calls over which the pace is averaged


class Backlog:
    """Counts the large calls of one event loop from when their body is here until they are answered.

    `on_refused` counts a refusal.
    """

    def __init__(
        self, max_wait_s: float, on_refused: Callable[[], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.calls = 0
        self._max_wait_s = max_wait_s
        self._on_refused = on_refused
        self._clock = clock
        self._bytes = 0
        self._pace_s = 0.0  # seconds a byte, while calls waited
        self._paces = 0  # of how many calls that is the mean
        self._done_at = 0.0  # when a call was answered while others waited; 0: none did

    def admit(self, size: int) -> None:
        """Let a call of `size` bytes in, or raise `Overloaded`."""
        if size <= LARGE_BYTES or self.calls < ALWAYS or self._bytes * self._pace_s <= self._max_wait_s:
            return
        self._on_refused()
        raise Overloaded("more large calls wait than can be answered in time")

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Count a call of `size` bytes, if that is large, and note how long it took."""
        if size <= LARGE_BYTES:
            yield
            return
        self.calls += 1
        self._bytes += size
        try:
            yield
        finally:
            now = self._clock()
            if self._done_at:
                self._paces = min(self._paces + 1, _WEIGHT)
                self._pace_s += ((now - self._done_at) / size - self._pace_s) / self._paces
            self.calls -= 1
            self._bytes -= size
            self._done_at = now if self.calls else 0.0
