"""Scan reports: one JSON object, or one HTML file that needs nothing beside it.

A log is written by strangers, and a report is opened in a browser by whoever guards the site. So the HTML holds no
script at all, a policy inside it forbids any (and every load from outside), and each text from a log goes through
`shown`, which escapes markup and makes control characters, bidirectional overrides and lone surrogates visible.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

from vedette.sinks.report_chart import draw, duration, stamp, timeline
from vedette.sinks.scan_summary import Counted, ScanSummary, WorstFinding
from vedette.sinks.visible import visible


def render_json(summary: ScanSummary) -> str:
    """Return the summary as one JSON object, ASCII only."""
    return json.dumps(summary.to_dict(), indent=2) + "\n"


def render_html(summary: ScanSummary, *, title: str = "Vedette scan") -> str:
    """Return the report as one HTML document."""
    style = files("vedette.sinks").joinpath("report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    body = "".join(
        (
            _header(summary, title),
            _numbers(summary),
            _timeline(summary),
            '<div class="columns"><div>',
            _table("Attack classes", "class", summary.classes),
            _table("Answered with", "status", summary.statuses),
            "</div><div>",
            _table("Attackers", "client", summary.clients),
            "</div></div>",
            _table("Attacked paths", "path", summary.paths),
            _worst(summary.worst),
            _unreadable(summary),
            _sources(summary),
        )
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">'
        f"<title>{shown(title)}</title><style>{style}</style></head><body><main>{body}</main></body></html>\n"
    )


def shown(text: str) -> str:
    """Return `text` as HTML that shows it and nothing else."""
    return escape(visible(text), quote=True)


def _header(summary: ScanSummary, title: str) -> str:
    names = ", ".join(shown(source.name) for source in summary.sources[:4])
    more = f" and {len(summary.sources) - 4} more" if len(summary.sources) > 4 else ""
    times = ""
    if summary.first_time is not None and summary.last_time is not None:
        times = f" · {stamp(summary.first_time)} to {stamp(summary.last_time)} UTC"
    return f'<header><h1>{shown(title)}</h1><p class="quiet">{names}{more}{times}</p></header>'


def _numbers(summary: ScanSummary) -> str:
    share = f"{100 * summary.anomalies / summary.requests:.2f} % of requests" if summary.requests else "no requests"
    more = "+" if any(row.missed for row in summary.clients) else ""
    speed = f"{summary.requests_per_s:,.0f} a second"
    tiles = [
        ("Anomalies", f"{summary.anomalies:,}", share, "bad" if summary.anomalies else "good"),
        ("Requests", f"{summary.requests:,}", speed, ""),
        ("Attackers", f"{summary.attackers:,}{more}", "distinct clients", ""),
        ("Unreadable lines", f"{summary.unreadable_lines:,}", f"of {summary.lines:,} lines", ""),
    ]
    if summary.partly_inspected or summary.not_judged:
        note = f"{summary.not_judged:,} not judged" if summary.not_judged else "a part beyond a bound"
        tiles.append(("Partly inspected", f"{summary.partly_inspected:,}", note, "warn"))
    return '<section class="tiles">' + "".join(map(_tile, tiles)) + "</section>"


def _tile(tile: tuple[str, str, str, str]) -> str:
    name, value, note, css = tile
    return f'<div class="tile {css}"><span>{name}</span><strong>{value}</strong><small>{note}</small></div>'


def _timeline(summary: ScanSummary) -> str:
    line = timeline(summary.bins, summary.bin_s)
    if line is None:
        return ""
    stray = (
        f'<p class="quiet">{line.outside:,} requests far outside this time are not drawn.</p>' if line.outside else ""
    )
    return f"<section><h2>Timeline</h2>{draw(line)}{stray}</section>"


def _table(title: str, key: str, rows: Sequence[Counted]) -> str:
    if not rows:
        return ""
    most = max(row.count for row in rows)
    missed = max(row.missed for row in rows)
    has_classes = any(row.classes for row in rows)
    head = (
        f"<th>{key}</th>" + ("<th>classes</th>" if has_classes else "") + '<th class="number">anomalies</th><th></th>'
    )
    lines = []
    for row in rows:
        classes = f"<td>{_pills(row.classes)}</td>" if has_classes else ""
        width = max(1, round(100 * row.count / most))
        lines.append(
            f'<tr><td class="key">{shown(row.key)}</td>{classes}<td class="number">{row.count:,}</td><td class="share">'
            '<svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"><rect class="track" width="100" '
            f'height="8"/><rect class="bar bad" width="{width}" height="8"/></svg></td></tr>'
        )
    note = f'<p class="quiet">Each count may be up to {missed:,} too low.</p>' if missed else ""
    return f"<section><h2>{title}</h2>{_rows(head, ''.join(lines))}{note}</section>"


def _rows(head: str, rows: str) -> str:
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _pills(classes: Iterable[str]) -> str:
    return "".join(f'<span class="pill">{shown(name)}</span>' for name in classes)


def _worst(rows: Sequence[WorstFinding]) -> str:
    if not rows:
        return '<section><h2>Worst findings</h2><p class="quiet">No attack was found.</p></section>'
    cards = "".join(map(_card, rows))
    note = "One of each kind: class, path and field. Excerpts are decoded; the marked part decided."
    return f'<section><h2>Worst findings</h2><p class="quiet">{note}</p>{cards}</section>'


def _card(found: WorstFinding) -> str:
    score = f"{found.score:.3f}" if found.score < 0.9995 else "1.000"
    seen = f'<span class="seen">{found.seen:,} times</span>' if found.seen > 1 else ""
    where = f"{shown(found.location)} <code>{shown(found.name)}</code>"
    decoded = f" · decoded by {shown(', '.join(found.decoded_by))}" if found.decoded_by else ""
    facts = [
        ("client", found.client),
        ("time", None if found.time is None else stamp(found.time) + " UTC"),
        ("status", None if found.status is None else str(found.status)),
        ("host", found.host),
        ("agent", found.user_agent),
        ("at", f"{found.source}:{found.line}"),
    ]
    listed = "".join(f"<div><dt>{name}</dt><dd>{shown(value)}</dd></div>" for name, value in facts if value)
    return (
        f'<article><div class="line"><span class="score">{score}</span>{_pills([found.attack_class])}'
        f'<span class="request">{shown(found.method)} {shown(found.path)}</span>{seen}</div>'
        f'<p class="where">{where}{decoded}</p><pre>{_marked(found.excerpt, found.mark)}</pre>'
        f"<dl>{listed}</dl></article>"
    )


def _marked(excerpt: str, mark: tuple[int, int] | None) -> str:
    if mark is None:
        return shown(excerpt)
    start, end = mark
    return f"{shown(excerpt[:start])}<mark>{shown(excerpt[start:end])}</mark>{shown(excerpt[end:])}"


def _unreadable(summary: ScanSummary) -> str:
    if not summary.unreadable:
        return ""
    rows = "".join(
        f'<tr><td>{shown(item.reason)}</td><td class="number">{item.count:,}</td>'
        f'<td class="samples">{"<br>".join(f"<code>{shown(sample)}</code>" for sample in item.samples)}</td></tr>'
        for item in summary.unreadable
    )
    head = '<th>reason</th><th class="number">lines</th><th>the first of them</th>'
    return f"<section><h2>Unreadable lines</h2>{_rows(head, rows)}</section>"


def _sources(summary: ScanSummary) -> str:
    rows = "".join(
        f'<tr><td class="key">{shown(source.name)}</td><td>{shown(source.problem or source.format)}</td>'
        f'<td class="number">{source.lines:,}</td><td class="number">{source.requests:,}</td></tr>'
        for source in summary.sources
    )
    head = '<th>file</th><th>format</th><th class="number">lines</th><th class="number">requests</th>'
    facts = (
        f"Model {shown(summary.model_version)} · threshold {summary.threshold:.3f} · {summary.elapsed_s:,.1f} s · "
        f"timeline bins of {duration(summary.bin_s)}"
    )
    return f'<section><h2>Files</h2>{_rows(head, rows)}<p class="quiet">{facts}</p></section>'
