"""From what a caller says about a request to the `HTTPRequest` that is judged.

The Python API and the HTTP API share this, so that the same call means the same request on both. Values given decoded
(`query_params` as a mapping) are encoded as a browser would (WHATWG URL, application/x-www-form-urlencoded) and
appended to the query that `path` may already carry; text becomes UTF-8, and lone surrogates stand for the bytes they
came from. What cannot be a request is a `RequestError` naming the field; hostile content is none of its business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote_plus

import msgspec

from vedette.errors import RequestError
from vedette.http_request import HTTPRequest, validate_headers, validate_method
from vedette.parsing.native_reading import native

_JSON_TYPE = ("Content-Type", "application/json")
_KEYS = frozenset(("method", "path", "query_params", "headers", "body", "client_ip", "deadline_s"))
_encode_json = msgspec.json.Encoder().encode


def build_request(
    *,
    method: str,
    path: str,
    query_params: Mapping[str, Any] | str | None = None,
    headers: Mapping[str, Any] | Iterable[Sequence[str]] | None = None,
    body: Any = None,
    client_ip: str | None = None,
    body_is_json: bool = False,
) -> HTTPRequest:
    """Return the request.

    `query_params` is a raw query string, or maps names to a string, number, boolean, None or a list of them. `headers`
    is a mapping or pairs. `body` is bytes, text, any other JSON value (which is serialised), or None for no body; a
    JSON value, or bytes with `body_is_json`, is sent as ``application/json`` where no Content-Type is given.
    """
    if not isinstance(method, str):
        raise RequestError("must be a string", field="method")
    if not isinstance(path, str):
        raise RequestError("must be a string", field="path")
    if client_ip is not None and not isinstance(client_ip, str):
        raise RequestError("must be a string", field="client_ip")
    pairs = _headers(headers) if headers else ()
    content, is_json = _body(body)
    if (is_json or body_is_json) and not any(name.lower() == "content-type" for name, _ in pairs):
        pairs = (*pairs, _JSON_TYPE)
    target = _with_query(path, query_params) if query_params else path
    return HTTPRequest(validate_method(method), target, pairs, content, client_ip)


def request_of(item: HTTPRequest | Mapping[str, Any], *, at: str = "") -> HTTPRequest:
    """Return `item` as a request; a mapping has the keys of `build_request`. Errors name the field below `at`."""
    if isinstance(item, HTTPRequest):
        return item
    prefix = f"{at}." if at else ""
    if not isinstance(item, Mapping):
        raise RequestError("must be a mapping or an HTTPRequest", field=at or None)
    unknown = [key for key in item if key not in _KEYS]
    if unknown:
        raise RequestError("is not a field of a request", field=f"{prefix}{str(unknown[0])[:64]}")
    for key in ("method", "path"):
        if key not in item:
            raise RequestError("is required", field=f"{prefix}{key}")
    try:
        return build_request(**{key: value for key, value in item.items() if key != "deadline_s"})
    except RequestError as error:
        raise RequestError(str(error), field=f"{prefix}{error.field}" if error.field else at or None) from None


def validate_deadline(deadline_s: Any, *, field: str = "deadline_s") -> float | None:
    """Return `deadline_s` if it is None or a positive number of seconds, else raise `RequestError`."""
    if deadline_s is None:
        return None
    if isinstance(deadline_s, bool) or not isinstance(deadline_s, int | float) or not deadline_s > 0:
        raise RequestError("must be a positive number of seconds", field=field)
    return float(deadline_s)


def _headers(headers: Any) -> tuple[tuple[str, str], ...]:
    if type(headers) is dict:
        headers = list(headers.items())
    if native is not None and type(headers) is list:
        pairs = native.valid_headers(headers)
        if pairs is not None:
            return pairs
    return validate_headers(_pairs(headers))


def _pairs(headers: Any) -> tuple[tuple[str, str], ...]:
    if isinstance(headers, str | bytes) or not isinstance(headers, Iterable):
        raise RequestError("must be an object or a list of [name, value] pairs", field="headers")
    items: Iterable[Any] = headers.items() if isinstance(headers, Mapping) else headers
    pairs: list[tuple[str, str]] = []
    for item in items:
        if type(item) is tuple and len(item) == 2 and type(item[0]) is type(item[1]) is str:
            pairs.append(item)
            continue
        if isinstance(item, str | bytes) or not isinstance(item, Sequence) or len(item) != 2:
            raise RequestError("must be an object or a list of [name, value] pairs", field="headers")
        name, value = item
        if not isinstance(name, str):
            raise RequestError("a header name must be a string", field="headers")
        if not isinstance(value, str):
            raise RequestError("must be a string", field=f"headers.{name[:64]}")
        pairs.append((name, value))
    return tuple(pairs)


def _body(body: Any) -> tuple[bytes, bool]:
    """Return the body's bytes and whether it was given as a JSON value."""
    if body is None:
        return b"", False
    if isinstance(body, str):
        return _to_bytes(body), False
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body), False
    try:
        return _encode_json(body), True
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        raise RequestError(f"is no text, bytes or JSON value: {error}", field="body") from None


def _to_bytes(text: str) -> bytes:
    """UTF-8; lone surrogates that stand for bytes become those bytes, others their three-byte form."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _with_query(path: str, query_params: Mapping[str, Any] | str) -> str:
    if isinstance(query_params, str):
        query = query_params.removeprefix("?")
    elif isinstance(query_params, Mapping):
        query = "&".join(
            f"{_quote(name)}={_quote(_scalar(value, name))}"
            for name, values in query_params.items()
            for value in (values if isinstance(values, list | tuple) else (values,))
        )
    else:
        raise RequestError("must be an object or a raw query string", field="query_params")
    if not query:
        return path
    target, mark, fragment = path.partition("#")
    joint = "" if target.endswith(("?", "&")) else "&" if "?" in target else "?"
    return f"{target}{joint}{query}{mark}{fragment}"


def _quote(text: Any) -> str:
    if not isinstance(text, str):
        raise RequestError("names must be strings", field="query_params")
    return quote_plus(_to_bytes(text))


def _scalar(value: Any, name: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    raise RequestError("must be a string, number, boolean, null or a list of them", field=f"query_params.{name}"[:128])
