"""From settings to a listening service, and to its end.

    settings -> address bound -> bundle loaded and warm -> listening -> ... -> SIGTERM or SIGINT -> drained

Whatever can be wrong is found before a connection is accepted: the address is bound first (bound, not listening, so a
port in use is known before the model is read), the model next. Calls that come in meanwhile are refused by the kernel.
A first signal stops accepting and lets calls in flight finish within `waf_service.drain_timeout`; a second SIGINT ends
at once. SIGHUP reloads the model, in every worker (see `reload`).

Exit status: 0 stopped as asked · 2 a setting cannot be used, the port included · 3 the model bundle is incomplete,
altered or unsafe · 4 a backend is not installed · 5 the model failed its first run. docs/cli.md lists all of them.
"""

from __future__ import annotations

import asyncio
import errno
import math
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from uvicorn.supervisors import Multiprocess

from vedette.config import Settings
from vedette.config_loader import load_settings
from vedette.errors import BackendUnavailable, BundleError, ConfigError, VedetteError
from vedette.inference.async_waf_service import AsyncWAFService
from vedette.inference.redis_store import connection_maker
from vedette.server.app import VedetteAPI, create_app
from vedette.server.client_address import ClientAddresses
from vedette.server.log_setup import configure_logging
from vedette.server.protocol import BoundedHttpProtocol
from vedette.server.reload import hangups_held, watched_directory
from vedette.server.summary import Loaded, print_summary
from vedette.sinks.metrics import Metrics
from vedette.sinks.shared_cells import SharedCells

KEEP_ALIVE_S = 75  # longer than the 60 s for which nginx keeps an idle upstream connection, so that it closes first
BACKLOG = 2048
# A worker that is being started cannot say that it lives before its imports are done, which takes seconds on a busy
# machine. With uvicorn's 5 s it is killed and started again, and again.
WORKER_ANSWERS_WITHIN_S = 30
_log = structlog.get_logger(__name__)


def start(
    *,
    config: Path | None = None,
    inference_config: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> int:
    """Load the settings, serve until a signal, and return the exit status. `flags` maps dotted keys to values.

    The one entry of `vedette serve` and scripts/start_async_waf_service.py.
    """
    try:
        serve(load_settings(config, inference_config, os.environ if environ is None else environ, flags))
    except VedetteError as error:
        print(f"vedette: {error}", file=sys.stderr)
        return exit_status(error)
    return 0


def exit_status(error: VedetteError) -> int:
    """Return the exit status that stands for `error`."""
    if isinstance(error, ConfigError):
        return 2
    if isinstance(error, BundleError):
        return 3
    return 4 if isinstance(error, BackendUnavailable) else 5


def serve(settings: Settings) -> None:
    """Serve until a signal comes. Raises `ConfigError`, `BundleError` or `BackendUnavailable` before it listens."""
    configure_logging()
    ClientAddresses(settings.waf_service.trusted_proxies)
    watched_directory(settings.waf_service)
    if settings.inference.rate_limiting.redis_url is not None:
        connection_maker(settings.inference.rate_limiting.redis_url)
    with hangups_held(), bind(settings.waf_service.host, settings.waf_service.port) as bound:
        if settings.waf_service.workers == 1:
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                runner.run(_serve_here(settings, bound))
        else:
            _serve_with_workers(settings, bound)


async def _serve_here(settings: Settings, bound: socket.socket) -> None:
    service = AsyncWAFService(settings=settings)
    await service.start()
    try:
        _listen(bound)
        print_summary(settings, Loaded.of(service), bound)
        app = create_app(settings, service, own_process=True)
        await Server(server_config(settings, app)).serve(sockets=[bound])
    finally:
        await service.close()
    _log.info("stopped")


def _serve_with_workers(settings: Settings, bound: socket.socket) -> None:
    """Let uvicorn's supervisor keep `workers` processes on one socket; one that dies or hangs is replaced."""
    loaded = asyncio.run(_try_out(settings))
    _listen(bound)
    print_summary(settings, loaded, bound)
    shared = Metrics.shared_memory(settings.waf_service.workers)
    config = server_config(settings, partial(worker_app, settings, os.getpid(), shared), factory=True)
    Supervisor(config, sockets=[bound]).run()
    _log.info("stopped")


class Supervisor(Multiprocess):
    """uvicorn's supervisor, which passes `SIGHUP` on to its workers instead of starting them anew.

    The signal stays blocked here (see `hangups_held`) and is looked for where uvicorn looks for others.
    """

    def handle_signals(self) -> None:
        """Handle what came; called every half second."""
        super().handle_signals()  # a thread of a library that was there before the signal was blocked may have taken it
        if hasattr(signal, "SIGHUP") and signal.SIGHUP in signal.sigpending():
            signal.sigwait([signal.SIGHUP])
            self.handle_hup()

    def handle_hup(self) -> None:
        """Let every worker reload its model."""
        for process in self.processes:
            if process.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGHUP)


async def _try_out(settings: Settings) -> Loaded:
    """Load the model once in the parent, so that a bad one is a message and not a row of dying workers."""
    async with AsyncWAFService(settings=settings) as service:
        return Loaded.of(service)


def worker_app(settings: Settings, supervisor: int, shared: SharedCells) -> VedetteAPI:
    """Return the application of one worker process, which counts in `shared` and whose `supervisor` (a process id)
    tells the others to reload."""
    configure_logging()

    def pass_on() -> None:
        if os.getppid() == supervisor and hasattr(signal, "SIGHUP"):  # and not whoever adopted us
            os.kill(supervisor, signal.SIGHUP)

    return create_app(settings, own_process=True, pass_on=pass_on, shared=shared)


def server_config(settings: Settings, app: Any, *, factory: bool = False) -> uvicorn.Config:
    """Return uvicorn's configuration: the bounded protocol, no access log, nothing guessed from headers."""
    return uvicorn.Config(
        app,
        factory=factory,
        loop="vedette.server.run:new_event_loop",
        http=BoundedHttpProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        workers=settings.waf_service.workers,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_worker_healthcheck=WORKER_ANSWERS_WITHIN_S,
        timeout_graceful_shutdown=math.ceil(settings.waf_service.drain_timeout),
    )


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a uvloop event loop, or asyncio's own where uvloop does not exist (Windows)."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


class Server(uvicorn.Server):
    """uvicorn's server, which ends normally after a signal instead of raising it again."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGINT and SIGTERM for as long as the server runs."""
        previous = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def bind(host: str, port: int) -> socket.socket:
    """Return a socket bound to the address, not yet listening. Raises `ConfigError` naming the setting at fault."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"waf_service.host: cannot resolve {host!r}: {error}", key="waf_service.host") from None
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise _address_error(error, host, port) from None
    bound.setblocking(False)
    bound.set_inheritable(True)
    return bound


def _listen(bound: socket.socket) -> None:
    try:
        bound.listen(BACKLOG)
    except OSError as error:  # another process bound the same address and listened first
        host, port = bound.getsockname()[:2]
        raise _address_error(error, host, port) from None


def _address_error(error: OSError, host: str, port: int) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        message = f"waf_service.port: {port} on {host} is in use by another process; stop it or choose another port"
        return ConfigError(message, key="waf_service.port")
    if error.errno in (errno.EACCES, errno.EPERM):
        message = f"waf_service.port: no permission to listen on {port}; ports below 1024 need a privilege"
        return ConfigError(message, key="waf_service.port")
    return ConfigError(f"waf_service.host: cannot listen on {host}: {error.strerror}", key="waf_service.host")
