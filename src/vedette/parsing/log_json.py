"""Access logs written as JSON: one object a line, keys mapped to roles by their usual names.

Nested objects are flattened to dotted names (three levels, 256 leaves), then each name is looked up whole and by its
last segments, so that ``http.request.method``, ``requestMethod`` and ``method`` all mean the method. A format string
that is itself a JSON template (nginx ``escape=json``) names the roles exactly, and Caddy's layout is known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from vedette.errors import MalformedInput
from vedette.parsing.log_entry import LogEntry, LogFields, assemble
from vedette.parsing.log_formats import header_name
from vedette.parsing.url_parts import strip_port
from vedette.parsing.wire_text import load_json, to_bytes

_MAX_DEPTH = 3
_MAX_LEAVES = 256

_ALIASES = {
    "client": "remoteaddr remoteip clientip client ip srcip sourceip clientaddress clientaddr clienthost remotehost "
    "clientipaddress realip",
    "time": "time timestamp ts date datetime timelocal timeiso8601 msec starttime startutc timelogged eventtime",
    "request": "request requestline",
    "method": "method requestmethod httpmethod verb httprequestmethod reqmethod",
    "target": "uri requesturi url requesturl urloriginal originalurl requesttarget target httptarget "
    "rawuri requri requrl",
    "path": "path requestpath urlpath uripath documenturi",
    "query": "args query querystring urlquery requestquery",
    "status": "status statuscode responsestatus responsecode responsestatuscode httpstatus downstreamstatus code sc",
    "host": "host httphost vhost servername requesthost domain domainname urldomain authority",
    "body": "requestbody reqbody postdata requestbodycontent",
}
_ROLE_OF = {alias: role for role, aliases in _ALIASES.items() for alias in aliases.split()}
_HEADER_OF = {
    "useragent": "User-Agent", "httpuseragent": "User-Agent", "agent": "User-Agent", "ua": "User-Agent",
    "useragentoriginal": "User-Agent", "requestuseragent": "User-Agent",
    "referer": "Referer", "referrer": "Referer", "httpreferer": "Referer", "requestreferer": "Referer",
    "cookie": "Cookie", "httpcookie": "Cookie", "cookies": "Cookie", "xforwardedfor": "X-Forwarded-For",
    "contenttype": "Content-Type", "requestcontenttype": "Content-Type",
}  # fmt: skip
_NOT_WORD = re.compile(r"[^a-z0-9]")


@dataclass(frozen=True, slots=True)
class JsonFormat:
    """One JSON object a line. `exact` maps top-level keys to (role, header or cookie name); empty: by usual names."""

    name: str = "json"
    exact: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def parse(self, line: str) -> LogEntry | None:
        """Return the entry in `line`; raises `MalformedInput` with field ``layout`` or ``request``."""
        return assemble(self.fields(load_object(line)))

    def fields(self, record: Mapping[str, object]) -> LogFields:
        """Return the parts of `record` by role."""
        fields = LogFields()
        if self.exact:
            for key, (role, name) in self.exact.items():
                if (text := _scalar(record.get(key))) is not None:
                    fields.put(role, name, text)
        else:
            self._guess(record, fields)
        roles = fields.roles
        if "target" not in roles and "path" in roles:
            roles["target"] = roles["path"]
        if "client" in roles:
            roles["client"] = strip_port(roles["client"])
        return fields

    def _guess(self, record: Mapping[str, object], fields: LogFields) -> None:
        ranked: dict[str, int] = {}
        for names, value in _leaves(record, ()):
            of_response = _is_of_response(names)
            if _is_header_map(names) and not of_response:
                fields.headers.append((names[-1], value))
                continue
            role, name, rank = _role_of(names)
            if of_response and role != "status":
                continue
            if role == "header":
                if name.lower() not in {known.lower() for known, _ in fields.headers}:
                    fields.headers.append((name, value))
            elif role and rank < ranked.get(role, 99):
                ranked[role] = rank
                fields.roles[role] = value


@dataclass(frozen=True, slots=True)
class CaddyFormat:
    """Caddy's JSON access log (https://caddyserver.com/docs/caddyfile/directives/log), headers and all."""

    name: str = "caddy"

    def parse(self, line: str) -> LogEntry | None:
        """Return the entry in `line`, or None for Caddy's messages that are not about a request."""
        record = load_object(line)
        request = record.get("request")
        if not isinstance(request, Mapping):
            if "logger" in record or "msg" in record:
                return None
            raise MalformedInput("the line does not fit the log format", field="layout")
        fields = LogFields()
        for role, value in (
            ("client", request.get("client_ip") or request.get("remote_ip") or request.get("remote_addr")),
            ("method", request.get("method")),
            ("target", request.get("uri")),
            ("host", request.get("host")),
            ("time", record.get("ts")),
            ("status", record.get("status")),
        ):
            if (text := _scalar(value)) is not None:
                fields.put(role, "", strip_port(text) if role == "client" else text)
        headers = request.get("headers")
        if isinstance(headers, Mapping):
            for name, values in headers.items():
                for value in values if isinstance(values, list) else [values]:
                    if (text := _scalar(value)) is not None:
                        fields.headers.append((str(name), text))
        return assemble(fields)


def load_object(line: str) -> Mapping[str, object]:
    """Return the JSON object in `line`; raises `MalformedInput` with field ``layout``."""
    value = load_json(to_bytes(line), field="layout")
    if not isinstance(value, dict):
        raise MalformedInput("not a JSON object", field="layout")
    return value


def _scalar(value: object) -> str | None:
    """Return a JSON scalar as text; absent values (null, "-", "") and containers are None."""
    if isinstance(value, str):
        return value if value not in ("", "-") else None
    if isinstance(value, bool) or value is None:
        return None
    return repr(value) if isinstance(value, int | float) else None


def _leaves(
    record: Mapping[str, object], above: tuple[str, ...], left: list[int] | None = None
) -> Iterator[tuple[tuple[str, ...], str]]:
    left = [_MAX_LEAVES] if left is None else left
    for key, value in record.items():
        names = (*above, str(key))
        if isinstance(value, Mapping):
            if len(names) < _MAX_DEPTH:
                yield from _leaves(value, names, left)
            continue
        for item in value if isinstance(value, list) else (value,):
            if left[0] > 0 and (text := _scalar(item)) is not None:
                left[0] -= 1
                yield names, text


def _is_header_map(names: tuple[str, ...]) -> bool:
    return len(names) > 1 and _NOT_WORD.sub("", names[-2].lower()) in ("headers", "requestheaders", "reqheaders")


def _is_of_response(names: tuple[str, ...]) -> bool:
    return len(names) > 1 and any(name.lower().startswith("resp") for name in names[:-1])


@lru_cache(maxsize=4096)
def _role_of(names: tuple[str, ...]) -> tuple[str, str, int]:
    """Return role, header name and rank (lower is surer) of a dotted key."""
    last = names[-1]
    if last.lower().startswith("http_") and len(last) < 80:
        known = last.lower().removeprefix("http_")
        return ("host", "", 0) if known == "host" else ("header", header_name(known), 0)
    if last.startswith("request_") and "-" in last:  # Traefik: request_User-Agent
        return "header", last.removeprefix("request_"), 0
    words = tuple(_NOT_WORD.sub("", name.lower()) for name in ".".join(names).split("."))
    for drop in range(len(words)):
        key = "".join(words[drop:])
        if key in _HEADER_OF:
            return "header", _HEADER_OF[key], drop
        if key in _ROLE_OF:
            return _ROLE_OF[key], "", drop
    return "", "", 99
