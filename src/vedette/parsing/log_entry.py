"""One logged request: what an access log tells of a request, put together into an `HTTPRequest`.

Formats name the parts of a line by role; `assemble` is the one place where roles become a request. A line whose layout
fits but which holds no HTTP request (an empty connection, TLS bytes on a plain port) is a `MalformedInput` with
``field="request"``; a line whose layout does not fit has ``field="layout"``. Messages are fixed texts, so that they can
be counted.
"""

from __future__ import annotations

import re
from calendar import timegm
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache

from vedette.errors import MalformedInput
from vedette.http_request import HTTPRequest
from vedette.parsing.url_parts import split_url
from vedette.parsing.wire_text import to_bytes

_METHOD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}\Z")
_MONTHS = {
    "Jan": 1, "Feb": 2, "Mar": 3, "Apr": 4, "May": 5, "Jun": 6,
    "Jul": 7, "Aug": 8, "Sep": 9, "Oct": 10, "Nov": 11, "Dec": 12,
}  # fmt: skip
_CLF_TIME = re.compile(r"(\d{2})/([A-Z][a-z]{2})/(\d{4}):(\d{2}):(\d{2}):(\d{2})(?: ([+-])(\d{2})(\d{2}))?")
_EPOCH = re.compile(r"\d{9,19}(?:\.\d{1,9})?\Z")

# Years 1970 to 9999, so that every time can be written as a date again.
_LATEST = 253_402_300_799.0


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A request read from a file. `time` is in Unix seconds; the last four fields come from dataset records only."""

    request: HTTPRequest
    time: float | None = None
    status: int | None = None
    label: str | None = None
    attack_class: str | None = None
    site: str | None = None
    record_id: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """One line or entry of a source: a request, or why there is none (`problem`), or neither (blank, a directive).

    `problem` is one of a small set of fixed texts, so that problems can be counted; `sample` is the start of the line.
    """

    number: int
    entry: LogEntry | None = None
    problem: str | None = None
    sample: str = ""


@dataclass(slots=True)
class LogFields:
    """The parts of one line by role: client, time, request, method, target, query, status, host, body."""

    roles: dict[str, str] = field(default_factory=dict)
    headers: list[tuple[str, str]] = field(default_factory=list)
    cookies: list[str] = field(default_factory=list)

    def put(self, role: str, name: str, value: str) -> None:
        """Store `value` under its role; the first one of a role stays."""
        if role == "header":
            self.headers.append((name, value))
        elif role == "cookie":
            self.cookies.append(f"{name}={value}")
        elif role:
            self.roles.setdefault(role, value)


def assemble(fields: LogFields) -> LogEntry:
    """Return the entry that `fields` describe; raises `MalformedInput` where they hold no HTTP request."""
    roles = fields.roles
    if "target" in roles or "method" in roles:
        method, target = roles.get("method", ""), roles.get("target", "")
        if "request" in roles and not (method and target):
            method, target = split_request_line(roles["request"])
        check_method(method)
        if not target:
            raise MalformedInput("the line holds no request target", field="request")
    else:
        method, target = split_request_line(roles.get("request", ""))
    query = roles.get("query", "")
    if query and "?" not in target:
        target += query if query.startswith("?") else "?" + query

    headers = fields.headers
    names = {name.lower() for name, _ in headers}
    if not target.startswith("/") and (url := split_url(target)) is not None:
        target = url.target
        roles.setdefault("host", url.authority)
    if roles.get("host") and "host" not in names:
        headers.insert(0, ("Host", roles["host"]))
    if fields.cookies and "cookie" not in names:
        headers.append(("Cookie", "; ".join(fields.cookies)))
    body = to_bytes(roles["body"]) if "body" in roles else b""
    request = HTTPRequest(method, target, tuple(headers), body, roles.get("client") or None)
    return LogEntry(request, parse_time(roles.get("time", "")), parse_status(roles.get("status", "")))


def split_request_line(line: str) -> tuple[str, str]:
    """Return method and target of a logged request line. The target may hold spaces, the protocol may be missing."""
    if line in ("", "-"):
        raise MalformedInput("the connection sent no request", field="request")
    method, space, rest = line.partition(" ")
    if not space or not _METHOD.match(method):
        raise MalformedInput("not an HTTP request line", field="request")
    target, _, protocol = rest.rpartition(" ")
    if not protocol.startswith("HTTP/"):
        target = rest
    if not target.strip():
        raise MalformedInput("the line holds no request target", field="request")
    return method, target


def check_method(method: str) -> None:
    """Raise `MalformedInput` unless `method` is an HTTP token."""
    if not _METHOD.match(method):
        raise MalformedInput("not an HTTP method", field="request")


def parse_status(text: str) -> int | None:
    """Return an HTTP status code, or None."""
    return int(text) if len(text) == 3 and text.isascii() and text.isdigit() else None


def parse_time(text: str) -> float | None:
    """Return Unix seconds of a time in common log format, ISO 8601 or Unix seconds to nanoseconds; None if unclear."""
    text = text.strip("[] ")
    if len(text) > 64 or not text:
        return None
    if match := _CLF_TIME.match(text):
        return _clf_seconds(match)
    if _EPOCH.match(text):
        seconds = float(text)
        while seconds > 1e11:  # milliseconds, microseconds, nanoseconds
            seconds /= 1000.0
        return seconds
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return in_range(moment)


def in_range(moment: datetime) -> float | None:
    """Return Unix seconds of `moment` (UTC where it names no zone) between 1970 and 9999, else None."""
    try:
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return seconds if 0 <= seconds <= _LATEST else None


def _clf_seconds(match: re.Match[str]) -> float | None:
    day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = match.groups()
    midnight = _midnight(int(year), month, int(day))
    if midnight is None:
        return None
    offset = (int(zone_hours) * 3600 + int(zone_minutes) * 60) * (-1 if sign == "-" else 1) if sign else 0
    seconds = float(midnight + int(hour) * 3600 + int(minute) * 60 + int(second) - offset)
    return seconds if 0 <= seconds <= _LATEST else None


@lru_cache(maxsize=1024)
def _midnight(year: int, month: str, day: int) -> int | None:
    if month not in _MONTHS or not 1 <= day <= 31 or year < 1970:
        return None
    return timegm((year, _MONTHS[month], day, 0, 0, 0))
