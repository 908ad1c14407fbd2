"""docs/cli.md, made from the command tree: usage, arguments, options and exit statuses."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import typer
from typer.main import get_command

from vedette.cli.app import app
from vedette.cli.common import EXIT_MEANINGS

HEAD = """\
# Command line

<!-- Written by `make docs`; edit the source it is made from, not this page. -->

`vedette --help` and `vedette COMMAND --help` say the same at the terminal; `vedette --install-completion` sets up
completion for your shell. With `--json`, standard output holds JSON and nothing else; progress and notices go to
standard error. `NO_COLOR=1` turns colours off; without a terminal there are none.

## Exit statuses

An error is one line on standard error that names the file, option or key at fault.

| status | meaning |
|---|---|
"""


def cli_reference() -> str:
    """Return docs/cli.md."""
    root: Any = get_command(app)
    statuses = "".join(f"| {int(status)} | {meaning} |\n" for status, meaning in EXIT_MEANINGS.items())
    return HEAD + statuses + "".join(_commands(root, "vedette"))


def _commands(group: Any, prefix: str) -> Iterator[str]:
    for name, command in group.commands.items():
        path = f"{prefix} {name}"
        if getattr(command, "commands", None):
            yield from _commands(command, path)
        else:
            yield "\n" + _command(command, path)


def _command(command: Any, path: str) -> str:
    context = typer.Context(command, info_name=path)
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    parts = [f"## `{path}`\n", inspect.cleandoc(command.help or "") + "\n", f"```\n{usage}\n```\n"]
    rows = [_row(param) for param in command.params if not getattr(param, "hidden", False)]
    if rows:
        parts.append("| option | meaning | default |\n|---|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _row(param: Any) -> str:
    value = "" if getattr(param, "is_flag", False) else param.metavar or param.name.upper()
    label = value if param.param_type_name == "argument" else " ".join(filter(None, [", ".join(param.opts), value]))
    default = param.show_default if isinstance(param.show_default, str) else param.default
    shown = "" if default in (None, False, ()) or param.required else str(default)
    return f"| `{label}` | {(param.help or '').strip()} | {shown} |"
