"""The ways to run a model: choose one, prove that it agrees with fp32, save it and load it again.

    load_runtime      bundle and settings -> a runtime (this is what serving calls)
    compare_backends  every way on one fixed set of requests: size, CPU time, difference from fp32 (`vedette optimize`)
    save_optimized    one way as a file of its own with metadata beside it; load_optimized opens it

The reference is ``onnx-fp32`` where torch is missing and ``torch-fp32``, the model as trained, where it is not.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.bundle import Bundle
from vedette.config import OptimizationSettings
from vedette.errors import BackendUnavailable, BundleError
from vedette.http_request import HTTPRequest
from vedette.inference.runtime import VARIANTS, ModelOutput, ModelRuntime, Variant, load_runtime
from vedette.parsing.pipeline import ParsingPipeline

__all__ = [
    "TOLERANCES", "Comparison", "Tolerance", "agreement_rows", "compare_backends", "load_optimized", "load_runtime",
    "optimization_for", "save_optimized",
]  # fmt: skip

_BATCH = 32  # rows of one run, as `inference.async.batch_size`
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a way may stray from fp32 on the fixed set: largest logit and score differences, and the smallest share
    of rows on the same side of the threshold."""

    max_logit_difference: float
    max_score_difference: float
    min_agreement: float


_ROUNDING = Tolerance(1e-3, 1e-3, 1.0)
_FIXED_POINT = Tolerance(0.05, 0.01, 0.999)
_INT8 = Tolerance(0.75, 0.05, 0.99)
TOLERANCES = {variant.name: _INT8 if variant.quantization == "int8" else _ROUNDING for variant in VARIANTS} | {
    "native": _FIXED_POINT
}
"""By name of the way. Other orders of summation move fp32 logits by up to 1e-5; measured figures: docs/backends.md."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One row of `vedette optimize`. `size` is in bytes; CPU time is process time of one thread, for one window.

    `unavailable` says why the way could not be run; its figures are then None.
    """

    variant: str
    device: str | None = None
    size: int | None = None
    cpu_us_per_sequence: float | None = None
    max_logit_difference: float | None = None
    max_score_difference: float | None = None
    agreement: float | None = None
    within_tolerance: bool | None = None
    unavailable: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types only."""
        return asdict(self)


def optimization_for(variant: Variant) -> OptimizationSettings:
    """Return the settings that choose `variant`."""
    return OptimizationSettings.model_validate(asdict(variant))


def agreement_rows(bundle: Bundle, requests: Sequence[HTTPRequest] | None = None) -> list[list[int]]:
    """Rows of token ids of every window of `requests`; None takes the package's own fixed set."""
    pipeline = ParsingPipeline()
    fields = [field for request in requests or _fixed_set() for field in pipeline.parse(request).fields]
    windows = [window for field in fields for window in bundle.tokenizer.windows(field)]
    return [row for rows in bundle.tokenizer.encode(windows) for row in rows] if windows else []


def compare_backends(
    bundle: Bundle,
    requests: Sequence[HTTPRequest] | None = None,
    *,
    threshold: float = 0.5,
    variants: Sequence[Variant] = VARIANTS,
    measure_s: float = 0.25,
) -> list[Comparison]:
    """Run every way over `requests` (None: the fixed set) and compare it with fp32, the default way first.

    CPU time is the best of three measurements of `measure_s` seconds each.
    """
    batches = list(_batches(agreement_rows(bundle, requests)))
    if not batches:
        raise ValueError("the requests hold nothing that the model reads")
    reference: list[ModelOutput] | None = None
    for variant in (Variant("torch", "none"), Variant("onnx", "none")):
        if (opened := _open(bundle, variant))[0] is not None:
            reference = [opened[0].run(ids) for ids in batches]
            break
    if reference is None:
        raise BundleError(f"{bundle.path}: has no fp32 weights to compare with")
    return [_compare(bundle, variant, batches, reference, threshold, measure_s) for variant in variants]


def _open(bundle: Bundle, variant: Variant) -> tuple[ModelRuntime | None, str | None]:
    """The runtime, or why there is none."""
    if variant.weights not in bundle.weights:
        return None, f"the model has no {variant.weights}"
    try:
        return load_runtime(bundle, optimization_for(variant), "cpu"), None
    except BackendUnavailable as error:
        return None, str(error)


