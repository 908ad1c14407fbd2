"""The `vedette` command."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    raise SystemExit("vedette: the command line is being built")
