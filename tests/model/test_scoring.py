"""The two ways to score agree: many rows by numpy, the few of live traffic one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vedette.model.detector_config import CLASSES
from vedette.model.scoring import AnomalyScorer, Calibration

SCORER = AnomalyScorer(CLASSES, Calibration(1.5, 0.7, ((300.0, 1.5),)))


def test_rows_get_the_scores_of_the_batch() -> None:
    logits = np.random.default_rng(4).normal(0, 30, (500, len(CLASSES))).astype(np.float32)
    scores, classes = SCORER.score(logits)
    rows = SCORER.score_rows(logits)
    assert [index for _, index in rows] == classes.tolist()
    assert [score for score, _ in rows] == pytest.approx(scores.tolist(), abs=1e-6)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_logit_that_is_no_number_gives_no_score(value: float) -> None:
    logits = np.zeros((1, len(CLASSES)), np.float32)
    logits[0, 0] = value
    assert math.isnan(SCORER.score_rows(logits)[0][0])
