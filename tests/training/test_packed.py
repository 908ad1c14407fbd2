"""Packed rows say what padded rows say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.training.test_rows import TOKENIZER, example
from vedette.model.anomaly_detector import AnomalyDetector
from vedette.model.detector_config import DetectorConfig
from vedette.training.packed import IGNORED, FlatWeights, Reader, Shape, pack, unpack
from vedette.training.rows import Drawn, Rows, pad, rows_of

CONFIG = DetectorConfig(TOKENIZER.vocab_size, 32, 24, 2, 2, 32, attention_window=4)


@pytest.fixture(scope="module")
def rows() -> Rows:
    harmless = [example(f"harmless words {number} {'and more ' * (number % 5)}", "benign") for number in range(30)]
    return rows_of([*harmless, *(example(f"union select {number}", "sqli") for number in range(30))], TOKENIZER)


def drawn(rows: Rows, numbers: range) -> list[Drawn]:
    sure = rows.made_attacks()
    return [Drawn(rows.contexts[rows.context[n]], rows.text(n), int(rows.label[n]), bool(sure[n])) for n in numbers]


def test_packed_rows_say_what_padded_rows_say(rows: Rows) -> None:
    torch.manual_seed(1)
    model, weights, shape = AnomalyDetector(CONFIG).eval(), FlatWeights(CONFIG), Shape(1280, 80)
    flat = weights.flatten(model)
    some = drawn(rows, range(len(rows)))
    ids, row, contexts, labels, certain = unpack(torch.from_numpy(pack(shape, some)), shape)
    packed = Reader(CONFIG, shape.tokens, "cpu").logits(weights.named(flat), ids, row, contexts)
    with torch.no_grad():
        padded, _ = model(torch.from_numpy(pad([[*one.context, *one.text.tolist()] for one in some])))
    assert torch.allclose(packed[: len(rows)], padded, atol=1e-4)
    assert labels[: len(rows)].tolist() == rows.label.tolist()
    assert certain[: len(rows)].tolist() == rows.made_attacks().tolist()
    assert not certain[len(rows) :].any()
    again = weights.model(flat)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), model.parameters(), strict=True))


def test_rows_without_room_are_left_out_and_ignored(rows: Rows) -> None:
    shape = Shape(64, 80)
    blob = pack(shape, drawn(rows, range(len(rows))))
    _, row, _, labels, _ = unpack(torch.from_numpy(blob), shape)
    taken = int((labels != IGNORED).sum())
    lengths = np.diff(rows.start)
    assert lengths[:taken].sum() <= 64 < lengths[: taken + 1].sum()
    assert int((row < shape.rows).sum()) == lengths[:taken].sum()
