"""What an operator may tell a running service, with the token from `waf_service.admin_token`; without one it is off."""

from __future__ import annotations

import hmac
from collections.abc import Callable

import msgspec
from fastapi import APIRouter
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response

from vedette.errors import VedetteError
from vedette.inference.async_waf_service import AsyncWAFService
from vedette.server.errors import ApiError
from vedette.server.openapi import ADMIN, error_responses, schema_of
from vedette.server.reload import Reloader
from vedette.server.schemas import ReloadResponse

_encode = msgspec.json.Encoder().encode


def admin_router(
    service: AsyncWAFService, reloader: Reloader, token: SecretStr | None, pass_on: Callable[[], None] | None
) -> APIRouter:
    """Return the route of POST /admin/reload. `pass_on` tells the other workers, where there are any."""
    router = APIRouter(tags=["administration"])

    async def reload(request: Request) -> Response:
        """Load the model again and serve it from the next request on, if it is a whole and sound one.

        Needs `Authorization: Bearer <waf_service.admin_token>`. With several workers the answer tells of the one that
        took the call; the others follow within a second or two.
        """
        _authorize(request, token)
        try:
            changed = await reloader.reload("admin call")
        except VedetteError as error:  # the path is the caller's own, so the reason is told as it is
            raise ApiError("model_refused", f"the model in service stays: {error}") from error
        if pass_on is not None:
            pass_on()
        answer = ReloadResponse(model_version=service.model_version or "", changed=changed)
        return Response(_encode(answer), media_type="application/json")

    router.add_api_route(
        "/admin/reload",
        reload,
        methods=["POST"],
        summary="Load the model anew",
        operation_id="reload",
        responses={
            200: {"description": "Served.", "content": {"application/json": {"schema": schema_of(ReloadResponse)}}},
            **error_responses(401, 404, 409),
        },
        openapi_extra={"security": [{ADMIN: []}]},
    )
    return router


def _authorize(request: Request, token: SecretStr | None) -> None:
    if token is None:
        raise ApiError("not_found", "Not Found")
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    right = hmac.compare_digest(given.strip().encode("latin-1"), token.get_secret_value().encode())
    if scheme.lower() != "bearer" or not right:
        raise ApiError("unauthorized", "a valid token is needed", headers=[(b"www-authenticate", b"Bearer")])
