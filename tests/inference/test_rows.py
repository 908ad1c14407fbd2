"""Runs: every row in one of them, in order, within the bound, and without padding that another run would undercut."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from vedette.inference.rows import BUCKET, RUN_OVERHEAD, RUN_TOKENS, Row, cut_runs

LENGTHS = st.lists(st.integers(1, 128), max_size=300).map(sorted)
NO_READING: Any = None


def width(row: Row) -> int:
    return -(-len(row.ids) // BUCKET) * BUCKET


@given(LENGTHS)
def test_runs_hold_every_row_once_within_the_bound(lengths: list[int]) -> None:
    rows = [Row(NO_READING, number, [1] * length) for number, length in enumerate(lengths)]
    runs = cut_runs(rows)
    assert [row for run in runs for row in run] == rows
    assert all(len(run) * width(run[-1]) <= RUN_TOKENS for run in runs)


@given(LENGTHS)
def test_no_step_of_a_run_pads_more_than_a_run_costs(lengths: list[int]) -> None:
    for run in cut_runs([Row(NO_READING, 0, [1] * length) for length in lengths]):
        for number in range(1, len(run)):
            assert number * (width(run[number]) - width(run[number - 1])) <= RUN_OVERHEAD


def test_short_rows_are_not_padded_to_a_long_one() -> None:
    rows = [Row(NO_READING, 0, [1] * length) for length in (10, 10, 10, 128)]
    assert [len(run) for run in cut_runs(rows)] == [3, 1]
