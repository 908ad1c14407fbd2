"""nginx ``log_format`` and Apache ``LogFormat`` strings, compiled to a parser that is linear in the line.

A format is a row of slots with literal text between. A line is read from the left: each slot ends at the next place
where the literal after it occurs, found with `str.find`, which never goes back; a slot between quotes ends at the first
such literal whose quote is not escaped. No regular expression sees a line as a whole, so no line can make one
backtrack. A slot whose value is known to hold its separator (a space in a date) skips as many as the known shape holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from vedette.errors import ConfigError, MalformedInput
from vedette.parsing.log_entry import LogEntry, LogFields, assemble, in_range
from vedette.parsing.url_parts import strip_port
from vedette.parsing.wire_text import unescape_json, unescape_log

_CLF_SHAPE = "10/Oct/2000:13:55:36 -0700"
_ESCAPES: dict[str, Callable[[str], str]] = {"default": unescape_log, "json": unescape_json, "none": str}

# https://nginx.org/en/docs/varindex.html; names not listed are read over. The prefixes are below.
_NGINX_ROLES = {
    "remote_addr": "client", "client_and_port": "client_with_port",
    "time_local": "time", "time_iso8601": "time", "msec": "time",
    "request": "request", "request_method": "method", "request_uri": "target", "uri": "path", "document_uri": "path",
    "args": "query", "query_string": "query", "status": "status", "host": "host", "server_name": "server",
    "request_body": "body",
}  # fmt: skip
_NGINX_HEADERS = {"content_type": "Content-Type", "content_length": "Content-Length"}
_NGINX_SHAPES = {"time_local": _CLF_SHAPE, "request": "GET / HTTP/1.1"}

# https://httpd.apache.org/docs/2.4/mod/mod_log_config.html
_APACHE_ROLES = {
    "h": "client", "a": "client", "r": "request", "m": "method", "U": "path", "q": "query", "s": "status", "t": "time",
    "v": "server", "V": "host",
}  # fmt: skip

NGINX_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_APACHE_DIRECTIVE = re.compile(r"%(?:!?\d{3}(?:,\d{3})*)?[<>]?(?:\{([^}]*)\})?(\^t[io]|[A-Za-z%])")


@dataclass(frozen=True, slots=True)
class Slot:
    """One value of a line: what it is, and the literal that ends it (empty: the rest of the line)."""

    role: str
    name: str
    separator: str
    quoted: bool
    skip: int


@dataclass(frozen=True, slots=True)
class TemplateFormat:
    """A compiled format string. With `open_ended`, text after the last slot is read over."""

    name: str
    prefix: str
    slots: tuple[Slot, ...]
    escape: str = "default"
    open_ended: bool = False
    time_format: str | None = None

    def parse(self, line: str) -> LogEntry | None:
        """Return the entry in `line`; raises `MalformedInput` with field ``layout`` or ``request``."""
        return assemble(self.fields(line))

    def fields(self, line: str) -> LogFields:
        """Return the parts of `line` by role, unescaped; raises `MalformedInput` if the layout does not fit."""
        fields = LogFields()
        unescape = _ESCAPES[self.escape]
        if not line.startswith(self.prefix):
            raise _misfit()
        start = len(self.prefix)
        last = len(self.slots) - 1
        for i, slot in enumerate(self.slots):
            end = self._end_of(slot, line, start, last=i == last)
            if slot.role and not (end - start == 1 and line[start] == "-"):  # both servers write "-" for absent
                fields.put(slot.role, slot.name, unescape(line[start:end]))
            start = end + len(slot.separator)
        return self._settle(fields)

    def _end_of(self, slot: Slot, line: str, start: int, *, last: bool) -> int:
        separator = slot.separator
        if last and not self.open_ended:
            end = len(line) - len(separator)
            if end < start or not line.endswith(separator):
                raise _misfit()
            return end
        if not separator:
            return len(line)
        end = line.find(separator, start)
        skip = slot.skip
        while end >= 0 and (skip or (slot.quoted and _is_escaped(line, end, start))):
            skip = max(0, skip - 1)
            end = line.find(separator, end + 1)
        if end < 0:
            raise _misfit()
        return end

    def _settle(self, fields: LogFields) -> LogFields:
        """Choose between roles that tell the same thing in different ways."""
        roles = fields.roles
        if "place" in roles:
            host, slash, rest = roles["place"].partition("/")
            roles.setdefault("host", host)
            roles.setdefault("target", slash + rest)
        if "request" in roles and ("method" not in roles or "target" not in roles):
            roles.pop("method", None)
            roles.pop("target", None)
            roles.pop("query", None)
        elif "target" not in roles and "path" in roles:
            roles["target"] = roles["path"]
        if "client_with_port" in roles:
            roles.setdefault("client", strip_port(roles["client_with_port"]))
        if "server" in roles:
            roles.setdefault("host", roles["server"])
        if self.time_format is not None and "time" in roles:
            try:
                seconds = in_range(datetime.strptime(roles["time"], self.time_format))
            except ValueError:
                seconds = None
            roles["time"] = "" if seconds is None else repr(seconds)
        return fields


def compile_nginx(
    text: str, *, name: str = "nginx", escape: str = "default", open_ended: bool = False
) -> TemplateFormat:
    """Compile the string of an nginx ``log_format``. Raises `ConfigError` where two variables touch."""
    pieces: list[_Piece] = []
    position = 0
    for match in NGINX_VARIABLE.finditer(text):
        literal = text[position : match.start()]
        variable = match[1] or match[2]
        role, header = nginx_role(variable)
        pieces.append(_Piece(literal, role, header, _NGINX_SHAPES.get(variable, ""), "$" + variable))
        position = match.end()
    return _link(pieces, text[position:], name=name, escape=escape, open_ended=open_ended)


def compile_apache(text: str, *, name: str = "apache", open_ended: bool = False) -> TemplateFormat:
    """Compile the string of an Apache ``LogFormat``, with or without ``\\"`` for its quotes."""
    text = text.replace('\\"', '"').replace("\\t", "\t")
    pieces: list[_Piece] = []
    time_format: str | None = None
    position = 0
    literal = ""
    for match in _APACHE_DIRECTIVE.finditer(text):
        literal += text[position : match.start()]
        position = match.end()
        argument, letter = match[1], match[2]
        if letter == "%":
            literal += "%"
            continue
        role, header, shape = _apache_role(argument, letter)
        if letter == "t" and argument is None:  # %t writes its own brackets
            pieces.append(_Piece(literal + "[", role, header, shape, "%t"))
            literal = "]"
            continue
        if letter == "t" and argument and "%" in argument:
            time_format = argument.removeprefix("begin:").removeprefix("end:")
        pieces.append(_Piece(literal, role, header, shape, match[0]))
        literal = ""
    return _link(pieces, literal + text[position:], name=name, open_ended=open_ended, time_format=time_format)


