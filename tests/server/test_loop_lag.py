"""The monitor sees a blocked event loop, and is silent once stopped."""

from __future__ import annotations

import asyncio
import time

from vedette.server.loop_lag import EventLoopLagMonitor


async def test_a_blocked_loop_is_seen():
    seen = []
    monitor = EventLoopLagMonitor(seen.append, interval_s=0.01)
    monitor.start()
    await asyncio.sleep(0.05)
    time.sleep(0.2)  # blocks the loop on purpose
    await asyncio.sleep(0.05)
    monitor.stop()
    assert len(seen) >= 3
    assert all(lag >= 0 for lag in seen)
    assert max(seen) > 0.15
    counted = len(seen)
    await asyncio.sleep(0.05)
    assert len(seen) == counted
