"""From a trained run to a bundle: weights, calibration on the int8 model, manifest, held-out report."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedette.bundle import INT8_ONNX, Bundle, save_bundle
from vedette.bundle_export import stamp_calibration, write_weights
from vedette.config import InspectionSettings, WafServiceSettings
from vedette.model.detector_config import CLASSES
from vedette.model.scoring import AnomalyScorer, Calibration
from vedette.tokenization.http_tokenizer import HTTPTokenizer
from vedette.training.calibrate import calibrate, operating_points
from vedette.training.corpus import Bag, is_copy, split_keys
from vedette.training.rows import Rows, pad
from vedette.training.train import Log, Trainer, TrainPlan, summary

_QUANTISATION_ROWS = 4_096
_ATTACKS_FOR_SCALE = 5_000


class _Int8:
    """The int8 graph over rows of ids, for calibration."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._scorer = AnomalyScorer(CLASSES, Calibration(0.0, 1.0, ((1.0, 0.0),)))

    def bags(self, tokenizer: HTTPTokenizer, bags: list[Bag]) -> NDArray[np.float32]:
        """Margins of whole records: the worst row of each, -30 where the screen left nothing, (N,)."""
        worst = np.full(len(bags), -30.0, np.float32)
        rows, owners = rows_of_bags(tokenizer, bags)
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        for at in range(0, len(order), 256):
            part = order[at : at + 256]
            logits = self._session.run(["logits"], {"ids": pad([rows[i] for i in part])})[0]
            np.maximum.at(worst, np.array([owners[i] for i in part]), self._scorer.margins(logits))
        return worst


def rows_of_bags(tokenizer: HTTPTokenizer, bags: list[Bag]) -> tuple[list[list[int]], list[int]]:
    """Every row of every bag, and the number of the bag it belongs to."""
    rows: list[list[int]] = []
    owners: list[int] = []
    for number, bag in enumerate(bags):
        texts = tokenizer.encode_texts([text for _, text in bag.windows]) if bag.windows else []
        for (context, _), ids in zip(bag.windows, texts, strict=True):
            head = tokenizer.context_ids(context)
            for piece in tokenizer.cut(ids, tokenizer.max_tokens - len(head)):
                rows.append([*head, *piece])
                owners.append(number)
    return rows, owners


