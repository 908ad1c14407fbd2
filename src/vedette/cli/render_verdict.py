"""A verdict for a person: action, score bar, and each finding with its span marked.

    BLOCK  sqli  in query "id"
    score  ██████████████████████████████▊·········  0.981   threshold 0.50

    1. query "id"  sqli 0.981   decoded by percent
       1' UNION SELECT password FROM users--
        ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~

The span is underlined with tildes, so that it can be read without colours and in a copied text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from vedette.sinks.visible import visible, visible_character
from vedette.verdict import Action, Finding, Verdict

BAR_CELLS = 40
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_STYLES = {Action.BLOCK: "bold white on red", Action.MONITOR: "bold black on yellow", Action.ALLOW: "bold green"}


def render_verdict(console: Console, verdict: Verdict, spans: Mapping[int, str] | None = None) -> None:
    """Print `verdict`. `spans` maps the number of a finding to the text of its span, which is marked in its excerpt."""
    console.print(headline(verdict))
    console.print(score_line(verdict))
    for number, finding in enumerate(verdict.findings):
        console.print()
        console.print(_finding_line(number + 1, finding))
        for line in marked(finding.excerpt, (spans or {}).get(number, ""), width=max(20, console.width - 6)):
            console.print(Text("   ") + line, no_wrap=True, overflow="ignore", crop=False)
    for item in verdict.not_inspected:
        where = f'{item.location} "{visible(item.name)}"' if item.name else item.location
        console.print(Text(f"not inspected: {where} ({item.reason})", style="yellow"))
    console.print()
    time = f"{verdict.processing_time_ms:.1f} ms"
    console.print(Text(f"model {verdict.model_version} · {time} · request {verdict.request_id}", style="dim"))


def headline(verdict: Verdict) -> Text:
    """Return the first line: what to do and why."""
    line = Text(f" {verdict.action.upper()} ", style=_STYLES[verdict.action])
    if verdict.is_anomaly and verdict.findings:
        worst = verdict.findings[0]
        line.append("  ").append(str(verdict.attack_class or worst.attack_class), style="bold")
        line.append(f'  in {worst.location} "{visible(worst.name)}"')
    elif verdict.is_anomaly is None:
        line.append("  no verdict was reached")
    else:
        line.append("  no attack found")
    if verdict.degraded is not None:
        line.append(f"  degraded: {verdict.degraded}", style="yellow")
    return line


def score_line(verdict: Verdict) -> Text:
    """Return the score as a bar with the threshold beside it."""
    if verdict.anomaly_score is None:
        return Text("score  none", style="dim")
    style = "red" if verdict.is_anomaly else "green"
    line = Text("score  ").append(bar(verdict.anomaly_score), style=style)
    return line.append(f"  {_number(verdict.anomaly_score)}").append(
        f"   threshold {_number(verdict.threshold)}", style="dim"
    )


def bar(score: float) -> str:
    """Return `BAR_CELLS` cells filled to `score` (0..1), in eighths of a cell."""
    eighths = round(min(max(score, 0.0), 1.0) * BAR_CELLS * 8)
    full, part = divmod(eighths, 8)
    filled = "█" * full + (_EIGHTHS[part] if part else "")
    return filled + "·" * (BAR_CELLS - len(filled))


def marked(excerpt: str, span: str, *, width: int) -> Iterator[Text]:
    """Yield the lines of `excerpt`, each `width` cells at most, with tildes under where `span` stands in it."""
    found = excerpt.find(span) if span else -1
    start, end = (found, found + len(span)) if found >= 0 else (0, 0)
    text, under = Text(), ""
    for position, char in enumerate(excerpt):
        shown = visible_character(char)
        cells = cell_len(shown)
        if text and cell_len(text.plain) + cells > width:
            yield from _pair(text, under)
            text, under = Text(), ""
        inside = start <= position < end
        text.append(shown, style="bold red" if inside else "")
        under += ("~" if inside else " ") * cells
    yield from _pair(text, under)


def _pair(text: Text, under: str) -> Iterator[Text]:
    yield text
    if under.strip():
        yield Text(under.rstrip(), style="red")


def _finding_line(number: int, finding: Finding) -> Text:
    line = Text(f"{number}. ").append(f'{finding.location} "{visible(finding.name)}"', style="bold")
    line.append(f"  {finding.attack_class} {_number(finding.score)}", style="red")
    if finding.decoded_by:
        line.append(f"   decoded by {', '.join(finding.decoded_by)}", style="dim")
    return line


def _number(score: float) -> str:
    """Return a score with three digits that say something: 0.981, 0.9997."""
    return f"{score:.4f}" if score > 0.999 else f"{score:.3f}"
