"""`vedette evaluate`: how well a model tells attacks from harmless requests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vedette.cli.common import (
    ConfigOption,
    EngineKind,
    EngineOption,
    InferenceConfigOption,
    JsonOption,
    ModelOption,
    RayAddressOption,
    ThresholdOption,
    console,
    on_ray,
    print_json,
    settings_for,
)
from vedette.errors import ConfigError

if TYPE_CHECKING:
    from vedette.config import Settings


def evaluate(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE", help="Labelled requests: JSON Lines, plain or packed; or runs that left out a fold."
        ),
    ],
    plots: Annotated[
        Path | None,
        typer.Option("--plots", metavar="DIR", help="Write ROC, histograms and recall there (vedette[train])."),
    ] = None,
    details: Annotated[bool, typer.Option("--details", help="With --json: confidence intervals too.")] = False,
    engine: EngineOption = EngineKind.LOCAL,
    ray_address: RayAddressOption = None,
    model: ModelOption = None,
    threshold: ThresholdOption = None,
    config: ConfigOption = None,
    inference_config: InferenceConfigOption = None,
    json_output: JsonOption = False,
) -> None:
    """Judge labelled requests and report rates, overall, by class and by site.

    Requests go through the very engine that serves. Ambiguous records are skipped; probes count by class only. A line
    that cannot be read ends it: a figure over half a file misleads. With --json, prints one object, rates in 0..1.

    Run directories of vedette train --fold are judged each by its own bundle, and what they found is pooled: that is
    how the recipe does on sites and attack sources that it never saw. --engine ray takes files, no runs.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from vedette.evaluation.evaluate import evaluate as judge_records
    from vedette.evaluation.folds import BUNDLE, evaluate_run, is_run, pool
    from vedette.evaluation.measures import measures
    from vedette.evaluation.records import read_records
    from vedette.inference.engine import load_engine

    files = list(dict.fromkeys(files))
    if (strange := next((path for path in files if path.is_dir() and not is_run(path)), None)) is not None:
        raise ConfigError(f"{strange}: no run of vedette train --fold with its bundle", key="FILE")
    runs = [path for path in files if is_run(path)]
    if runs and (len(runs) < len(files) or model is not None):
        raise ConfigError("runs are judged by their own bundles: name no file and no --model beside them", key="FILE")
    with_ray = on_ray(engine, ray_address)
    if with_ray and runs:
        raise ConfigError("runs are judged here: --engine ray takes files", key="--engine")
    out = console(stderr=True)
    columns = (BarColumn(), TextColumn("{task.completed:,.0f} requests"), TimeElapsedColumn())
    with Progress(*columns, console=out, disable=not out.is_terminal, transient=True) as bar:
        task = bar.add_task("judging", total=None)

        def settings_of(path: Path | None) -> Settings:
            return settings_for(config=config, inference_config=inference_config, model=path, threshold=threshold)

        def on_progress(count: int) -> None:
            bar.advance(task, count)

        found = None
        if with_ray:
            from vedette.evaluation.evaluate_ray import evaluate_on_ray
            from vedette.ingestion.parts import cut

            settings, parts = settings_of(model), cut(files, format="jsonl")
            judge = load_engine(settings)
            report = evaluate_on_ray(settings, judge, parts, address=ray_address, on_progress=on_progress)
        elif runs:
            found = pool([evaluate_run(run, load_engine(settings_of(run / BUNDLE)), on_progress) for run in runs])
            report = found.held_out
        else:
            report = judge_records(read_records(files), load_engine(settings_of(model)), on_progress=on_progress)
    rows = measures(found) if found else []
    if plots is not None:
        from vedette.evaluation.plots import write_plots

        for path in write_plots(report, plots):
            typer.echo(f"wrote {path}", err=True)
    if json_output:
        told = report.details() if details else report.to_dict()
        print_json({**told, "measures": [row.to_dict() for row in rows]} if rows else told)
    else:
        from vedette.cli.render_evaluation import render_evaluation, render_measures

        render_evaluation(console(), report)
        render_measures(console(), rows)
