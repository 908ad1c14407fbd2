"""Numbers that several processes count in and each of them can add up: one row of doubles for every worker.

The parent makes the memory before it starts workers; it has no name, only a file descriptor that spawned processes are
handed when this object is pickled for them. So nothing is left behind, however a process ends, and nobody else can
open it. A worker claims a free row by a lock on one byte, which the kernel lets go of when the process dies; whoever
claims the row next goes on counting where the dead one stopped. A row is written by its owner alone and read by all; a
double is stored whole, so that a reader never sees half of one.

With one process (`SharedCells.private`) it is ordinary memory with one row.
"""

from __future__ import annotations

import logging
import mmap
import os
import tempfile
import time
from multiprocessing import reduction
from typing import Any

import numpy as np
import numpy.typing as npt

SPARE_ROWS = 32
"""Rows beyond one for each worker: while workers are replaced, old and new ones live side by side."""

Rows = npt.NDArray[np.float64]
_DOUBLE = 8
_OWNERS, _PID = 0, 1
RESERVED = 2
"""Cells at the beginning of each row that are kept here: how many owners it had, and the process of the last."""


_log = logging.getLogger(__name__)


class SharedCells:
    """`rows` rows of `width` doubles, all zero at first, for `workers` processes.

    `started_at` (seconds since 1970) and `started_monotonic_s` say when the service started. To be pickled only while a
    process is spawned by multiprocessing.
    """

    def __init__(self, workers: int, width: int, *, shared: bool = True, spare_rows: int = SPARE_ROWS) -> None:
        self.workers = workers
        self.width = width
        self.rows = workers + spare_rows if shared else 1
        self.started_at = time.time()
        self.started_monotonic_s = time.monotonic()
        self._own: int | None = None
        self._file = _unnamed_file(self.rows * width * _DOUBLE) if shared else -1
        size = self.rows * width * _DOUBLE
        self._memory: mmap.mmap | bytearray = mmap.mmap(self._file, size) if shared else bytearray(size)

    @classmethod
    def private(cls, width: int) -> SharedCells:
        """Return memory of this process alone, with one row."""
        return cls(1, width, shared=False)

    def __getstate__(self) -> dict[str, Any]:
        if self._file < 0:
            raise TypeError("cells of one process cannot be sent to another")
        # DupFd hands the descriptor to the process that is being spawned.
        kept = {name: value for name, value in vars(self).items() if name not in ("_memory", "_own")}
        return {**kept, "_file": reduction.DupFd(self._file)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _own=None, _file=state["_file"].detach())
        os.set_inheritable(self._file, False)
        self._memory = mmap.mmap(self._file, self.rows * self.width * _DOUBLE)

    @property
    def is_shared(self) -> bool:
        """Whether other processes may count here."""
        return self._file >= 0

    def claim(self) -> memoryview[float]:
        """Return the row that this process counts in from now on; its numbers are what former owners left.

        Where no row is free, which takes more processes than were ever meant to run, it is memory that nobody adds up.
        """
        if self._own is None:
            self._own = next((row for row in range(self.rows) if self._lock(row)), None)
        if self._own is None:
            _log.warning("metrics: all %d rows are taken; what this process counts is not told", self.rows)
            return memoryview(bytearray(self.width * _DOUBLE)).cast("d")
        start = self._own * self.width * _DOUBLE
        cells = memoryview(self._memory)[start : start + self.width * _DOUBLE].cast("d")
        cells[_OWNERS] += 1
        cells[_PID] = os.getpid()
        return cells

    def used(self) -> tuple[Rows, Rows]:
        """Return the rows (rows, width) that were ever claimed, and those of them whose process lives."""
        table = np.frombuffer(self._memory, dtype=np.float64).reshape(self.rows, self.width)
        used = np.flatnonzero(table[:, _OWNERS])
        alive = [row for row in used.tolist() if row == self._own or self._is_locked(row)]
        return table[used], table[alive]

    @staticmethod
    def pids(rows: Rows) -> list[int]:
        """Return the process of each row."""
        return [int(pid) for pid in rows[:, _PID]]

    def _lock(self, row: int) -> bool:
        if not self.is_shared:
            return True
        import fcntl  # not on Windows, where there is one worker

        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, row)
        except OSError:
            return False
        return True

    def _is_locked(self, row: int) -> bool:
        """Whether another process holds the row; asked by a shared lock, so that askers do not see each other."""
        import fcntl

        try:
            fcntl.lockf(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, row)
        except OSError:
            return True
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, row)
        return False


def _unnamed_file(size: int) -> int:
    """Return a descriptor of `size` zero bytes in memory, or where that does not exist in a file without a name."""
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("vedette-metrics", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as temporary:
            file = os.dup(temporary.fileno())
    os.truncate(file, size)
    return file
