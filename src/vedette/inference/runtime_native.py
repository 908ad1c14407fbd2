"""The default backend: the forward pass in C (native/detector.c), compiled when the package is installed.

A run of the 15 to 20 tokens that a request usually adds costs a fraction of what a general runtime pays for walking its
graph, and needs no padding; figures: docs/backends.md. It reads the checkpoint and computes in fixed point of 12 bits
and more, so it lies closer to fp32 than the int8 graph. Where it was not compiled, or the processor lacks AVX2, the
setting `backend: auto` takes onnxruntime.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from vedette.bundle import CHECKPOINT, Bundle
from vedette.errors import BackendUnavailable, BundleError, ConfigError, InferenceFailed
from vedette.inference.runtime import ModelOutput, Variant, checked_ids
from vedette.model.detector_config import MASKED, ROTARY_BASE, DetectorConfig, attack_indexes
from vedette.native.loader import native_library

_BLOCK, _ACTIVATION_MAX, _MAX_HEAD = 16, 2047, 64  # as in detector.c
_LINE = 64  # bytes of a line of the cache, and of the widest registers
_POSITIONS = 4096  # tokens of a text that is computed at once: a window has at most 2,048 characters
REASONS = {1: "memory is short", 2: "a token is outside the vocabulary"}

_Pointer = ctypes.c_void_p
_Size = ctypes.c_int32


class _Linear(ctypes.Structure):
    _fields_ = [("weights", _Pointer), ("scale", _Pointer), ("bias", _Pointer), ("inputs", _Size), ("outputs", _Size)]


class _Layer(ctypes.Structure):
    _fields_ = [
        *[(name, _Pointer) for name in ("norm1_weight", "norm1_bias", "norm2_weight", "norm2_bias")],
        *[(name, _Linear) for name in ("qkv", "out", "up", "down")],
    ]


class _Model(ctypes.Structure):
    _fields_ = [
        *[(name, _Pointer) for name in ("tokens", "layers", "norm_weight", "norm_bias")],
        ("odds", _Linear),
        ("exit", _Pointer),
        *[(name, ctypes.c_float) for name in ("exit_bias", "exit_below", "exit_share")],
        *[(name, _Pointer) for name in ("cosines", "sines", "aside")],
        *[(name, _Size) for name in ("d_model", "n_heads", "d_ff", "n_layers", "classes")],
        *[(name, _Size) for name in ("vocab", "context_tokens", "window", "max_tokens", "positions")],
    ]


class NativeRuntime:
    """Runs `model.safetensors`."""

    runs_inline = True

    def __init__(self, bundle: Bundle, variant: Variant, device: str) -> None:
        if device == "cuda":
            raise ConfigError("the native backend runs on the CPU; set backend: onnx or torch", key="inference.device")
        reason, library = why_unavailable(bundle), native_library()
        if reason is not None or isinstance(library, str):
            raise BackendUnavailable(f"backend: native cannot run here: {reason}; backend: auto takes onnxruntime then")
        self.variant, self.device = variant, "cpu"
        self._config = bundle.config
        self._kept: list[NDArray[np.generic]] = []  # what the structures point into
        weights = bundle.weights[CHECKPOINT]
        where = str(weights.path)
        try:
            self._model = self._laid_out(load(weights.read()), bundle.config)
        except (SafetensorError, KeyError, ValueError) as error:
            raise BundleError(f"{where}: is not the checkpoint that the manifest describes: {error}") from error
        self.address = ctypes.addressof(self._model)
        self._run = library.vedette_run
        self._run.argtypes = [_Pointer, _Pointer, _Size, _Size, _Pointer, _Pointer]

    def run(self, ids: NDArray[np.int64]) -> ModelOutput:
        """See `ModelRuntime.run`."""
        ids = checked_ids(ids)
        rows, width = ids.shape
        if width > self._config.max_tokens:
            raise InferenceFailed(f"a row may have {self._config.max_tokens} tokens, not {width}")
        logits = np.empty((rows, len(self._config.classes)), np.float32)
        evidence = np.empty((rows, width), np.float32)
        failure = self._run(self.address, _address(ids), rows, width, _address(logits), _address(evidence))
        if failure:
            raise InferenceFailed(f"native: {REASONS.get(failure, failure)}")
        return ModelOutput(logits, evidence)

    # -- weights as detector.c wants them --------------------------------------------------------------------------

    def _laid_out(self, arrays: dict[str, NDArray[np.float32]], config: DetectorConfig) -> _Model:
        d, layers = config.d_model, (_Layer * config.n_layers)()
        shapes = {"qkv": (3 * d, d), "out": (d, d), "up": (config.d_ff, d), "down": (d, config.d_ff)}

        def array(name: str, *shape: int) -> NDArray[np.float32]:
            found = arrays[name]
            if found.shape != shape:
                raise ValueError(f"{name} is {found.shape}, not {shape}")
            if not np.isfinite(found).all():
                raise ValueError(f"{name} holds something that is no number")
            return found

        def linear(name: str, outputs: int, inputs: int) -> _Linear:
            return self._linear(array(f"{name}.weight", outputs, inputs), array(f"{name}.bias", outputs))

        for index in range(config.n_layers):
            layer = f"layers.{index}."
            norms = [f"{layer}{norm}.{part}" for norm in ("norm1", "norm2") for part in ("weight", "bias")]
            layers[index] = _Layer(
                *[self._pointer(array(name, d)) for name in norms],
                *[linear(layer + name, *shape) for name, shape in shapes.items()],
            )
        self._layers = layers
        half = d // config.n_heads // 2
        positions = max(config.max_tokens, _POSITIONS)
        angles = np.arange(positions)[:, None] * ROTARY_BASE ** (-np.arange(half) / half)
        odds = linear("odds", len(config.classes) - 1, d)
        aside = np.full(len(config.classes), MASKED)
        aside[attack_indexes(config.classes)] = 0.0
        return _Model(
            self._pointer(array("tokens.weight", config.vocab_size, d)),
            ctypes.addressof(layers),
            self._pointer(array("norm.weight", d)),
            self._pointer(array("norm.bias", d)),
            odds,
            *self._exit(array, config),
            *[self._pointer(table) for table in (np.cos(angles), np.sin(angles))],
            self._pointer(np.pad(aside[1:], (0, odds.outputs + 1 - len(aside)))),
            *(d, config.n_heads, config.d_ff, config.n_layers, len(config.classes) - 1),
            *(config.vocab_size, config.context_tokens, config.attention_window, config.max_tokens, positions),
        )

    def _exit(
        self, array: Callable[..., NDArray[np.float32]], config: DetectorConfig
    ) -> tuple[int | None, float, float, float]:
        """The early exit, its norm's weights taken into those of its sum; NULL where there is none."""
        if config.exit_below is None:
            return None, 0.0, 0.0, 0.0
        d = config.d_model
        out = array("exit.out.weight", 1, d)[0]
        bias = float(array("exit.out.bias", 1)[0] + out @ array("exit.norm.bias", d))
        weights = (out * array("exit.norm.weight", d)).astype(np.float32)
        if not (np.isfinite(weights).all() and np.isfinite(np.float32(bias))):
            raise ValueError("the early exit computes with something that is no number")
        share = math.log(len(attack_indexes(config.classes)))
        return self._pointer(weights), bias, config.exit_below, share

    def _linear(self, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> _Linear:
        """Weights (N, K) -> 16-bit integers (N / 16, K / 2, 16, 2), so large that no sum of K products overflows."""
        outputs, inputs = weight.shape
        spare = -outputs % _BLOCK
        weight, bias = np.pad(weight, ((0, spare), (0, 0))), np.pad(bias, (0, spare))
        largest = min(2**15 - 1, (2**31 - 1) // (_ACTIVATION_MAX * inputs))
        scale = np.maximum(np.abs(weight).max(axis=1), 1e-20) / largest
        whole = np.rint(weight / scale[:, None]).astype(np.int16)
        blocks = whole.reshape(-1, _BLOCK, inputs // 2, 2).transpose(0, 2, 1, 3)
        return _Linear(
            self._pointer(blocks, np.int16), self._pointer(scale), self._pointer(bias), inputs, outputs + spare
        )

    def _pointer(self, array: NDArray[np.generic], kind: type[np.generic] = np.float32) -> int:
        """Keep `array` where a line of the cache begins, and return where that is."""
        size = array.size * np.dtype(kind).itemsize
        room = np.empty(size + _LINE, np.uint8)
        begin = -room.ctypes.data % _LINE
        held = room[begin : begin + size].view(kind)
        held[:] = array.ravel()
        self._kept.append(held)
        return held.ctypes.data


def why_unavailable(bundle: Bundle) -> str | None:
    """Return why the native backend cannot run `bundle` here, None where it can."""
    if CHECKPOINT not in bundle.weights or bundle.weights[CHECKPOINT].path.suffix != ".safetensors":
        return f"the model has no {CHECKPOINT}"
    config = bundle.config
    head = config.d_model // config.n_heads
    sizes_fit = not (config.d_model % _BLOCK or config.d_ff % _BLOCK or head % _BLOCK) and head <= _MAX_HEAD
    if config.activation != "relu" or not sizes_fit or max(config.d_model, config.d_ff) > 4096:
        return "it runs detectors with ReLU and sizes that are multiples of 16"
    library = native_library()
    return library if isinstance(library, str) else None


def _address(array: NDArray[np.generic]) -> int:
    """Return where the numbers of `array` lie; `array.ctypes` makes an object to tell that."""
    address: int = array.__array_interface__["data"][0]
    return address
