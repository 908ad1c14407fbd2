"""docs/cli.md."""

from __future__ import annotations


def cli_reference() -> str:
    """Return docs/cli.md."""
    return ""
