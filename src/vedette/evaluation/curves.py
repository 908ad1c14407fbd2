"""Figures of merit from scores (numpy only). Equal scores are never split: no threshold could tell them apart.

Scores saturate: the surest attacks, and at worst a harmless request, share the score 1.0. So a true-positive rate at a
false-positive rate counts only attacks that score strictly above the last harmless request that must stay below.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]
_Z95 = 1.959963984540054  # two-sided 95 % quantile of the normal distribution


class Interval(NamedTuple):
    """A 95 % confidence interval of a rate."""

    low: float
    high: float


class RocCurve(NamedTuple):
    """Steps of the ROC, one for each distinct score, from (0, 0) to (1, 1); `fpr` and `tpr` (K,) ascending."""

    fpr: NDArray[np.float64]
    tpr: NDArray[np.float64]


def wilson(hits: int, n: int) -> Interval | None:
    """Interval of the rate hits/n (Wilson, 1927); None for n = 0."""
    if n == 0:
        return None
    rate, z2 = hits / n, _Z95**2
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z95 / (1 + z2 / n) * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


def threshold_at_fpr(benign: Scores, rate: float) -> float | None:
    """The score that an alarm must exceed so that at most `rate` of `benign` alarm; None without any.

    -1.0 where every one of them may alarm.
    """
    n = len(benign)
    if n == 0:
        return None
    allowed = math.floor(rate * n + 1e-9)
    if allowed >= n:
        return -1.0
    return float(np.partition(benign, n - 1 - allowed)[n - 1 - allowed])


def tpr_at_fpr(benign: Scores, attacks: Scores, rate: float) -> float | None:
    """Share of `attacks` found while at most `rate` of `benign` alarm, ties lost; None where either is empty."""
    above = threshold_at_fpr(benign, rate)
    if above is None or len(attacks) == 0:
        return None
    return float((attacks > above).mean())


def roc_auc(benign: Scores, attacks: Scores) -> float | None:
    """Probability that an attack outscores a harmless request, ties counting half (Mann-Whitney); None where either
    is empty."""
    if len(benign) == 0 or len(attacks) == 0:
        return None
    ordered = np.sort(benign)
    below = np.searchsorted(ordered, attacks, side="left").astype(np.float64)
    not_above = np.searchsorted(ordered, attacks, side="right")
    return float(((below + not_above) / 2).mean() / len(benign))


def roc_curve(benign: Scores, attacks: Scores) -> RocCurve:
    """The ROC over every distinct threshold. Both must be non-empty."""
    thresholds = np.unique(np.concatenate([benign, attacks]))[::-1]
    rates = []
    for scores in (benign, attacks):
        ordered = np.sort(scores)
        found = len(scores) - np.searchsorted(ordered, thresholds, side="left")
        rates.append(np.concatenate([[0.0], found / len(scores)]))
    return RocCurve(*rates)
