"""Every error that Vedette raises on purpose.

    VedetteError
    ├── ConfigError            a setting: unknown key, bad value, port in use        (names the key)
    ├── RequestError           a request that cannot be read at all                  (names the field)
    │   ├── PayloadTooLarge
    │   └── MalformedInput     a log line, HAR, raw message or curl command line
    ├── BundleError            a model bundle that is incomplete, altered or unsafe   (names the file)
    ├── BackendUnavailable     a backend whose optional dependency is not installed   (names the extra)
    └── ServiceError           the service cannot take or finish work; `outcome` says which way
        ├── Overloaded         the queue is full                       -> 503 + Retry-After
        ├── NotReady           starting, draining or closed            -> 503 + Retry-After
        ├── LimitsUnavailable  Redis is away and the policy is refuse  -> 503 + Retry-After
        ├── DeadlineExceeded   the caller's budget ran out             -> degraded verdict `timed_out`
        └── InferenceFailed    the model or its worker failed          -> degraded verdict `model_failed`

A failure is never a benign score: callers get one of these, or a verdict whose `degraded` says why.
"""

from __future__ import annotations


class VedetteError(Exception):
    """Base of all errors raised by Vedette."""


class ConfigError(VedetteError):
    """A setting is unknown or has a value that cannot be used.

    `key` is the dotted name of the setting, e.g. ``waf_service.port``, or None where no single key is at fault.
    """

    def __init__(self, message: str, *, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key


class RequestError(VedetteError):
    """A request cannot be read. `field` names the part at fault, e.g. ``requests[3].path``."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class PayloadTooLarge(RequestError):
    """A request is larger than the configured limit."""


class MalformedInput(RequestError):
    """A log line, HAR entry, raw HTTP message, JSONL record or curl command line does not parse."""


class BundleError(VedetteError):
    """A model bundle is missing a part, was altered, is unsafe to load, or its parts do not belong together."""


class BackendUnavailable(VedetteError):
    """A backend needs an optional dependency that is not installed; the message names the extra to install."""


class ServiceError(VedetteError):
    """The service could not take or finish a piece of work. `outcome` is the label used in metrics."""

    outcome = "failed"

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Overloaded(ServiceError):
    """The bounded queue is full; the caller should come back after `retry_after_s` seconds."""

    outcome = "overloaded"


class NotReady(ServiceError):
    """The service is starting, draining or closed."""

    outcome = "not_ready"


class LimitsUnavailable(ServiceError):
    """The store of the rate limits cannot be asked, and requests are not to be let through without it."""

    outcome = "limits_unavailable"


class DeadlineExceeded(ServiceError):
    """The deadline passed before a result was ready."""

    outcome = "timed_out"


class InferenceFailed(ServiceError):
    """The model, or the worker that ran it, failed."""

    outcome = "model_failed"
