"""The synchronous way in, for scripts and WSGI applications: the same arguments and verdicts, in the caller's thread.

There is no queue and no thread pool here. Whoever calls brings the thread, so a server's own number of threads is the
bound, and a model run releases the interpreter lock; requests and batches meet in the one score memory. Where many
requests come at once, `AsyncWAFService` runs their windows together and is faster.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from vedette.config import Settings
from vedette.errors import NotReady
from vedette.http_request import HTTPRequest
from vedette.inference.engine import Engine, load_engine
from vedette.inference.overrides import settings_with
from vedette.inference.request_builder import build_request, request_of, validate_deadline
from vedette.sinks.events import EventLog
from vedette.sinks.metrics import Metrics
from vedette.verdict import Degraded, Verdict

_log = logging.getLogger(__name__)


class WAFService:
    """Judges requests in the calling thread; safe to share between threads.

    The first call loads the model; `start`, `close` and ``with`` do it explicitly. The arguments are those of
    `AsyncWAFService` (`max_workers` and `batch_size` have nothing to act on here). Raises `ConfigError`, and at the
    start `BundleError` or `BackendUnavailable`.
    """

    def __init__(
        self,
        model_path: str | os.PathLike[str] | None = None,
        vocab_path: str | os.PathLike[str] | None = None,
        threshold: float | None = None,
        device: str = "auto",
        max_workers: int | None = None,
        batch_size: int | None = None,
        timeout: float | None = None,
        *,
        settings: Settings | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.settings = settings_with(
            settings,
            model_path=model_path,
            vocab_path=vocab_path,
            threshold=threshold,
            device=device,
            max_workers=max_workers,
            batch_size=batch_size,
            timeout=timeout,
        )
        self.metrics = metrics or Metrics()
        self._engine: Engine | None = None
        self._events: EventLog | None = None
        self._starting = threading.Lock()
        self._recording = threading.Lock()
        self._closed = False

    def start(self) -> None:
        """Load and warm up the model. A second call does nothing."""
        with self._starting:
            if self._engine is None:
                engine = load_engine(self.settings)
                engine.warm_up()
                self.swap(engine)
            log = self.settings.waf_service.event_log
            if log.enabled and self._events is None:
                self._events = events = EventLog(log.path)
                self.metrics.watch_events(lambda: events.dropped)
            self._closed = False

    def close(self) -> None:
        """Take no more requests and write the events that wait. Calls in other threads finish by themselves."""
        self._closed = True
        with self._starting:
            if self._events is not None:
                self._events.close()
                self._events = None

    def __enter__(self) -> WAFService:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def model_version(self) -> str | None:
        """Version of the model that is served; None before the start."""
        return None if self._engine is None else self._engine.model_version

    def swap(self, engine: Engine) -> Engine | None:
        """Serve `engine` from the next request on and return its predecessor; requests under way keep theirs."""
        former, self._engine = self._engine, engine
        self.metrics.set_model_version(engine.model_version)
        self.metrics.watch_memory(engine.memory.stats)
        return former

    def check_request(
        self,
        method: str,
        path: str,
        query_params: Mapping[str, Any] | str | None = None,
        headers: Mapping[str, str] | Sequence[Sequence[str]] | None = None,
        body: Any = None,
        *,
        client_ip: str | None = None,
        deadline_s: float | None = None,
    ) -> Verdict:
        """Return the verdict on one request; see `build_request` for what the arguments may be.

        `deadline_s` may shorten the service's own deadline. Raises `RequestError` or `NotReady`.
        """
        request = build_request(
            method=method, path=path, query_params=query_params, headers=headers, body=body, client_ip=client_ip
        )
        return self.check(request, deadline_s=deadline_s)

    def check_batch(self, requests: Sequence[Mapping[str, Any] | HTTPRequest]) -> list[Verdict]:
        """Return the verdicts on `requests`, in order. One invalid item refuses the batch whole, by its index."""
        built = [request_of(item, at=f"requests[{index}]") for index, item in enumerate(requests)]
        deadlines = [None if isinstance(item, HTTPRequest) else item.get("deadline_s") for item in requests]
        for index, deadline_s in enumerate(deadlines):
            validate_deadline(deadline_s, field=f"requests[{index}].deadline_s")
        return [self.check(request, deadline_s=at) for request, at in zip(built, deadlines, strict=True)]

    def check(self, request: HTTPRequest, *, deadline_s: float | None = None, request_id: str | None = None) -> Verdict:
        """Return the verdict on `request`. Raises `NotReady` once closed."""
        validate_deadline(deadline_s)
        if self._engine is None and not self._closed:
            self.start()
        engine, timeout_s = self._engine, self.settings.waf_service.timeout
        if engine is None or self._closed:
            raise NotReady("the service is closed")
        started_at = time.monotonic()
        try:
            limit_s = timeout_s if deadline_s is None else min(deadline_s, timeout_s)
            verdict = engine.check(request, deadline_s=limit_s, request_id=request_id)
        except Exception:  # a defect: the request was not read, which is a failure and never a benign verdict
            _log.exception("a request could not be judged")
            verdict = engine.unjudged(Degraded.MODEL_FAILED, started_at=started_at, request_id=request_id)
        events = self._events
        with self._recording:
            self.metrics.record(verdict)
        if verdict.is_anomaly and events is not None:
            events.record(request, verdict)
        return verdict