def quantisation_batches(rows: Rows, seed: int, size: int = 128) -> list[NDArray[np.int64]]:
    """Batches of real rows, attacks and harmless, whose activations set the int8 ranges."""
    rng = np.random.default_rng(seed)
    chosen = [
        rng.choice(pool, min(len(pool), _QUANTISATION_ROWS // 2), replace=False)
        for pool in (np.flatnonzero(rows.label == 0), np.flatnonzero(rows.label > 0))
    ]
    texts = [[*rows.contexts[rows.context[i]], *rows.text(i).tolist()] for i in np.concatenate(chosen)]
    texts.sort(key=len)
    return [pad(texts[at : at + size]) for at in range(0, len(texts), size)]


def finish(trainer: Trainer, tokenizer: HTTPTokenizer, bags: list[Bag], data: Path, out: Path, log: Log) -> Bundle:
    """Quantise, calibrate and save the averaged model of `trainer` as the bundle `out`."""
    weights = trainer.run / "weights"
    weights.mkdir(exist_ok=True)
    model = trainer.average.cpu().eval()
    write_weights(weights, model, tokenizer.sha256, None, quantisation_batches(trainer.rows, trainer.plan.seed))
    runtime = _Int8(weights / INT8_ONNX)
    calm = [bag for bag in bags if bag.part == "calibrate"]  # whole requests only
    quiet = runtime.bags(tokenizer, calm)
    rng = np.random.default_rng(trainer.plan.seed)
    loud = [bag for bag in bags if bag.part == "train" and bag.label not in (CLASSES[0], "probe")]
    sample = [loud[i] for i in rng.choice(len(loud), min(len(loud), _ATTACKS_FOR_SCALE), replace=False)]
    budget = WafServiceSettings().false_positive_budget
    calibration = calibrate(quiet, runtime.bags(tokenizer, sample), budget, [bag.group for bag in calm])
    stamp_calibration(weights, calibration)
    log(f"calibrated on {len(quiet)} requests: {calibration}")
    report = held_out_report(runtime, tokenizer, bags, calibration)
    for line in report_lines(report):
        log(line)
    (trainer.run / "held_out.json").write_text(json.dumps(report, indent=2))

    def copy(directory: Path) -> None:
        for file in weights.iterdir():
            (directory / file.name).write_bytes(file.read_bytes())

    return save_bundle(
        out,
        name=out.name if out.name != "default" else "vedette",
        config=model.config,
        calibration=calibration,
        tokenizer=tokenizer,
        write_weights=copy,
        limits={"inspection": InspectionSettings().model_dump(), "max_tokens": tokenizer.max_tokens},
        training={**training_manifest(data, bags, trainer.plan, report), "stages": stages_of(trainer.run)},
    )


def held_out_report(
    runtime: _Int8, tokenizer: HTTPTokenizer, bags: list[Bag], calibration: Calibration
) -> dict[str, Any]:
    """Judge the held-out part: true-positive rates at fixed false-positive rates, per class and per source."""
    seen = split_keys(bags)
    test = [bag for bag in bags if bag.part == "test"]
    harmless = [bag for bag in test if bag.label == CLASSES[0] and not bag.bare]
    bare = [bag for bag in test if bag.label == CLASSES[0] and bag.bare]
    attacks = [bag for bag in test if bag.label not in (CLASSES[0], "probe") and not is_copy(bag.windows, seen)]
    quiet, loud = runtime.bags(tokenizer, harmless), runtime.bags(tokenizer, attacks)
    points = operating_points(quiet, loud)
    at = points[0.005][0]
    by_class = {
        name: {"n": int(mask.sum()), "tpr": float((loud[mask] > at).mean())}
        for name in sorted({bag.label for bag in attacks})
        for mask in [np.array([bag.label == name for bag in attacks])]
    }
    by_group = {
        name: {"n": int(mask.sum()), "rate": float((values[mask] > at).mean())}
        for group, values in ((harmless, quiet), (attacks, loud))
        for name in sorted({bag.group for bag in group})
        for mask in [np.array([bag.group == name for bag in group])]
    }
    return {
        "attacks": len(attacks),
        "benign": len(harmless),
        "tpr_at_fpr": {str(rate): tpr for rate, (_, tpr) in points.items()},
        "default": {
            "fpr": float((quiet >= calibration.centre).mean()),
            "tpr": float((loud >= calibration.centre).mean()),
        },
        "scary_values": {"n": len(bare), "fpr_at_0.005": float((runtime.bags(tokenizer, bare) > at).mean())},
        "by_class_at_0.005": by_class,
        "by_group_at_0.005": by_group,
    }


def report_lines(report: dict[str, Any]) -> list[str]:
    """The report as text, worst first."""
    lines = [f"held out: {report['attacks']} attacks, {report['benign']} harmless; at default {report['default']}"]
    lines += [f"  TPR at FPR {rate}: {tpr:.4f}" for rate, tpr in report["tpr_at_fpr"].items()]
    for name, entry in sorted(report["by_class_at_0.005"].items(), key=lambda item: item[1]["tpr"]):
        lines.append(f"  {name}: {entry['tpr']:.4f} of {entry['n']}")
    return lines


def stages_of(run: Path) -> list[str]:
    """What was done by hand in a run of several stages: the lines of `stages.txt` in the run directory, if any."""
    notes = run / "stages.txt"
    return notes.read_text("utf-8").splitlines() if notes.exists() else []


def training_manifest(data: Path, bags: list[Bag], plan: TrainPlan, report: dict[str, Any]) -> dict[str, Any]:
    """What the model was made of: sources with licences and counts, what the screen swallowed, plan, figures."""
    known = json.loads((data / "manifest.json").read_text("utf-8")) if (data / "manifest.json").exists() else {}
    counts = Counter((bag.origin, bag.part) for bag in bags)
    sources = {
        origin: {
            "licences": known.get(origin, {}).get("licences", {}),
            **{part: counts[origin, part] for part in ("train", "calibrate", "test") if counts[origin, part]},
        }
        for origin in sorted({bag.origin for bag in bags})
    }
    attacks = [bag for bag in bags if bag.label not in (CLASSES[0], "probe")]
    doubts = Counter(f"{bag.disbelief} ({bag.label})" for bag in bags if bag.disbelief)
    screened = Counter(bag.label for bag in attacks if not bag.windows)
    return {
        "plan": summary(plan),
        "sources": sources,
        "labels_not_believed": dict(sorted(doubts.items())),
        "screen": {"attacks": len(attacks), "swallowed": dict(sorted(screened.items()))},
        "held_out": {key: value for key, value in report.items() if key != "by_group_at_0.005"},
    }
