"""`vedette model`: what a bundle is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vedette.cli.common import JsonOption, console, print_json

app = typer.Typer(help="Look at model bundles.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Look at model bundles."""


@app.command()
def show(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="PATH", help="Bundle directory, .onnx or .pt checkpoint.", show_default="the shipped bundle"
        ),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Show a bundle: version, architecture, classes, calibration, training data with licences, figures.

    Every file is checked against the manifest on the way.
    """
    import msgspec

    from vedette.bundle import load_model

    bundle = load_model(path)
    if json_output:
        print_json({"path": str(bundle.path), **msgspec.to_builtins(bundle.manifest)})
        return
    from vedette.cli.render_model import render_bundle

    render_bundle(console(), bundle)
