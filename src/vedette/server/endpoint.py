"""What every raw endpoint shares: one POST in, JSON bytes or one named error out, whatever happens in between."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog

from vedette.errors import RequestError, ServiceError
from vedette.server.body import Disconnected, Receive, Send, may_still_be_sending, read_body, refuse_and_drain
from vedette.server.client_address import UNKNOWN, ClientAddresses
from vedette.server.errors import JSON_TYPE, ApiError, from_vedette, new_request_id, send_error
from vedette.sinks.metrics import Metrics

# An id is only for correlation, so anybody may give one; what could break a log line or a header is not taken.
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:\-]{1,128}\Z")
_NONE: dict[str, Any] = {}
FULL, WAITED = "vedette.full", "vedette.waited"  # ASGI extensions: what the gate says of the call
_OUTCOMES = {413: "too_large", 429: "rate_limited", 500: "failed"}
_log = structlog.get_logger(__name__)


def too_many_calls() -> ApiError:
    """Return the refusal of a call that the gate does not let in."""
    return ApiError("overloaded", "more calls wait than can be answered in time", retry_after_s=1)


class Call:
    """One call of the API: who calls, under which id, how long it has waited, and where its body comes from."""

    __slots__ = ("believed", "caller", "headers", "is_read", "receive", "request_id", "waited_s")

    def __init__(
        self,
        headers: Sequence[tuple[bytes, bytes]],
        client: tuple[str, int] | None,
        receive: Receive,
        addresses: ClientAddresses,
        waited_s: float = 0.0,
    ) -> None:
        self.headers = headers
        peer = client[0] if client else UNKNOWN
        self.believed = addresses.trusts(peer)
        self.caller = addresses.caller(peer, self.headers) if self.believed else peer
        self.request_id = request_id_of(self.headers)
        self.receive = receive
        self.waited_s = waited_s
        self.is_read = False  # whether the whole body is here

    async def read_body(self, limit: int, admit: Callable[[int], None] | None = None) -> bytes:
        """See `body.read_body`."""
        data = await read_body(self.receive, self.headers, limit=limit, admit=admit)
        self.is_read = True
        return data


Handler = Callable[[Call], Awaitable[bytes]]


def request_id_of(headers: Sequence[tuple[bytes, bytes]]) -> str | None:
    """Return the caller's X-Request-Id if it is a sane one."""
    for name, value in headers:
        if name == b"x-request-id" and _REQUEST_ID.match(value):
            return value.decode("ascii")
    return None


async def answer_post(
    scope: Any, receive: Receive, send: Send, handler: Handler, addresses: ClientAddresses, metrics: Metrics
) -> None:
    """Run `handler` and send what it returns, or the error that it ended in; `metrics` count the refusals."""
    waited_s = scope.get("extensions", _NONE).get(WAITED, 0.0)
    call = Call(scope["headers"], scope.get("client"), receive, addresses, waited_s)
    try:
        if scope["method"] != "POST":
            raise ApiError("method_not_allowed", "use POST", headers=[(b"allow", b"POST")])
        if scope.get("extensions", _NONE).get(FULL):
            raise too_many_calls()
        body = await handler(call)
    except Disconnected:
        return
    except ApiError as error:
        await _refuse(call, send, metrics, error)
    except (RequestError, ServiceError) as error:
        await _refuse(call, send, metrics, from_vedette(error))
    except asyncio.CancelledError:  # the drain time is over
        await _refuse(call, send, metrics, ApiError("not_ready", "the service stops", retry_after_s=1))
        raise
    except Exception:
        _log.exception("defect", path=scope["path"], request_id=call.request_id)
        await _refuse(call, send, metrics, ApiError("internal_error", "the service failed at this request"))
    else:
        answer_at_once = scope.get("extensions", _NONE).get("vedette.answer")
        if answer_at_once is not None and answer_at_once(body):
            return
        length = str(len(body)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [JSON_TYPE, (b"content-length", length)]})
        await send({"type": "http.response.body", "body": body})


async def _refuse(call: Call, send: Send, metrics: Metrics, error: ApiError) -> None:
    if error.status != 503:  # which the service has counted already
        metrics.refused(_OUTCOMES.get(error.status, "invalid"))
    request_id = call.request_id or new_request_id()
    if not call.is_read and may_still_be_sending(call.headers):
        await refuse_and_drain(call.receive, send, error, request_id)
    else:
        await send_error(send, error, request_id)
