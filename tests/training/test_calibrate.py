"""Calibration: the threshold of a budget lets that many harmless requests through, and no fewer attacks than said."""

from __future__ import annotations

import numpy as np
import pytest

from vedette.training.calibrate import BUDGETS, calibrate, operating_points

RNG = np.random.default_rng(5)
QUIET = RNG.normal(-8, 3, 50_000).astype(np.float32)
LOUD = RNG.normal(12, 3, 4_000).astype(np.float32)


@pytest.mark.parametrize("budget", [1_000.0, 3_000.0, 10_000.0, 30_000.0])
def test_a_budget_that_the_sample_shows_is_kept(budget: float) -> None:
    margin = dict(calibrate(QUIET, LOUD, 1_000.0).budgets)[budget]
    assert (margin < QUIET).mean() == pytest.approx(budget / 1e6, rel=0.05)


def test_stricter_budgets_need_higher_margins() -> None:
    margins = [margin for _, margin in calibrate(QUIET, LOUD, 300.0).budgets]
    assert [alarms for alarms, _ in calibrate(QUIET, LOUD, 300.0).budgets] == list(BUDGETS)
    assert margins == sorted(margins, reverse=True)
    assert margins[0] > QUIET.max() - 1.0


def test_half_is_the_default_budget_and_the_median_attack_scores_99_percent() -> None:
    calibration = calibrate(QUIET, LOUD, 1_000.0)
    assert calibration.threshold_for_budget(1_000.0) == pytest.approx(0.5, abs=1e-3)
    assert calibration.score(np.array([np.median(LOUD)]))[0] == pytest.approx(0.99, abs=1e-3)


def test_one_value_sent_again_and_again_weighs_once_in_the_tail() -> None:
    repeated = np.concatenate([QUIET, np.full(400, 9.0, np.float32)])
    sites = [str(index) for index in range(len(QUIET))] + ["one"] * 400
    alone = dict(calibrate(repeated, LOUD, 300.0, sites).budgets)[1.0]
    counted = dict(calibrate(repeated, LOUD, 300.0).budgets)[1.0]
    assert alone < counted


def test_operating_points_allow_only_their_alarms() -> None:
    for rate, (margin, found) in operating_points(QUIET, LOUD).items():
        assert (margin < QUIET).mean() <= rate
        assert found == (margin < LOUD).mean()
