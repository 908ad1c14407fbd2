"""The comparison of `vedette optimize` for a person."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vedette.inference.optimization import Comparison


def render_comparison(console: Console, version: str, rows: Sequence[Comparison]) -> None:
    """Print one line for each way that runs, the fastest that keeps its tolerance in bold, then why others do not."""
    good = [row for row in rows if row.within_tolerance and row.cpu_us_per_sequence is not None]
    best = min(good, key=lambda row: row.cpu_us_per_sequence or 0.0, default=None)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("way", "size", "CPU µs/window", "max score diff", "max logit diff", "same side", "tolerance"):
        table.add_column(column, justify="left" if column in ("way", "tolerance") else "right", no_wrap=column == "way")
    for row in rows:
        if row.unavailable is not None:
            continue
        kept = Text("kept", style="green") if row.within_tolerance else Text("exceeded", style="bold red")
        table.add_row(
            Text(row.variant, style="bold" if row is best else ""),
            f"{(row.size or 0) / 1024:,.0f} KiB",
            f"{row.cpu_us_per_sequence:,.0f}",
            f"{row.max_score_difference:.6f}",
            f"{row.max_logit_difference:.6f}",
            f"{(row.agreement or 0):.2%}",
            kept,
        )
    console.print(f"model {version}; differences from fp32")
    console.print(table)
    for row in rows:
        if row.unavailable is not None:
            console.print(Text(f"{row.variant} not run: {row.unavailable}", style="dim"))
