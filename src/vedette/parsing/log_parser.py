"""Access-log lines to requests: known formats by name, own ``log_format``/``LogFormat`` strings, and detection.

    format_of(spec) ─┐
    detect(lines)   ─┴─> LogFormat ──parse(line)──> LogEntry | None (a directive) | MalformedInput

Every parser is linear in the line and raises nothing but `MalformedInput`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from vedette.errors import ConfigError, MalformedInput
from vedette.parsing.log_entry import LogEntry, parse_status, parse_time
from vedette.parsing.log_formats import NGINX_VARIABLE, TemplateFormat, compile_apache, compile_nginx, nginx_role
from vedette.parsing.log_json import CaddyFormat, JsonFormat, load_object
from vedette.parsing.log_w3c import W3CFormat
from vedette.parsing.record import RecordFormat, looks_like_record
from vedette.parsing.wire_text import to_text

COMBINED = '%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i"'
COMMON = '%h %l %u %t "%r" %>s %b'

# https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html
_ALB = (
    "$_type $time_iso8601 $_elb $client_and_port $_target $_t1 $_t2 $_t3 $status $_tstatus $_received $_sent "
    '"$request" "$http_user_agent" $_rest'
)
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/LogFormat.html
_S3 = (
    "$_owner $_bucket [$time_local] $remote_addr $_requester $_id $_operation $_key "
    '"$request" $status $_error $_sent $_size $_total $_turn "$http_referer" "$http_user_agent" $_rest'
)

FORMATS = ("combined", "common", "vhost_combined", "main", "json", "caddy", "alb", "s3", "w3c", "cloudfront", "jsonl")
"""The names that `format_of` knows besides format strings."""

_NGINX_DIRECTIVE = re.compile(r"\s*log_format\s+[\w.\-]+\s+(?:escape=(\w+)\s+)?(.*?);?\s*\Z", re.DOTALL)
_NGINX_STRING = re.compile(r"'((?:[^'\\]|\\.)*+)'|\"((?:[^\"\\]|\\.)*+)\"", re.DOTALL)
_APACHE_LINE = re.compile(r"\s*(?:LogFormat|CustomLog\s+\S+)\s+\"((?:[^\"\\]|\\.)*+)\"", re.DOTALL)
_UNQUOTED_VALUE = re.compile(r"(:\s*)(\$\w+|\$\{\w+\})(\s*[,}])")
_MAX_SPEC_CHARS = 16_384


class LogFormat(Protocol):
    """A parser of one line (without its line ending)."""

    @property
    def name(self) -> str:
        """Short name for messages and reports."""
        ...

    def parse(self, line: str) -> LogEntry | None:
        """Return the request in `line`, None for a line that is no request by design; raises `MalformedInput`."""
        ...


def parse_log_line(line: str | bytes, format: str | LogFormat = "auto") -> LogEntry:
    """Return the request in one access-log line; raises `MalformedInput` where there is none."""
    text = (to_text(line) if isinstance(line, bytes) else line).rstrip("\r\n")
    if isinstance(format, str):
        format = detect_format([text]) if format == "auto" else format_of(format)
    entry = format.parse(text)
    if entry is None:
        raise MalformedInput("the line holds no request", field="request")
    return entry


def format_of(spec: str) -> LogFormat:
    """Return the format that `spec` names or describes; raises `ConfigError` (key ``format``).

    `spec` is one of `FORMATS`, an nginx format (``$remote_addr ...``, or a whole ``log_format`` directive) or an Apache
    format (``%h ...``, or a whole ``LogFormat`` line).
    """
    if len(spec) > _MAX_SPEC_CHARS:
        raise ConfigError(f"the log format is longer than {_MAX_SPEC_CHARS} characters", key="format")
    name = spec.strip().lower()
    if name in FORMATS:
        return _named(name)
    if match := _APACHE_LINE.match(spec):
        return compile_apache(match[1])
    if match := _NGINX_DIRECTIVE.match(spec):
        strings = [single or double for single, double in _NGINX_STRING.findall(match[2])]
        return _nginx("".join(_unquote(text) for text in strings) or match[2], match[1] or "default")
    if "$" in spec:
        return _nginx(spec, "json" if spec.lstrip().startswith("{") else "default")
    if "%" in spec:
        return compile_apache(spec)
    raise ConfigError(
        f"{spec[:64]!r} is neither a log format string nor one of {', '.join(FORMATS)}, auto, har", key="format"
    )


def detect_format(lines: Sequence[str]) -> LogFormat:
    """Return the format that reads most of `lines` (the first ones of a file); raises `MalformedInput` if none does.

    Formats that say more come first, so that a tie goes to the richer one. Only the layout counts: a line that fits
    but holds no HTTP request speaks for its format.
    """
    samples = [line for line in lines if line.strip()][:64]
    best: LogFormat | None = None
    most = 0
    for name in ("w3c", "jsonl", "caddy", "json", "alb", "s3", "vhost_combined", "main", "combined", "common"):
        candidate = _named(name)
        fitting = sum(_fits(candidate, line) for line in samples)
        if fitting > most:
            best, most = candidate, fitting
    if best is None:
        raise MalformedInput(
            "the log format was not recognised; name it, or give the server's log_format or LogFormat string",
            field="format",
        )
    return _named(best.name)


def _named(name: str) -> LogFormat:
    match name:
        case "combined":
            return compile_apache(COMBINED, name=name, open_ended=True)
        case "common":
            return compile_apache(COMMON, name=name, open_ended=True)
        case "vhost_combined":
            return compile_apache("%v:%p " + COMBINED, name=name, open_ended=True)
        case "main":
            return compile_apache(COMBINED + ' "%{X-Forwarded-For}i"', name=name, open_ended=True)
        case "json":
            return JsonFormat()
        case "caddy":
            return CaddyFormat()
        case "alb":
            return compile_nginx(_ALB, name=name, open_ended=True)
        case "s3":
            return compile_nginx(_S3, name=name, open_ended=True)
        case "jsonl":
            return RecordFormat()
        case _:
            return W3CFormat()


def _nginx(text: str, escape: str) -> LogFormat:
    """Compile an nginx string; one that is a JSON object becomes an exact map from its keys to roles."""
    if escape == "json" and text.lstrip().startswith("{"):
        try:
            template = load_object(_UNQUOTED_VALUE.sub(r'\1"\2"\3', text))
        except MalformedInput:
            return compile_nginx(text, escape=escape)
        exact = {
            key: nginx_role(match[1] or match[2])
            for key, value in template.items()
            if isinstance(value, str) and (match := NGINX_VARIABLE.fullmatch(value))
        }
        return JsonFormat("nginx-json", {key: role for key, role in exact.items() if role[0]})
    return compile_nginx(text, escape=escape)


def _unquote(text: str) -> str:
    """Undo the backslashes of a quoted string in nginx's configuration (they stand before quotes and backslashes)."""
    return re.sub(r"\\(['\"\\])", r"\1", text)


def _fits(format: LogFormat, line: str) -> bool:
    """Tell whether the layout of `line` is that of `format`, with values of the kind that belong there."""
    try:
        if isinstance(format, TemplateFormat):
            roles = format.fields(line).roles
            status = roles.get("status")
            return (
                parse_time(roles.get("time", "")) is not None
                and (status is None or parse_status(status) is not None)
                and " " not in roles.get("client", "")
            )
        if isinstance(format, W3CFormat):
            return line.startswith("#Fields:")
        if not line.lstrip().startswith("{"):
            return False
        if isinstance(format, RecordFormat):
            return looks_like_record(load_object(line))
        return format.parse(line) is not None
    except MalformedInput as error:
        return error.field != "layout" and isinstance(format, JsonFormat)
