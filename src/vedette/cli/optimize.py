"""`vedette optimize`."""

from __future__ import annotations


def optimize() -> None:
    """optimize."""
