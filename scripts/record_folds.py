"""Write what the folds' models found into the manifest of the shipped bundle: record_folds.py RUN...

The runs are those of `vedette train --fold`, one for each fold; figures are those of `vedette evaluate RUN...`. The
bundle's version, which is that of its weights and calibration, stays.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from vedette.bundle import Bundle, default_bundle_path, load_bundle
from vedette.config import Settings, WafServiceSettings
from vedette.evaluation.curves import threshold_at_fpr
from vedette.evaluation.folds import BUNDLE, FoldReport, evaluate_run, is_run, pool
from vedette.evaluation.measures import measures
from vedette.inference.engine import load_engine
from vedette.training.across_folds import rewrite

_RATE = 0.005  # at which attacks are told by class


def _batches(plan: dict[str, Any]) -> int:
    return sum(plan.get(f"{stage}steps", 0) for stage in ("", "distil_", "restart_", "refine_"))


def summary(found: FoldReport, bundles: list[Bundle]) -> dict[str, Any]:
    """The pooled figures, as JSON types."""
    report = found.held_out
    above = threshold_at_fpr(report.benign_scores, _RATE)
    told = report.to_dict()
    return {
        "folds": [
            {"version": bundle.version, "steps": _batches(bundle.manifest.training["plan"]),
             "familiar": bundle.manifest.training["familiar"]["test"]} for bundle in bundles
        ],
        "attacks": told["attacks"],
        "benign": told["benign"],
        "tpr_at_fpr": told["tpr_at_fpr"],
        "measures": [row.to_dict() for row in measures(found)],
        "by_class": {
            name: {
                "n": len(scores),
                "tpr": report.by_class[name].rate,
                "tpr_at_0.005": None if above is None else float((scores > above).mean()),
            }
            for name, scores in report.scores_by_class.items()
        },
        "sites": {name: {"n": count.n, "fpr": count.rate} for name, count in report.by_site.items() if count.hits},
    }  # fmt: skip


def main() -> None:
    """Judge the runs and record what they found."""
    runs = [Path(argument) for argument in dict.fromkeys(sys.argv[1:])]
    if not runs or not all(map(is_run, runs)):
        sys.exit("usage: record_folds.py RUN..., runs of vedette train --fold with their bundles")
    bundles = [load_bundle(run / BUNDLE) for run in runs]
    reports = []
    for run in runs:
        settings = Settings(waf_service=WafServiceSettings(model_path=str(run / BUNDLE)))
        reports.append(evaluate_run(run, load_engine(settings)))
        print(f"judged {run}", file=sys.stderr)
    shipped = load_bundle(default_bundle_path())
    rewrite(shipped, training={**shipped.manifest.training, "held_out": summary(pool(reports), bundles)})


if __name__ == "__main__":
    main()
