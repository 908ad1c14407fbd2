"""Log-odds of many rows, told by the engine that serves: on one core it reads four rows while torch reads one."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from vedette.bundle import CHECKPOINT, VOCABULARY, load_model
from vedette.bundle_checkpoint import save_checkpoint
from vedette.inference.runtime import load_runtime
from vedette.model.anomaly_detector import AnomalyDetector
from vedette.model.scoring import Calibration
from vedette.tokenization.http_tokenizer import HTTPTokenizer
from vedette.training.rows import Rows, pad

_BATCH = 64
_ANY = Calibration(0.0, 1.0, ((1.0, 0.0),))  # weights need one to be loaded; log-odds do not depend on it


def served_margins(
    model: AnomalyDetector, tokenizer: HTTPTokenizer, rows: Rows, numbers: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Log-odds of attack (see `AnomalyScorer.margins`) of the rows with these `numbers` (N,), (N,)."""
    with TemporaryDirectory() as scratch:
        checkpoint, vocabulary = Path(scratch, CHECKPOINT), Path(scratch, VOCABULARY)
        save_checkpoint(checkpoint, model, tokenizer.sha256, _ANY)
        tokenizer.save(vocabulary)
        bundle = load_model(checkpoint, vocabulary)
        runtime = load_runtime(bundle)
    result = np.zeros(len(numbers), np.float32)
    order = np.argsort(np.diff(rows.start)[numbers], kind="stable")
    for at in range(0, len(order), _BATCH):
        part = order[at : at + _BATCH]
        ids = pad([rows.read(row) for row in numbers[part]])
        result[part] = bundle.scorer.margins(runtime.run(ids).logits)
    return result
