"""Programs that are not Python's: found, or named as missing."""

from __future__ import annotations

import os
import shutil
import socket

import pytest


def needs(program: str) -> None:
    """Skip the test, or fail it in CI, where `program` is not installed."""
    if shutil.which(program) is None:
        message = f"{program} is not installed, so this was not tested: make system-deps"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
