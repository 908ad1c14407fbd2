"""The command line as a person calls it: arguments in, status and both streams out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.inference.small_model import SmallRuntime, small_bundle
from vedette.cli.app import run
from vedette.inference import engine
from vedette.inference.engine import Engine


class Result(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def vedette(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run `vedette ARGUMENTS...` in this process."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")

    def call(*arguments: str) -> Result:
        capsys.readouterr()
        status = run(arguments)
        return Result(status, *capsys.readouterr())

    return call


@pytest.fixture
def small_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let the commands load the small model: quotes are sqli, angle brackets xss, everything else is harmless."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engine, "load_engine", lambda settings: Engine(small_bundle(), SmallRuntime(), settings))
