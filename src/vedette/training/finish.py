"""From a trained run to a bundle: weights, calibration by the serving engine, held-out report, manifest."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedette.bundle import Bundle, save_bundle
from vedette.bundle_export import stamp_calibration, write_weights
from vedette.config import InspectionSettings, Settings, WafServiceSettings
from vedette.errors import RequestError
from vedette.evaluation.evaluate import evaluate
from vedette.evaluation.records import labelled_request
from vedette.inference.engine import Engine, load_engine
from vedette.model.anomaly_detector import AnomalyDetector
from vedette.model.detector_config import CLASSES
from vedette.model.scoring import Calibration
from vedette.parsing.log_entry import LogEntry
from vedette.tokenization.http_tokenizer import HTTPTokenizer
from vedette.training.calibrate import calibrate
from vedette.training.corpus import Bag, records_of
from vedette.training.rows import Rows, pad
from vedette.training.split import in_sample
from vedette.training.train import Log, TrainPlan, summary
from vedette.verdict import PROBE

UNCALIBRATED = "uncalibrated"  # a bundle in the run directory, from whose scores margins can be read
_QUANTISATION_ROWS = 4_096
_ATTACKS_FOR_SCALE = 0.03  # share of the training attacks
# Scores from which margins can be read back: with a scale of 4, float32 still tells margins of 50 apart.
_FLAT = Calibration(0.0, 4.0, ((1.0, 0.0),))


def quantisation_batches(rows: Rows, seed: int, size: int = 128) -> list[NDArray[np.int64]]:
    """Batches of real rows, attacks and harmless, whose activations set the int8 ranges."""
    rng = np.random.default_rng(seed)
    chosen = [
        rng.choice(pool, min(len(pool), _QUANTISATION_ROWS // 2), replace=False)
        for pool in (np.flatnonzero(rows.label == 0), np.flatnonzero(rows.label > 0))
    ]
    texts = [rows.read(i) for i in np.concatenate(chosen)]
    texts.sort(key=len)
    return [pad(texts[at : at + size]) for at in range(0, len(texts), size)]


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run has made: the model, and what it was made of."""

    model: AnomalyDetector
    tokenizer: HTTPTokenizer
    rows: Rows
    bags: list[Bag]
    plan: TrainPlan


def finish(trained: Trained, data: Path, run: Path, out: Path, log: Log) -> Bundle:
    """Quantise, calibrate and save what was trained as the bundle `out`; what comes before it stays in `run`.

    A run that kept no site to calibrate by gets a bundle whose threshold is a margin of zero, until
    ``scripts/calibrate_folds.py`` has calibrated it.
    """
    weights = run / "weights"
    weights.mkdir(exist_ok=True)
    model, tokenizer, plan = trained.model.cpu().eval(), trained.tokenizer, trained.plan
    write_weights(weights, model, tokenizer.sha256, None, quantisation_batches(trained.rows, plan.seed))

    def save(path: Path, calibration: Calibration) -> Bundle:
        stamp_calibration(weights, calibration)
        return save_bundle(
            path,
            name=path.name if path.name != "default" else "vedette",
            config=model.config,
            calibration=calibration,
            tokenizer=tokenizer,
            write_weights=lambda directory: _copy(weights, directory),
            limits={"inspection": InspectionSettings().model_dump(), "max_tokens": tokenizer.max_tokens},
            training=training_manifest(data, trained.bags, plan),
        )

    uncalibrated = save(run / UNCALIBRATED, _FLAT)
    if not plan.calibrating:
        log("not calibrated: see scripts/calibrate_folds.py")
        return save(out, _FLAT)
    return save(out, calibrated(engine_of(uncalibrated), data, plan.fold, log))


def engine_of(bundle: Bundle) -> Engine:
    """The engine that serves `bundle` by default."""
    return load_engine(Settings(waf_service=WafServiceSettings(model_path=str(bundle.path))))


def calibrated(engine: Engine, data: Path, fold: int | None, log: Log) -> Calibration:
    """Calibrate on whole requests of the calibration sites, judged by the engine that will serve."""
    sites: list[str] = []

    def calm() -> Iterator[LogEntry]:
        for entry in entries_of(data, fold, "calibrate"):
            sites.append(entry.site or "")
            yield entry

    quiet = margins(evaluate(calm(), engine).benign_scores)
    loud = margins(evaluate(entries_of(data, fold, "train", _ATTACKS_FOR_SCALE), engine).attack_scores)
    calibration = calibrate(quiet, loud, WafServiceSettings().false_positive_budget, sites)
    log(f"calibrated on {len(quiet)} requests of {len(set(sites))} sites: {calibration}")
    return calibration


def entries_of(data: Path, fold: int | None, part: str, attack_share: float = 0.0) -> Iterator[LogEntry]:
    """The harmless records of `part`, or with `attack_share` that share of its attacks."""
    label = "attack" if attack_share else "benign"
    for record, its_part in records_of(data, fold):
        if record["label"] == label and its_part == part and (not attack_share or in_sample(record, attack_share)):
            with suppress(RequestError):  # as training does, a record that is no request is left out
                yield labelled_request(json.dumps(record).encode())


def margins(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Margins (log-odds) of scores that were calibrated by `_FLAT`, (N,)."""
    p = np.clip(scores.astype(np.float64), 1e-12, 1 - 1e-7)
    result: NDArray[np.float32] = (_FLAT.scale * np.log(p / (1 - p))).astype(np.float32)
    return result


def training_manifest(data: Path, bags: list[Bag], plan: TrainPlan) -> dict[str, Any]:
    """What the model was made of: sources with licences and counts, what the screen swallowed, the plan."""
    known = json.loads((data / "manifest.json").read_text("utf-8")) if (data / "manifest.json").exists() else {}
    counts = Counter((bag.origin, bag.part) for bag in bags)
    sources = {
        origin: {
            "licences": known.get(origin, {}).get("licences", {}),
            **{part: counts[origin, part] for part in ("train", "calibrate", "test") if counts[origin, part]},
        }
        for origin in sorted({bag.origin for bag in bags})
    }
    attacks = [bag for bag in bags if bag.label not in (CLASSES[0], PROBE)]
    doubts = Counter(f"{bag.disbelief} ({bag.label})" for bag in bags if bag.disbelief)
    screened = Counter(bag.label for bag in attacks if not bag.windows)
    return {
        "plan": summary(plan),
        "sources": sources,
        "labels_not_believed": dict(sorted(doubts.items())),
        "screen": {"attacks": len(attacks), "swallowed": dict(sorted(screened.items()))},
        "familiar": {part: familiar(bags, part) for part in ("calibrate", "test")},
    }


def familiar(bags: list[Bag], part: str) -> dict[str, int]:
    """How many harmless requests of `part` there are, hold nothing that the model reads, or nothing new to it.

    The same scripts and trackers stand in many sites, so a site that was never trained on still sends what others sent.
    """
    harmless = [bag for bag in bags if bag.label == CLASSES[0]]
    trained = {window for bag in harmless if bag.part == "train" for window in bag.windows}
    judged = [bag for bag in harmless if bag.part == part and not bag.bare]
    return {
        "requests": len(judged),
        "nothing_read": sum(not bag.windows for bag in judged),
        "nothing_new": sum(bool(bag.windows) and trained.issuperset(bag.windows) for bag in judged),
    }


def _copy(source: Path, directory: Path, names: Any = None) -> None:
    for file in source.iterdir():
        if names is None or file.name in names:
            (directory / file.name).write_bytes(file.read_bytes())
