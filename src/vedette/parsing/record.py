"""JSON Lines records of the dataset format: whole requests, and bare values judged as ``GET /?q=<value>``.

{"id", "label", "class", "method", "url", "headers", "body" | "body_base64", "site"?}
{"id", "label", "class", "kind": "value", "value"}
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from urllib.parse import quote_from_bytes

from vedette.errors import MalformedInput
from vedette.http_request import HTTPRequest
from vedette.parsing.log_entry import LogEntry, check_method
from vedette.parsing.log_json import load_object
from vedette.parsing.url_parts import split_url
from vedette.parsing.wire_text import to_bytes, to_text

LABELS = ("benign", "attack", "ambiguous")


class RecordFormat:
    """One dataset record a line."""

    name = "jsonl"

    def parse(self, line: str) -> LogEntry | None:
        """Return the entry in `line`; raises `MalformedInput`."""
        return parse_record(line)


def parse_record(line: str | bytes) -> LogEntry:
    """Return the request of one JSON Lines record; raises `MalformedInput` naming the key at fault."""
    record = load_object(to_text(line) if isinstance(line, bytes) else line)
    label = _text(record, "label")
    if label is not None and label not in LABELS:
        raise MalformedInput("label is not benign, attack or ambiguous", field="label")
    request = _value_request(record) if record.get("kind") == "value" else _whole_request(record)
    return LogEntry(
        request,
        label=label,
        attack_class=_text(record, "class"),
        site=_text(record, "site"),
        record_id=_text(record, "id"),
    )


def looks_like_record(record: Mapping[str, object]) -> bool:
    """Tell whether a JSON object is a record of the dataset format rather than a line of a JSON log."""
    if record.get("kind") == "value":
        return "value" in record
    return "url" in record and "method" in record and ("label" in record or "body" in record or "body_base64" in record)


def _value_request(record: Mapping[str, object]) -> HTTPRequest:
    value = record.get("value")
    if not isinstance(value, str):
        raise MalformedInput("value is not a string", field="value")
    return HTTPRequest("GET", "/?q=" + quote_from_bytes(to_bytes(value), safe=""))


def _whole_request(record: Mapping[str, object]) -> HTTPRequest:
    method, target = _text(record, "method"), _text(record, "url")
    if method is None or not target:
        raise MalformedInput("method or url is missing", field="url" if method else "method")
    check_method(method)
    headers = _headers(record.get("headers"))
    if (url := split_url(target)) is not None:
        target = url.target
        if not any(name.lower() == "host" for name, _ in headers):
            headers = (("Host", url.authority), *headers)
    return HTTPRequest(method, target, headers, _body(record), _text(record, "client_ip"))


def _headers(headers: object) -> tuple[tuple[str, str], ...]:
    """Accept an object of strings or lists of them, or a list of pairs; values stay as recorded."""
    pairs: list[tuple[str, str]] = []
    if isinstance(headers, Mapping):
        for name, value in headers.items():
            for item in value if isinstance(value, list) else (value,):
                if not isinstance(item, str):
                    raise MalformedInput("a header value is not a string", field="headers")
                pairs.append((str(name), item))
    elif isinstance(headers, list):
        for pair in headers:
            if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair)):
                raise MalformedInput("a header is not a pair of strings", field="headers")
            pairs.append((pair[0], pair[1]))
    elif headers is not None:
        raise MalformedInput("headers is neither an object nor a list", field="headers")
    return tuple(pairs)


def _body(record: Mapping[str, object]) -> bytes:
    body, encoded = record.get("body"), record.get("body_base64")
    if encoded is not None:
        if body is not None:
            raise MalformedInput("body and body_base64 are both given", field="body_base64")
        try:
            return b64decode(encoded if isinstance(encoded, str) else "?", validate=True)
        except (binascii.Error, ValueError):
            raise MalformedInput("body_base64 is not base64", field="body_base64") from None
    if body is None:
        return b""
    if not isinstance(body, str):
        raise MalformedInput("body is not a string", field="body")
    return to_bytes(body)


def _text(record: Mapping[str, object], key: str) -> str | None:
    value = record.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise MalformedInput(f"{key} is not a string", field=key)
    return str(value)
