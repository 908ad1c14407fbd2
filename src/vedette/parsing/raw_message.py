"""A raw HTTP/1 request message (RFC 9112), as saved by a proxy, copied from a tool or typed by a person.

Read once from the front. Line endings may be CRLF, LF or CR. Everything after the empty line is the body, whatever
Content-Length says, so that nothing hides behind a wrong length; only line endings that an editor left after a body of
known length are cut. A chunked body is taken out of its chunks (section 7.1), trailers are added to the headers.
"""

from __future__ import annotations

import re

from vedette.errors import MalformedInput, RequestError
from vedette.http_request import HTTPRequest, validate_headers, validate_method
from vedette.parsing.wire_text import to_bytes, to_text

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
MAX_HEAD_BYTES = 1024 * 1024
_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?(?:\r\n|\n|\r(?!\n))")
_LINE_END = re.compile(rb"\r\n|\n|\r")


def parse_raw_message(message: bytes | str) -> HTTPRequest:
    """Return the request in `message`; raises `MalformedInput` naming the line or header at fault."""
    data = to_bytes(message) if isinstance(message, str) else message
    if len(data) > MAX_MESSAGE_BYTES:
        raise MalformedInput(f"the message is longer than {MAX_MESSAGE_BYTES} bytes", field="message")
    data = data.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")  # section 2.2: ignore empty lines before the request
    lines, body = _split_head(data)
    method, target = _request_line(lines[0])
    headers = _headers(lines[1:])
    if any(name.lower() == "transfer-encoding" and "chunked" in value.lower() for name, value in headers):
        body, trailers = _unchunk(body)
        headers += _headers(trailers)
    else:
        body = _without_editor_line_end(body, headers)
    try:
        return HTTPRequest(validate_method(method), target, validate_headers(headers), body)
    except RequestError as error:
        raise MalformedInput(str(error), field=error.field) from None


def _split_head(data: bytes) -> tuple[list[str], bytes]:
    """Return the lines of the head and the bytes after the empty line."""
    if not data:
        raise MalformedInput("the message is empty", field="message")
    first = _LINE_END.search(data)
    ending = b"\r" if first is not None and first[0] == b"\r" else b"\n"
    lines: list[str] = []
    start = 0
    while start < len(data):
        end = data.find(ending, start)
        stop = len(data) if end < 0 else end
        if stop > MAX_HEAD_BYTES:
            raise MalformedInput(f"the head is longer than {MAX_HEAD_BYTES} bytes", field="headers")
        line = data[start:stop].removesuffix(b"\r")
        start = len(data) if end < 0 else end + 1
        if not line:
            break
        lines.append(to_text(line))
    return lines, data[start:]


def _request_line(line: str) -> tuple[str, str]:
    method, space, rest = line.partition(" ")
    target, _, protocol = rest.rpartition(" ")
    if not protocol.startswith("HTTP/"):
        target = rest
    if not space or not target.strip():
        raise MalformedInput("the first line is not METHOD TARGET HTTP/VERSION", field="request line")
    return method, target.strip(" ")


def _headers(lines: list[str]) -> list[tuple[str, str]]:
    """Return the fields in `lines`; folded lines (section 5.2) are joined by a space, so is a bare CR (section 2.2)."""
    found: list[tuple[str, list[str]]] = []
    for number, line in enumerate(lines, 2):
        if line[0] in " \t":
            if not found:
                raise MalformedInput(f"line {number} continues a header, but none came before", field=f"line {number}")
            found[-1][1].append(line.strip(" \t"))
            continue
        name, colon, value = line.partition(":")
        if not colon:
            raise MalformedInput(f"line {number} holds no colon, so it is no header", field=f"line {number}")
        found.append((name.rstrip(" \t"), [value.strip(" \t")]))
    return [(name, " ".join(values).replace("\r", " ")) for name, values in found]


def _unchunk(body: bytes) -> tuple[bytes, list[str]]:
    """Return content and trailer lines of a chunked body; raises `MalformedInput` naming the chunk."""
    parts: list[bytes] = []
    start = 0
    while True:
        number = len(parts) + 1
        size_line = _CHUNK_SIZE.match(body, start)
        if size_line is None:
            raise MalformedInput(f"chunk {number} has no size line", field="body")
        start, size = size_line.end(), int(size_line[1], 16)
        if size == 0:
            break
        if start + size > len(body):
            raise MalformedInput(f"chunk {number} ends before its {size} bytes", field="body")
        parts.append(body[start : start + size])
        end = _LINE_END.match(body, start + size)
        if end is None:
            raise MalformedInput(f"chunk {number} does not end after its {size} bytes", field="body")
        start = end.end()
    trailers = _split_head(body[start:])[0] if body[start:].strip(b"\r\n") else []
    return b"".join(parts), trailers


def _without_editor_line_end(body: bytes, headers: list[tuple[str, str]]) -> bytes:
    lengths = {value for name, value in headers if name.lower() == "content-length"}
    length = lengths.pop() if len(lengths) == 1 else ""
    if length.isascii() and length.isdigit() and len(length) < 12:
        if not body[int(length) :].strip(b"\r\n"):
            return body[: int(length)]
    elif not body.strip(b"\r\n"):
        return b""
    return body
