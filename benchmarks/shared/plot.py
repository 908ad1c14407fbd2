"""The picture of `versus_crs`: CPU per request, and how latencies are distributed. Reads on light and dark ground."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path
from typing import Any

from benchmarks.shared.figures import Report

# Each colour stands out from white and from the near-black of dark pages alike (contrast 3:1 and more to both).
OURS, RULES, INK, FAINT = "#1f83c4", "#d9622b", "#7d8590", "#7d859050"
_NAMES = {"vedette": "Vedette", "nginx_crs": "nginx + ModSecurity + CRS", "nginx_alone": "nginx alone"}
_COLORS = {"vedette": OURS, "nginx_crs": RULES, "nginx_alone": INK}
_STYLE: Any = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 12,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "savefig.bbox": "tight",
    "svg.hashsalt": "vedette",
}


def draw_versus(report: Report, path: Path) -> None:
    """Draw the report of `versus_crs` into `path`, whose suffix chooses the format."""
    try:
        import matplotlib
    except ImportError as error:
        raise SystemExit("the plot needs matplotlib: pip install 'vedette[train]'") from error
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(10, 3.5), dpi=120)
        FigureCanvasAgg(figure)
        cost, latency = figure.subplots(1, 2, width_ratios=(1, 1.15))
        _cost(cost, report)
        _latency(latency, report)
        figure.subplots_adjust(wspace=0.16)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _cost(axes: Any, report: Report) -> None:
    """Bars of the median block with the range of the blocks, on a log axis."""
    names = list(_NAMES)
    for place, name in enumerate(names):
        figures = report[name]["cpu_us"]
        low, high = figures["spread_us"]
        median = figures["median_us"]
        axes.barh(place, median, color=_COLORS[name], height=0.55)
        axes.errorbar(median, place, xerr=[[median - low], [high - median]], color=INK, capsize=3, elinewidth=1.2)
        axes.text(high * 1.15, place, f"{median:,.0f} µs", va="center", color=INK, fontweight="bold")
    rules = report["nginx_crs"]["cpu_us"]["spread_us"][1]
    axes.set(xscale="log", xlim=(10, rules * 9), ylim=(len(names) - 0.5, -0.5), xlabel="µs of CPU (log)")
    axes.set_yticks(range(len(names)), [_NAMES[name].replace(" + ModSecurity", "\n+ ModSecurity\n") for name in names])
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(True, axis="x")
    ratio, (low, high) = report["crs_over_vedette"]["cpu"], report["crs_over_vedette"]["cpu_spread"]
    below = names.index("nginx_crs") + 0.5
    axes.text(12, below, f"{ratio:.3g} times Vedette's ({low:.3g} to {high:.3g})", va="center", color=INK, fontsize=9)
    axes.set_title("CPU per request")


def _latency(axes: Any, report: Report) -> None:
    """Share of requests that are not answered yet, on log axes, so that the tail can be seen."""
    right = max(report[name]["latency"]["max_us"] for name in _NAMES) / 1000 * 1.3
    for name in _NAMES:
        figures = report[name]["latency"]
        ends = [end / 1000 for end, _ in figures["histogram"]]
        done = list(accumulate(count for _, count in figures["histogram"]))
        left = [1 - count / figures["n"] for count in done]
        steps = [ends[0] / 1.12, *ends[:-1]], [1.0, *left[:-1]]
        axes.step(*steps, where="post", color=_COLORS[name], linewidth=1.8, label=_NAMES[name])
        for quantile, share in (("p50_us", 0.5), ("p99_us", 0.01)) if name != "nginx_alone" else ():
            value = figures[quantile] / 1000
            axes.plot(value, share, "o", color=_COLORS[name], markersize=4.5)
            axes.annotate(f"{value:.3g}", (value, share), (5, 3), textcoords="offset points", color=_COLORS[name])
    floor = 1 / min(report[name]["latency"]["n"] for name in _NAMES)
    axes.set(
        xscale="log", yscale="log", ylim=(floor, 1.4), xlim=(0.05, right), xlabel="ms after the request was sent (log)"
    )
    axes.set_yticks([0.5, 0.1, 0.01, 0.001], ["50 %", "10 %", "1 %", "0.1 %"])
    axes.minorticks_off()
    axes.set_ylim(floor, 1.4)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(True)
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.47, -0.18), ncols=3, fontsize=8, handlelength=1.5, columnspacing=1.2
    )
    axes.set_title("Share of requests not answered yet")
