"""`vedette train`: a bundle out of a data directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vedette.cli.common import JsonOption, console, print_json
from vedette.errors import BackendUnavailable


def train(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Directory with attacks/*.jsonl.xz, benign/*.jsonl.xz.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where the bundle goes.", show_default="RUN/bundle")
    ] = None,
    run: Annotated[
        Path, typer.Option("--run", metavar="DIR", help="Keeps every stage; a run that was cut off goes on from it.")
    ] = Path("runs/latest"),
    steps: Annotated[
        int | None,
        typer.Option("--steps", metavar="N", min=1, help="Batches for each teacher.", show_default="the recipe's"),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="Seed of all draws.", show_default="the recipe's")
    ] = None,
    fold: Annotated[
        int | None,
        typer.Option(
            "--fold",
            metavar="N",
            min=1,
            max=4,
            help="Leave out a quarter of the sites and a group of attack sources, which then judge.",
            show_default="train on all",
        ),
    ] = None,
    all_sites: Annotated[
        bool,
        typer.Option(
            "--all-sites",
            help="Train on the sites that would calibrate, too: scripts/calibrate_folds.py then calibrates by folds.",
        ),
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Train a model and write its bundle, with manifest and calibration.

    A day on two cores, far less on a GPU. With --fold the run directory also gets what judges the model, for
    vedette evaluate. Needs vedette[train].
    """
    try:
        from vedette.training.recipe import train_bundle
        from vedette.training.train import TrainPlan
    except ModuleNotFoundError as error:
        raise BackendUnavailable(f"training needs {error.name}: pip install 'vedette[train]'") from error
    from dataclasses import replace

    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    recipe = TrainPlan()
    seed = recipe.seed if seed is None else seed
    plan = replace(recipe, steps=steps or recipe.steps, seed=seed, fold=fold, calibrating=not all_sites)
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
        console=console(stderr=True),
    )  # fmt: skip
    with bar:
        task = bar.add_task("preparing", total=None)

        def progress(done: int, total: int, note: str) -> None:
            bar.update(task, completed=done, total=total, description=f"step {done:,} of {total:,}, {note}")

        bundle = train_bundle(data, run, out or run / "bundle", plan, bar.console.out, progress)
    if json_output:
        print_json({"path": str(bundle.path), "version": bundle.version, "training": bundle.manifest.training})
    else:
        typer.echo(f"wrote {bundle.path}, version {bundle.version}; see: vedette model show {bundle.path}")
