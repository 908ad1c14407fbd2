"""From a trained detector to the weight files of a bundle (needs the train extra: torch, onnx, onnxscript)."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vedette.bundle import CHECKPOINT, FP32_ONNX, INT8_ONNX
from vedette.bundle_checkpoint import save_checkpoint
from vedette.bundle_metadata import KEY, ModelMetadata
from vedette.bundle_quantize import quantize_int8
from vedette.model.anomaly_detector import AnomalyDetector
from vedette.model.scoring import Calibration


def write_weights(
    directory: Path,
    detector: AnomalyDetector,
    vocab_sha256: str,
    calibration: Calibration | None,
    calibration_ids: Sequence[NDArray[np.int64]],
) -> None:
    """Write the checkpoint and both ONNX graphs of `detector` to `directory`.

    `calibration` is for scores, `calibration_ids` (batches (B, T) of real windows) for the ranges of int8 activations.
    """
    save_checkpoint(directory / CHECKPOINT, detector, vocab_sha256, calibration)
    metadata = ModelMetadata.of(detector.config, vocab_sha256, calibration)
    export_onnx(detector, directory / FP32_ONNX, metadata)
    int8 = ModelMetadata.of(detector.config, vocab_sha256, calibration, "int8")
    quantize_int8(detector, directory / INT8_ONNX, calibration_ids, int8)


def export_onnx(detector: AnomalyDetector, path: str | Path, metadata: ModelMetadata) -> None:
    """Write `detector` as one fp32 ONNX file with dynamic batch and tokens.

    Exported with ``dynamo=True``: torch 2.13's older exporter fixes the shapes of reshaped attention.
    """
    detector = detector.eval()
    tokens = torch.export.Dim("tokens", min=2, max=detector.config.max_tokens)
    batch = torch.export.Dim("batch", min=1, max=65_536)
    example = torch.ones((3, min(17, detector.config.max_tokens)), dtype=torch.int64)
    registry = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registry.level
    registry.setLevel(logging.ERROR)  # it warns that torchvision is absent, which is not needed
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations inside the exporter and onnxscript
            program = torch.onnx.export(
                detector,
                (example,),
                dynamo=True,
                verbose=False,
                input_names=["ids"],
                output_names=["logits", "evidence"],
                dynamic_shapes=({0: batch, 1: tokens},),
            )
    finally:
        registry.setLevel(level)
    if program is None:
        raise RuntimeError("torch.onnx.export returned nothing")
    program.model.metadata_props[KEY] = metadata.to_json()
    program.save(str(path), external_data=False)


def stamp_calibration(directory: Path, calibration: Calibration) -> None:
    """Put `calibration` into the metadata of every weight file in `directory`, leaving the weights as they are."""
    import msgspec
    import onnx

    from vedette.bundle_checkpoint import load_checkpoint
    from vedette.bundle_metadata import onnx_metadata

    for name in (INT8_ONNX, FP32_ONNX):
        data = (directory / name).read_bytes()
        metadata = msgspec.structs.replace(onnx_metadata(data, name), calibration=calibration.to_dict())
        model = onnx.load_model_from_string(data)
        onnx.helper.set_model_props(model, {KEY: metadata.to_json()})
        (directory / name).write_bytes(model.SerializeToString())
    detector, checkpoint = load_checkpoint(directory / CHECKPOINT)
    save_checkpoint(directory / CHECKPOINT, detector, checkpoint.vocab_sha256, calibration)