def _compare(
    bundle: Bundle,
    variant: Variant,
    batches: list[NDArray[np.int64]],
    reference: list[ModelOutput],
    threshold: float,
    measure_s: float,
) -> Comparison:
    runtime, reason = _open(bundle, variant)
    if runtime is None:
        return Comparison(variant.name, unavailable=reason)
    logits = np.concatenate([runtime.run(ids).logits for ids in batches])
    expected = np.concatenate([output.logits for output in reference])
    scores, wanted = (bundle.scorer.score(values)[0] for values in (logits, expected))
    logit_difference = float(np.abs(logits - expected).max())
    score_difference = float(np.abs(scores - wanted).max())
    agreement = float(((scores >= threshold) == (wanted >= threshold)).mean())
    allowed = TOLERANCES[variant.name]
    return Comparison(
        variant.name,
        runtime.device,
        bundle.weights[variant.weights].entry.size,
        _cpu_us(runtime, batches, measure_s),
        logit_difference,
        score_difference,
        agreement,
        logit_difference <= allowed.max_logit_difference
        and score_difference <= allowed.max_score_difference
        and agreement >= allowed.min_agreement,
    )


def _cpu_us(runtime: ModelRuntime, batches: list[NDArray[np.int64]], measure_s: float) -> float:
    """CPU microseconds for one row: the best of three measurements."""
    best = float("inf")
    for _ in range(3):
        rows = 0
        start = time.process_time()
        while (spent := time.process_time() - start) < measure_s or rows == 0:
            for ids in batches:
                runtime.run(ids)
                rows += len(ids)
        best = min(best, spent / rows * 1e6)
    return best


def _batches(rows: list[list[int]]) -> Iterator[NDArray[np.int64]]:
    """Rows of ids -> padded batches, sorted by length."""
    ordered = sorted(rows, key=len)
    for at in range(0, len(ordered), _BATCH):
        part = ordered[at : at + _BATCH]
        ids = np.zeros((len(part), len(part[-1])), np.int64)
        for line, row in zip(ids, part, strict=True):
            line[: len(row)] = row
        yield ids


def _fixed_set() -> list[HTTPRequest]:
    """The package's own requests, harmless and hostile, of every location."""
    text = resources.files("vedette.inference").joinpath("agreement_set.json").read_text("utf-8")
    return [
        HTTPRequest(item["method"], item["target"], tuple(map(tuple, item["headers"])), item["body"].encode())
        for item in json.loads(text)
    ]


class _Description(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The ``.json`` beside an optimised file."""

    format: int
    backend: str
    quantization: str
    torchscript: bool
    model_version: str
    vocab_sha256: str
    sha256: str


def save_optimized(bundle: Bundle, variant: Variant, directory: str | Path) -> Path:
    """Write `variant` of the model to a file in `directory`, beside it a ``.json`` with what it is; return the file.

    ONNX ways and eager torch are their weight file (dynamic int8 is applied on loading, in milliseconds); TorchScript
    is the traced and frozen archive.
    """
    weights = bundle.weights[variant.weights]
    if variant.torchscript:
        from vedette.inference.runtime_torch import TorchRuntime

        path = Path(directory) / f"{variant.name}.pt"
        data = TorchRuntime(bundle, variant, "cpu").save_script()
    else:
        path = Path(directory) / f"{variant.name}{weights.path.suffix}"
        data = weights.read()
    digest = hashlib.sha256(data).hexdigest()
    description = _Description(
        FORMAT, **asdict(variant), model_version=bundle.version, vocab_sha256=bundle.tokenizer.sha256, sha256=digest
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    _beside(path).write_bytes(msgspec.json.format(msgspec.json.encode(description), indent=2) + b"\n")
    return path


def load_optimized(path: str | Path, bundle: Bundle) -> ModelRuntime:
    """Open what `save_optimized` wrote, for `bundle`. Raises `BundleError` if it was altered or is another model's.

    A TorchScript archive holds code. The hash beside it guards against damage, not against somebody who can write both
    files, so serving never loads one: with ``torchscript: true`` it traces the bundle's checkpoint at its start.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
        description = msgspec.json.decode(_beside(path).read_bytes(), type=_Description)
        variant = Variant(description.backend, description.quantization, description.torchscript)
    except (OSError, msgspec.MsgspecError) as error:
        raise BundleError(f"{path}: cannot be read: {error}") from error
    if description.format != FORMAT or variant not in VARIANTS:
        raise BundleError(f"{_beside(path)}: format or way is unknown")
    if hashlib.sha256(data).hexdigest() != description.sha256:
        raise BundleError(f"{path}: was altered: its SHA-256 is not the one beside it")
    if description.model_version != bundle.version or description.vocab_sha256 != bundle.tokenizer.sha256:
        raise BundleError(f"{path}: belongs to model {description.model_version}, not to {bundle.version}")
    if not variant.torchscript:
        return load_runtime(bundle.with_weights(variant.weights, path), optimization_for(variant), "cpu")
    from vedette.inference.runtime_torch import TorchRuntime

    return TorchRuntime.load_script(data, variant, "cpu")


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".json")
