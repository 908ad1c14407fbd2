"""`vedette scan`."""

from __future__ import annotations


def scan() -> None:
    """scan."""