@dataclass(frozen=True, slots=True)
class _Piece:
    before: str
    role: str
    header: str
    shape: str
    source: str


def _link(
    pieces: list[_Piece],
    tail: str,
    *,
    name: str,
    escape: str = "default",
    open_ended: bool = False,
    time_format: str | None = None,
) -> TemplateFormat:
    if not pieces:
        raise ConfigError("the log format holds no variable", key="format")
    roles = {piece.role for piece in pieces}
    if not roles & {"request", "target", "path"}:
        raise ConfigError("the log format holds no request: log $request or %r", key="format")
    if escape not in _ESCAPES:
        raise ConfigError(f"escape={escape[:32]} is not one of default, json, none", key="format")
    slots = []
    pieces = _joined(pieces)
    for i, piece in enumerate(pieces):
        separator = pieces[i + 1].before if i + 1 < len(pieces) else tail
        if not separator and i + 1 < len(pieces):
            if piece.role or pieces[i + 1].role:
                raise ConfigError(f"nothing stands between {piece.source} and {pieces[i + 1].source}", key="format")
            continue  # two values that nobody reads
        quoted = piece.before.endswith('"') and separator.startswith('"')
        skip = piece.shape.count(separator) if separator and not quoted else 0
        slots.append(Slot(piece.role, piece.header, separator, quoted, skip))
    return TemplateFormat(name, pieces[0].before, tuple(slots), escape, open_ended, time_format)


# Variables that formats write without anything between: what they are together.
_TOGETHER = {
    ("path", "query"): "target", ("target", "query"): "target", ("path", "?"): "target", ("host", "target"): "place",
    ("host", "path"): "place", ("server", "target"): "place", ("server", "path"): "place", ("place", "?"): "place",
    ("place", "query"): "place", ("target", "?"): "target",
}  # fmt: skip


def _joined(pieces: list[_Piece]) -> list[_Piece]:
    """Make one value of ``%U%q``, ``$uri$is_args$args`` and ``$host$request_uri``."""
    out: list[_Piece] = []
    for piece in pieces:
        role = "?" if piece.source == "$is_args" else piece.role
        if out and not piece.before and (together := _TOGETHER.get((out[-1].role, role))):
            out[-1] = replace(out[-1], role=together)
        else:
            out.append(piece)
    return out


def nginx_role(variable: str) -> tuple[str, str]:
    """Return the role of an nginx variable, and the name of the header or cookie it holds."""
    if variable in _NGINX_HEADERS:
        return "header", _NGINX_HEADERS[variable]
    for prefix, role in (("http_", "header"), ("cookie_", "cookie")):
        if variable.startswith(prefix):
            name = variable.removeprefix(prefix)
            return role, header_name(name) if role == "header" else name
    return _NGINX_ROLES.get(variable, ""), ""


def header_name(variable: str) -> str:
    """Return the usual spelling of a header from its CGI-like name: ``user_agent`` becomes ``User-Agent``."""
    return "-".join(word.capitalize() for word in variable.split("_"))


def _apache_role(argument: str | None, letter: str) -> tuple[str, str, str]:
    if letter == "i" and argument:
        return "header", argument, ""
    if letter == "C" and argument:
        return "cookie", argument, ""
    if letter == "t":
        return "time", "", _CLF_SHAPE if argument is None else (argument if "%" in argument else "")
    if letter == "a" and argument == "c":
        return "", "", ""  # the peer, which is a proxy where it differs from %a
    return _APACHE_ROLES.get(letter, ""), "", "GET / HTTP/1.1" if letter == "r" else ""


def _is_escaped(line: str, position: int, start: int) -> bool:
    """Tell whether an odd number of backslashes stands before `position`. Runs of them are never read twice."""
    first = position
    while first > start and line[first - 1] == "\\":
        first -= 1
    return (position - first) % 2 == 1


def _misfit() -> MalformedInput:
    return MalformedInput("the line does not fit the log format", field="layout")
