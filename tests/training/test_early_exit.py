"""The early exit learns from the detector which tokens are surely harmless, and changes nothing else of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.test_distil import PLAN, some_rows
from tests.training.test_rows import TOKENIZER
from vedette.errors import BundleError
from vedette.model.anomaly_detector import AnomalyDetector
from vedette.model.detector_config import DetectorConfig, attack_indexes
from vedette.training.early_exit import add_early_exit
from vedette.training.rows import Rows, pad

DEEP = replace(PLAN, n_layers=2, batch=32, exit_steps=150, exit_below=-1.0)


def detector(rows: Rows) -> AnomalyDetector:
    """One whose tokens differ a lot in their odds, by what one layer shows as well as two."""
    config = DetectorConfig(TOKENIZER.vocab_size, DEEP.max_tokens, DEEP.d_model, 2, DEEP.n_heads, DEEP.d_ff)
    torch.manual_seed(2)
    model = AnomalyDetector(config).eval()
    with torch.no_grad():
        model.tokens.weight.normal_(std=1.0)
        model.odds.weight.normal_(std=0.6)
        model.odds.bias.fill_(-7.0)
    return model


def texts(rows: Rows) -> torch.Tensor:
    return torch.from_numpy(pad([rows.read(row) for row in range(len(rows))]))


def test_it_learns_which_tokens_are_harmless_and_leaves_the_detector_as_it_is(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    rows, lines = some_rows(), []
    model = detector(rows)
    early = add_early_exit(model, rows, np.zeros(0, np.int64), DEEP, tmp_path, lines.append, lambda *told: None)
    below = early.config.exit_below
    assert lines == [f"early exit: 150 steps, below log-odds of {below}"]
    assert below is not None
    assert below < DEEP.exit_below  # guesses and border were lowered
    assert early.config == replace(model.config, exit_below=below)
    assert early.exit is not None
    kept = {name: value for name, value in early.state_dict().items() if not name.startswith("exit.")}
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in kept.items())

    ids, attacks = texts(rows), [index - 1 for index in attack_indexes(model.config.classes)]
    with torch.no_grad():
        hidden, odds, masked = model.read(ids)
        is_text = masked[..., 0] == 0
        told, guessed = odds[..., attacks].logsumexp(-1)[is_text].numpy(), early.exit(hidden)[is_text].numpy()
        assert np.corrcoef(told, guessed)[0, 1] > 0.8
        out, cold = early.token_odds(ids)[is_text], torch.from_numpy(guessed < below)
        assert 0 < int(cold.sum()) < len(cold)
        assert torch.equal(out[~cold], (odds + masked)[is_text][~cold])
        assert np.exp(guessed[cold.numpy()]).mean() == pytest.approx(np.exp(told[cold.numpy()]).mean(), rel=0.5)
        assert out[cold][:, attacks].logsumexp(-1).numpy() == pytest.approx(guessed[cold.numpy()], abs=1e-4)


def test_a_head_that_is_there_is_taken(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    rows, lines = some_rows(), []
    plan = replace(DEEP, exit_steps=3)
    one, other = (
        add_early_exit(detector(rows), rows, np.zeros(0, np.int64), plan, tmp_path, lines.append, lambda *told: None)
        for _ in range(2)
    )
    assert len(lines) == 1
    ids = texts(rows)
    assert torch.equal(one(ids)[0], other(ids)[0])


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(BundleError, match="layer before it"):
        DetectorConfig(400, n_layers=1, exit_below=-1.0)
    for nonsense in (-3, "low", float("nan"), float("inf"), True):
        with pytest.raises(BundleError, match="exit_below"):
            DetectorConfig(400, exit_below=nonsense)  # type: ignore[arg-type]


def test_in_training_every_token_is_read_to_the_end() -> None:
    rows = some_rows()
    model = detector(rows)
    early = AnomalyDetector(replace(model.config, exit_below=100.0))
    early.load_state_dict(model.state_dict(), strict=False)
    with torch.no_grad():
        assert not torch.allclose(early.eval()(texts(rows))[0], model(texts(rows))[0], atol=1e-3)
        torch.testing.assert_close(early.train()(texts(rows))[0], model(texts(rows))[0], atol=1e-4, rtol=1e-4)
