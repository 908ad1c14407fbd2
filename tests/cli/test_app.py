"""The tree of commands, and what becomes of errors."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from vedette import __version__
from vedette.cli import app as cli_app
from vedette.cli.common import EXIT_MEANINGS, Exit
from vedette.errors import (
    BackendUnavailable,
    BundleError,
    ConfigError,
    InferenceFailed,
    MalformedInput,
    VedetteError,
)

COMMANDS = ("serve", "check", "scan", "train", "evaluate", "optimize", "bench", "model")


def test_version(vedette: Callable[..., tuple[int, str, str]]) -> None:
    assert vedette("--version")[:2] == (0, f"vedette {__version__}\n")


def test_help_lists_every_command(vedette: Callable[..., tuple[int, str, str]]) -> None:
    status, out, _ = vedette("--help")
    assert status == 0
    assert [name for name in COMMANDS if name not in out] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(vedette: Callable[..., tuple[int, str, str]], command: str) -> None:
    status, out, _ = vedette(command, "--help")
    assert status == 0
    assert "Usage" in out


def test_a_misspelt_command_is_answered_with_the_right_one(vedette: Callable[..., tuple[int, str, str]]) -> None:
    status, _, err = vedette("chek")
    assert status == Exit.BAD_INPUT
    assert "check" in err


def test_an_unknown_option_is_refused(vedette: Callable[..., tuple[int, str, str]]) -> None:
    status, _, err = vedette("check", "--thresh", "1", "/")
    assert status == Exit.BAD_INPUT
    assert "--threshold" in err


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ConfigError("waf_service.port: in use", key="waf_service.port"), 2, "vedette: waf_service.port: in use\n"),
        (ConfigError("a: wrong\nb: wrong"), 2, "vedette: a: wrong\n         b: wrong\n"),
        (MalformedInput("is not a token", field="method"), 2, "vedette: method: is not a token\n"),
        (BundleError("model.onnx: altered"), 3, "vedette: model.onnx: altered\n"),
        (BackendUnavailable("install vedette[train]"), 4, "vedette: install vedette[train]\n"),
        (InferenceFailed("worker died"), 5, "vedette: worker died\n"),
        (MalformedInput("bad \x1b[2J word"), 2, "vedette: bad \\x1b[2J word\n"),
    ],
)
def test_an_error_is_one_line_and_a_status(
    vedette: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    error: VedetteError,
    status: int,
    line: str,
) -> None:
    monkeypatch.setattr(cli_app, "app", _raising(error))
    assert vedette() == (status, "", line)


def test_a_defect_shows_its_traceback(
    vedette: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_app, "app", _raising(ZeroDivisionError("oops")))
    status, _, err = vedette()
    assert status == Exit.DEFECT
    assert "Traceback" in err


def _raising(error: Exception) -> typer.Typer:
    broken = typer.Typer(pretty_exceptions_enable=False)

    @broken.callback(invoke_without_command=True)
    def fail() -> None:
        raise error

    return broken


def test_every_status_is_documented() -> None:
    assert set(EXIT_MEANINGS) == set(Exit)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion(shell: str) -> None:
    environ = os.environ | {
        "_VEDETTE_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": "vedette ev",
        "COMP_CWORD": "1",
        "_TYPER_COMPLETE_ARGS": "vedette ev",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    command = [sys.executable, "-c", "from vedette.cli.app import main; main()"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert "evaluate" in done.stdout


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    script = "from vedette.cli.app import main; main()"
    done = subprocess.run(
        f'"{sys.executable}" -c "{script}" --help | head -c 1', shell=True, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
