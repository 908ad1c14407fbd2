"""Every answer that is not a success has one shape: ``{"error": {"code", "message", "field", "request_id"}}``.

`ApiError` is what a route raises; `from_vedette` translates the errors of the rooms below. Codes are stable and listed
in docs/http-api.md; messages are for people and may change. Nothing internal (paths, traces) goes into a message.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import msgspec

from vedette.errors import PayloadTooLarge, RequestError, ServiceError
from vedette.server.schemas import ErrorDetail, ErrorResponse, InvalidJSON

JSON_TYPE = (b"content-type", b"application/json")
_encode = msgspec.json.Encoder().encode

CODES = {
    "invalid_json": 400,
    "invalid_http": 400,
    "invalid_request": 422,
    "unsupported_encoding": 415,
    "payload_too_large": 413,
    "headers_too_large": 431,
    "request_timeout": 408,
    "rate_limited": 429,
    "unauthorized": 401,
    "model_refused": 409,
    "not_found": 404,
    "method_not_allowed": 405,
    "internal_error": 500,
    "overloaded": 503,
    "not_ready": 503,
    "limits_unavailable": 503,
    "timed_out": 503,
    "model_failed": 503,
}
"""Every error code with its HTTP status."""


class ApiError(Exception):
    """An answer with a 4xx or 5xx status. `retry_after_s` becomes a ``Retry-After`` header, rounded up."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        field: str | None = None,
        status: int | None = None,
        retry_after_s: float | None = None,
        headers: Iterable[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.status = CODES[code] if status is None else status
        self.retry_after_s = retry_after_s
        self.extra_headers = tuple(headers)

    def body(self, request_id: str) -> bytes:
        """Return the JSON object. Text that is no valid Unicode (it came from the client) is shown escaped."""
        detail = ErrorDetail(
            code=self.code,
            message=_printable(self.message),
            field=None if self.field is None else _printable(self.field),
            request_id=request_id,
        )
        return _encode(ErrorResponse(error=detail))

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers that belong to this error, without Content-Length."""
        headers = [JSON_TYPE, *self.extra_headers]
        if self.retry_after_s is not None:
            headers.append((b"retry-after", str(max(1, math.ceil(self.retry_after_s))).encode()))
        return headers


def from_vedette(error: RequestError | ServiceError) -> ApiError:
    """Translate an error of the rooms below."""
    if isinstance(error, ServiceError):
        code = error.outcome if error.outcome in CODES else "model_failed"
        return ApiError(code, str(error), retry_after_s=error.retry_after_s)
    if isinstance(error, PayloadTooLarge):
        return ApiError("payload_too_large", str(error), field=error.field)
    code = "invalid_json" if isinstance(error, InvalidJSON) else "invalid_request"
    message = f"{error.field} {error}" if error.field and str(error).startswith("is ") else str(error)
    return ApiError(code, message, field=error.field)


def from_status(status: int, headers: Iterable[tuple[str, str]] = ()) -> ApiError:
    """Translate what the router answers: 404, 405 and the like."""
    phrase = HTTPStatus(status).phrase
    code = {404: "not_found", 405: "method_not_allowed"}.get(
        status, "internal_error" if status >= 500 else "invalid_request"
    )
    pairs = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return ApiError(code, phrase, status=status, headers=pairs)


def new_request_id() -> str:
    """Return 32 random hexadecimal digits."""
    return secrets.token_hex(16)


async def send_error(send: Any, error: ApiError, request_id: str, *, close: bool = False, more: bool = False) -> None:
    """Send `error` as the whole answer. With `more`, the message is left open for the caller to finish."""
    body = error.body(request_id)
    headers = [*error.headers(), (b"content-length", str(len(body)).encode())]
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": more})


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
