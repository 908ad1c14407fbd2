"""Reading the body of an API call: never more of it than allowed, and a too large one is refused while it still comes.

`Content-Length` is believed as far as refusing goes; what arrives is counted anyway, since a chunked body has no
length and a sender may lie. A refused sender that is still writing would see a reset connection instead of the answer
(RFC 9112 section 9.6 describes the loss), so the answer is sent at once and the rest of the body is read and thrown
away for a bounded time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from vedette.server.errors import ApiError, send_error

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
SMALL_BYTES = 64 * 1024  # a body of this size fits into the sockets' buffers: its sender cannot get stuck
LINGER_S = 10.0  # seconds a refused body is read to its end; nginx's lingering_close gives 5 to 30


class Disconnected(Exception):
    """The client went away before its request was whole; nobody is there to be answered."""


def content_length(headers: Sequence[tuple[bytes, bytes]]) -> int | None:
    """Return the announced length; refuse a content coding, which the API does not take."""
    length = None
    for name, value in headers:
        if name == b"content-length":
            length = int(value)  # the HTTP parser lets only digits through
        elif name == b"content-encoding" and value.lower() != b"identity":
            raise ApiError("unsupported_encoding", "send the JSON uncompressed", field="Content-Encoding")
    return length


async def read_body(
    receive: Receive, headers: Sequence[tuple[bytes, bytes]], *, limit: int, admit: Callable[[int], None] | None = None
) -> bytes:
    """Return the whole body of at most `limit` bytes.

    `admit` is asked before anything is read, with the announced length, and may raise. Raises `ApiError` (413, 415) or
    `Disconnected`.
    """
    length = content_length(headers)
    if length is not None and length > limit:
        raise too_large(limit)
    if admit is not None and length is not None:
        admit(length)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Disconnected
    if not message.get("more_body", False):  # the usual case: everything came with the first read
        return _within(message.get("body", b""), limit)
    parts = bytearray(message.get("body", b""))
    while message.get("more_body", False):
        if len(parts) > limit:
            raise too_large(limit)
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        parts += message.get("body", b"")
    return _within(bytes(parts), limit)


async def refuse_and_drain(receive: Receive, send: Send, error: ApiError, request_id: str) -> None:
    """Answer at once, then read what the client is still sending, for at most `LINGER_S` seconds, and close."""
    await send_error(send, error, request_id, close=True, more=True)
    try:
        async with asyncio.timeout(LINGER_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    break
    except TimeoutError:
        pass
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def may_still_be_sending(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether the caller may be writing a body so large that it would miss an early answer."""
    for name, value in headers:
        if name == b"content-length":
            return int(value) > SMALL_BYTES
        if name == b"transfer-encoding":
            return True
    return False


def too_large(limit: int) -> ApiError:
    """Return the error for a body over `limit` bytes."""
    return ApiError("payload_too_large", f"the body may have at most {limit} bytes")


def _within(body: bytes, limit: int) -> bytes:
    if len(body) > limit:
        raise too_large(limit)
    return body
