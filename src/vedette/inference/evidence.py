"""From the evidence of tokens to the part of a value that an operator wants to see."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Of the positive evidence that the range must hold. Of generated attacks in prose, 0.8 covers 48 % of the characters
# and 0.4 characters beside them, 0.9 covers 61 % and 0.8, 0.95 covers 67 % and 0.9, 0.99 covers 73 % and 2.6.
SHARE = 0.95


def tightest_range(evidence: NDArray[np.float32], share: float = SHARE) -> tuple[int, int]:
    """Evidence of tokens (T,) -> shortest [start, end) that holds `share` of its positive mass; (0, 0) if none.

    O(T log T).
    """
    mass = np.concatenate(([0.0], np.cumsum(np.maximum(evidence, 0.0, dtype=np.float64))))
    wanted = share * mass[-1]
    if not wanted > 0:
        return 0, 0
    ends = np.searchsorted(mass, mass[:-1] + wanted - 1e-9)
    starts = np.arange(len(ends))
    possible = ends <= len(evidence)
    best = int(starts[possible][np.argmin(ends[possible] - starts[possible])])
    return best, int(ends[best])


def trimmed(value: str, start: int, end: int) -> tuple[int, int]:
    """Return the range without white space at its ends (tokens carry the space before a word)."""
    while start < end and value[start].isspace():
        start += 1
    while end > start and value[end - 1].isspace():
        end -= 1
    return start, end
