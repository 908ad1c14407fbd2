"""What operators and their machines ask: does it live, is it ready, how is it doing."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from vedette._version import __version__
from vedette.inference.async_waf_service import AsyncWAFService
from vedette.server.endpoint import request_id_of
from vedette.server.errors import ApiError, new_request_id
from vedette.server.openapi import error_responses, schema_of
from vedette.server.schemas import HealthResponse
from vedette.sinks.metrics import CONTENT_TYPE

_encode = msgspec.json.Encoder().encode
_JSON = "application/json"
_HEALTH: dict[int | str, dict[str, Any]] = {
    200: {"description": "Yes.", "content": {_JSON: {"schema": schema_of(HealthResponse)}}}
}
_METRICS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Prometheus text (version 0.0.4), or JSON where the caller prefers `application/json`.",
        "content": {"text/plain": {"schema": {"type": "string"}}, _JSON: {"schema": {"type": "object"}}},
    }
}


def status_router(service: AsyncWAFService) -> APIRouter:
    """Return the routes of GET /health, /ready and /metrics."""
    router = APIRouter(tags=["operation"])

    async def health(request: Request) -> Response:
        """Answer as long as the process can answer at all."""
        return _state("ok", service)

    async def ready(request: Request) -> Response:
        """Answer 200 when a model is loaded and warm, 503 while the service starts or drains."""
        if service.ready:
            return _state("ready", service)
        error = ApiError("not_ready", "the service starts or stops", retry_after_s=1)
        headers = {name.decode(): value.decode() for name, value in error.headers()}
        body = error.body(request_id_of(request.scope["headers"]) or new_request_id())
        return Response(body, status_code=error.status, headers=headers)

    async def metrics(request: Request) -> Response:
        """Give the counters, gauges and histograms of the service, all its workers together."""
        if prefers_json(request.headers.get("accept", "")):
            return Response(_encode(service.metrics.to_dict()), media_type=_JSON)
        return Response(service.metrics.prometheus(), headers={"Content-Type": CONTENT_TYPE})

    add = router.add_api_route
    add("/health", health, summary="Does the process live?", operation_id="health", responses=_HEALTH)
    add(
        "/ready",
        ready,
        summary="Can it judge requests?",
        operation_id="ready",
        responses={**_HEALTH, **error_responses(503)},
    )
    add("/metrics", metrics, summary="Metrics", operation_id="metrics", responses=_METRICS)
    for path, endpoint in (("/health", health), ("/ready", ready), ("/metrics", metrics)):
        router.add_route(path, endpoint, methods=["HEAD"], include_in_schema=False)
    return router


def prefers_json(accept: str) -> bool:
    """Whether an Accept header (RFC 9110 section 12.5.1) ranks JSON above plain text; a wildcard means text."""
    weights = {"application/json": 0.0, "text/plain": 0.0}
    for part in accept[:1024].split(","):
        media_type, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if media_type in weights:
            weights[media_type] = _weight(parameters)
    return weights["application/json"] > weights["text/plain"]


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def _state(status: str, service: AsyncWAFService) -> Response:
    state = HealthResponse(status=status, version=__version__, model_version=service.model_version)
    return Response(_encode(state), media_type=_JSON)
