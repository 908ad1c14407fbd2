"""One request out of what a person has at hand: flags, a URL, a curl command line, or a raw HTTP message.

    ``curl -d a=1 https://site/`` as one argument, or its words after ``--``    -> parse_curl
    ``-`` or the name of a file: a raw message, a curl command line or a JSON Lines record, told apart by how it begins
    anything else: a URL, or a path on an unnamed host

What was meant is decided by the first bytes alone, so the same input always means the same.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from vedette.errors import MalformedInput
from vedette.http_request import HTTPRequest, validate_headers, validate_method
from vedette.parsing.curl_command import is_curl_command, parse_curl
from vedette.parsing.raw_message import MAX_MESSAGE_BYTES, parse_raw_message
from vedette.parsing.record import parse_record
from vedette.parsing.url_parts import split_url
from vedette.parsing.wire_text import to_bytes, to_text


@dataclass(frozen=True, slots=True)
class RequestFlags:
    """The flags of `vedette check` that build or change a request."""

    method: str | None = None
    url: str | None = None
    headers: tuple[str, ...] = ()
    data: str | None = None
    client_ip: str | None = None


def read_request(words: Sequence[str], flags: RequestFlags) -> HTTPRequest:
    """Return the request that `words` and `flags` describe; raises `MalformedInput` saying what is missing."""
    if words and flags.url is not None:
        raise MalformedInput("give the request once: as an argument or by --url", field="url")
    if words:
        request = _from_words(words)
    elif flags.url is not None:
        request = from_url(flags.url)
    elif not sys.stdin.isatty():
        request = from_bytes(sys.stdin.buffer.read(MAX_MESSAGE_BYTES + 1))
    else:
        raise MalformedInput("no request: give a URL, a curl command line, a file, or - for standard input")
    return _with_flags(request, flags)


def from_url(url: str) -> HTTPRequest:
    """Return a GET of `url`: an absolute URL, ``host/path``, or a path. Spaces and the like are sent as curl would."""
    if url.startswith(("/", "?")):
        return HTTPRequest("GET", _as_sent(url if url.startswith("/") else "/" + url))
    parts = split_url(url if "://" in url.partition("?")[0] else f"http://{url}")
    if parts is None or not parts.authority:
        raise MalformedInput(f"not a URL: {url[:80]!r}", field="url")
    return HTTPRequest("GET", _as_sent(parts.target), (("Host", parts.authority),))


def from_bytes(data: bytes) -> HTTPRequest:
    """Return the request in a file: a raw message, a curl command line, or a JSON Lines record."""
    if is_curl_command(to_text(data[:1024])):
        return parse_curl(to_text(data))
    if data[:64].lstrip().startswith(b"{"):
        return parse_record(data).request
    return parse_raw_message(data)


def _from_words(words: Sequence[str]) -> HTTPRequest:
    first = words[0]
    command = first if len(words) == 1 else shlex.join(words)
    if is_curl_command(command):
        return parse_curl(command)
    if len(words) > 1:
        raise MalformedInput(f"one request at a time; what is {words[1][:80]!r}?")
    if first == "-":
        return from_bytes(sys.stdin.buffer.read(MAX_MESSAGE_BYTES + 1))
    if "://" not in first and len(first) < 4096 and "\0" not in first and Path(first).is_file():
        try:
            with Path(first).open("rb") as file:
                return from_bytes(file.read(MAX_MESSAGE_BYTES + 1))
        except OSError as error:
            raise MalformedInput(f"{first}: cannot be read: {error.strerror}") from error
    return from_url(first)


def _with_flags(request: HTTPRequest, flags: RequestFlags) -> HTTPRequest:
    headers = list(request.headers)
    for line in flags.headers:
        name, colon, value = line.partition(":")
        if not colon:
            raise MalformedInput(f"not NAME: VALUE: {line[:80]!r}", field="header")
        headers.append((name.strip(), value.strip()))
    body = request.body
    method = request.method
    if flags.data is not None:
        body = _data(flags.data)
        method = "POST" if method == "GET" else method
        if not any(name.lower() == "content-type" for name, _ in headers):
            kind = "application/json" if body.lstrip()[:1] in (b"{", b"[") else "application/x-www-form-urlencoded"
            headers.append(("Content-Type", kind))
    return replace(
        request,
        method=validate_method(flags.method or method),
        headers=validate_headers(headers),
        body=body,
        client_ip=flags.client_ip or request.client_ip,
    )


def _data(text: str) -> bytes:
    """Return the body: the text itself, or what the file named after ``@`` holds."""
    if not text.startswith("@"):
        return to_bytes(text)
    try:
        with Path(text[1:]).open("rb") as file:
            return file.read(MAX_MESSAGE_BYTES + 1)
    except OSError as error:
        raise MalformedInput(f"{text[1:]}: cannot be read: {error.strerror}", field="data") from error


def _as_sent(target: str) -> str:
    """Percent-encode what cannot stand in a request line; everything else stays as typed."""
    return quote(to_bytes(target.partition("#")[0]), safe="!$&'()*+,-./0123456789:;=?@_~%[]{}|\\^`\"<>")
