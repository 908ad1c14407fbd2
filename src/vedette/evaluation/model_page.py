"""The page on how a model was made, written from its bundle's manifest: `make docs`.

Sources with licences, what was left out and why, the recipe, and the figures; nothing in it is typed by hand.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vedette.bundle import Manifest

_INTRODUCTION = """\
A small Transformer encoder that reads one field of a request at a time. Trained from the sources below;
the recipe is explained in [training.md](training.md).
"""
_USE = """\
## Intended use

Judging HTTP requests to web applications and APIs in front of or inside them, beside their own checks, never instead of
them. A verdict is about one request: it knows nothing of sessions, rates, accounts or what the application does with a
field. Before it blocks on a site, let it watch (`mode: monitor`) and look at what it would have blocked.

## Known blind spots

- What is harmless elsewhere and an attack only here: plain outside addresses handed to a fetching or redirecting
  application, other people's identifiers, business logic. Paths that scanners ask for (`probe`) alone never alarm.
- What the screen keeps from the model ([screen.md](screen.md)), such as objects packed by zlib or written as
  hexadecimal digits, and base64 in the middle of other text.
- Harmless text close to an attack, within 32 tokens, lowers its score: the row on mutated attacks tells by how much.
- Query languages that look like injections (OData, GraphQL with arguments, expressions in rule engines), console
  commands and code in fields of developers' tools raise more false alarms than browsing does: see API traffic.
