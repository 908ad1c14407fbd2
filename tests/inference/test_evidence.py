"""The span: as short as can be, and holding what counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.inference.evidence import SHARE, tightest_range, trimmed


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        ([0, 0, 5, 0], (2, 3)),
        ([1, 0, 20, 20, 0, 1], (2, 4)),
        ([-3, 4, -1, 4, -3], (1, 4)),
        ([1] * 20, (0, 19)),
        ([], (0, 0)),
        ([0, 0], (0, 0)),
        ([-1, -2], (0, 0)),
        ([7], (0, 1)),
        ([float("nan"), 1], (0, 0)),
    ],
)
def test_cases(evidence: list[float], expected: tuple[int, int]) -> None:
    assert tightest_range(evidence) == expected


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-8, 8, width=32), min_size=1, max_size=40))
def test_it_holds_the_share_and_nothing_shorter_does(evidence: list[float]) -> None:
    mass = np.maximum(np.array(evidence, np.float64), 0)
    start, end = tightest_range(evidence)
    if mass.sum() <= 0:
        assert (start, end) == (0, 0)
        return
    wanted = SHARE * mass.sum()
    assert mass[start:end].sum() >= wanted - 1e-6
    width = end - start - 1
    assert all(mass[at : at + width].sum() < wanted + 1e-6 for at in range(len(mass) - width + 1))


def test_trimmed() -> None:
    assert trimmed("a  bc  d", 1, 7) == (3, 5)
    assert trimmed("   ", 0, 3) == (3, 3)
