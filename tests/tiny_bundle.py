"""A whole bundle of an untrained detector, written by the real exporter once for each test process."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vedette.bundle import Bundle, save_bundle
from vedette.bundle_export import write_weights
from vedette.model.anomaly_detector import AnomalyDetector
from vedette.model.detector_config import DetectorConfig
from vedette.model.scoring import Calibration
from vedette.tokenization.http_tokenizer import HTTPTokenizer

CALIBRATION = Calibration(0.0, 1.0, ((10.0, 3.0), (300.0, 0.0)))


@cache
def tokenizer() -> HTTPTokenizer:
    return HTTPTokenizer.train(["select name from users where id = 1", "<b>alert(1)</b>", "../../etc"] * 3, 400, 64)


def detector(activation: str = "relu", seed: int = 3) -> AnomalyDetector:
    """Weights wide enough that rows get different logits."""
    config = DetectorConfig(tokenizer().vocab_size, 64, d_model=48, n_heads=3, d_ff=48, activation=activation)
    torch.manual_seed(seed)
    model = AnomalyDetector(config).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.25)
    return model


def rows(count: int, tokens: int, seed: int = 0) -> NDArray[np.int64]:
    """Padded batch (count, tokens) of random lengths, the first row full."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, tokenizer().vocab_size, (count, tokens))
    for row, length in enumerate(rng.integers(min(2, tokens), tokens + 1, count)):
        ids[row, length if row else tokens :] = 0
    return ids


def ranges() -> list[NDArray[np.int64]]:
    return [rows(64, tokens, seed=tokens) for tokens in (8, 24, 64)]


def early_detector() -> AnomalyDetector:
    """The detector with an early exit by which some four tokens in ten leave."""
    model = detector()
    early = AnomalyDetector(replace(model.config, exit_below=-5.08)).eval()
    early.load_state_dict(model.state_dict(), strict=False)
    assert early.exit is not None
    torch.manual_seed(1)
    torch.nn.init.normal_(early.exit.out.weight, std=0.3)
    torch.nn.init.normal_(early.exit.norm.weight, mean=1.0, std=0.1)
    torch.nn.init.normal_(early.exit.norm.bias, std=0.1)
    return early


@cache
def tiny_bundle() -> Bundle:
    """Never write to its directory: copy it first."""
    return _saved(detector())


@cache
def early_bundle() -> Bundle:
    """`tiny_bundle` with an early exit."""
    return _saved(early_detector())


def _saved(model: AnomalyDetector) -> Bundle:
    words = tokenizer()
    return save_bundle(
        Path(tempfile.mkdtemp(prefix="vedette-test-")) / "tiny",
        name="tiny",
        config=model.config,
        calibration=CALIBRATION,
        tokenizer=words,
        write_weights=lambda directory: write_weights(directory, model, words.sha256, CALIBRATION, ranges()),
        training={"data": "none: untrained"},
    )
