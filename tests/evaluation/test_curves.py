"""Figures of merit against their definitions, and against scikit-learn where it has them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc_curve

from vedette.evaluation.curves import roc_auc, roc_curve, threshold_at_fpr, tpr_at_fpr, wilson

COARSE = st.lists(st.integers(0, 6).map(lambda step: step / 6), min_size=1, max_size=60)  # many ties


def scores(values: list[float]) -> np.ndarray:
    return np.array(values, np.float32)


@given(COARSE, COARSE)
@settings(max_examples=150, deadline=None)
def test_auc_and_curve_are_those_of_scikit_learn(benign: list[float], attacks: list[float]) -> None:
    labels = [0] * len(benign) + [1] * len(attacks)
    both = scores(benign + attacks)
    assert roc_auc(scores(benign), scores(attacks)) == pytest.approx(roc_auc_score(labels, both))
    curve = roc_curve(scores(benign), scores(attacks))
    fpr, tpr, _ = sklearn_roc_curve(labels, both, drop_intermediate=False)
    assert curve.fpr == pytest.approx(fpr)
    assert curve.tpr == pytest.approx(tpr)


@given(COARSE, COARSE, st.sampled_from([0.0, 0.01, 0.1, 0.25, 0.5, 0.9, 1.0]))
@settings(max_examples=150, deadline=None)
def test_tpr_at_fpr_is_the_best_of_all_thresholds_that_keep_the_rate(
    benign: list[float], attacks: list[float], rate: float
) -> None:
    quiet, loud = scores(benign), scores(attacks)
    cuts = [*np.unique(quiet), -1.0]
    allowed = [float((loud > cut).mean()) for cut in cuts if (quiet > cut).mean() <= rate]
    assert tpr_at_fpr(quiet, loud, rate) == pytest.approx(max(allowed))


@pytest.mark.parametrize(
    ("benign", "attacks", "rate", "wanted"),
    [
        ([0.1, 0.2], [0.3, 0.4], 0.0, 1.0),
        ([0.1, 1.0], [1.0, 1.0], 0.0, 0.0),  # saturated: no threshold tells them apart
        ([0.1, 1.0], [1.0, 0.5], 0.5, 1.0),
        ([0.5] * 100, [0.5] * 10, 0.5, 0.0),  # one threshold: all alarm or none
        ([0.5] * 100, [0.5] * 10, 1.0, 1.0),
        ([i / 1000 for i in range(1000)], [0.9995, 0.9985], 0.001, 1.0),
        ([i / 1000 for i in range(1000)], [0.9995, 0.9985], 0.0001, 0.5),
        ([], [0.5], 0.01, None),
        ([0.5], [], 0.01, None),
    ],
)
def test_ties_are_lost(benign: list[float], attacks: list[float], rate: float, wanted: float | None) -> None:
    assert tpr_at_fpr(scores(benign), scores(attacks), rate) == wanted


def test_nothing_to_compare_is_undefined() -> None:
    assert roc_auc(scores([]), scores([0.5])) is None
    assert roc_auc(scores([0.5]), scores([])) is None
    assert threshold_at_fpr(scores([]), 0.01) is None


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (950, 1000, 0.9347, 0.9619)],
)
def test_wilson_intervals_are_those_of_the_tables(hits: int, n: int, low: float, high: float) -> None:
    assert wilson(hits, n) == pytest.approx((low, high), abs=1e-4)
    assert wilson(0, 0) is None
