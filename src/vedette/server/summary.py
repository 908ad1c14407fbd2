"""What the service says when it starts: where it listens, which model judges, and which limits hold.

It goes to standard error, because events may go to standard output.
"""

from __future__ import annotations

import socket
import sys
from typing import NamedTuple

from vedette._version import __version__
from vedette.config import Settings
from vedette.inference.async_waf_service import AsyncWAFService
from vedette.inference.redis_store import place_of


class Loaded(NamedTuple):
    """What is known of the model once it is loaded."""

    model_version: str
    backend: str
    threshold: float

    @classmethod
    def of(cls, service: AsyncWAFService) -> Loaded:
        """Take the facts from a service that was started."""
        return cls(service.model_version or "", service.backend or "", service.threshold or 0.0)


def print_summary(settings: Settings, loaded: Loaded, bound: socket.socket) -> None:
    """Print the summary: a table for a terminal, ``key: value`` lines elsewhere."""
    rows = summary_rows(settings, loaded, url(bound))
    if sys.stderr.isatty():
        _print_table(rows)
    else:
        for name, value in rows:
            print(f"{name}: {value}", file=sys.stderr)
    for text in warnings(settings):
        print(f"warning: {text}", file=sys.stderr, flush=True)


def url(bound: socket.socket) -> str:
    """Return the address of a bound socket as a URL."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def summary_rows(settings: Settings, loaded: Loaded, address: str) -> list[tuple[str, str]]:
    """Return what there is to say, as (name, value) pairs in reading order."""
    waf, inference = settings.waf_service, settings.inference
    limiting = inference.rate_limiting
    chosen = (
        "set by waf_service.threshold"
        if waf.threshold is not None
        else f"{waf.false_positive_budget:g} false alarms per million"
    )
    limits = (
        f"{limiting.per_ip:,} requests a second per client, {limiting.max_requests_per_second:,} in all"
        if limiting.enabled
        else "off"
    )
    return [
        ("Vedette", __version__),
        ("address", f"{address}  (documentation at /docs)"),
        ("model", f"{loaded.model_version}  ({waf.model_path or 'shipped bundle'})"),
        ("backend", loaded.backend),
        ("threshold", f"{loaded.threshold:.4g}  ({chosen})"),
        ("mode", f"{waf.mode}; without a verdict in time: fail {waf.fail_mode}; partly read: {waf.on_partial}"),
        ("deadline", f"{waf.timeout:g} s a check, {inference.async_.timeout:g} s of it in the model stage"),
        ("rate limit", limits),
        *([("limits held", _where_limits_are(settings))] if limiting.enabled else []),
        ("bodies", f"up to {waf.max_request_bytes:,} bytes; {waf.inspection.max_body_bytes:,} of one are inspected"),
        ("workers", str(waf.workers)),
    ]


def _where_limits_are(settings: Settings) -> str:
    workers, limiting = settings.waf_service.workers, settings.inference.rate_limiting
    if limiting.redis_url is not None:
        return f"shared by Redis at {place_of(limiting.redis_url)}; while it is away: {limiting.on_store_failure}"
    return "in memory" if workers == 1 else f"split between {workers} workers"


def warnings(settings: Settings) -> list[str]:
    """Return what an operator should know before trusting this configuration."""
    waf, limiting = settings.waf_service, settings.inference.rate_limiting
    texts = []
    if waf.workers > 1 and limiting.enabled and limiting.redis_url is None:
        texts.append(
            f"the rate limit is split between {waf.workers} workers, as they share no store: each lets through its "
            f"part of {limiting.per_ip:,} and {limiting.max_requests_per_second:,} requests a second"
        )
    if waf.inspection.max_body_bytes > waf.max_request_bytes:
        texts.append("waf_service.inspection.max_body_bytes is larger than max_request_bytes, so it never applies")
    return texts


def _print_table(rows: list[tuple[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    for name, value in rows:
        table.add_row(name, value)
    Console(stderr=True).print(table)
