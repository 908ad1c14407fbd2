"""`vedette evaluate`: how well a model tells attacks from harmless requests."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vedette.cli.common import (
    ConfigOption,
    InferenceConfigOption,
    JsonOption,
    ModelOption,
    ThresholdOption,
    console,
    print_json,
    settings_for,
)


def evaluate(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="Labelled requests: JSON Lines, plain or packed.")
    ],
    plots: Annotated[
        Path | None,
        typer.Option("--plots", metavar="DIR", help="Write ROC, histograms and recall there (vedette[train])."),
    ] = None,
    details: Annotated[bool, typer.Option("--details", help="With --json: confidence intervals too.")] = False,
    model: ModelOption = None,
    threshold: ThresholdOption = None,
    config: ConfigOption = None,
    inference_config: InferenceConfigOption = None,
    json_output: JsonOption = False,
) -> None:
    """Judge labelled requests and report rates, overall, by class and by site.

    Requests go through the very engine that serves. Ambiguous records are skipped; probes count by class only. A line
    that cannot be read ends it: a figure over half a file misleads. With --json, prints one object, rates in 0..1.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from vedette.evaluation.evaluate import evaluate as judge_records
    from vedette.evaluation.records import read_records
    from vedette.inference.engine import load_engine

    settings = settings_for(config=config, inference_config=inference_config, model=model, threshold=threshold)
    engine = load_engine(settings)
    out = console(stderr=True)
    columns = (BarColumn(), TextColumn("{task.completed:,.0f} requests"), TimeElapsedColumn())
    with Progress(*columns, console=out, disable=not out.is_terminal, transient=True) as bar:
        task = bar.add_task("judging", total=None)
        report = judge_records(read_records(files), engine, on_progress=lambda count: bar.advance(task, count))
    if plots is not None:
        from vedette.evaluation.plots import write_plots

        for path in write_plots(report, plots):
            typer.echo(f"wrote {path}", err=True)
    if json_output:
        print_json(report.details() if details else report.to_dict())
    else:
        from vedette.cli.render_evaluation import render_evaluation

        render_evaluation(console(), report)
