"""The requests in files of any known kind, for commands that need requests and no more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from vedette.http_request import HTTPRequest
from vedette.ingestion.sources import RequestSource


def requests_of(files: Iterable[Path]) -> Iterator[HTTPRequest]:
    """Yield each request that can be read; raises `MalformedInput` for a file of no known kind."""
    for path in files:
        for reading in RequestSource(path):
            if reading.entry is not None:
                yield reading.entry.request
