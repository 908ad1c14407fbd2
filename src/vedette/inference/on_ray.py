"""Work over many files spread over a Ray cluster: one engine an actor, the answers back in the order of the files.

    items -> Ray Data -> actors, each with its engine: work(engine, item) -> answer -> in order

Nothing else is imported from Ray than here, and only when it is called. Every node needs this version of Vedette, the
bundle at the same place, and the files at the same place: a shared file system, or copies.

Ray Data hands out the items, grows and shrinks the pool of actors and gives the work of a lost one to another. It does
not read the files: its `read_text` takes a file whole into memory, stops at bytes that are not UTF-8 and cuts lines at
characters that no log ends a line with, and its `read_json` wants one schema (2.60).
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from vedette.config import Settings
from vedette.errors import BackendUnavailable, ConfigError, MalformedInput, VedetteError
from vedette.inference.engine import Engine, load_engine

if TYPE_CHECKING:
    from numpy.typing import NDArray

T = TypeVar("T")
R = TypeVar("R")
_MAX_BLOCKS = 4096
_KNOCK_S = 5.0
_STORE_BYTES = 256 * 1024 * 1024  # of a Ray started for this: items and answers are small
# Ray asks the environment: no report to its makers, no bars, no notes of its C++ parts or about absent devices.
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@contextmanager
def ray_cluster(address: str | None = None) -> Iterator[None]:
    """Be connected to a Ray cluster: the one at `address` or RAY_ADDRESS, else one started here and stopped again.

    A process that is connected already stays so. The cluster started here listens on the network, to whoever has its
    token, as Ray has it from 2.60 on. Raises `BackendUnavailable` where Ray is not installed and `ConfigError` where no
    cluster answers.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address == "local":
        options |= {"include_dashboard": False, "object_store_memory": _STORE_BYTES}
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        with _silent():
            import ray
            import ray.data

            for name in ("ray", "ray.data"):
                logging.getLogger(name).setLevel(logging.ERROR)
            if is_ours := not ray.is_initialized():
                _knock(address)
                ray.init(address, **options)
    except ImportError as error:
        raise BackendUnavailable("--engine ray needs Ray: pip install 'vedette[ray]'") from error
    except (OSError, ValueError, RuntimeError) as error:
        hint = "" if os.environ.get("RAY_AUTH_MODE") else " (one that wants a token needs RAY_AUTH_MODE=token)"
        raise ConfigError(f"--ray-address: no Ray cluster at {address}: {error}{hint}", key="--ray-address") from None
    except ray.exceptions.RayError as error:  # a token that is missing or wrong
        raise ConfigError(f"--ray-address: {address} takes no work from here: {error}", key="--ray-address") from None
    try:
        yield
    finally:
        if is_ours:
            ray.shutdown()


def spread(
    settings: Settings, model_version: str, items: Sequence[T], work: Callable[[Engine, T], R]
) -> Iterator[tuple[int, R]]:
    """Yield (index of the item, ``work(engine, item)``) as the answers come, inside `ray_cluster`.

    `work` and the items must be known to the other nodes, so functions of this package and plain data. Raises what
    `work` raises of `VedetteError`, and `ConfigError` where a node has another model than this one.
    """
    import ray
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
    rows = [{"index": index, "item": pickle.dumps(item)} for index, item in enumerate(items)]
    answers = ray.data.from_items(rows, override_num_blocks=min(len(rows), _MAX_BLOCKS)).map_batches(
        _Actor,
        fn_constructor_args=(_absolute(settings), model_version, work),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(
            min_size=1, initial_size=min(cores, len(rows)), max_size=len(rows), max_tasks_in_flight_per_actor=2
        ),
        num_cpus=1,
    )
    for batch in answers.iter_batches(batch_size=None, prefetch_batches=0):
        for index, data in zip(batch["index"], batch["answer"], strict=True):
            answer = pickle.loads(data)  # noqa: S301 - from our own actors, which could run anything here anyway
            if isinstance(answer, VedetteError):
                raise answer
            yield int(index), answer


def in_order(answers: Iterable[tuple[int, R]]) -> Iterator[R]:
    """Yield the answers by index, from 0 on; those that come early are kept until then."""
    early: dict[int, R] = {}
    due = 0
    for index, answer in answers:
        early[index] = answer
        while due in early:
            yield early.pop(due)
            due += 1


def here(open_part: Callable[[], T]) -> T:
    """Open a part of a file on this node. Raises `MalformedInput` naming the node where the file is not there."""
    try:
        return open_part()
    except MalformedInput as error:
        raise MalformedInput(f"{error} (on node {socket.gethostname()}; every node has to see the files)") from None


def _knock(address: str) -> None:
    """Connect to an address with a port: Ray itself would try for two minutes. Raises `OSError`."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_S).close()


@contextmanager
def _silent() -> Iterator[None]:
    """Write nothing to standard error meanwhile: Ray's C++ parts tell of every setting there, unasked."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


class _Actor(Generic[T, R]):
    """Holds one engine on some node. The engine is loaded at the first item, so that its error is an answer."""

    def __init__(self, settings: Settings, model_version: str, work: Callable[[Engine, T], R]) -> None:
        self._settings = settings
        self._model_version = model_version
        self._work = work
        self._engine: Engine | None = None

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, Any]:
        return {"index": batch["index"], "answer": [self._answer(data) for data in batch["item"]]}

    def _answer(self, data: bytes) -> bytes:
        answer: R | VedetteError
        try:
            if self._engine is None:
                self._engine = self._load()
            answer = self._work(self._engine, pickle.loads(data))  # noqa: S301 - from whoever started this actor
        except VedetteError as error:
            answer = error
        return pickle.dumps(answer)

    def _load(self) -> Engine:
        engine = load_engine(self._settings)
        if engine.model_version != self._model_version:
            raise ConfigError(
                f"node {socket.gethostname()} has the model {engine.model_version}, here it is {self._model_version}; "
                f"install the same version and bundle on every node",
                key="waf_service.model_path",
            )
        return engine


def _absolute(settings: Settings) -> Settings:
    """Return the settings with the paths of the model as every node can find them."""
    waf = settings.waf_service
    paths = {
        name: str(Path(path).absolute())
        for name, path in (("model_path", waf.model_path), ("vocab_path", waf.vocab_path))
        if path is not None
    }
    return settings.model_copy(update={"waf_service": waf.model_copy(update=paths)})
