"""What a detector is judged by: each row counts the requests that it names, and several runs count together."""

from __future__ import annotations

import pytest
from rich.console import Console

from tests.evaluation.test_evaluate import entry
from tests.inference.small_model import small_engine
from vedette.cli.render_evaluation import render_measures
from vedette.evaluation.evaluate import evaluate
from vedette.evaluation.folds import FoldReport, pool
from vedette.evaluation.measures import Measure, measures
from vedette.parsing.log_entry import LogEntry

ATTACK, QUIET = "%3Cscript%3E", "quiet;payload"  # the small model finds "<" and "'"
HELD_OUT = [
    *[entry(f"plain+{n}", "benign", site="calm.example") for n in range(3)],
    entry("a+%3C+b", "benign", site="loud.example"),
    *[entry(f"api+{n}", "benign") for n in range(4)],
    *[entry(f"{ATTACK}{n}", "attack", "xss") for n in range(3)],
    entry(QUIET, "attack", "sqli"),
    entry(QUIET, "attack", "ssti"),
    entry(ATTACK, "attack", "redirect"),
    entry("wp-admin", "attack", "probe"),
]


def found(held_out: list[LogEntry]) -> FoldReport:
    engine = small_engine()
    plain, mutated = [entry(ATTACK, "attack", "xss")] * 2, [entry(q, "attack", "xss") for q in (ATTACK, QUIET)]
    files = (
        held_out,
        [entry("a%3Cb", "benign"), entry("ab", "benign")],
        [entry(ATTACK, "attack", "xss")],
        plain,
        mutated,
    )
    return FoldReport(*(evaluate(records, engine) for records in files))


def row(rows: list[Measure], name: str) -> Measure:
    return next(row for row in rows if row.name == name)


def test_each_row_counts_what_it_names() -> None:
    rows = measures(found(HELD_OUT))
    counted = {row.name: (row.value, row.n) for row in rows}
    assert counted["browsing: false alarms"] == (0.25, 4)
    assert counted["API traffic: false alarms"] == (0.0, 4)
    assert counted["classic families: found"] == (0.75, 4)
    assert counted["classic families and browsing: balanced accuracy"] == (0.75, 8)
    assert counted["ssti: found"] == (0.0, 1)
    assert counted["SSRF and open redirect: found"] == (1.0, 1)
    assert counted["classic families mutated: lost"] == (0.5, 2)
    assert counted["values that look scary: false alarms"] == (0.5, 2)
    assert counted["generated from grammars kept apart: found"] == (1.0, 1)
    worst = row(rows, "browsing: worst site")
    assert (worst.note, worst.value) == ("loud.example", 1.0)
    assert row(rows, "classic families: worst").note == "sqli"


def test_at_a_strict_rate_only_what_lies_above_all_harmless_requests_counts() -> None:
    name = "classic families: found at a false-positive rate of 0.01%"
    loudest = [*HELD_OUT, entry(f"{ATTACK}0", "benign", site="loud.example")]
    assert row(measures(found(loudest)), name).value == 0.0  # a false alarm is as high as the attacks
    calm = [record for record in HELD_OUT if record.site != "loud.example"]
    assert row(measures(found(calm)), name).value == 1.0


def test_runs_are_pooled_by_counts_and_scores() -> None:
    one = found(HELD_OUT)
    both = pool([one, found(HELD_OUT[:4])])
    assert both.held_out.benign.n == one.held_out.benign.n + 4
    assert len(both.held_out.benign_scores) == len(both.held_out.is_browsing) == 12
    assert both.held_out.by_site["loud.example"].hits == 2
    assert both.held_out.by_class == one.held_out.by_class
    assert both.held_out.to_dict()["tpr"] == one.held_out.to_dict()["tpr"]
    assert row(measures(both), "browsing: false alarms").n == 8


@pytest.mark.parametrize(("value", "at_least", "reached"), [(0.5, True, True), (0.5, False, True), (0.4, True, False),
                                                            (0.6, False, False), (None, True, None)])  # fmt: skip
def test_a_goal_is_reached_from_its_side(value: float | None, at_least: bool, reached: bool | None) -> None:
    assert Measure("x", value, 1, None, 0.5, at_least).reached is reached


def test_nothing_judged_gives_dashes_not_errors() -> None:
    rows = measures(found([]))
    assert row(rows, "browsing: false alarms").value is None
    assert row(rows, "classic families: worst").value is None


def test_runs_keep_their_own_thresholds() -> None:
    engine, alarm = small_engine(), [entry("a+%3C+b", "benign", site="loud.example")]
    reports = [evaluate(alarm, engine, threshold) for threshold in (0.5, 1.0)]
    both = pool([FoldReport(*[report] * 5) for report in reports])
    assert (both.held_out.browsing.n, both.held_out.browsing.hits) == (2, 1)
    assert row(measures(both), "browsing: false alarms").value == 0.5


def test_names_from_the_data_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    loud = [entry("a+%3C+b", "benign", site="[/a][red]x")]
    render_measures(Console(width=140), measures(found(loud)))
    assert "[/a][red]x" in capsys.readouterr().out
