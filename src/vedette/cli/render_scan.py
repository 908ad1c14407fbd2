"""The summary of a scan for a person: who, what, where, when, and the worst of it with the span marked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vedette.cli.render_verdict import marked
from vedette.sinks.scan_summary import Counted, ScanSummary, WorstFinding
from vedette.sinks.visible import visible

_SHOWN_WORST = 10
_BAR_CELLS = 24
_BLOCKS = " ▁▂▃▄▅▆▇█"


def render_summary(console: Console, summary: ScanSummary) -> None:
    """Print the whole summary."""
    _heading(console, summary)
    for title, counted in (("class", summary.classes), ("client", summary.clients), ("path", summary.paths)):
        if counted:
            console.print()
            console.print(top_table(f"top {title}s" if title != "class" else "classes", counted))
    if summary.statuses:
        answered = ", ".join(f"{visible(item.key)}: {item.count:,}" for item in summary.statuses)
        console.print(Text(f"\nanswered by the server with  {answered}"))
    for number, found in enumerate(summary.worst[:_SHOWN_WORST], 1):
        if number == 1:
            console.print(Text("\nworst findings", style="bold"))
        render_finding(console, number, found)
    if summary.unreadable:
        console.print(Text(f"\nlines that could not be read: {summary.unreadable_lines:,}", style="bold yellow"))
        for item in summary.unreadable:
            console.print(Text(f"  {item.count:,} × {visible(item.reason)}"))
            for sample in item.samples[:2]:
                console.print(Text(f"      {visible(sample)[: console.width - 6]}", style="dim"))


def _heading(console: Console, summary: ScanSummary) -> None:
    share = f" ({summary.anomalies / summary.requests:.2%})" if summary.requests else ""
    if summary.attackers:
        share += f" from {summary.attackers:,}{' or more' if any(c.missed for c in summary.clients) else ''} clients"
    console.print(
        Text.assemble(
            (f"{summary.anomalies:,} anomalies", "bold red" if summary.anomalies else "bold green"),
            f" in {summary.requests:,} requests{share}, {summary.requests_per_s:,.0f} requests/s",
        )
    )
    for source in summary.sources:
        if source.problem is not None:
            console.print(Text(f"not read: {visible(source.name)}: {visible(source.problem)}", style="yellow"))
        else:
            text = f"{visible(source.name)}: {visible(source.format)}, {source.lines:,} lines"
            console.print(Text(text, style="dim"))
    if summary.not_judged:
        console.print(Text(f"{summary.not_judged:,} requests got no verdict: the model failed", style="bold yellow"))
    if summary.partly_inspected:
        console.print(Text(f"{summary.partly_inspected:,} requests were read only in part", style="yellow"))
    if summary.first_time is not None and summary.last_time is not None:
        console.print(Text(f"{_time(summary.first_time)} to {_time(summary.last_time)}", style="dim"))
        console.print(Text("anomalies over time  ") + Text(timeline(summary, console.width - 24), style="red"))
    console.print(Text(f"model {summary.model_version}, threshold {summary.threshold:.3f}", style="dim"))


def timeline(summary: ScanSummary, width: int) -> str:
    """Return the anomalies over time as at most `width` blocks, each as high as its part of the time is bad."""
    if not summary.bins:
        return ""
    start, end = summary.bins[0].start, summary.bins[-1].start + summary.bin_s
    cells = max(1, min(width, round((end - start) / summary.bin_s)))
    counts = [0] * cells
    for item in summary.bins:
        counts[min(cells - 1, int((item.start - start) / (end - start) * cells))] += item.anomalies
    peak = max(counts) or 1
    return "".join(_BLOCKS[-(-count * 8 // peak)] for count in counts)


def top_table(title: str, counted: Sequence[Counted]) -> Table:
    """Return a table of the most frequent keys, with a bar. A count that may be too low says by how much."""
    peak = max((item.count for item in counted), default=1) or 1
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    table.add_column(title, overflow="fold", max_width=48)
    table.add_column("anomalies", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, width=_BAR_CELLS)
    table.add_column("worst", justify="right", no_wrap=True)
    table.add_column("classes", overflow="fold")
    for item in counted:
        count = f"{item.count:,}" + (f"..{item.count + item.missed:,}" if item.missed else "")
        filled = "█" * max(1, round(item.count / peak * _BAR_CELLS))
        table.add_row(
            Text(visible(item.key)),
            count,
            Text(filled, style="red"),
            f"{item.worst_score:.3f}",
            ", ".join(item.classes),
        )
    return table


def render_finding(console: Console, number: int, found: WorstFinding) -> None:
    """Print one finding: the request, the field, the excerpt with its mark."""
    console.print(Text(f"{number:>2}. ").append_text(anomaly_line(found)))
    start, end = found.mark or (0, 0)
    for line in marked(found.excerpt, found.excerpt[start:end], width=max(20, console.width - 8)):
        console.print(Text("      ") + line, no_wrap=True, overflow="ignore", crop=False)


def anomaly_line(found: WorstFinding) -> Text:
    """Return one finding as one line."""
    line = Text(f"{found.attack_class} {found.score:.3f}", style="red")
    line = Text().append_text(line).append(f"  {visible(found.method)} {visible(found.path)}", style="bold")
    line.append(f'  {found.location} "{visible(found.name)}"')
    details = [visible(found.client)] if found.client else []
    details += [str(found.status)] if found.status is not None else []
    details += [_time(found.time)] if found.time is not None else []
    details += [f"{visible(found.source)}:{found.line}"]
    details += [f"seen {found.seen:,} times"] if found.seen > 1 else []
    return line.append(f"  {', '.join(details)}", style="dim")


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
