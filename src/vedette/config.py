"""One frozen tree of settings: every key with its unit, its default and the reason for it.

Flags beat environment beats files beats these defaults; nothing reads the environment or argv at import. Unknown keys
and bad values are refused by name with `ConfigError`. The reference in docs/configuration.md is generated from here.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

KIB = 1024
MIB = 1024 * KIB


def _network(text: str) -> str:
    ipaddress.ip_network(text, strict=False)  # its ValueError names the text
    return text


def _redis_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        reachable = parts.path if parts.scheme == "unix" else parts.hostname and parts.port != 0
    except ValueError as error:  # its message may hold a part of the password
        raise ValueError("must be a URL with a host and a port from 1 to 65535") from error
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ValueError("must begin with redis://, rediss:// or unix://")
    if not reachable:
        raise ValueError("names no host" if parts.scheme != "unix" else "names no socket: unix:///path/of/socket")
    return text


class Section(BaseModel):
    """A group of settings: frozen, and closed to keys it does not know."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, validate_default=True, allow_inf_nan=False
    )


class InspectionSettings(Section):
    """Bounds on the reading of one request. What lies beyond a bound is reported as not inspected, never as clean."""

    max_body_bytes: Annotated[int, Field(ge=1)] = Field(
        1 * MIB, description="Bytes of the (decompressed) body that are read; at least 128 KiB is advised."
    )
    max_value_chars: Annotated[int, Field(ge=64)] = Field(
        1 * MIB, description="Characters of one field value that are read, in overlapping windows."
    )
    max_fields: Annotated[int, Field(ge=1)] = Field(4096, description="Fields read from one request.")
    max_depth: Annotated[int, Field(ge=1)] = Field(
        64, description="Nesting depth of JSON, XML and values within values."
    )
    max_decode_passes: Annotated[int, Field(ge=1, le=16)] = Field(
        4, description="Times a value is decoded again (percent, entities, escapes, base64, ...)."
    )
    max_inflate_ratio: Annotated[int, Field(ge=1)] = Field(
        200, description="Largest ratio of decompressed to compressed bytes; DEFLATE itself cannot exceed 1032."
    )
    max_windows: Annotated[int, Field(ge=1)] = Field(
        2048, description="Model windows scored for one request, the most suspicious text first."
    )


class EventLogSettings(Section):
    """One JSON line for each anomaly, secrets masked."""

    enabled: bool = Field(True, description="Write an event for each anomaly.")
    path: str | None = Field(None, description="File that events are appended to; null writes them to standard output.")


class WafServiceSettings(Section):
    """The service: where it listens, which model it serves, and what it does with a verdict."""

    host: str = Field("127.0.0.1", description="Address to listen on; loopback until you decide otherwise.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(8000, description="TCP port; 0 takes a free one.")
    workers: Annotated[int, Field(ge=1, le=256)] = Field(1, description="Service processes.")
    timeout: Annotated[float, Field(gt=0, le=300)] = Field(
        1.0, description="Total deadline of one check in seconds, unless the caller gives a shorter one."
    )
    max_wait: Annotated[float, Field(gt=0, le=300)] | None = Field(
        None,
        description="Seconds that a call may wait for its turn before it is read, and one of more than 8 KiB for those "
        "before it; one that would wait longer is answered 503 at once. null is half of timeout.",
    )
    model_path: str | None = Field(
        None, description="Bundle directory, .onnx or .pt checkpoint; null is the shipped bundle."
    )
    vocab_path: str | None = Field(None, description="Vocabulary file for a loose checkpoint; null takes the bundle's.")
    threshold: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="Score from which a request is an anomaly; null lets false_positive_budget decide."
    )
    false_positive_budget: Annotated[float, Field(gt=0, le=1_000_000)] = Field(
        400.0, description="False alarms accepted per million benign requests; sets the threshold by calibration."
    )
    mode: Literal["block", "monitor"] = Field(
        "block", description="Action for an anomaly: block it, or only report it (monitor)."
    )
    fail_mode: Literal["open", "closed"] = Field(
        "open", description="Action when no verdict could be reached in time: open allows, closed blocks."
    )
    on_partial: Literal["allow", "block"] = Field(
        "allow", description="Action for a request that was only partly read and showed no anomaly."
    )
    trusted_proxies: tuple[Annotated[str, AfterValidator(_network)], ...] = Field(
        ("127.0.0.0/8", "::1/128"), description="Peers whose forwarding headers and client_ip field are believed."
    )
    max_request_bytes: Annotated[int, Field(ge=1024)] = Field(
        16 * MIB, description="Largest HTTP body the service accepts; more is answered 413."
    )
    max_batch: Annotated[int, Field(ge=1)] = Field(1024, description="Most requests in one POST /check/batch.")
    max_findings: Annotated[int, Field(ge=1)] = Field(16, description="Findings listed in a verdict, worst first.")
    drain_timeout: Annotated[float, Field(ge=0)] = Field(
        10.0, description="Seconds given to requests in flight when the service stops."
    )
    watch_model: bool = Field(
        False, description="Reload the model when the files of the bundle directory model_path change."
    )
    admin_token: Annotated[SecretStr, Field(min_length=16)] | None = Field(
        None, description="Bearer token of POST /admin/reload, 16 characters or more; null turns the call off."
    )
    inspection: InspectionSettings = Field(default_factory=InspectionSettings)
    event_log: EventLogSettings = Field(default_factory=EventLogSettings)


