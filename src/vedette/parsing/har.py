"""HTTP archives (HAR 1.2, http://www.softwareishard.com/blog/har-12-spec/): each entry's request.

A browser writes a HAR as one JSON document, so it is read whole, up to a limit; entries are then taken one by one, and
one that cannot be read does not take the others with it.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Iterator, Mapping
from urllib.parse import urlencode

from vedette.errors import MalformedInput, RequestError
from vedette.http_request import HTTPRequest, validate_headers, validate_method
from vedette.parsing.log_entry import LogEntry, parse_time
from vedette.parsing.url_parts import split_url
from vedette.parsing.wire_text import load_json, to_bytes

MAX_HAR_BYTES = 256 * 1024 * 1024


def iter_har(data: bytes) -> Iterator[LogEntry | MalformedInput]:
    """Yield each entry of the archive in `data`, or the error that says why it cannot be read.

    Raises `MalformedInput` where the document as a whole is no HAR.
    """
    if len(data) > MAX_HAR_BYTES:
        raise MalformedInput(f"the archive is larger than {MAX_HAR_BYTES} bytes", field="har")
    document = load_json(data.removeprefix(b"\xef\xbb\xbf"), field="har")
    log = document.get("log") if isinstance(document, Mapping) else None
    entries = log.get("entries") if isinstance(log, Mapping) else None
    if not isinstance(entries, list):
        raise MalformedInput("log.entries is not a list", field="log.entries")
    for entry in entries:
        try:
            yield parse_har_entry(entry)
        except MalformedInput as error:
            yield error


def parse_har_entry(entry: object) -> LogEntry:
    """Return the request of one HAR entry (or of its ``request`` object); raises `MalformedInput` naming the key."""
    if not isinstance(entry, Mapping):
        raise MalformedInput("the entry is not an object", field="entry")
    request = entry.get("request", entry)
    if not isinstance(request, Mapping):
        raise MalformedInput("request is not an object", field="request")
    method, url = request.get("method"), request.get("url")
    if not isinstance(method, str):
        raise MalformedInput("request.method is not a string", field="request.method")
    if not isinstance(url, str) or not url:
        raise MalformedInput("request.url is not a string", field="request.url")
    host, target = _place(url)
    headers = _headers(request, host)
    try:
        read = HTTPRequest(validate_method(method), target, validate_headers(headers), _body(request))
    except MalformedInput:
        raise
    except RequestError as error:
        raise MalformedInput(str(error), field=f"request.{error.field}") from None
    response, time = entry.get("response"), entry.get("startedDateTime")
    status = response.get("status") if isinstance(response, Mapping) else None
    return LogEntry(
        read,
        time=parse_time(time) if isinstance(time, str) else None,
        status=status if isinstance(status, int) and 100 <= status <= 999 else None,
    )


def _place(url: str) -> tuple[str | None, str]:
    parts = split_url(url)
    if parts is not None:
        return parts.authority, parts.target
    if url.startswith("/"):
        return None, url.partition("#")[0]
    raise MalformedInput("request.url is not an absolute URL", field="request.url")


def _headers(request: Mapping[str, object], host: str | None) -> list[tuple[str, str]]:
    """Return the headers; HTTP/2 pseudo-headers are dropped, Host and Cookie are added from elsewhere if missing."""
    pairs = [pair for pair in _pairs(request.get("headers"), "request.headers") if not pair[0].startswith(":")]
    names = {name.lower() for name, _ in pairs}
    if host and "host" not in names:
        pairs.insert(0, ("Host", host))
    if "cookie" not in names and (cookies := _pairs(request.get("cookies"), "request.cookies")):
        pairs.append(("Cookie", "; ".join(f"{name}={value}" for name, value in cookies)))
    return [(name, value.replace("\n", ", ")) for name, value in pairs]  # Chrome joins repeated headers by a newline


def _body(request: Mapping[str, object]) -> bytes:
    post = request.get("postData")
    if post is None:
        return b""
    if not isinstance(post, Mapping):
        raise MalformedInput("request.postData is not an object", field="request.postData")
    text = post.get("text")
    if isinstance(text, str) and text:
        if "base64" not in (post.get("encoding"), post.get("_encoding")):
            return to_bytes(text)
        try:
            return b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise MalformedInput("request.postData.text is not base64", field="request.postData.text") from None
    params = _pairs(post.get("params"), "request.postData.params")
    return urlencode([(to_bytes(name), to_bytes(value)) for name, value in params]).encode("ascii")


def _pairs(items: object, field: str) -> list[tuple[str, str]]:
    """Return the (name, value) pairs of a HAR list of objects; a missing value is empty."""
    if items is None:
        return []
    if not isinstance(items, list):
        raise MalformedInput(f"{field} is not a list", field=field)
    pairs: list[tuple[str, str]] = []
    for item in items:
        name = item.get("name") if isinstance(item, Mapping) else None
        value = item.get("value", "") if isinstance(item, Mapping) else None
        if not isinstance(name, str) or not isinstance(value, str | None):
            raise MalformedInput(f"{field} holds something that is no name and value", field=field)
        pairs.append((name, value or ""))
    return pairs