"""
_FOLDS = """\
These are not figures of the shipped weights, which trained on every attack source. {folds} other models, trained
for {steps} batches as [training.md](training.md) tells, each left out
a quarter of the sites and API collections and a group of attack sources, and judged these; each is calibrated by
what the others left out, and their scores are pooled: {attacks:,} attacks and {benign:,} harmless
whole requests. The folds' models have no early exit. Copies of training attacks are removed after decoding, numbers,
spaces and quotes aside, and so are those of one another. The figures are those of `vedette evaluate RUN...` on the runs
of `vedette train --fold`.
"""
_COUNTS = """\
Counts are records; a bare value in training counts as often as it is placed, twice or thrice. Which fold leaves out
which source is told in `src/vedette/training/split.py`. None of the data is part of this repository.
"""


def model_page(manifest: Manifest, mark: str) -> str:
    """Return the page as Markdown. `mark` is the comment that says the page is generated."""
    training = manifest.training
    held_out = training.get("held_out", {})
    parts = [
        f"# The model `{manifest.version}`\n\n{mark}\n",
        _INTRODUCTION,
        _USE,
        _table("Architecture", ("size", "value"), _architecture(manifest.config)),
        _held_out(held_out),
        _continued(training),
        _familiar(held_out.get("folds", [])),
        _table(
            "Held-out attacks by class",
            ("class", "attacks", "found at the default threshold", "at a false-positive rate of 0.5 %"),
            (
                (name, f"{entry['n']:,}", _percent(entry["tpr"]), _percent(entry["tpr_at_0.005"]))
                for name, entry in sorted(held_out.get("by_class", {}).items(), key=lambda i: i[1]["tpr"])
            ),
        ),
        _table(
            "Held-out sites with false alarms at the default threshold",
            ("site", "requests", "false alarms"),
            (
                (name, f"{entry['n']:,}", _percent(entry["fpr"]))
                for name, entry in sorted(held_out.get("sites", {}).items(), key=lambda i: -i[1]["fpr"])
            ),
        ),
        _calibration(manifest.calibration),
        _table(
            "Data",
            ("source", "licences", "train", "calibrate"),
            (_source(name, entry) for name, entry in training.get("sources", {}).items()),
        ),
        _COUNTS,
        _table(
            "Labels not believed, and so left out (rules in `src/vedette/training/believe.py`)",
            ("rule (class)", "records"),
            ((reason, str(count)) for reason, count in training.get("labels_not_believed", {}).items()),
        ),
        _screen(training.get("screen", {})),
        _table("Recipe", ("choice", "value"), _plan(training.get("plan", {}))),
        "## Files\n\n| file | bytes | SHA-256 |\n|---|---|---|\n"
        + "\n".join(f"| {name} | {entry.size:,} | `{entry.sha256}` |" for name, entry in manifest.files.items())
        + "\n",
    ]
    return "\n".join(part for part in parts if part)


def _table(title: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if not lines:
        return ""
    return "\n".join([f"## {title}\n", f"| {' | '.join(head)} |", "|" + "---|" * len(head), *lines, ""])


def _percent(rate: float | None) -> str:
    return "" if rate is None else f"{100 * rate:.2f} %"


def _architecture(config: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for key, value in config.items():
        yield key, ", ".join(value) if isinstance(value, list) else str(value)


def _held_out(report: dict[str, Any]) -> str:
    if not report:
        return ""
    rows = [(f"{100 * float(rate):g} %", _percent(tpr)) for rate, tpr in report["tpr_at_fpr"].items()]
    title = "Figures on sites and attack sources never seen in training"
    table = _table(title, ("measure", "of", "rate", "95 %", "to reach", ""), map(_measure, report["measures"]))
    text = _FOLDS.format(
        folds=len(report["folds"]), steps=" or ".join(f"{n:,}" for n in sorted({f["steps"] for f in report["folds"]})),
        attacks=report["attacks"], benign=report["benign"],
    )  # fmt: skip
    found = _table("Attacks found at a false-positive rate", ("of all harmless requests", "found"), rows)
    return f"{table}\n{text}\n{found}"


def _continued(training: dict[str, Any]) -> str:
    """What the shipped weights went through beside the recipe."""
    plan = training.get("plan", {})
    went = (
        ("restart_steps", "in which the learning rate rose once more"),
        ("refine_steps", "that only corrected them"),
    )
    batches = " and ".join(f"{plan[steps]:,} batches {how}" for steps, how in went if plan.get(steps))
    if not batches:
        return ""
    return (
        "Once grammars and labels had changed, the shipped weights went on for\n"
        f"{batches}. Models of the folds went on too;\n"
        "[training.md](training.md) tells which, and how.\n"
    )


def _measure(row: dict[str, Any]) -> tuple[str, ...]:
    low, high = row["interval"] or (None, None)
    between = "" if low is None else f"{_percent(low)} to {_percent(high)}"
    goal = f"{'at least' if row['at_least'] else 'at most'} {100 * row['goal']:g} %"
    return row["name"], f"{row['n']:,}", _percent(row["value"]), between, goal, row["note"]


def _familiar(folds: list[dict[str, Any]]) -> str:
    if not folds:
        return ""
    total = {key: sum(fold["familiar"][key] for fold in folds) for key in ("requests", "nothing_read", "nothing_new")}
    return (
        f"Sites share scripts and trackers: of {total['requests']:,} held-out harmless requests\n"
        f"{total['nothing_read']:,} hold nothing that the model reads, and {total['nothing_new']:,} nothing that\n"
        "training sites did not send as well, letter for letter. On requests with something new in them the rate of\n"
        "false alarms is higher.\n"
    )


def _calibration(calibration: dict[str, Any]) -> str:
    rows = ((f"{alarms:,.0f}", f"{margin:.2f}") for alarms, margin in calibration["budgets"])
    title = "Calibration: false alarms per million harmless requests of sites never trained on"
    return (
        _table(title, ("alarms per million", "margin (log-odds)"), rows)
        + f"\nA margin of {calibration['centre']:.2f} is the score 0.5; the scale is {calibration['scale']:.2f}.\n"
    )


def _source(name: str, entry: dict[str, Any]) -> tuple[str, ...]:
    licences = ", ".join(entry.get("licences", {})) or ("own grammars" if name.startswith("generated/") else "")
    return (name, licences, *(str(entry.get(part, "")) for part in ("train", "calibrate")))


def _screen(screen: dict[str, Any]) -> str:
    if not screen:
        return ""
    swallowed = ", ".join(f"{name} {count}" for name, count in screen["swallowed"].items())
    total = sum(screen["swallowed"].values())
    return (
        f"## Screen\n\nOf {screen['attacks']:,} attack records (generated ones included) the screen would keep\n"
        f"{total:,} from the model: {swallowed or 'none'}. See [screen.md](screen.md).\n"
    )


def _plan(plan: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for key, value in plan.items():
        if isinstance(value, dict):
            yield from ((f"{key}.{inner}", str(item)) for inner, item in value.items())
        else:
            yield key, str(value)
