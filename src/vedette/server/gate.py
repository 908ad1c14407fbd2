"""Whether a call can still be answered in time: the way out of more calls than the event loop can take.

In each turn the loop reads what came on all connections, answers small calls on the way for as long as that takes
little (`has_room_in_this_turn`), and then answers other small ones, which wait in a line, for `SERVE_S` at most
(`serve_later`): so no turn grows long by them, and timers are kept. Larger calls have their first step each when the
loop has read. Under a flood calls wait in the kernel for the turn before to end, and in the line. The gate knows how
long that turn took and at which pace calls have their turns; a call that would wait longer than `max_wait_s` is refused
when its head is here, at a tenth of what a check costs, before its body is parsed; one that did wait longer, because
the pace was not kept, is refused when its turn comes. A burst after silence passes whole, since nothing waited before
it and the pace tells how long it will take.

Reading and refusing cost time as well. So that no flood can take all of it, connections on which calls were refused are
not read for twice as long as that took in this turn: at most half of the time goes there, and the kernel holds back
whoever does not come later, as `Retry-After` asks.

What a call has waited is part of its deadline: what cannot be in time is not worked for.

Cost: three or four readings of the clock for each call that waits, one or two for a call that is answered on the way.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection
from typing import Protocol

REST_AT_LEAST_S, REST_AT_MOST_S = 0.01, 1.0  # the latter is what `Retry-After` says
ALWAYS = 16  # calls that may wait whatever the pace, so that a wrong estimate cannot shut the service
AT_ONCE_S = 0.01  # of a turn may go into answers while the loop still reads; later calls wait for their turn
SERVE_S = 0.03  # of a turn may go into answers to calls that waited in line
_LONG_TURN_S = 0.01  # shorter ones hold nobody up
_WEIGHT = 256  # calls over which the pace is averaged


class Refused(Protocol):
    """A connection on which calls were refused."""

    def write_shed(self) -> None:
        """Send the refusals that wait."""

    def rest(self) -> None:
        """Read no more."""

    def wake(self, rested_s: float) -> None:
        """Read again, after `rested_s` seconds."""


class Gate:
    """Counts the calls between their head and their first turn, on one event loop.

    `targets` are the request targets that may be refused; `on_refused` counts a refusal.
    """

    def __init__(
        self,
        max_wait_s: float,
        targets: Collection[bytes],
        on_refused: Callable[[], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        call_soon: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        self.waiting = 0
        self._max_wait_s = max_wait_s
        self._targets = frozenset(targets)
        self._on_refused = on_refused
        self._clock = clock
        self._call_soon = call_soon or (lambda call: asyncio.get_running_loop().call_soon(call))
        self._line: deque[Callable[[], None]] = deque()
        self._is_serving = False  # whether the line will have its turn
        self._is_reading = False  # whether the loop reads from connections, and the first call was seen,
        self._has_read_in_turn = False  # or it has been, since the line was served last,
        self._reading_since = 0.0  # since when it does, or when it last did,
        self._read_s = 0.0  # and how long that took
        self._arrived_at = 0.0  # calls that are read now came after this
        self._still_busy = False  # whether the loop has not looked for more since the turn before
        self._pace_s = 0.0  # seconds between two calls' turns
        self._paces = 0  # of how many that is the mean
        self._started_at = 0.0  # when a call last had its turn while others waited; 0: none did
        self._shedding: list[Refused] = []
        self._at_once_since = 0.0  # when the first call of this turn was answered while the loop still read

    def refuses(self, target: bytes) -> bool:
        """Whether a call to `target`, whose head is here, would wait too long; a refusal is counted."""
        if self.waiting < ALWAYS or target not in self._targets:
            return False
        now = self._reads()
        return self._count_if(now - self._arrived_at + self.waiting * self._pace_s > self._max_wait_s)

    def has_room_in_this_turn(self) -> bool:
        """Whether a call may be answered while the loop still reads: none before it waits, and answering so has not
        taken long in this turn. Else, those who are answered and ask anew could keep the loop reading."""
        if self.waiting:
            return False
        now = self._reads()
        if self._at_once_since:
            return now - self._at_once_since < AT_ONCE_S
        self._at_once_since = now
        self._call_soon(self._has_read)
        return True

    def held_up_s(self) -> float:
        """For how many seconds at most a call that is read now has waited for the turn before to end."""
        return self._clock() - self._arrived_at if self._still_busy else 0.0

    def _reads(self) -> float:
        """Note that the loop reads, and return the time."""
        now = self._clock()
        if not self._is_reading:
            self._is_reading = self._has_read_in_turn = True
            self._arrived_at = self._reading_since if self._still_busy else now
            self._reading_since = now
        return now

    def _has_read(self) -> None:
        """Note that the loop has read from all connections."""
        self._at_once_since = 0.0
        if self._is_reading:
            self._is_reading = False
            self._read_s = self._clock() - self._reading_since

    def entered(self) -> float:
        """Take a call, which waits for its first turn, and return since when it has waited at most."""
        self._reads()
        self.waiting += 1
        return self._arrived_at

    def started(self, since: float) -> float:
        """Note that a call that has waited `since` then has its first turn, and return for how many seconds that is."""
        self.waiting -= 1
        self._has_read()
        now = self._clock()
        if self._started_at:
            self._paces = min(self._paces + 1, _WEIGHT)
            self._pace_s += (now - self._started_at - self._pace_s) / self._paces
        self._started_at = now if self.waiting else 0.0
        if not self.waiting and now - self._reading_since >= _LONG_TURN_S:
            self._still_busy = True
            self._call_soon(self._look_again)
        return now - since

    def waited_s(self, since: float) -> float:
        """For how many seconds a call that `entered` has waited."""
        return self._clock() - since

    def _look_again(self) -> None:
        """Runs when the loop has read once more: what is read from now on was not held up by the turn before."""
        self._still_busy = False

    def serve_later(self, answer: Callable[[], None]) -> None:
        """Call `answer`, which calls `started`, in its turn."""
        self._line.append(answer)
        if not self._is_serving:
            self._is_serving = True
            self._call_soon(self._serve)

    def _serve(self) -> None:
        now = self._clock()
        if not self._has_read_in_turn:  # there was nothing to read: a turn has begun all the same
            self._reading_since = now
        self._has_read_in_turn = False
        self._has_read()
        self._still_busy = False
        ends = now + SERVE_S
        try:
            while self._line:
                self._line.popleft()()
                if self._clock() >= ends:
                    break
        finally:
            self._is_serving = bool(self._line)
            if self._is_serving:
                self._still_busy = True
                self._call_soon(self._serve)

    def too_late(self, target: bytes, waited_s: float) -> bool:
        """Whether a call that `waited_s` for its first turn has waited too long; a refusal is counted."""
        return target in self._targets and self._count_if(waited_s > self._max_wait_s)

    def _count_if(self, refused: bool) -> bool:
        if refused:
            self._on_refused()
        return refused

    def shed(self, connection: Refused, loop: asyncio.AbstractEventLoop) -> None:
        """Have `connection` send its refusals when the loop has read from all connections."""
        if not self._shedding:
            loop.call_soon(self._shed_all, loop)
        self._shedding.append(connection)

    def _shed_all(self, loop: asyncio.AbstractEventLoop) -> None:
        shedding, self._shedding = self._shedding, []
        self._has_read()
        began = self._clock()
        for connection in shedding:
            connection.write_shed()
        rest_s = min(REST_AT_MOST_S, 2 * (self._read_s + self._clock() - began))
        if rest_s >= REST_AT_LEAST_S:
            for connection in shedding:
                connection.rest()
            loop.call_later(rest_s, _wake, shedding, rest_s)


def _wake(connections: list[Refused], rested_s: float) -> None:
    for connection in connections:
        connection.wake(rested_s)
