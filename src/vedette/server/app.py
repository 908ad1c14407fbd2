"""The application: FastAPI for documentation and the plain endpoints, raw ASGI for the hot ones, in one app.

`create_app` wires the rooms together; the lifespan starts the service, watches the event loop and stops in order.
The hot paths are looked up before FastAPI's middleware and routing see the call; they are mounted as routes as well,
so that the app works below a prefix.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vedette._version import __version__
from vedette.config import RateLimitSettings, Settings
from vedette.errors import Overloaded
from vedette.inference.async_waf_service import AsyncWAFService
from vedette.inference.rate_limiter import RequestLimits
from vedette.inference.redis_limits import RedisLimits
from vedette.inference.scheduling import wake_soon
from vedette.server.admin import admin_router
from vedette.server.client_address import ClientAddresses
from vedette.server.docs_page import docs_routes
from vedette.server.endpoint import request_id_of
from vedette.server.errors import ApiError, from_status, new_request_id
from vedette.server.gate import Gate
from vedette.server.loop_lag import EventLoopLagMonitor
from vedette.server.openapi import build_openapi
from vedette.server.protocol import AtOnce
from vedette.server.reload import Reloader, watched_directory
from vedette.server.routes import CheckRoutes
from vedette.server.status import status_router
from vedette.sinks.metrics import Metrics
from vedette.sinks.shared_cells import SharedCells

PUBLISH_S = 1.0  # how old what another worker tells of this one may be
# A thread that parses a large body holds the interpreter for so long before the event loop gets it. Python's own 5 ms
# would be a pause at every call of the loop into the system.
SWITCH_INTERVAL_S = 0.0005
# A small check leaves nothing behind that refers to itself, so the garbage collector seldom finds anything; Python's
# own 700 objects are what a large request makes.
COLLECT_AFTER = 5_000, 10, 10
_log = structlog.get_logger(__name__)
DESCRIPTION = (
    "Send a request as you received it, get a verdict: attack or not, which kind, in which field, and why. "
    "Every 4xx and 5xx answer has the shape of `ErrorResponse`."
)


class VedetteAPI(FastAPI):
    """FastAPI with a short cut for the hot paths and our own OpenAPI document."""

    hot: dict[str, Callable[[Any, Any, Any], Any]]
    at_once: dict[bytes, AtOnce]
    gate: Gate

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a call."""
        if scope["type"] == "http":
            endpoint = self.hot.get(scope["path"])
            if endpoint is not None:
                await endpoint(scope, receive, send)
                return
        await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document, built once."""
        if self.openapi_schema is None:
            self.openapi_schema = build_openapi(self)
        return self.openapi_schema


def create_app(
    settings: Settings,
    service: AsyncWAFService | None = None,
    *,
    own_process: bool = False,
    pass_on: Callable[[], None] | None = None,
    shared: SharedCells | None = None,
) -> VedetteAPI:
    """Return the application over `service`, or over a new one made from `settings`.

    The service is started and closed with the application. In a process of its own `SIGHUP` reloads the model, what
    exists after the start is left out of garbage collections for good, which keeps their pauses short, and threads take
    turns more often. `pass_on` hands an admin's call to reload on to the other workers; `shared` is where the workers
    of one service count together. Raises `ConfigError` for settings that cannot be used.
    """
    watched = watched_directory(settings.waf_service)
    service = service or AsyncWAFService(settings=settings, metrics=Metrics(shared))
    addresses = ClientAddresses(settings.waf_service.trusted_proxies)
    limits = RequestLimits(share_of_limits(settings))
    redis = redis_limits(settings, limits, service.metrics)
    routes = CheckRoutes(service, limits, addresses, settings.waf_service, redis)
    reloader = Reloader(service)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        monitor = EventLoopLagMonitor(service.observe_loop_lag)
        await service.start()
        if redis is not None:
            await redis.start()
        publishing = asyncio.create_task(_publish(service.metrics)) if shared is not None else None
        if own_process:
            gc.collect()
            gc.freeze()
            gc.set_threshold(*COLLECT_AFTER)
            sys.setswitchinterval(SWITCH_INTERVAL_S)
            wake_soon()
        monitor.start()
        try:
            async with AsyncExitStack() as stack:
                if own_process:
                    await stack.enter_async_context(reloader.on_hangup())
                if watched is not None:
                    await stack.enter_async_context(reloader.on_change(watched))
                yield
        finally:
            monitor.stop()
            await service.close()
            if redis is not None:
                await redis.close()
            if publishing is not None:
                publishing.cancel()
                with suppress(asyncio.CancelledError):
                    await publishing
            routes.close()
            service.metrics.publish()

    app = VedetteAPI(
        title="Vedette",
        summary="A learned web application firewall that answers in real time.",
        description=DESCRIPTION,
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.at_once = {b"/check": routes.check_at_once} if redis is None else {}  # Redis has to be waited for
    app.hot = {"/check": routes.check, "/check/batch": routes.batch}
    app.gate = Gate(
        settings.waf_service.max_wait or settings.waf_service.timeout / 2,
        [path.encode() for path in app.hot],
        lambda: service.metrics.refused(Overloaded.outcome),
    )
    app.router.routes.extend(docs_routes())
    app.router.routes.extend(
        Route(path, _RawEndpoint(endpoint), include_in_schema=False) for path, endpoint in app.hot.items()
    )
    app.include_router(status_router(service))
    app.include_router(admin_router(service, reloader, settings.waf_service.admin_token, pass_on))
    app.add_exception_handler(ApiError, _on_api_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(Exception, _on_defect)
    return app


async def _publish(metrics: Metrics) -> None:
    while True:
        await asyncio.sleep(PUBLISH_S)
        metrics.publish()


def redis_limits(settings: Settings, local: RequestLimits, metrics: Metrics) -> RedisLimits | None:
    """Return the limits that all workers share, or None where they share none."""
    limits = settings.inference.rate_limiting
    return RedisLimits(limits, local, metrics) if limits.enabled and limits.redis_url is not None else None


def share_of_limits(settings: Settings) -> RateLimitSettings:
    """Return the limits of one worker where there is no store that workers share, or it is away: its part."""
    limits, workers = settings.inference.rate_limiting, settings.waf_service.workers
    part = {"per_ip": max(1, limits.per_ip // workers)}
    part["max_requests_per_second"] = max(1, limits.max_requests_per_second // workers)
    return limits.model_copy(update=part)


class _RawEndpoint:
    """Starlette takes an instance, not a function, for a raw ASGI endpoint."""

    def __init__(self, call: Callable[[Any, Any, Any], Any]) -> None:
        self._call = call

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._call(scope, receive, send)


def _response(request: Request, error: ApiError) -> Response:
    request_id = request_id_of(request.scope["headers"]) or new_request_id()
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in error.headers()}
    return Response(error.body(request_id), status_code=error.status, headers=headers)


async def _on_api_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, ApiError):
        raise error
    return _response(request, error)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return _response(request, from_status(error.status_code, (error.headers or {}).items()))


async def _on_validation_error(request: Request, error: Exception) -> Response:
    return _response(request, ApiError("invalid_request", "a parameter has a wrong value"))


async def _on_defect(request: Request, error: Exception) -> Response:
    _log.error("defect", path=request.url.path, exc_info=error)
    return _response(request, ApiError("internal_error", "the service failed at this request"))
