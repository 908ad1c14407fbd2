"""The model is exchanged while traffic flows: at `SIGHUP`, when its bundle changes, or by an admin call.

    SIGHUP, changed files, POST /admin/reload ──> Reloader ──> AsyncWAFService.reload (in a thread) ──> swap

One reload follows another. A bundle that is broken, incomplete or unsafe is refused with a line in the log and a count
in `vedette_model_reloads_total`, and the model in service stays there. Nothing is left for the garbage collector: an
engine holds no cycles, so the old one goes, frozen or not, with the last request that it answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from vedette.bundle import MANIFEST, VOCABULARY, WEIGHTS
from vedette.config import WafServiceSettings
from vedette.errors import ConfigError, VedetteError
from vedette.inference.async_waf_service import AsyncWAFService

LOOK_EVERY_S = 1.0
_log = structlog.get_logger(__name__)


class Reloader:
    """Reloads the model of one service, and tells about it."""

    def __init__(self, service: AsyncWAFService) -> None:
        self._service = service
        self._tasks: set[asyncio.Task[None]] = set()

    async def reload(self, cause: str) -> bool:
        """Reload; return whether another model is served now. Raises `VedetteError` where the new one is refused."""
        try:
            changed = await self._service.reload()
        except VedetteError as error:
            self._service.metrics.reloaded("refused")
            _log.error("model refused", cause=cause, reason=str(error), serving=self._service.model_version)
            raise
        self._service.metrics.reloaded("swapped" if changed else "unchanged")
        _log.info("model swapped" if changed else "model unchanged", cause=cause, serving=self._service.model_version)
        return changed

    async def try_reload(self, cause: str) -> None:
        """Reload for somebody who reads only the log."""
        with contextlib.suppress(VedetteError):
            await self.reload(cause)

    def begin(self, cause: str) -> None:
        """Reload in the background."""
        task = asyncio.get_running_loop().create_task(self.try_reload(cause))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @asynccontextmanager
    async def on_hangup(self) -> AsyncIterator[None]:
        """Reload at each `SIGHUP`, for as long as the block runs. Only in the main thread of a process of our own."""
        if not hasattr(signal, "SIGHUP"):  # Windows
            yield
            return
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self.begin, "SIGHUP")
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])  # it was held during the start
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])  # the last requests are still to be answered
            loop.remove_signal_handler(signal.SIGHUP)
            signal.signal(signal.SIGHUP, lambda *_: None)

    @asynccontextmanager
    async def on_change(self, bundle: Path) -> AsyncIterator[None]:
        """Reload when the files of the directory `bundle` have changed, for as long as the block runs."""
        watching = asyncio.create_task(watch(bundle, lambda: self.try_reload("changed files")))
        try:
            yield
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching


@contextlib.contextmanager
def hangups_held() -> Iterator[None]:
    """Keep `SIGHUP` from ending a process that starts or stops: it waits until somebody handles it.

    Processes inherit what is blocked, so a worker that is still starting gets the signal when it can handle it.
    """
    if not hasattr(signal, "SIGHUP"):
        yield
        return
    # For threads of libraries that exist already and do not block it.
    previous = signal.signal(signal.SIGHUP, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])
        signal.signal(signal.SIGHUP, previous)


async def watch(bundle: Path, changed: Callable[[], Awaitable[None]]) -> None:
    """Call `changed` whenever the files of a bundle directory are not what they were and have come to rest.

    At rest means the same at two looks, so a bundle that is still being copied is left alone; one whose copying pauses
    is refused for its hashes and looked at again when it goes on. Looking, rather than asking the system to tell,
    follows the name: a directory that is replaced by a rename, a link that is turned to another one, a mount over the
    network. A look is five `stat` calls in a thread. The first look that finds rest counts as a change, as nobody knows
    what happened between the loading of the model and that look.
    """
    before, taken = None, None
    while True:
        now = await asyncio.to_thread(_state_of, bundle)
        if now == before and now != taken:
            taken = now
            await changed()
        before = now
        await asyncio.sleep(LOOK_EVERY_S)


def watched_directory(waf: WafServiceSettings) -> Path | None:
    """Return the directory to watch, None for none. Raises `ConfigError` if there is none although one is wanted."""
    if not waf.watch_model:
        return None
    if waf.model_path is None or not Path(waf.model_path).is_dir():
        raise ConfigError(
            "waf_service.watch_model: needs a bundle directory as waf_service.model_path", key="waf_service.watch_model"
        )
    return Path(waf.model_path)


def _state_of(bundle: Path) -> tuple[tuple[int, ...], ...]:
    """What changes with the files: their places on the disk, sizes, and times of change; nothing for a missing one."""
    state: list[tuple[int, ...]] = []
    for name in (MANIFEST, VOCABULARY, *WEIGHTS):
        try:
            found = os.stat(bundle / name)
        except OSError:
            state.append(())
        else:
            state.append((found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))
    return tuple(state)
