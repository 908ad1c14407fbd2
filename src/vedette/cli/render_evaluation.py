"""An evaluation for a person: the figures with their 95 % intervals, classes and sites worst first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vedette.evaluation.curves import wilson
from vedette.evaluation.evaluate import Count, EvaluationReport
from vedette.evaluation.measures import Measure
from vedette.sinks.visible import visible

_BAR_CELLS = 20
_SHOWN_SITES = 15


def render_evaluation(console: Console, report: EvaluationReport) -> None:
    """Print the report."""
    figures = report.to_dict()
    console.print(
        f"{report.requests:,} requests: {report.attacks.n:,} attacks, {report.benign.n:,} harmless; "
        f"{report.skipped:,} ambiguous ones skipped"
    )
    console.print(Text(f"model {report.model_version}, threshold {report.threshold:.4f}", style="dim"))
    console.print()
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right", style="bold")
    table.add_column(style="dim")
    table.add_row("attacks found (TPR)", percent(report.attacks.rate), _interval(report.attacks))
    table.add_row("false alarms (FPR)", percent(report.benign.rate, 4), _interval(report.benign))
    table.add_row("balanced accuracy", percent(figures["balanced_accuracy"]), "")
    table.add_row("area under ROC", _plain(figures["roc_auc"]), "")
    for rate, found in figures["tpr_at_fpr"].items():
        table.add_row(f"TPR at FPR {float(rate):.2%}", percent(found), "")
    cost = report.cpu_us_per_request
    table.add_row("CPU per request", "-" if cost is None else f"{cost:,.0f} µs", "")
    console.print(table)
    _counts(console, "class", "found", report.by_class, worst_high=False)
    sites = {name: count for name, count in report.by_site.items() if count.hits}
    _counts(console, "site", "false alarms", sites, worst_high=True)
    if report.by_site:
        quiet = len(report.by_site) - len(sites)
        console.print(Text(f"{quiet:,} of {len(report.by_site):,} sites had no false alarm", style="dim"))


def render_measures(console: Console, rows: Sequence[Measure]) -> None:
    """Print what a detector is judged by, and what it is to reach."""
    if not rows:
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("on sites and attack sources never seen", overflow="fold", max_width=48)
    for column in ("n", "rate", "to reach"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("95 %", no_wrap=True, style="dim")
    table.add_column("", style="dim", overflow="fold", max_width=28)
    for row in rows:
        style = {True: "green", False: "red", None: "dim"}[row.reached]
        between = "" if row.interval is None else f"{row.interval.low:.2%}..{row.interval.high:.2%}"
        sign = "≥" if row.at_least else "≤"
        goal = f"{sign} {100 * row.goal:g} %"
        table.add_row(
            row.name, f"{row.n:,}", Text(percent(row.value), style=style), goal, between, Text(visible(row.note))
        )
    console.print()
    console.print(table)


def percent(rate: float | None, digits: int = 2) -> str:
    """Return a rate in per cent, or a dash where it is undefined."""
    return "-" if rate is None else f"{rate:.{digits}%}"


def _counts(console: Console, what: str, hits: str, counts: Mapping[str, Count], *, worst_high: bool) -> None:
    if not counts:
        return
    ranked = sorted(counts.items(), key=lambda item: (item[1].rate or 0.0) * (-1 if worst_high else 1))
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(what, overflow="fold", max_width=40)
    for column in ("n", hits, "rate"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("", width=_BAR_CELLS, no_wrap=True)
    table.add_column("95 %", no_wrap=True, style="dim")
    for name, count in ranked[:_SHOWN_SITES] if worst_high else ranked:
        filled = "█" * round((count.rate or 0.0) * _BAR_CELLS)
        bar = Text(filled.ljust(_BAR_CELLS, "·"), style="red" if worst_high else "green")
        table.add_row(
            Text(visible(name)), f"{count.n:,}", f"{count.hits:,}", percent(count.rate), bar, _interval(count)
        )
    console.print()
    console.print(table)


def _interval(count: Count) -> str:
    found = wilson(count.hits, count.n)
    return "" if found is None else f"{found[0]:.2%}..{found[1]:.2%}"


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.5f}"
