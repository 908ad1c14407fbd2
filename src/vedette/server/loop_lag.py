"""How late the event loop runs its callbacks: the one figure that shows whether anything blocks it.

A timer asks to be called in 50 ms and reports by how much it was late. Twenty callbacks a second of a few microseconds
cost nothing that could be measured, and a block of 50 ms or more cannot fall between two of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

INTERVAL_S = 0.05


class EventLoopLagMonitor:
    """Calls `observe` with the lag in seconds, every `interval_s`, from `start` to `stop`."""

    def __init__(self, observe: Callable[[float], None], *, interval_s: float = INTERVAL_S) -> None:
        self._observe = observe
        self._interval_s = interval_s
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin measuring the running loop."""
        self._arm(asyncio.get_running_loop())

    def stop(self) -> None:
        """End measuring; nothing is called afterwards."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + self._interval_s
        self._timer = loop.call_at(due, self._fire, loop, due)

    def _fire(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._observe(max(0.0, loop.time() - due))
        self._arm(loop)
