"""torch: eager fp32, dynamic int8, and both as traced and frozen TorchScript. Needs the train extra.

Deprecated upstream, kept working on the pinned torch 2.13, each with its successor (docs/backends.md):

- ``torch.ao.quantization.quantize_dynamic`` -> torchao; here: ``backend: onnx, quantization: int8``
- ``torch.jit.trace`` and ``freeze`` -> torch.export with AOTInductor; here: ``backend: onnx, quantization: none``

Their warnings are silenced where they are called, and only there. torch's thread count belongs to the whole process: it
is set to 1, so that parallelism comes from the service's workers.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vedette.bundle import Bundle
from vedette.bundle_checkpoint import load_detector, require_torch
from vedette.errors import BackendUnavailable, BundleError, ConfigError, InferenceFailed
from vedette.inference.runtime import ModelOutput, Variant, checked_ids, checked_output

if TYPE_CHECKING:
    from torch import Tensor, nn

_TRACED_SHAPE = (2, 16)


class TorchRuntime:
    """Runs the checkpoint of a bundle."""

    runs_inline = False

    def __init__(self, bundle: Bundle, variant: Variant, device: str) -> None:
        require_torch(variant.name)
        detector: nn.Module = load_detector(bundle).to(_device(device, variant))
        if variant.quantization == "int8":
            detector = quantized(detector)
        self._adopt(scripted(detector, _device(device, variant)) if variant.torchscript else detector, variant, device)

    def _adopt(self, module: Any, variant: Variant, device: str) -> None:
        import torch

        torch.set_num_threads(1)
        self.module: Callable[[Tensor], tuple[Tensor, Tensor]] = module
        self.variant = variant
        self.device = _device(device, variant)

    @classmethod
    def load_script(cls, data: bytes, variant: Variant, device: str = "auto") -> TorchRuntime:
        """Open a TorchScript archive written by `save_script`. Its code runs: open only files whose origin is known."""
        require_torch(variant.name)
        import torch

        try:
            with _silenced():
                module = torch.jit.load(io.BytesIO(data), map_location=_device(device, variant))  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            raise BundleError("is not a TorchScript archive that this torch can read") from error
        runtime = cls.__new__(cls)
        runtime._adopt(module, variant, device)
        return runtime

    def save_script(self) -> bytes:
        """The traced module as a TorchScript archive."""
        import torch

        buffer = io.BytesIO()
        with _silenced():
            torch.jit.save(self.module, buffer)
        return buffer.getvalue()

    def run(self, ids: NDArray[np.int64]) -> ModelOutput:
        """See `ModelRuntime.run`."""
        import torch

        ids = checked_ids(ids)
        try:
            with torch.inference_mode():
                logits, evidence = self.module(torch.from_numpy(ids).to(self.device))
        except Exception as error:
            raise InferenceFailed(f"torch: {error}") from error
        return checked_output(logits.cpu().numpy(), evidence.cpu().numpy(), len(ids))


def quantized(detector: nn.Module) -> nn.Module:
    """Return the detector with its linear layers in dynamic int8: ranges of activations are taken at each call."""
    import torch

    with _silenced():
        result: nn.Module = torch.ao.quantization.quantize_dynamic(  # type: ignore[no-untyped-call]
            detector, {name for name, part in detector.named_modules() if _is_encoder_linear(name, part)}, torch.qint8
        )
    return result


def _is_encoder_linear(name: str, part: nn.Module) -> bool:
    from torch import nn

    return isinstance(part, nn.Linear) and name.startswith("layers.")  # the head is small and reads its own weights


def scripted(detector: nn.Module, device: str = "cpu") -> Any:
    """Return the detector as traced, frozen TorchScript. Shapes stay dynamic: the graph asks the tensor for them."""
    import torch

    example = torch.ones(_TRACED_SHAPE, dtype=torch.int64, device=device)
    with _silenced(), torch.no_grad():
        traced = torch.jit.trace(detector.eval(), (example,), check_trace=False)  # type: ignore[no-untyped-call]
        return torch.jit.freeze(traced)


@contextmanager
def _silenced() -> Iterator[None]:
    """Silence what upstream says of the two deprecated ways above, and TracerWarnings of known-constant branches."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _device(device: str, variant: Variant) -> str:
    import torch

    has_cuda = torch.cuda.is_available()
    if device == "cuda" and variant.quantization == "int8":
        raise ConfigError("int8 runs on the CPU; set quantization: none for cuda", key="inference.device")
    if device == "cuda" and not has_cuda:
        raise BackendUnavailable("device: cuda: torch finds no CUDA device")
    return "cuda" if has_cuda and device != "cpu" and variant.quantization != "int8" else "cpu"
