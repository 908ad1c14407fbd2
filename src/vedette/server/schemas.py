"""The shapes that go over the wire, and their reading: bytes -> `CheckRequest`, or one `RequestError` naming the field.

msgspec checks types while it decodes, in C, so there is no second validation pass. A JSON value given as `body` is
kept as the bytes that were sent (`msgspec.Raw`): duplicate keys, number formats and order reach the inspection as they
came. A key that is not part of the contract is refused by name, because a misspelled `query_params` that was silently
ignored would be a request that nobody inspected.

Cost of hostile input: decoding is linear in the bytes. Nesting deeper than the interpreter's recursion limit (about
900 levels) ends in a named error; a body that must be nested deeper can be sent as a string or as `body_base64`.
"""

from __future__ import annotations

import binascii
import re
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from vedette.errors import RequestError
from vedette.verdict import Verdict

Scalar = str | int | float | bool | None
QueryParams = dict[str, Scalar | list[Scalar]] | str | None
Headers = dict[str, str] | list[tuple[str, str]] | None

CheckResponse = Verdict
"""The answer of POST /check is a `Verdict` as it stands."""

_BASE64_CHUNK = 1 << 20  # a multiple of 4; 1 MiB takes some 8 ms (2026-11), so other threads get their turn in between
_AT = re.compile(r" - at `\$\.?(.*)`\Z", re.DOTALL)
_NAMED = re.compile(r"Object (?:missing required|contains unknown) field `([^`]*)`")


class CheckRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One HTTP request to be judged. `body` and `body_base64` exclude each other."""

    method: Annotated[str, Meta(description="HTTP method, an RFC 9110 token.", examples=["GET"])]
    path: Annotated[
        str,
        Meta(
            description="Request target as it was sent, still percent-encoded; may carry a query.",
            examples=["/api/users?id=123"],
        ),
    ]
    query_params: Annotated[
        QueryParams,
        Meta(
            description="Arguments added to the query in `path`: a raw query string, or an object of already decoded "
            "values (string, number, boolean, null, or a list of them)."
        ),
    ] = None
    headers: Annotated[
        Headers, Meta(description="Object, or list of [name, value] pairs where a name occurs more than once.")
    ] = None
    body: Annotated[
        Raw | UnsetType,
        Meta(
            description="Text of the body, or any JSON value (then the body is that JSON); null or absent: no body.",
            extra_json_schema={"type": ["string", "object", "array", "number", "boolean", "null"]},
        ),
    ] = UNSET
    body_base64: Annotated[
        str | None,
        Meta(
            description="Bytes of the body in standard, padded base64 (RFC 4648 section 4); use it for anything binary."
        ),
    ] = None
    client_ip: Annotated[
        str | None,
        Meta(
            description="Address of the client that sent the request; believed only from a listed proxy.",
            examples=["203.0.113.7"],
        ),
    ] = None
    deadline_ms: Annotated[
        Annotated[float, Meta(ge=1)] | None,
        Meta(description="Milliseconds within which the caller wants the answer; never longer than the service's own."),
    ] = None


class BatchCheckRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Requests to be judged together."""

    requests: Annotated[list[CheckRequest], Meta(description="At most `waf_service.max_batch` requests.")]


class BatchCheckResponse(Struct, frozen=True, kw_only=True):
    """Verdicts in the order of the requests; `processing_time_ms` is the whole batch's wall-clock time."""

    results: list[CheckResponse]
    processing_time_ms: float


class ErrorDetail(Struct, frozen=True, kw_only=True):
    """What was wrong: a stable `code`, a sentence, and the field at fault where there is one."""

    code: str
    message: str
    field: str | None
    request_id: str


class ErrorResponse(Struct, frozen=True, kw_only=True):
    """The one shape of every 4xx and 5xx answer."""

    error: ErrorDetail


class HealthResponse(Struct, frozen=True, kw_only=True):
    """State of the process; `model_version` is null until a bundle is loaded."""

    status: str
    version: str
    model_version: str | None


class ReloadResponse(Struct, frozen=True, kw_only=True):
    """The model served after a reload, and whether it is another one than before."""

    model_version: str
    changed: bool


