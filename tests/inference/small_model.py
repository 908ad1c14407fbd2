"""A model small enough to be understood: it weighs tokens and sums them. Everything around it is the real thing.

A row is an attack by as much as its tokens hold characters of `WEIGHTS`; each token's evidence is its own weight. The
tests need it for what the shipped model cannot do on demand: fail, hang, and be slow.
"""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vedette.bundle import Bundle, Manifest
from vedette.config import Settings
from vedette.inference.engine import Engine
from vedette.inference.runtime import ModelOutput, Variant
from vedette.model.detector_config import CLASSES, DetectorConfig
from vedette.model.scoring import AnomalyScorer, Calibration
from vedette.tokenization.http_tokenizer import HTTPTokenizer

WEIGHTS = {"<": 6.0, ">": 3.0, "'": 6.0, "`": 6.0}
TOKENIZER = HTTPTokenizer.train(["select from where", "harmless words ' < > ` ; --", "id=1&name=2"] * 3, 400, 64)
XSS, SQLI, BENIGN = CLASSES.index("xss"), CLASSES.index("sqli"), 0


class SmallRuntime:
    """Sums token weights. A closed `gate` holds runs up; a token of `poison` makes a run fail."""

    variant = Variant("onnx", "none")
    device = "cpu"

    runs_inline = False

    def __init__(self) -> None:
        self.weights = np.zeros(TOKENIZER.vocab_size, np.float32)
        self.classes = np.full(TOKENIZER.vocab_size, BENIGN)
        for char, weight in WEIGHTS.items():
            for token in self.ids_with(char):
                self.weights[token] = weight
                self.classes[token] = XSS if char in "<>" else SQLI
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.poison: list[int] = []
        self.shapes: list[tuple[int, int]] = []
        self.broken_output: ModelOutput | None = None
        self.after_run = lambda: None

    @staticmethod
    def ids_with(char: str) -> list[int]:
        vocabulary = TOKENIZER._bpe.get_vocab()
        return [token for text, token in vocabulary.items() if char in text and not text.startswith("[")]

    @property
    def rows(self) -> int:
        return sum(rows for rows, _ in self.shapes)

    def run(self, ids: NDArray[np.int64]) -> ModelOutput:
        self.entered.set()
        assert self.gate.wait(20)
        self.shapes.append((ids.shape[0], ids.shape[1]))
        if np.isin(ids, self.poison).any():
            raise RuntimeError("poisoned row")
        if self.broken_output is not None:
            return self.broken_output
        evidence = self.weights[ids]
        logits = np.zeros((len(ids), len(CLASSES)), np.float32)
        for index in (XSS, SQLI):
            logits[:, index] = np.where(self.classes[ids] == index, evidence, 0).sum(axis=1)
        logits[:, BENIGN] = 5.0
        self.after_run()
        return ModelOutput(logits, evidence)


def small_bundle() -> Bundle:
    config = DetectorConfig(vocab_size=TOKENIZER.vocab_size, max_tokens=64, d_model=4, n_layers=1, n_heads=1, d_ff=4)
    calibration = Calibration(0.0, 1.0, ((100.0, 0.5), (10_000.0, -0.5)))
    manifest = Manifest(
        format=1,
        name="small",
        version="small-1",
        created="",
        config=config.to_dict(),
        calibration=calibration.to_dict(),
        vocab_sha256=TOKENIZER.sha256,
        limits={},
        training={},
        files={},
    )
    scorer = AnomalyScorer(config.classes, calibration)
    return Bundle(Path("small"), "small-1", config, calibration, TOKENIZER, scorer, manifest, {})


def small_engine(runtime: SmallRuntime | None = None, **waf: object) -> Engine:
    settings = Settings.model_validate({"waf_service": {"event_log": {"enabled": False}, "threshold": 0.5, **waf}})
    return Engine(small_bundle(), runtime or SmallRuntime(), settings)
