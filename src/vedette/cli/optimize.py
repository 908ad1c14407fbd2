"""`vedette optimize`: the ways to run the model, compared; one of them saved."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vedette.cli.common import JsonOption, ModelOption, console, print_json


def optimize(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE", help="Requests to compare on.", show_default="the package's fixed set"),
    ] = None,
    model: ModelOption = None,
    requests: Annotated[int, typer.Option("--requests", metavar="N", min=1, help="Requests taken from files.")] = 1000,
    save: Annotated[Path | None, typer.Option("--save", metavar="DIR", help="Save one way, with metadata.")] = None,
    way: Annotated[str, typer.Option("--way", metavar="NAME", help="Which one to save.")] = "onnx-int8",
    json_output: JsonOption = False,
) -> None:
    """Compare the ways to run a model: size, CPU time per window, difference from fp32.

    Ways: native (default), onnx-int8, onnx-fp32, torch-fp32, torch-int8, torchscript-fp32, torchscript-int8; how
    settings choose one is told in docs/backends.md. Torch ways need vedette[train].
    """
    from itertools import islice

    from vedette.bundle import load_model
    from vedette.inference.optimization import compare_backends, save_optimized
    from vedette.inference.runtime import VARIANTS

    variant = {variant.name: variant for variant in VARIANTS}.get(way)
    if variant is None:
        names = ", ".join(known.name for known in VARIANTS)
        raise typer.BadParameter(f"{way!r} is not one of {names}", param_hint="--way")
    bundle = load_model(model)
    if save is not None:
        if variant.weights not in bundle.weights:
            raise typer.BadParameter(f"the model has no {variant.weights}, which {way} runs", param_hint="--way")
        saved = save_optimized(bundle, variant, save)
        if json_output:
            print_json({"way": way, "path": str(saved), "bytes": saved.stat().st_size})
        else:
            typer.echo(f"wrote {saved} and {saved}.json")
        return
    traffic = None
    if files:
        from vedette.cli.request_files import requests_of
        from vedette.errors import MalformedInput

        traffic = list(islice(requests_of(files), requests))
        if not traffic:
            raise MalformedInput("the files hold no request that can be read")
    rows = compare_backends(bundle, traffic)
    if json_output:
        print_json({"model_version": bundle.version, "ways": [row.to_dict() for row in rows]})
    else:
        from vedette.cli.render_optimize import render_comparison

        render_comparison(console(), bundle.version, rows)
