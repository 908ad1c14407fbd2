"""Calibrate the folds' bundles and the shipped one by sites that no model has seen: calibrate_folds.py RUN...

The runs are those of `vedette train --fold`, one for each fold. Each fold's bundle is calibrated by what the other
folds left out, the shipped bundle by all of them (`vedette.training.across_folds`).
"""

from __future__ import annotations

import sys
from pathlib import Path

from vedette.bundle import default_bundle_path, load_bundle
from vedette.evaluation.folds import BUNDLE, is_run
from vedette.training.across_folds import pooled_calibration, rewrite, unseen


def main() -> None:
    """Judge what each run left out, and calibrate."""
    runs = [Path(argument) for argument in dict.fromkeys(sys.argv[1:])]
    if len(runs) < 2 or not all(map(is_run, runs)):
        sys.exit("usage: calibrate_folds.py RUN RUN..., runs of vedette train --fold with their bundles")
    found = {}
    for run in runs:
        found[run] = unseen(run)
        print(f"judged {run}: {len(found[run].harmless)} harmless requests", file=sys.stderr)
    targets = {run / BUNDLE: [found[other] for other in runs if other != run] for run in runs}
    targets[default_bundle_path()] = list(found.values())
    for path, parts in targets.items():
        bundle = rewrite(load_bundle(path), calibration=pooled_calibration(parts))
        print(f"{path}: {bundle.version}, {bundle.calibration}")


if __name__ == "__main__":
    main()
