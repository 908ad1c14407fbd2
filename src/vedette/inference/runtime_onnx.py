"""onnxruntime: runs on every processor and on CUDA. It releases the GIL while it runs, and needs no torch.

One thread for each run (a run is well below a millisecond a row, too small to split), so that parallelism comes from
the service's workers and CPU time is spent once. All threads share one session and its weights. CPU memory of a run
goes back to the arena, which grows by what is asked for, not by doubling.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from vedette.bundle import Bundle
from vedette.bundle_metadata import onnx_metadata
from vedette.errors import BackendUnavailable, BundleError, ConfigError, InferenceFailed
from vedette.inference.runtime import ModelOutput, Variant, checked_ids, checked_output

_CUDA = "CUDAExecutionProvider"


class OnnxRuntime:
    """Runs `model.int8.onnx` or `model.onnx`."""

    runs_inline = False

    def __init__(self, bundle: Bundle, variant: Variant, device: str) -> None:
        self.variant = variant
        weights = bundle.weights[variant.weights]
        data = weights.read()
        metadata = onnx_metadata(data, str(weights.path))
        self.device = _device(device, variant)
        providers: list[Any] = ["CPUExecutionProvider"]
        if self.device == "cuda":
            providers.insert(0, _CUDA)
        else:
            providers = [("CPUExecutionProvider", {"arena_extend_strategy": "kSameAsRequested"})]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors reach the caller as exceptions; warnings are about its own graph passes
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=providers)
        except Exception as error:  # onnxruntime raises a family of its own without a common public base
            raise BundleError(f"{weights.path}: is not a model that onnxruntime can run: {error}") from error
        inputs = [(node.name, node.type) for node in self._session.get_inputs()]
        outputs = [node.name for node in self._session.get_outputs()]
        if inputs != [("ids", "tensor(int64)")] or outputs != ["logits", "evidence"]:
            raise BundleError(f"{weights.path}: must map ids to logits and evidence, not {inputs} to {outputs}")
        if metadata.vocab_sha256 != bundle.tokenizer.sha256:
            raise BundleError(f"{weights.path}: was trained with another vocabulary")

    def run(self, ids: NDArray[np.int64]) -> ModelOutput:
        """See `ModelRuntime.run`."""
        ids = checked_ids(ids)
        try:
            logits, evidence = self._session.run(None, {"ids": ids})
        except Exception as error:
            raise InferenceFailed(f"onnxruntime: {error}") from error
        return checked_output(logits, evidence, len(ids))


def _device(device: str, variant: Variant) -> str:
    """auto takes CUDA for fp32 where this onnxruntime has it; the int8 graph has CPU kernels only."""
    has_cuda = _CUDA in onnxruntime.get_available_providers()
    if device == "cuda" and variant.quantization == "int8":
        raise ConfigError("int8 runs on the CPU; set quantization: none for cuda", key="inference.device")
    if device == "cuda" and not has_cuda:
        raise BackendUnavailable("device: cuda needs onnxruntime-gpu and a CUDA device: pip install onnxruntime-gpu")
    return "cuda" if has_cuda and device != "cpu" and variant.quantization != "int8" else "cpu"
