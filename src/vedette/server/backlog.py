"""Whether a large call can still be answered in time: those before it are in threads, where the gate sees them no more.

A call that the event loop reads itself waits for its turn alone (see `gate`). A large one then waits for the decoding
thread, the parsing thread and the model, and each call that is let in beyond what they can do makes all of them late,
until none is answered before its deadline is near. So it is told here how many bytes of large calls are under way and
at which pace they were done of late, and a call that would wait longer than `max_wait_s` is refused, where its head
says how long it is before its body is read: nothing of it is decoded.

Calls count once their body is here: who sends slowly keeps nobody out. What is refused or fails has not been done, and
tells nothing of the pace. The first `ALWAYS` are let in whatever the pace, so that a wrong estimate cannot shut the
service, and after a pause it is soon made anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vedette.errors import Overloaded
from vedette.inference.check_stage import ON_LOOP_BYTES

LARGE_BYTES = ON_LOOP_BYTES  # a call over this is parsed in a thread, or may be
ALWAYS = 2
_MOST_BYTES = 1 << 20  # that a call counts for: a larger one ends at its deadline as well
_SHARE_BYTES = 128 * 1024  # of a call that are done before a smaller one has its turn, or as many as that one has
_WEIGHT = 32  # calls over which the pace is averaged
_WEIGHT_AFTER_PAUSE = 4  # of what was known before it


class Backlog:
    """Counts the large calls of one event loop from when their body is here until they are answered.

    A call may wait `max_wait_s` seconds; `on_refused` counts a refusal; `clock` tells seconds that only grow.
    """

    def __init__(
        self, max_wait_s: float, on_refused: Callable[[], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_wait_s = max_wait_s
        self._on_refused = on_refused
        self._clock = clock
        self._sizes: list[int] = []  # of the calls under way
        # Means of a call that was done while others waited, and of how many calls these are. Apart, as a small call may
        # end behind a large one.
        self._mean_s = self._mean_bytes = 0.0
        self._known = 0
        self._done_at = 0.0  # when the last one was, or the first of those under way came

    @property
    def calls(self) -> int:
        """How many large calls are under way."""
        return len(self._sizes)

    def admit(self, size: int) -> None:
        """Let a call of `size` bytes in, or raise `Overloaded`."""
        if size <= LARGE_BYTES or self.calls < ALWAYS or self.wait_s(size) <= self._max_wait_s:
            return
        self._on_refused()
        raise Overloaded("more large calls wait than can be answered in time")

    def wait_s(self, size: int) -> float:
        """For how many seconds a call of `size` bytes that came now would wait."""
        if not self._known:
            return 0.0
        most = min(max(size, _SHARE_BYTES), _MOST_BYTES)
        return sum([min(other, most) for other in self._sizes]) * self._mean_s / self._mean_bytes

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Count a call of `size` bytes, if that is large, and note how long it took, if it is done."""
        if size <= LARGE_BYTES:
            yield
            return
        size = min(size, _MOST_BYTES)
        if not self._sizes:
            self._done_at = self._clock()
            self._known = min(self._known, _WEIGHT_AFTER_PAUSE)
        self._sizes.append(size)
        try:
            yield
            self._done(size)
        finally:
            self._sizes.remove(size)

    def _done(self, size: int) -> None:
        now = self._clock()
        self._known = min(self._known + 1, _WEIGHT)
        self._mean_s += (now - self._done_at - self._mean_s) / self._known
        self._mean_bytes += (size - self._mean_bytes) / self._known
        self._done_at = now
