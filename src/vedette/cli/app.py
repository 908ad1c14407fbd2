"""The `vedette` command: its tree, and what becomes of an error.

An error that Vedette raises on purpose is one clear line on standard error and an exit status (docs/cli.md); anything
else is a defect and shows its traceback. Commands import what they need when they run, so that `--help` and shell
completion answer at once.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from vedette._version import __version__
from vedette.cli import bench, check, evaluate, model, optimize, scan, serve, train
from vedette.cli.common import Exit
from vedette.errors import BackendUnavailable, BundleError, ServiceError, VedetteError

app = typer.Typer(
    name="vedette",
    help="A learned web application firewall: judge HTTP requests, live or from logs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vedette {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """A learned web application firewall: judge HTTP requests, live or from logs."""


app.command()(serve.serve)
app.command()(check.check)
app.command()(scan.scan)
app.command()(train.train)
app.command()(evaluate.evaluate)
app.command()(optimize.optimize)
app.command()(bench.bench)
app.add_typer(model.app, name="model")


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (`arguments`: sys.argv without the program's name) and return its exit status."""
    try:
        app(args=None if arguments is None else list(arguments), prog_name="vedette")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    except VedetteError as error:
        print(f"vedette: {_message(error)}", file=sys.stderr)
        return exit_status(error)
    except BrokenPipeError:  # the reader (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except OSError as error:
        if error.filename is None:
            traceback.print_exc()
            return Exit.DEFECT
        print(f"vedette: {error.filename}: {error.strerror}", file=sys.stderr)
        return Exit.BAD_INPUT
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except Exception:
        traceback.print_exc()
        return Exit.DEFECT
    return Exit.OK


def exit_status(error: VedetteError) -> Exit:
    """Return the exit status that stands for `error`."""
    if isinstance(error, BundleError):
        return Exit.BAD_BUNDLE
    if isinstance(error, BackendUnavailable):
        return Exit.NOT_INSTALLED
    return Exit.NO_RESULT if isinstance(error, ServiceError) else Exit.BAD_INPUT


def _message(error: VedetteError) -> str:
    """Return the message with the part at fault in front, made safe for a terminal."""
    from vedette.sinks.visible import visible

    field = getattr(error, "field", None)
    text = f"{field}: {error}" if field else str(error)
    return "\n         ".join(visible(line) for line in text.splitlines())


def main() -> None:
    """Run `vedette` and exit."""
    sys.exit(run())
