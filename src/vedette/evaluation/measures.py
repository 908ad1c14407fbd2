"""What a detector is judged by, in a dozen rows: found attacks and false alarms by family and by kind of traffic.

Rates are of whole requests, with 95 % Wilson intervals. Browsing traffic is what records name a site of; other
harmless requests are API traffic; harmless values that are no requests are those that look scary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from vedette.evaluation.curves import Interval, Scores, threshold_at_fpr, wilson
from vedette.evaluation.evaluate import Count, EvaluationReport
from vedette.evaluation.folds import FoldReport

CLASSIC = ("sqli", "xss", "traversal", "cmdi", "xxe", "log4shell", "shellshock")
WIDER = ("codei", "ssti", "nosqli", "ldapi", "xpath", "crlf", "ssi", "deser", "protopollution", "graphql", "upload")
OUTBOUND = ("ssrf", "redirect")
_RATE = 0.0001
_FEWEST = 200  # requests or attacks below which a site or class says nothing by itself


@dataclass(frozen=True, slots=True)
class Measure:
    """One row: `value` (None where nothing was there to be counted), of `n`, with what it is to reach."""

    name: str
    value: float | None
    n: int
    interval: Interval | None
    goal: float
    at_least: bool = True
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached."""
        if self.value is None:
            return None
        return self.value >= self.goal if self.at_least else self.value <= self.goal

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types only."""
        return {
            "name": self.name, "value": self.value, "n": self.n, "goal": self.goal, "at_least": self.at_least,
            "interval": None if self.interval is None else [*self.interval], "note": self.note,
        }  # fmt: skip


def measures(found: FoldReport) -> list[Measure]:
    """Return the rows for one run or several pooled."""
    judged = found.held_out
    browsing = judged.browsing
    api = Count(judged.benign.n - browsing.n, judged.benign.hits - browsing.hits)
    classic = _found(judged, CLASSIC)
    above = threshold_at_fpr(judged.benign_scores[judged.is_browsing], _RATE)
    strict = _found(judged, CLASSIC, lambda report, name: _above(report.scores_by_class[name], above))
    balance = None
    if classic.rate is not None and browsing.rate is not None:
        balance = (classic.rate + 1.0 - browsing.rate) / 2
    rows = [
        _row("browsing: false alarms", browsing, 0.001, at_least=False),
        _worst("browsing: worst site", judged.by_site, 0.02, at_least=False),
        _row("classic families: found", classic, 0.996),
        _worst("classic families: worst", _classes(judged, CLASSIC), 0.98),
        _row(f"classic families: found at a false-positive rate of {_RATE:.2%}", strict, 0.97),
        Measure("classic families and browsing: balanced accuracy", balance, classic.n + browsing.n, None, 0.9975),
    ]
    for name, count in sorted(_classes(judged, WIDER).items(), key=lambda item: item[1].rate or 0.0):
        rows.append(_row(f"{name}: found", count, 0.95))
    rows.append(_row("SSRF and open redirect: found", _found(judged, OUTBOUND), 0.85))
    rows += _mutated(found)
    rows += [
        _row("values that look scary: false alarms", found.values.benign, 0.005, at_least=False),
        _row("API traffic: false alarms", api, 0.002, at_least=False),
        _row("generated from grammars kept apart: found", found.generated.attacks, 0.98),
    ]
    return rows


def _mutated(found: FoldReport) -> list[Measure]:
    plain, mutated = _found(found.plain, CLASSIC), _found(found.mutated, CLASSIC)
    if plain.rate is None or mutated.rate is None:
        return []
    note = f"{plain.rate:.2%} plain, {mutated.rate:.2%} mutated"
    loss = plain.rate - mutated.rate
    return [Measure("classic families mutated: lost", loss, mutated.n, None, 0.01, at_least=False, note=note)]


def _row(name: str, count: Count, goal: float, *, at_least: bool = True) -> Measure:
    return Measure(name, count.rate, count.n, wilson(count.hits, count.n), goal, at_least)


def _worst(name: str, counts: dict[str, Count], goal: float, *, at_least: bool = True) -> Measure:
    enough = {key: count for key, count in counts.items() if count.n >= _FEWEST} or counts
    if not enough:
        return Measure(name, None, 0, None, goal, at_least)
    key = (min if at_least else max)(enough, key=lambda item: enough[item].rate or 0.0)
    row = _row(name, enough[key], goal, at_least=at_least)
    return Measure(row.name, row.value, row.n, row.interval, goal, at_least, note=key)


def _classes(report: EvaluationReport, names: Iterable[str]) -> dict[str, Count]:
    return {name: report.by_class[name] for name in names if name in report.by_class}


def _found(
    report: EvaluationReport, names: Iterable[str], hits: Callable[[EvaluationReport, str], int] | None = None
) -> Count:
    counts = _classes(report, names)
    total = sum(count.n for count in counts.values())
    return Count(total, sum(count.hits if hits is None else hits(report, name) for name, count in counts.items()))


def _above(scores: Scores, threshold: float | None) -> int:
    return 0 if threshold is None else int((scores > threshold).sum())