class _Envelope(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    requests: list[Raw]


class InvalidJSON(RequestError):
    """The bytes are not JSON text (RFC 8259), or not UTF-8."""


_check_decoder = msgspec.json.Decoder(CheckRequest)
_envelope_decoder = msgspec.json.Decoder(_Envelope)
_text_decoder = msgspec.json.Decoder(str)


def decode_check(data: bytes | Raw, *, at: str = "") -> CheckRequest:
    """Read one request. `at` is the place of the object in its document, e.g. ``requests[3]``.

    Raises `InvalidJSON` or `RequestError` naming the field.
    """
    try:
        request = _check_decoder.decode(data)
    except (ValueError, RecursionError) as error:
        raise _named(error, at) from None
    if request.body_base64 is not None and request.body is not UNSET and bytes(request.body) != b"null":
        raise RequestError("body and body_base64 exclude each other", field=_join(at, "body_base64"))
    return request


def decode_batch(data: bytes, *, max_batch: int) -> list[CheckRequest]:
    """Read a batch. One invalid item refuses it whole, by its index.

    Items are decoded one by one, so that the interpreter can serve other threads in between: one call over a batch of
    16 MiB would hold them up for 370 ms (2026-11), where finding the items' ends takes 17 ms.
    """
    try:
        items = _envelope_decoder.decode(data).requests
    except (ValueError, RecursionError) as error:
        raise _named(error, "") from None
    if len(items) > max_batch:
        raise RequestError(f"a batch holds at most {max_batch} requests, this one has {len(items)}", field="requests")
    return [decode_check(item, at=f"requests[{index}]") for index, item in enumerate(items)]


def body_bytes(request: CheckRequest) -> bytes | None:
    """Return the body's bytes; None where there is none. A JSON value that is not a string stays the JSON it was."""
    if request.body_base64 is not None:
        return _decode_base64(request.body_base64, field="body_base64")
    if request.body is UNSET:
        return None
    raw = bytes(request.body)
    if raw == b"null":
        return None
    try:
        if raw[:1] == b'"':
            return _text_decoder.decode(raw).encode()
        raw.decode()
    except msgspec.DecodeError as error:
        raise _named(error, "body") from None
    except UnicodeError:
        raise InvalidJSON("not UTF-8", field="body") from None
    return raw


def body_is_json(request: CheckRequest) -> bool:
    """Whether `body` was given as a JSON value other than a string."""
    return request.body is not UNSET and bytes(request.body)[:1] not in (b'"', b"n")


def _decode_base64(text: str, *, field: str) -> bytes:
    try:
        encoded = text.encode("ascii")
        pieces = [
            binascii.a2b_base64(encoded[start : start + _BASE64_CHUNK], strict_mode=True)
            for start in range(0, len(encoded), _BASE64_CHUNK)
        ]
    except (UnicodeEncodeError, binascii.Error):
        raise RequestError("not standard, padded base64 (RFC 4648 section 4)", field=field) from None
    if any(len(piece) * 4 != _BASE64_CHUNK * 3 for piece in pieces[:-1]):
        raise RequestError("base64 padding before the end", field=field)
    return b"".join(pieces)


def _join(at: str, name: str) -> str:
    if not at or not name:
        return at or name
    return f"{at}{name}" if name.startswith("[") else f"{at}.{name}"


def _named(error: Exception, at: str) -> RequestError:
    """Turn what a decoder says into our error, with the path of the field that it names."""
    if isinstance(error, RecursionError):
        return RequestError("nested too deep; send a deeply nested body as a string", field=at or None)
    if isinstance(error, UnicodeError):
        return InvalidJSON("not UTF-8", field=at or None)
    message = str(error)
    if not isinstance(error, msgspec.ValidationError):
        return InvalidJSON(message[:1].lower() + message[1:], field=at or None)
    place, named = _AT.search(message), _NAMED.match(message)
    field = _join(at, place.group(1) if place else "")
    if named:
        field = _join(field, named.group(1)[:64])
        missing = message.startswith("Object missing")
        return RequestError("is required" if missing else "is not a field of a request", field=field)
    text = message[: place.start()] if place else message
    return RequestError(text[:1].lower() + text[1:].replace("`", ""), field=field or None)
