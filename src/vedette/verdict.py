"""What Vedette answers: the verdict, its findings, and the closed vocabularies they use."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

LOCATIONS = ("path", "query", "cookie", "header", "form", "json", "multipart", "xml", "graphql", "body")
"""Where in a request a field stands."""

ATTACK_CLASSES = (
    "sqli", "xss", "traversal", "cmdi", "codei", "ssti", "nosqli", "ldapi", "xpath", "xxe", "log4shell",
    "shellshock", "crlf", "ssi", "deser", "protopollution", "graphql", "upload", "ssrf", "redirect", "probe", "other",
)  # fmt: skip
"""The attack classes a finding can name. `probe` alone never makes an anomaly out of the box."""

BENIGN = "benign"
PROBE = "probe"
"""A scanner's path: knowledge about paths, which real sites share, so alone it never makes an anomaly."""


class Action(StrEnum):
    """What the caller should do with the request."""

    ALLOW = "allow"
    BLOCK = "block"
    MONITOR = "monitor"


class Degraded(StrEnum):
    """Why a verdict does not rest on a whole reading of the request."""

    TIMED_OUT = "timed_out"
    MODEL_FAILED = "model_failed"
    OVERLOADED = "overloaded"
    PARTIALLY_INSPECTED = "partially_inspected"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One field that was judged an attack.

    `span` is a half-open range of characters of the decoded value; `excerpt` is the text around it, masked where the
    field holds a secret; `decoded_by` lists the transformations that led from the raw text to the decoded value.
    """

    location: str
    name: str
    attack_class: str
    score: float
    span: tuple[int, int]
    excerpt: str
    decoded_by: tuple[str, ...] = ()


class NotInspected(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the request that lies beyond a bound and was not read."""

    location: str
    name: str
    reason: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The answer for one request. `anomaly_score` lies in 0..1, `processing_time_ms` is wall-clock milliseconds.

    `findings` are ordered worst first. Score and `is_anomaly` are None when no reading finished (see `degraded`).
    """

    request_id: str
    action: Action
    anomaly_score: float | None
    is_anomaly: bool | None
    threshold: float
    attack_class: str | None
    findings: tuple[Finding, ...]
    not_inspected: tuple[NotInspected, ...]
    degraded: Degraded | None
    model_version: str
    processing_time_ms: float

    def to_dict(self) -> dict[str, Any]:
        """Return the object that the HTTP API answers with (JSON types only)."""
        builtins: dict[str, Any] = msgspec.to_builtins(self)
        return builtins
