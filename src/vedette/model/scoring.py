"""From logits to a calibrated score (numpy only).

The raw margin of a window is the log-odds of "attack": ``logsumexp(attack logits) - benign logit``. A probe (a
scanner's path) is knowledge about paths, which real sites share, so its logit counts for neither side: alone it never
makes an anomaly, and beside an attack it takes nothing from it. Calibration maps margins to 0..1 so that 0.5 is the
default operating point and a threshold can be read as a false-positive budget:

    score = sigmoid((margin - centre) / scale)

`centre` is the margin at the default budget. `budgets` holds measured pairs (false alarms per million benign requests,
margin), from which the threshold of any other budget is interpolated, linear in log10(alarms).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedette.errors import BundleError
from vedette.model.detector_config import attack_indexes
from vedette.verdict import BENIGN


@dataclass(frozen=True, slots=True)
class Calibration:
    """Map from margins to scores; `budgets` are (alarms per million, margin), alarms ascending, margins descending."""

    centre: float
    scale: float
    budgets: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        alarms = [pair[0] for pair in self.budgets]
        margins = [pair[1] for pair in self.budgets]
        finite = np.isfinite([self.centre, self.scale, *alarms, *margins]).all()
        if not finite or self.scale <= 0 or not self.budgets or min(alarms) <= 0:
            raise BundleError("calibration needs a finite centre, a positive scale and budgets")
        if sorted(alarms) != alarms or sorted(margins, reverse=True) != margins:
            raise BundleError("calibration budgets must have ascending alarms and descending margins")

    def score(self, margin: NDArray[np.float32]) -> NDArray[np.float32]:
        """Margins (N,) -> scores (N,) in 0..1."""
        z = np.clip((margin.astype(np.float64) - self.centre) / self.scale, -30.0, 30.0)
        result: NDArray[np.float32] = (1.0 / (1.0 + np.exp(-z))).astype(np.float32)
        return result

    def threshold_for_budget(self, alarms_per_million: float) -> float:
        """Score from which at most `alarms_per_million` benign requests in a million are expected to alarm.

        Beyond the measured range the last slope is continued: a stricter budget than could be measured is an
        extrapolation, never a silent clamp.
        """
        x = np.log10([pair[0] for pair in self.budgets])
        y = np.array([pair[1] for pair in self.budgets])
        at = float(np.log10(alarms_per_million))
        margin = float(np.interp(at, x, y))
        if len(x) > 1 and not x[0] <= at <= x[-1]:
            near, far = (0, 1) if at < x[0] else (-1, -2)
            slope = (y[near] - y[far]) / (x[near] - x[far]) if x[near] != x[far] else 0.0
            margin = float(y[near] + slope * (at - x[near]))
        return float(self.score(np.array([margin], np.float32))[0])

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types only."""
        return {"centre": self.centre, "scale": self.scale, "budgets": [list(pair) for pair in self.budgets]}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Calibration:
        """Build from `to_dict()`'s object. Raises `BundleError` where it is not one."""
        try:
            budgets = tuple((float(alarms), float(margin)) for alarms, margin in data["budgets"])
            return cls(float(data["centre"]), float(data["scale"]), budgets)
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"calibration is not readable: {error}") from error


def _logsumexp(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    peak = logits.max(axis=1)
    result: NDArray[np.float64] = peak + np.log(np.exp(logits - peak[:, None]).sum(axis=1))
    return result


class AnomalyScorer:
    """Logits -> (calibrated score, strongest attack class)."""

    def __init__(self, classes: tuple[str, ...], calibration: Calibration) -> None:
        if not classes or classes[0] != BENIGN:
            raise BundleError(f"classes must begin with {BENIGN!r}")
        self.classes = classes
        self.calibration = calibration
        self._attack = np.array(attack_indexes(classes))
        self._attacks = attack_indexes(classes)

    def margins(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (N, C) -> log-odds of attack (N,).

        Computed in double precision: numpy's float32 exponentials differ in the last bit with the size of the batch.
        """
        wide = logits.astype(np.float64)
        return (_logsumexp(wide[:, self._attack]) - wide[:, 0]).astype(np.float32)

    def score(self, logits: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        """Logits (N, C) -> scores (N,) in 0..1 and indexes into `classes` of the strongest attack class (N,)."""
        strongest = self._attack[logits[:, self._attack].argmax(axis=1)]
        return self.calibration.score(self.margins(logits)), strongest

    def score_rows(self, logits: NDArray[np.float32]) -> list[tuple[float, int]]:
        """Logits (N, C) -> for each row its score in 0..1 and its strongest class, as `score` has them.

        For the few rows of live traffic, where numpy's calls cost more than what they do. A logit that is not finite
        gives NaN.
        """
        centre, scale, attacks = self.calibration.centre, self.calibration.scale, self._attacks
        scored = []
        for row in logits.tolist():
            odds = [row[index] for index in attacks]
            peak = max(odds)
            margin = peak + math.log(sum([math.exp(value - peak) for value in odds])) - row[0]
            z = min(max((margin - centre) / scale, -30.0), 30.0) if math.isfinite(margin) else math.nan
            scored.append((1.0 / (1.0 + math.exp(-z)), attacks[odds.index(peak)]))
        return scored
