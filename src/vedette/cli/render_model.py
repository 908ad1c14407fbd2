"""A bundle's manifest for a person. Unknown keys of the training record are shown as they come, never left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from vedette.bundle import Bundle
from vedette.sinks.visible import visible

_MAX_CHARS = 400


def render_bundle(console: Console, bundle: Bundle) -> None:
    """Print what the bundle is, what it holds, and what it was made of."""
    config, calibration = bundle.config, bundle.calibration
    early = "" if config.exit_below is None else "; early exit before the last layer"
    facts = {
        "version": bundle.version,
        "path": str(bundle.path),
        "created": bundle.manifest.created or "unknown",
        "architecture": (
            f"Transformer encoder: {config.n_layers} layers, d={config.d_model}, {config.n_heads} heads, "
            f"feed-forward {config.d_ff}; {config.vocab_size:,} tokens, windows of {config.max_tokens}{early}"
        ),
        "classes": ", ".join(config.classes),
        "vocabulary": f"sha256 {bundle.manifest.vocab_sha256}",
    }
    console.print(_pairs(facts))
    _heading(console, "Files")
    console.print(
        _rows([{"file": name, "bytes": f"{e.size:,}", "sha256": e.sha256[:16]} for name, e in _files(bundle)])
    )
    _heading(console, "Calibration: threshold for a budget of false alarms")
    console.print(
        _rows(
            [
                {"per million benign": f"{alarms:g}", "threshold": _threshold(calibration.threshold_for_budget(alarms))}
                for alarms, _ in calibration.budgets
            ]
        )
    )
    for title, content in (("Field limits", bundle.manifest.limits), ("Training", bundle.manifest.training)):
        if content:
            _heading(console, title)
            console.print(tree(content))


def tree(value: Any) -> RenderableType:
    """Return any JSON value as nested tables: objects as pairs, lists of objects as rows."""
    if isinstance(value, Mapping):
        return _pairs(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        if value and all(isinstance(item, Mapping) for item in value):
            return _rows(value)
        if any(isinstance(item, Mapping | list) for item in value):
            return Group(*map(tree, value))
        return _cell(", ".join(map(_scalar, value)))
    return _cell(_scalar(value))


def _files(bundle: Bundle) -> list[tuple[str, Any]]:
    return sorted(bundle.manifest.files.items())


def _heading(console: Console, title: str) -> None:
    console.print()
    console.print(Text(title, style="bold underline"))


def _pairs(value: Mapping[str, Any]) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, item in value.items():
        table.add_row(_cell(str(name)), tree(item))
    return table


def _rows(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in columns:
        table.add_column(visible(str(name)), overflow="fold")
    for row in rows:
        table.add_row(*(tree(row[name]) if name in row else "" for name in columns))
    return table


def _threshold(value: float) -> str:
    """Return a score with the digits that matter, also next to 0 and 1."""
    if 0.001 <= value <= 0.999:
        return f"{value:.4f}"
    return f"{value:.1e}" if value < 0.5 else f"1 - {1 - value:.1e}"


def _scalar(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)


def _cell(text: str) -> Text:
    return Text(visible(text if len(text) <= _MAX_CHARS else text[:_MAX_CHARS] + "…"))
