"""The command line as a person calls it: arguments in, status and both streams out."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from vedette.cli.app import run


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
