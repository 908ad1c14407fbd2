"""Three pictures of an evaluation (needs matplotlib, in the train extra): ROC, score histograms, recall by class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedette.errors import BackendUnavailable
from vedette.evaluation.curves import roc_curve, wilson
from vedette.evaluation.evaluate import RATES, EvaluationReport
from vedette.verdict import PROBE

ATTACK, BENIGN, INK, FAINT, ACCENT = "#c2410c", "#1d6fa5", "#1f2933", "#d5dbe1", "#5b21b6"
_SCORE_TICKS = (1e-6, 1e-4, 0.01, 0.5, 0.99, 0.9999, 0.999999)
_EDGE = 16.0  # log-odds where float32 scores saturate
_CLASSES_LABEL = "True-positive rate at threshold {:.3g}, with 95 % intervals (a probe alone never alarms)"
_STYLE: Any = {
    "font.size": 10,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 12,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.dpi": 110,
    "savefig.dpi": 150,
    "savefig.bbox": "tight",
}


def write_plots(report: EvaluationReport, directory: str | Path) -> list[Path]:
    """Write ``roc.png``, ``scores.png`` and ``classes.png`` to `directory`; return those that the data allow."""
    try:
        import matplotlib
    except ImportError as error:
        raise BackendUnavailable("plots need matplotlib: pip install 'vedette[train]'") from error
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    pictures = (
        ("roc.png", _roc, (7.2, 4.6), report.attacks.n > 0 and report.benign.n > 0),
        ("scores.png", _scores, (7.2, 4.2), report.attacks.n > 0 or report.benign.n > 0),
        ("classes.png", _classes, (7.2, 1.5 + 0.3 * len(report.by_class)), bool(report.by_class)),
    )
    for name, draw, size, possible in pictures:
        if possible:
            with matplotlib.rc_context(_STYLE):
                figure = Figure(figsize=size)
                FigureCanvasAgg(figure)
                draw(figure.add_subplot(), report)
                figure.savefig(directory / name)
            written.append(directory / name)
    return written


def _roc(axes: Any, report: EvaluationReport) -> None:
    """TPR over FPR on a log axis that ends where one false alarm in the sample lies."""
    from matplotlib.ticker import PercentFormatter

    curve = roc_curve(report.benign_scores, report.attack_scores)
    left = min(0.1, 10 ** np.floor(np.log10(1 / report.benign.n)))
    fpr = np.maximum(curve.fpr, left)
    hits = np.rint(curve.tpr * report.attacks.n).astype(int)
    band = np.array([wilson(int(hit), report.attacks.n) for hit in hits])
    axes.fill_between(fpr, band[:, 0], band[:, 1], step="post", color=ATTACK, alpha=0.15, linewidth=0)
    axes.step(fpr, curve.tpr, where="post", color=ATTACK, linewidth=1.8)
    low = report.attacks.rate or 0.0
    for key, rate in zip(report.to_dict()["tpr_at_fpr"].items(), RATES, strict=True):
        if rate >= left and key[1] is not None:
            label = f"{key[1]:.1%} found at {rate:.2%} false alarms"
            axes.plot([rate], [key[1]], "o", color=INK, markersize=4.5, zorder=5, label=label)
            low = min(low, key[1])
    now = (max(report.benign.rate or 0.0, left), report.attacks.rate or 0.0)
    label = f"{now[1]:.1%} at the threshold, {report.threshold:.3g}"
    axes.plot(*now, marker="D", color=ACCENT, markersize=7, linestyle="none", zorder=6, label=label)
    floor = max(0.0, np.floor((low - 0.15) * 10) / 10)
    axes.set(xscale="log", xlim=(left, 1), ylim=(floor, 1.005))
    axes.set(xlabel="False-positive rate of whole requests (log)", ylabel="True-positive rate")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:g}%")
    axes.set_title(f"ROC: {report.attacks.n:,} attacks, {report.benign.n:,} harmless requests")
    axes.grid(True, which="major")
    axes.legend(loc="lower right")


def _scores(axes: Any, report: EvaluationReport) -> None:
    """Histograms on a log-odds axis labelled in scores, so that both ends can be seen."""
    bins = np.linspace(-_EDGE, _EDGE, 65)
    pairs = ((report.benign_scores, BENIGN, "harmless"), (report.attack_scores, ATTACK, "attacks"))
    for scores, color, name in pairs:
        if len(scores):
            label = f"{name} ({len(scores):,})"
            axes.hist(_log_odds(scores), bins=bins, color=color, alpha=0.55, label=label)
            axes.hist(_log_odds(scores), bins=bins, histtype="step", color=color, linewidth=1.2)
    at = float(_log_odds(np.array([report.threshold], np.float32))[0])
    axes.axvline(at, color=INK, linestyle="--", linewidth=1.2, label=f"threshold {report.threshold:.3g}")
    axes.set(yscale="log", xlim=(-_EDGE, _EDGE), xlabel="Score of the request (log-odds axis)", ylabel="Requests (log)")
    axes.set_xticks(_log_odds(np.array(_SCORE_TICKS, np.float64)), [f"{tick:g}" for tick in _SCORE_TICKS])
    axes.set_title("Scores of whole requests")
    axes.grid(True, axis="y", which="major")
    axes.legend(loc="upper center", ncols=3, bbox_to_anchor=(0.5, -0.16))


def _classes(axes: Any, report: EvaluationReport) -> None:
    """Recall at the threshold, best class on top, with 95 % intervals; probes are shown apart."""
    ordered = sorted(report.by_class.items(), key=lambda item: (item[0] != PROBE, item[1].rate or 0.0, item[1].n))
    rates = np.array([count.rate or 0.0 for _, count in ordered])
    ends = np.array([wilson(count.hits, count.n) for _, count in ordered])
    colors = [FAINT if name == PROBE else ATTACK for name, _ in ordered]
    errors = np.clip(np.stack([rates - ends[:, 0], ends[:, 1] - rates]), 0, None)
    axes.barh(range(len(ordered)), rates, color=colors, alpha=0.85, height=0.7)
    axes.errorbar(rates, range(len(ordered)), xerr=errors, fmt="none", ecolor=INK, elinewidth=1, capsize=2)
    for place, (_, count) in enumerate(ordered):
        axes.text(1.03, place, f"{count.rate:.1%}  of {count.n:,}", va="center", fontsize=9)
    axes.set_yticks(range(len(ordered)), [name for name, _ in ordered])
    axes.set(xlim=(0, 1.02), ylim=(-0.7, len(ordered) - 0.3), xlabel=_CLASSES_LABEL.format(report.threshold))
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_title("Attacks found, by class")
    axes.grid(True, axis="x")


def _log_odds(scores: NDArray[Any]) -> NDArray[np.float64]:
    clipped = np.clip(scores.astype(np.float64), 1e-7, 1 - 1e-7)
    result: NDArray[np.float64] = np.clip(np.log(clipped / (1 - clipped)), -_EDGE + 0.01, _EDGE - 0.01)
    return result
