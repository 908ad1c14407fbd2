"""Checkpoints of the torch detector: ``.safetensors``, and ``.pt`` read with ``weights_only=True`` (needs torch).

A ``.pt`` is ``{"format", "config", "vocab_sha256", "calibration", "state_dict"}``. A file that would have to execute
anything to be read (a pickle of objects, a TorchScript archive) is refused as `BundleError`.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vedette.bundle_metadata import FORMAT, KEY, ModelMetadata, safetensors_metadata
from vedette.errors import BackendUnavailable, BundleError
from vedette.model.scoring import Calibration

if TYPE_CHECKING:
    from torch import Tensor

    from vedette.bundle import Bundle
    from vedette.model.anomaly_detector import AnomalyDetector

_KEYS = {"format", "config", "vocab_sha256", "calibration", "state_dict"}


def save_checkpoint(
    path: str | Path, detector: AnomalyDetector, vocab_sha256: str, calibration: Calibration | None = None
) -> None:
    """Write the detector's weights and metadata to `path`; its ending, `.safetensors` or `.pt`, says how."""
    import torch
    from safetensors.torch import save_file

    metadata = ModelMetadata.of(detector.config, vocab_sha256, calibration)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in detector.state_dict().items()}
    if Path(path).suffix == ".pt":
        torch.save(
            {
                "format": metadata.format,
                "config": metadata.config,
                "vocab_sha256": vocab_sha256,
                "calibration": metadata.calibration,
                "state_dict": state,
            },
            path,
        )
    elif Path(path).suffix == ".safetensors":
        save_file(state, str(path), metadata={KEY: metadata.to_json()})
    else:
        raise BundleError(f"{path}: a checkpoint is a .safetensors or a .pt file")


def load_checkpoint(path: str | Path) -> tuple[AnomalyDetector, ModelMetadata]:
    """Read a `.safetensors` or `.pt` checkpoint -> the detector (eval mode, CPU) and its metadata."""
    path = Path(path)
    try:
        return _detector(path.read_bytes(), str(path))
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}") from error


def load_detector(bundle: Bundle) -> AnomalyDetector:
    """Build the detector from a bundle's checkpoint (eval mode, CPU). Raises `BundleError` if it has none."""
    from vedette.bundle import CHECKPOINT

    weights = bundle.weights.get(CHECKPOINT)
    if weights is None:
        raise BundleError(f"{bundle.path}: has no checkpoint ({CHECKPOINT}), which the torch backends need")
    return _detector(weights.read(), str(weights.path))[0]


def pt_metadata(data: bytes, where: str) -> ModelMetadata:
    """Metadata of a `.pt` checkpoint. Raises `BundleError` if it is not one, `BackendUnavailable` without torch."""
    return _read_pt(data, where)[1]


def _detector(data: bytes, where: str) -> tuple[AnomalyDetector, ModelMetadata]:
    require_torch("a checkpoint")
    from safetensors import SafetensorError
    from safetensors.torch import load

    from vedette.model.anomaly_detector import AnomalyDetector

    if where.endswith(".pt"):
        state, metadata = _read_pt(data, where)
    else:
        metadata = safetensors_metadata(data, where)
        try:
            state = load(data)
        except SafetensorError as error:
            raise BundleError(f"{where}: is truncated or not a safetensors file: {error}") from error
    detector = AnomalyDetector(metadata.detector_config())
    try:
        detector.load_state_dict(state)
    except (RuntimeError, AttributeError) as error:
        raise BundleError(f"{where}: weights do not fit the architecture in its metadata: {error}") from error
    return detector.eval(), metadata


def _read_pt(data: bytes, where: str) -> tuple[dict[str, Tensor], ModelMetadata]:
    require_torch("a .pt checkpoint")
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of TorchScript archives before it refuses them
            content: Any = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # UnpicklingError, RuntimeError, EOFError, ... : all mean "not a plain checkpoint"
        raise BundleError(
            f"{where}: is truncated, or holds code or objects, which is refused: {type(error).__name__}"
        ) from error
    if not isinstance(content, dict) or set(content) != _KEYS or content["format"] != FORMAT:
        raise BundleError(f"{where}: is not a Vedette checkpoint of format {FORMAT}")
    state = content["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise BundleError(f"{where}: its state_dict must map names to tensors")
    fields = (content["config"], content["vocab_sha256"], content["calibration"])
    if not isinstance(fields[0], dict) or not isinstance(fields[1], str) or not isinstance(fields[2], dict | None):
        raise BundleError(f"{where}: its metadata is not readable")
    return state, ModelMetadata(format=FORMAT, config=fields[0], vocab_sha256=fields[1], calibration=fields[2])


def require_torch(what: str) -> None:
    """Raise `BackendUnavailable` naming the extra if torch is not installed."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise BackendUnavailable(f"{what} needs torch: pip install 'vedette[train]'") from error