class AsyncSettings(Section):
    """The model stage: threads, batches and their deadline."""

    max_workers: Annotated[int, Field(ge=1, le=256)] | None = Field(
        None, description="Inference threads; null is one for each CPU core available to the process."
    )
    batch_size: Annotated[int, Field(ge=1, le=1024)] = Field(
        32, description="Most requests whose windows are run as one batch."
    )
    timeout: Annotated[float, Field(gt=0, le=300)] = Field(
        0.8, description="Deadline of the model stage in seconds, the wait in the queue included."
    )


class QueueSettings(Section):
    """The bounded queue in front of the model."""

    max_size: Annotated[int, Field(ge=1)] = Field(1024, description="Requests waiting; one more is answered 503.")
    max_batch_tokens: Annotated[int, Field(ge=128)] = Field(
        16384, description="Token budget of one batch: windows times the longest of them."
    )
    batch_window_ms: Annotated[float, Field(ge=0, le=1000)] = Field(
        0.0, description="Milliseconds a batch waits for company; 0 never waits, as the next batch forms meanwhile."
    )


class OptimizationSettings(Section):
    """How the model is run. The combinations that exist are listed in docs/backends.md."""

    backend: Literal["auto", "native", "onnx", "torch"] = Field(
        "auto",
        description="auto is native where that was compiled on installing and the processor has AVX2, else onnx; torch "
        "needs the train extra.",
    )
    quantization: Literal["int8", "none"] = Field(
        "int8", description="Weights as integers (native: of 13 bits and more), or as trained."
    )
    torchscript: bool = Field(False, description="Run the torch model as traced and frozen TorchScript.")


class RateLimitSettings(Section):
    """Sliding-window limits on /check and /check/batch (a batch counts its length)."""

    enabled: bool = Field(True, description="Whether the limits apply.")
    max_requests_per_second: Annotated[int, Field(ge=1)] = Field(10_000, description="Requests a second, all clients.")
    per_ip: Annotated[int, Field(ge=1)] = Field(
        5_000, description="Requests a second for one client address (IPv6: one /64)."
    )
    max_ips: Annotated[int, Field(ge=1)] = Field(100_000, description="Client addresses tracked at the same time.")
    redis_url: Annotated[str, AfterValidator(_redis_url)] | None = Field(
        None,
        repr=False,  # may hold a password: shown nowhere, not in messages either
        description="Redis that all workers on all machines share, so that the limits hold for the service as a whole: "
        "redis://, rediss:// (TLS) or unix://; null splits them between the workers.",
    )
    redis_timeout_ms: Annotated[float, Field(ge=1, le=10_000)] = Field(
        50.0, description="Milliseconds a request waits for Redis at most; then on_store_failure decides."
    )
    redis_connections: Annotated[int, Field(ge=1, le=64)] = Field(
        2, description="Connections of one worker to Redis; requests that come together share a call."
    )
    redis_prefix: Annotated[str, Field(min_length=1, max_length=100)] = Field(
        "vedette:limit:", description="What the keys in Redis begin with; services with one prefix share their limits."
    )
    on_store_failure: Literal["local", "allow", "refuse"] = Field(
        "local",
        description="While Redis is down or slow: each worker keeps its share of the limits in its own memory (local), "
        "nothing is limited (allow), or requests are answered 503 (refuse).",
    )


class ScoreMemorySettings(Section):
    """What was seen before: scores, keyed by exactly what the model reads, and harmless pieces of requests as sent."""

    max_bytes: Annotated[int, Field(ge=0)] = Field(
        64 * MIB,
        description="Memory per worker, a quarter of it for pieces of requests, else for scores; 0 remembers nothing.",
    )


class InferenceSettings(Section):
    """The model runtime."""

    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto takes CUDA where the backend finds it.")
    async_: AsyncSettings = Field(default_factory=AsyncSettings, alias="async")
    queue: QueueSettings = Field(default_factory=QueueSettings)
    optimization: OptimizationSettings = Field(default_factory=OptimizationSettings)
    rate_limiting: RateLimitSettings = Field(default_factory=RateLimitSettings)
    score_memory: ScoreMemorySettings = Field(default_factory=ScoreMemorySettings)


class Settings(Section):
    """All settings of a Vedette process."""

    waf_service: WafServiceSettings = Field(default_factory=WafServiceSettings)
    inference: InferenceSettings = Field(default_factory=InferenceSettings)
