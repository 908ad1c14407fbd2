"""Vedette: a learned web application firewall that answers in real time."""

from __future__ import annotations

from vedette._version import __version__
from vedette.http_request import HTTPRequest
from vedette.verdict import Finding, NotInspected, Verdict

__all__ = ["Finding", "HTTPRequest", "NotInspected", "Verdict", "__version__"]
