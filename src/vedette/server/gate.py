"""Whether a call can still be answered in time: the way out of more calls than the event loop can take.

In each turn the loop reads what came on all connections, answers small calls on the way for as long as that takes
little (`has_room_in_this_turn`), and then every other call that was read has its turn, one after the other. Under
a flood a turn grows long: calls wait for it in the kernel, and behind one another after it. The gate knows how long the
turn before took and at which pace calls have their turns; a call that would wait longer than `max_wait_s` is refused
when its head is here, at a tenth of what a check costs, before its body is parsed; one that did wait longer, because
the pace was not kept, is refused when its turn comes. A burst after silence passes whole, since nothing waited before
it and the pace tells how long it will take.

Reading and refusing cost time as well. So that no flood can take all of it, connections on which calls were refused are
not read for twice as long as that took in this turn: at most half of the time goes there, and the kernel holds back
whoever does not come later, as `Retry-After` asks.

What a call has waited is part of its deadline: what cannot be in time is not worked for.

Cost: three readings of the clock for each turn of the loop, two additions for each call; one reading for a call that is
answered on the way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Protocol

REST_AT_LEAST_S, REST_AT_MOST_S = 0.01, 1.0  # the latter is what `Retry-After` says
ALWAYS = 16  # calls that may wait whatever the pace, so that a wrong estimate cannot shut the service
AT_ONCE_S = 0.01  # of a turn may go into answers while the loop still reads; later calls wait for their turn
_LONG_TURN_S = 0.01  # shorter ones hold nobody up
_WEIGHT = 512  # calls over which the pace is averaged


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
        self._call_soon = call_soon
        self._calls = 0  # of this turn
        self._reading_since = 0.0  # when the first call of this turn was read,
        self._serving_since = 0.0  # and when it had its first turn
        self._still_busy = False  # whether the loop has not looked for more since the turn before
        self._before_s = 0.0  # how long calls of this turn may have waited to be read
        self._pace_s = 0.0  # seconds between two calls' turns
        self._shedding: list[Refused] = []
        self._at_once_since = 0.0  # when the first call of this turn was answered while the loop still read

    def refuses(self, target: bytes) -> bool:
        """Whether a call to `target`, whose head is here, would wait too long; a refusal is counted."""
        if self.waiting < ALWAYS or target not in self._targets:
            return False
        read_s = self._clock() - self._reading_since
        return self._count_if(self._before_s + read_s + self.waiting * self._pace_s > self._max_wait_s)

    def has_room_in_this_turn(self) -> bool:
        """Whether a call may be answered while the loop still reads: none before it waits, and answering so has not
        taken long in this turn. Else, those who are answered and ask anew could keep the loop reading."""
        if self.waiting:
            return False
        now = self._clock()
        if self._at_once_since:
            return now - self._at_once_since < AT_ONCE_S
        self._at_once_since = now
        (self._call_soon or asyncio.get_running_loop().call_soon)(self._has_read)
        return True

    def held_up_s(self) -> float:
        """For how many seconds at most a call that is read now has waited for the turn before to end."""
        return self._clock() - self._reading_since if self._still_busy else 0.0

    def _has_read(self) -> None:
        """Runs when the loop has read from all connections."""
        self._at_once_since = 0.0

    def entered(self) -> None:
        """Take a call: it waits for its first turn."""
        if not self.waiting:
            now = self._clock()
            self._before_s = self.held_up_s()
            self._reading_since = now
            self._calls = 0
            self._serving_since = 0.0
        self.waiting += 1
        self._calls += 1

    def started(self) -> float:
        """Note that a call has its first turn, and return for how many seconds at most it has waited."""
        self.waiting -= 1
        now = self._clock()
        if not self._serving_since:
            self._serving_since = now
        took_s = now - self._reading_since
        if not self.waiting:
            if took_s >= _LONG_TURN_S:
                self._still_busy = True
                (self._call_soon or asyncio.get_running_loop().call_soon)(self._look_again)
            if self._calls > 1:
                weight = min(self._calls, _WEIGHT) / _WEIGHT
                self._pace_s += weight * ((now - self._serving_since) / (self._calls - 1) - self._pace_s)
        return self._before_s + took_s

    def _look_again(self) -> None:
        """Runs when the loop has read once more: what is read from now on was not held up by the turn before."""
        self._still_busy = False

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
        began = self._clock()
        for connection in shedding:
            connection.write_shed()
        reading_s = max(0.0, self._serving_since - self._reading_since)
        rest_s = min(REST_AT_MOST_S, 2 * (reading_s + self._clock() - began))
        if rest_s >= REST_AT_LEAST_S:
            for connection in shedding:
                connection.rest()
            loop.call_later(rest_s, _wake, shedding, rest_s)


def _wake(connections: list[Refused], rested_s: float) -> None:
    for connection in connections:
        connection.wake(rested_s)
