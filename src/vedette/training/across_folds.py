"""Calibration by sites that no model has seen: each fold's by what the others left out, the whole's by all of them.

The sites that one run sets aside to calibrate are too few for a budget of some hundred alarms in a million: a handful
of requests of one site decide. The folds of a recipe together have judged every site unseen; their models differ in
what they were trained on and not in how, so what their margins say of the threshold holds for a model that was
trained on all (out-of-fold estimates; Stone, "Cross-validatory choice", 1974). A fold is never calibrated by its own
held-out sites, which judge it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedette.bundle import Bundle, load_bundle, save_bundle
from vedette.bundle_export import stamp_calibration
from vedette.config import WafServiceSettings
from vedette.evaluation.evaluate import evaluate
from vedette.evaluation.folds import HELD_OUT
from vedette.evaluation.records import read_records
from vedette.model.scoring import Calibration
from vedette.parsing.log_entry import LogEntry
from vedette.training.calibrate import calibrate
from vedette.training.finish import UNCALIBRATED, engine_of, margins
from vedette.verdict import BENIGN


@dataclass(frozen=True, slots=True)
class Unseen:
    """What a fold's model said of what it had not seen: margins of harmless browsing requests (N,), the site of each,
    and margins of attacks (M,)."""

    harmless: NDArray[np.float32]
    sites: list[str]
    attacks: NDArray[np.float32]


def unseen(run: Path) -> Unseen:
    """Judge the held-out requests of `run` by its model. Raises `BundleError` where its uncalibrated bundle is gone."""
    sites: list[str] = []

    def told() -> Iterator[LogEntry]:
        for entry in read_records([run / HELD_OUT]):
            if entry.label == BENIGN and entry.site:
                sites.append(entry.site)
            yield entry

    found = evaluate(told(), engine_of(load_bundle(run / UNCALIBRATED)))
    return Unseen(margins(found.benign_scores[found.is_browsing]), sites, margins(found.attack_scores))


def pooled_calibration(parts: list[Unseen]) -> Calibration:
    """Calibrate by what several folds had not seen."""
    return calibrate(
        np.concatenate([part.harmless for part in parts]),
        np.concatenate([part.attacks for part in parts]),
        WafServiceSettings().false_positive_budget,
        [site for part in parts for site in part.sites],
    )


def rewrite(
    bundle: Bundle, *, calibration: Calibration | None = None, training: dict[str, Any] | None = None
) -> Bundle:
    """Write `calibration`, or what the manifest tells of the training, into `bundle` where it lies; its weights stay.

    Returns it loaded anew.
    """
    manifest = bundle.manifest
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch)
        shutil.copytree(bundle.path, copy, dirs_exist_ok=True)
        if calibration is not None:
            stamp_calibration(copy, calibration)

        def write_weights(directory: Path) -> None:
            for name in bundle.weights:
                shutil.copyfile(copy / name, directory / name)

        return save_bundle(
            bundle.path,
            name=manifest.name,
            config=bundle.config,
            calibration=calibration or bundle.calibration,
            tokenizer=bundle.tokenizer,
            write_weights=write_weights,
            limits=manifest.limits,
            training=manifest.training if training is None else training,
            created=manifest.created,
        )
