"""Calibration: from margins of harmless requests of sites never trained on to a false-positive budget."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vedette.model.scoring import Calibration

BUDGETS = (1.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0, 30_000.0)
"""Alarms per million requests for which the margin is stored."""
_MIN_ALARMS = 3  # fewer exceedances than this make no quantile
_TAIL = 0.02  # share of the sample whose exceedances the tail is fitted to


def calibrate(
    harmless: NDArray[np.float32], attacks: NDArray[np.float32], default_budget: float, sites: list[str] | None = None
) -> Calibration:
    """Fit a `Calibration` to margins of whole harmless requests (N,) and of attacks (M,).

    Budgets that the sample can show by at least three alarms take its quantile; stricter ones continue it by an
    exponential tail fitted to the largest two percent (peaks over threshold; Pickands 1975 with shape 0). With `sites`
    (N,) equal margins of one site, which come from one value sent again and again, count once in the fit, as dependent
    exceedances do (declustering; Coles 2001, section 5.3). The centre is the margin at `default_budget`; the scale puts
    the median attack at 0.99.
    """
    ordered = np.sort(harmless.astype(np.float64))[::-1]
    n = len(ordered)
    base = float(ordered[min(max(_MIN_ALARMS, int(n * _TAIL)), n - 1)])
    above = harmless > base
    names = sites if sites is not None else [str(index) for index in range(n)]
    peaks = {(names[index], round(float(harmless[index]), 3)) for index in np.flatnonzero(above)}
    exceedances = max(1, len(peaks))
    excess = max(1e-3, sum(value - base for _, value in peaks) / exceedances)

    def margin(alarms: float) -> float:
        expected = n * alarms / 1e6
        tail = base + excess * math.log(exceedances / expected)
        if expected < _MIN_ALARMS:
            return max(tail, float(ordered[_MIN_ALARMS - 1]))
        return float(ordered[min(int(expected), n - 1)])

    margins = np.maximum.accumulate([margin(alarms) for alarms in BUDGETS][::-1])[::-1]
    pairs = tuple((alarms, round(float(value), 4)) for alarms, value in zip(BUDGETS, margins, strict=True))
    flat = Calibration(0.0, 1.0, pairs)
    centre = _margin_of(flat, default_budget)
    scale = max(1.0, (float(np.median(attacks)) - centre) / math.log(99.0))
    return Calibration(round(centre, 4), round(scale, 4), pairs)


def _margin_of(flat: Calibration, budget: float) -> float:
    score = flat.threshold_for_budget(budget)
    return math.log(score / (1.0 - score))


def operating_points(
    harmless: NDArray[np.float32], attacks: NDArray[np.float32], rates: tuple[float, ...] = (0.01, 0.005, 0.001, 0.0001)
) -> dict[float, tuple[float, float]]:
    """False-positive rate -> (margin, true-positive rate); only the allowed alarms exceed the margin."""
    ordered = np.sort(harmless)[::-1]
    points = {}
    for rate in rates:
        at = float(ordered[min(int(rate * len(ordered)), len(ordered) - 1)])
        points[rate] = (at, float((attacks > at).mean()))
    return points
