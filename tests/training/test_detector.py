"""The detector: what a token's evidence depends on, and what it cannot depend on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.tiny_bundle import tokenizer
from vedette.errors import BundleError
from vedette.model.anomaly_detector import AnomalyDetector
from vedette.model.detector_config import CLASSES, DetectorConfig, attack_indexes
from vedette.model.scoring import AnomalyScorer, Calibration
from vedette.tokenization.context import CONTEXT_WORDS
from vedette.verdict import PROBE

CONTEXT = [3, 9]
FIRST_TEXT = DetectorConfig(400).context_tokens + 1


def small(window: int = 3) -> AnomalyDetector:
    config = DetectorConfig(
        tokenizer().vocab_size, 64, d_model=24, n_layers=2, n_heads=3, d_ff=48, attention_window=window
    )
    torch.manual_seed(5)
    model = AnomalyDetector(config).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.4)
    return model


def text(count: int, seed: int) -> list[int]:
    return np.random.default_rng(seed).integers(FIRST_TEXT, tokenizer().vocab_size, count).tolist()


def logits(model: AnomalyDetector, row: list[int]) -> NDArray[np.float32]:
    with torch.inference_mode():
        return model(torch.tensor([row]))[0][0].numpy()


def odds(model: AnomalyDetector, row: list[int]) -> NDArray[np.float32]:
    """Log-odds of each token and class, (T, C - 1)."""
    found = []
    handle = model.odds.register_forward_hook(lambda _module, _inputs, output: found.append(output[0].numpy()))
    logits(model, row)
    handle.remove()
    return found[0]


@pytest.mark.parametrize(("before", "behind"), [(0, 30), (30, 0), (11, 17)])
def test_text_beyond_its_reach_changes_nothing_of_what_a_token_says(before: int, behind: int) -> None:
    model = small()
    reach = model.config.reach
    assert reach == 6
    near, attack = text(reach, 1), text(5, 2)
    alone = odds(model, [*CONTEXT, *near, *attack, *near])[len(CONTEXT) + reach :][: len(attack)]
    padded = odds(model, [*CONTEXT, *text(before, 3), *near, *attack, *near, *text(behind, 4)])
    np.testing.assert_allclose(padded[len(CONTEXT) + before + reach :][: len(attack)], alone, atol=2e-5)


def test_text_within_its_reach_does() -> None:
    model = small()
    near, attack = text(5, 1), text(5, 2)
    alone = odds(model, [*CONTEXT, *near, *attack])[-5:]
    assert np.abs(odds(model, [*CONTEXT, *text(5, 3), *attack])[-5:] - alone).max() > 0.01


def test_padding_cannot_take_from_the_evidence_of_a_window() -> None:
    model = small()
    core = text(2 * model.config.reach + 3, 1)
    inner = slice(len(CONTEXT) + model.config.reach, -model.config.reach)
    least = torch.logsumexp(torch.from_numpy(odds(model, [*CONTEXT, *core])[inner]), 0).numpy()
    for seed in range(20):
        row = [*CONTEXT, *text(seed, seed), *core, *text(40 - seed, 100 + seed)]
        assert (logits(model, row)[1:] >= least - 1e-4).all()


def test_a_probe_beside_an_attack_takes_nothing_from_its_margin() -> None:
    scorer = AnomalyScorer(CLASSES, Calibration(0.0, 1.0, ((100.0, 0.0),)))
    logits = np.full((2, len(CLASSES)), -9.0, np.float32)
    logits[:, CLASSES.index("cmdi")] = 6
    logits[:, 0] = 0
    logits[1, CLASSES.index("probe")] = 8
    one, other = scorer.margins(logits)
    assert one == other
    logits[:, CLASSES.index("cmdi")] = -9
    assert (scorer.margins(logits) < -5).all()


def test_context_words_reach_every_token_and_have_no_evidence() -> None:
    model = small()
    body = text(40, 1)
    one, other = odds(model, [3, 9, *body]), odds(model, [3, 12, *body])
    assert (np.abs(one - other)[2:].max(axis=1) > 1e-3).all()
    with torch.inference_mode():
        evidence = model(torch.tensor([[3, 9, *body]]))[1][0]
    assert (evidence[:2] == 0).all()
    assert (evidence[2:] > 0).all()


def test_evidence_is_of_the_attack_that_the_score_names() -> None:
    model = small()
    probe = CLASSES.index(PROBE) - 1
    with torch.no_grad():
        model.odds.bias[probe] = 50
    row = torch.tensor([[*CONTEXT, *text(20, 1)]])
    with torch.inference_mode():
        values, evidence = model(row)
    named = attack_indexes(CLASSES)[int(values[0, attack_indexes(CLASSES)].argmax())]
    each = torch.from_numpy(odds(model, row[0].tolist()))[2:, named - 1]
    torch.testing.assert_close(evidence[0, 2:], torch.nn.functional.softplus(each))


def test_the_logit_of_benign_is_zero_and_a_row_without_text_is_no_attack() -> None:
    model = small()
    values = logits(model, [*CONTEXT, *text(9, 1)])
    assert values[0] == 0
    empty = logits(model, CONTEXT)
    assert np.isfinite(empty).all()
    assert (empty[1:] < -1000).all()


def test_ids_of_context_words_come_first() -> None:
    assert DetectorConfig(400).context_tokens == len(CONTEXT_WORDS)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(BundleError, match="twice n_heads"):
        DetectorConfig(400, d_model=27, n_heads=9)
    with pytest.raises(BundleError, match="hold an attack"):
        DetectorConfig(400, classes=("benign", "probe"))
    with pytest.raises(BundleError, match="positive"):
        DetectorConfig(400, attention_window=0)
