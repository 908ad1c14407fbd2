"""From the bytes of an API call to `HTTPRequest`s: pure, bounded, and the same on the event loop and off it."""

from __future__ import annotations

from typing import NamedTuple

from vedette.errors import RequestError
from vedette.http_request import HTTPRequest
from vedette.inference.request_builder import build_request
from vedette.server.client_address import validate_address
from vedette.server.schemas import CheckRequest, body_bytes, body_is_json, decode_batch, decode_check


class Reading(NamedTuple):
    """One request to judge, and the seconds within which its caller wants the answer (None: the service's own)."""

    request: HTTPRequest
    deadline_s: float | None


def read_check(data: bytes, caller: str, *, believed: bool) -> Reading:
    """Read the body of POST /check.

    `caller` is the address of the API's caller; `believed` says whether its word about `client_ip` counts. Raises
    `RequestError` naming the field.
    """
    return _read(decode_check(data), caller, believed)


def read_batch(data: bytes, caller: str, *, believed: bool, max_batch: int) -> list[Reading]:
    """Read the body of POST /check/batch; an item that cannot be read refuses it whole, by name."""
    readings = []
    for index, request in enumerate(decode_batch(data, max_batch=max_batch)):
        try:
            readings.append(_read(request, caller, believed))
        except RequestError as error:
            at = f"requests[{index}]"
            raise type(error)(str(error), field=f"{at}.{error.field}" if error.field else at) from None
    return readings


def _read(check: CheckRequest, caller: str, believed: bool) -> Reading:
    client_ip = caller
    if check.client_ip is not None:
        stated = validate_address(check.client_ip, field="client_ip")
        if believed:
            client_ip = stated
    request = build_request(
        method=check.method,
        path=check.path,
        query_params=check.query_params,
        headers=check.headers,
        body=body_bytes(check),
        body_is_json=body_is_json(check),
        client_ip=client_ip,
    )
    return Reading(request, None if check.deadline_ms is None else check.deadline_ms / 1e3)
