"""Which thread the kernel runs first where several of the service want a core: the event loop.

Linux gives a core for a slice of some milliseconds, so that a loop which wakes for a timer waits for the slices of
threads that compute. A thread may ask for a shorter slice (sched_setattr(2), `sched_runtime` of a normal thread, from
Linux 6.12 on): it gets no more of the processor, but gets it sooner. Older kernels take no notice.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
import threading
from contextlib import suppress

_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}  # numbers of the system call
_ATTRIBUTES = "=IIQiIQQQ"  # size, policy, flags, nice, priority, runtime, deadline, period
_NORMAL = 0
_SLICE_NS = 100_000  # the shortest that the kernel takes
_NICE = 10  # a ninth of the processor that a thread of normal priority gets, where both want it


def wake_soon() -> bool:
    """Ask for a short slice for the calling thread. Returns whether the kernel took the request."""
    number = _SCHED_SETATTR.get(platform.machine())
    if sys.platform != "linux" or number is None:
        return False
    nice = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    size = struct.calcsize(_ATTRIBUTES)
    attributes = struct.pack(_ATTRIBUTES, size, _NORMAL, 0, nice, 0, _SLICE_NS, 0, 0)
    called: int = ctypes.CDLL(None).syscall(number, 0, attributes, 0)
    return called == 0


def give_way() -> None:
    """Lower the calling thread's priority, for good, so that the event loop goes first."""
    if sys.platform == "linux":  # elsewhere it would be the whole process's
        with suppress(OSError):
            thread = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _NICE)
