"""The result of `vedette bench` for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from vedette.evaluation.cost import BATCH, Cost, Load
from vedette.sinks.visible import visible

_MEANING = {
    "cold": "nothing known",
    "fresh": "new requests",
    "warm": "all seen before",
    "batch": f"new, {BATCH} at once",
}


def render_bench(console: Console, conditions: Mapping[str, str], costs: Sequence[Cost], load: Load) -> None:
    """Print conditions, the cost of the engine and the load on the service."""
    about = Table.grid(padding=(0, 2))
    about.add_column(style="bold")
    for name, value in conditions.items():
        about.add_row(name, visible(value))
    console.print(about)
    console.print()
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("engine, one thread", "CPU µs per request", "spread", "p50", "p99", "anomalies"):
        table.add_column(column, justify="left" if column.startswith("engine") else "right")
    for cost in costs:
        spread = f"{cost.lowest_us:,.0f}..{cost.highest_us:,.0f}"
        what = f"{cost.name}: {_MEANING[cost.name]}"
        quantiles = ("-" if value is None else f"{value:,.0f}" for value in (cost.p50_us, cost.p99_us))
        table.add_row(what, f"{cost.cpu_us:,.0f}", spread, *quantiles, f"{cost.anomalies:,} of {cost.requests:,}")
    console.print(table)
    console.print()
    console.print(
        f"service, {load.concurrency:,} callers: {load.requests_per_s:,.0f} requests/s, "
        f"{load.cpu_us:,.0f} CPU µs each, "
        f"p50 {load.p50_ms:.1f} ms, p99 {load.p99_ms:.1f} ms, {load.degraded:,} degraded, {load.refused:,} refused"
    )
