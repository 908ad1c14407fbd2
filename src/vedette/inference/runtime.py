"""The seam between the engine and a model: token ids in, logits and evidence out.

`RUNTIMES` maps a backend's name to the class that runs it, imported only when it is chosen; all share one test suite.
Which weights a choice of settings runs is told by `variant`, and the table is in docs/backends.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from vedette.bundle import CHECKPOINT, FP32_ONNX, INT8_ONNX, Bundle
from vedette.config import OptimizationSettings, Settings
from vedette.errors import BundleError, ConfigError, InferenceFailed

RUNTIMES = {
    "native": "vedette.inference.runtime_native:NativeRuntime",
    "onnx": "vedette.inference.runtime_onnx:OnnxRuntime",
    "torch": "vedette.inference.runtime_torch:TorchRuntime",
}


class ModelOutput(NamedTuple):
    """`logits` (B, C) and `evidence` (B, T), both float32: see `AnomalyDetector.forward`."""

    logits: NDArray[np.float32]
    evidence: NDArray[np.float32]


class ModelRuntime(Protocol):
    """A loaded model. `variant` says what runs, `device` where; `runs_inline` whether a run of a few tokens is so
    short, and so sure to end, that an event loop may wait for it."""

    variant: Variant
    runs_inline: bool
    device: str

    def run(self, ids: NDArray[np.int64]) -> ModelOutput:
        """Run ids (B, T), 0 pads. Safe to call from many threads; raises `InferenceFailed`."""
        ...


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to run the model."""

    backend: str
    quantization: str
    torchscript: bool = False

    @property
    def name(self) -> str:
        """E.g. ``native``, ``onnx-int8``, ``torch-fp32``, ``torchscript-int8``."""
        if self.backend == "native":
            return self.backend
        kind = "torchscript" if self.torchscript else self.backend
        return f"{kind}-{'int8' if self.quantization == 'int8' else 'fp32'}"

    @property
    def weights(self) -> str:
        """The weight file of a bundle that it reads."""
        if self.backend in ("native", "torch"):
            return CHECKPOINT
        return INT8_ONNX if self.quantization == "int8" else FP32_ONNX


VARIANTS = (
    Variant("native", "int8"),
    Variant("onnx", "int8"),
    Variant("onnx", "none"),
    Variant("torch", "none"),
    Variant("torch", "int8"),
    Variant("torch", "none", torchscript=True),
    Variant("torch", "int8", torchscript=True),
)
"""All ways; the default is the first of them that runs."""


def load_runtime(
    bundle: Bundle, optimization: OptimizationSettings | None = None, device: str = "auto"
) -> ModelRuntime:
    """Open the way that the settings name, warmed up.

    A loose weight file is run by the backend that reads it, whatever the settings say of backend and quantisation of
    ONNX files. Raises `BundleError` (no such weights), `BackendUnavailable` (torch or CUDA is missing), `ConfigError`
    (settings that contradict each other).
    """
    variant = choose_variant(bundle, optimization or Settings().inference.optimization, device)
    module, _, name = RUNTIMES[variant.backend].partition(":")
    make: Callable[[Bundle, Variant, str], ModelRuntime] = getattr(import_module(module), name)
    runtime = make(bundle, variant, device)
    for batch, tokens in ((1, 8), (2, bundle.config.max_tokens)):
        runtime.run(np.ones((batch, tokens), np.int64))
    return runtime


def choose_variant(bundle: Bundle, optimization: OptimizationSettings, device: str = "auto") -> Variant:
    """Settings -> the way to run `bundle`. ``auto`` is native where that runs and nothing else is asked for, else
    onnx."""
    backend: str = optimization.backend
    if backend == "auto":
        as_trained = optimization.quantization == "none" or optimization.torchscript or device == "cuda"
        backend = "onnx" if as_trained or why_not_native(bundle) is not None else "native"
    wanted = Variant(backend, optimization.quantization, optimization.torchscript)
    if bundle.loose:
        wanted = _variant_of_file(next(iter(bundle.weights)), wanted)
    if wanted.torchscript and wanted.backend != "torch":
        raise ConfigError(
            f"torchscript needs backend: torch; {wanted.backend} runs no TorchScript",
            key="inference.optimization.torchscript",
        )
    if wanted.backend == "native" and wanted.quantization == "none":
        raise ConfigError(
            "the native backend computes in fixed point; fp32 needs backend: onnx or torch",
            key="inference.optimization.quantization",
        )
    if wanted.weights not in bundle.weights:
        raise BundleError(f"{bundle.path}: has no {wanted.weights}, which {wanted.name} runs")
    return wanted


def why_not_native(bundle: Bundle) -> str | None:
    """Return why the native backend cannot run `bundle` here, None where it can."""
    from vedette.inference.runtime_native import why_unavailable

    return why_unavailable(bundle)


def _variant_of_file(weights: str, wanted: Variant) -> Variant:
    if weights == CHECKPOINT:
        if wanted.backend != "onnx":
            return wanted
        return Variant("torch", "none")  # the checkpoint as trained, not an int8 the operator did not see
    if wanted.backend != "onnx":
        message = f"an .onnx file cannot be run by backend: {wanted.backend}"
        raise ConfigError(message, key="inference.optimization.backend")
    return Variant("onnx", "int8" if weights == INT8_ONNX else "none", wanted.torchscript)


def checked_ids(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return `ids` as a contiguous int64 (B, T) array with B, T >= 1, or raise `InferenceFailed`."""
    if ids.ndim != 2 or 0 in ids.shape or ids.dtype != np.int64:
        raise InferenceFailed(f"model input must be int64 (batch, tokens), not {ids.dtype} {ids.shape}")
    return np.ascontiguousarray(ids)


def checked_output(logits: Any, evidence: Any, rows: int) -> ModelOutput:
    """Return the output if there is one finite row for each row of input, or raise `InferenceFailed`."""
    if len(logits) != rows or len(evidence) != rows or not np.isfinite(logits).all():
        raise InferenceFailed("the model answered with something that is no score for each row")
    return ModelOutput(logits, evidence)
