"""Rows are judged by the engine that serves as by the model itself."""

from __future__ import annotations

import numpy as np
import torch

from tests.training.test_rows import TOKENIZER, example
from vedette.model.anomaly_detector import AnomalyDetector
from vedette.model.detector_config import DetectorConfig
from vedette.training.judge import served_margins
from vedette.training.rows import rows_of
from vedette.training.train import attack_margins


def test_the_engine_says_what_the_model_says() -> None:
    torch.manual_seed(3)
    rows = rows_of([example(f"{'words ' * (number % 7)}{number}", "benign") for number in range(150)], TOKENIZER)
    model = AnomalyDetector(DetectorConfig(TOKENIZER.vocab_size, 32, 48, 1, 3, 64)).eval()
    numbers = np.arange(149, -1, -2)
    told = served_margins(model, TOKENIZER, rows, numbers)
    assert np.ptp(told) > 0.01
    np.testing.assert_allclose(told, attack_margins(model, [rows.read(row) for row in numbers]), atol=0.05)
