"""The timeline of a scan as inline SVG: requests above, anomalies below, each on its own scale, one time axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil

from vedette.sinks.scan_summary import TimeBin

_BARS = 120
_WIDTH, _LEFT, _RIGHT = 960, 56, 8
_PANEL, _GAP, _TOP, _BOTTOM = 84, 30, 20, 26


@dataclass(frozen=True, slots=True)
class Timeline:
    """Equal bins without gaps. `outside` requests lie far from all others in time and are left out."""

    start: float
    bin_s: float
    requests: tuple[int, ...]
    anomalies: tuple[int, ...]
    outside: int


def timeline(bins: Sequence[TimeBin], bin_s: float) -> Timeline | None:
    """Lay sparse `bins` out evenly, at most `_BARS` of them; None where there is nothing to draw."""
    if not bins:
        return None
    shown = _without_stray(bins)
    start, end = shown[0].start, shown[-1].start + bin_s
    width = bin_s * max(1, ceil((end - start) / bin_s / _BARS))
    count = max(1, ceil((end - start) / width))
    requests, anomalies = [0] * count, [0] * count
    for item in shown:
        place = min(count - 1, int((item.start - start) // width))
        requests[place] += item.requests
        anomalies[place] += item.anomalies
    outside = sum(item.requests for item in bins) - sum(requests)
    return Timeline(start, width, tuple(requests), tuple(anomalies), outside)


def _without_stray(bins: Sequence[TimeBin]) -> Sequence[TimeBin]:
    """Drop up to 0.1 % of the requests at either end (a wrong clock) where that leaves a tenth of the time or less."""
    spare = sum(item.requests for item in bins) // 1000
    first, last = 0, len(bins) - 1
    left = right = spare
    while first < last and bins[first].requests <= left and not bins[first].anomalies:
        left -= bins[first].requests
        first += 1
    while last > first and bins[last].requests <= right and not bins[last].anomalies:
        right -= bins[last].requests
        last -= 1
    short = bins[last].start - bins[first].start
    return bins[first : last + 1] if bins[-1].start - bins[0].start > 10 * max(short, 1.0) else bins


def draw(line: Timeline) -> str:
    """Return the SVG element. It holds numbers and dates only, nothing from a log."""
    height = _TOP + 2 * _PANEL + _GAP + _BOTTOM
    label = "Requests and anomalies over time"
    parts = [f'<svg class="timeline" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{label}">']
    parts += _panel(line, line.requests, _TOP, "requests", "bar")
    parts += _panel(line, line.anomalies, _TOP + _PANEL + _GAP, "anomalies", "bar bad")
    parts += _axis(line, height)
    parts.append("</svg>")
    return "".join(parts)


def _panel(line: Timeline, values: Sequence[int], top: int, title: str, css: str) -> list[str]:
    most = max(values)
    step = (_WIDTH - _LEFT - _RIGHT) / len(values)
    bottom = top + _PANEL
    out = [
        f'<text class="name" x="{_LEFT}" y="{top - 7}">{title} per {duration(line.bin_s)}</text>',
        f'<line class="rule" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{top}" y2="{top}"/>',
        f'<line class="rule base" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{bottom}" y2="{bottom}"/>',
        f'<text class="tick" x="{_LEFT - 8}" y="{top + 4}" text-anchor="end">{most:,}</text>',
        f'<text class="tick" x="{_LEFT - 8}" y="{bottom + 4}" text-anchor="end">0</text>',
    ]
    for index, value in enumerate(values):
        if value:
            tall = max(1.5, _PANEL * value / most)
            wide = max(1.0, min(step * 0.82, 40.0))
            place = _LEFT + index * step
            when = stamp(line.start + index * line.bin_s)
            out.append(
                f'<rect class="{css}" x="{place:.1f}" y="{bottom - tall:.1f}" width="{wide:.1f}" '
                f'height="{tall:.1f}" rx="1"><title>{when}: {value:,} {title}</title></rect>'
            )
    return out


def _axis(line: Timeline, height: int) -> list[str]:
    span = line.bin_s * len(line.requests)
    out = []
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        place = _LEFT + share * (_WIDTH - _LEFT - _RIGHT)
        text = stamp(line.start + share * span)
        out.append(f'<text class="tick" x="{place:.0f}" y="{height - 6}" text-anchor="{anchor}">{text}</text>')
    return out


def stamp(seconds: float) -> str:
    """Return Unix seconds as a readable UTC time."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return "?"


def duration(seconds: float) -> str:
    """Return a length of time in its largest whole unit: ``2 h``, ``90 min``."""
    for unit, name in ((86_400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= unit and seconds % unit == 0:
            count = int(seconds // unit)
            return "day" if name == "days" and count == 1 else f"{count} {name}"
    return f"{seconds:g} s"
