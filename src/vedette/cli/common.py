"""What the commands share: exit statuses, options, JSON output, and a way to the engine.

Imported whenever the command line starts, so it imports nothing heavy at its top.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from vedette.config import Settings


class Exit(IntEnum):
    """Exit statuses; docs/cli.md lists them."""

    OK = 0
    ANOMALY = 1
    BAD_INPUT = 2
    BAD_BUNDLE = 3
    NOT_INSTALLED = 4
    NO_RESULT = 5
    DEFECT = 70  # EX_SOFTWARE of sysexits.h
    INTERRUPTED = 130


EXIT_MEANINGS: Mapping[Exit, str] = {
    Exit.OK: "done; `check` found no anomaly",
    Exit.ANOMALY: "`check`, or `scan --exit-code`, found an anomaly",
    Exit.BAD_INPUT: "wrong usage, a setting that cannot be used (a port in use included), or input that cannot be read",
    Exit.BAD_BUNDLE: "the model bundle is missing a part, was altered, or is unsafe to load",
    Exit.NOT_INSTALLED: "something optional is needed that is not installed; the message names the extra",
    Exit.NO_RESULT: "no result: the model failed or the deadline passed",
    Exit.DEFECT: "a defect in Vedette; please report it with the traceback",
    Exit.INTERRUPTED: "interrupted by Ctrl-C",
}

ModelOption = Annotated[
    Path | None,
    typer.Option(
        "--model", metavar="PATH", help="Bundle directory, .onnx or .pt checkpoint.", show_default="the shipped bundle"
    ),
]
ThresholdOption = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        metavar="SCORE",
        min=0,
        max=1,
        help="Score from which a request is an anomaly.",
        show_default="calibrated",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings file.", show_default="config/config.yaml where it exists"),
]
InferenceConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--inference-config",
        metavar="FILE",
        help="Second settings file.",
        show_default="config/inference.yaml where it exists",
    ),
]


class EngineKind(StrEnum):
    """Where the work of `scan` and `evaluate` is done."""

    LOCAL = "local"
    RAY = "ray"


EngineOption = Annotated[
    EngineKind,
    typer.Option(
        "--engine", help="Here, or over a Ray cluster (vedette[ray]), of which every node has to see the files."
    ),
]
RayAddressOption = Annotated[
    str | None,
    typer.Option(
        "--ray-address",
        metavar="ADDRESS",
        help="Ray cluster, e.g. auto or 192.0.2.1:6379.",
        show_default="RAY_ADDRESS, else one is started here and stopped again",
    ),
]


def on_ray(engine: EngineKind, ray_address: str | None) -> bool:
    """Tell whether Ray does the work; refuse an address that nobody would use."""
    if engine is not EngineKind.RAY and ray_address is not None:
        raise typer.BadParameter("only --engine ray takes one", param_hint="--ray-address")
    return engine is EngineKind.RAY


def settings_for(
    *,
    config: Path | None = None,
    inference_config: Path | None = None,
    model: Path | None = None,
    threshold: float | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Return the settings in force under the flags of a command."""
    from vedette.config_loader import load_settings

    flags = {"waf_service.model_path": model and str(model), "waf_service.threshold": threshold}
    return load_settings(config, inference_config, os.environ, {**flags, **(overrides or {})})


def console(*, stderr: bool = False) -> Console:
    """Return a console for standard output or standard error; it drops colours where no terminal shows them."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=False)


def print_json(value: Any) -> None:
    """Print one JSON value: indented for a terminal, one line for a pipe."""
    terminal = sys.stdout.isatty()
    text = json.dumps(value, indent=2 if terminal else None, ensure_ascii=not terminal)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
