#!/usr/bin/env python3
"""What does the model cost for one row of tokens, by backend and batch size?

    python -m benchmarks.model [--tokens 64] [--batches 1 8 32] [--rounds 5] [--json]

Every way of docs/backends.md that runs here (torch only where it is installed) gets the same rows of random tokens.
Ways and batch sizes take turns; CPU time of the process, all threads; microseconds a row.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from numpy.typing import NDArray

from benchmarks.shared.figures import Report, arguments, conditions, run, spread
from vedette.bundle import load_model
from vedette.errors import BackendUnavailable
from vedette.inference.optimization import optimization_for
from vedette.inference.runtime import VARIANTS, ModelRuntime, load_runtime


def measure(options: argparse.Namespace) -> Report:
    bundle = load_model()
    runtimes: dict[str, ModelRuntime] = {}
    not_run: dict[str, str] = {}
    for variant in VARIANTS:
        if options.ways and variant.name not in options.ways:
            continue
        try:
            runtimes[variant.name] = load_runtime(bundle, optimization_for(variant), "cpu")
        except BackendUnavailable as error:
            not_run[variant.name] = str(error)
    rng = np.random.default_rng(options.seed)
    first = bundle.config.context_tokens + 1
    rows = {
        batch: rng.integers(first, bundle.config.vocab_size, (batch, options.tokens), np.int64)
        for batch in options.batches
    }
    report = conditions(
        model=bundle.version,
        tokens=options.tokens,
        batches=options.batches,
        rounds=options.rounds,
        seconds_a_round=options.seconds,
        seed=options.seed,
    )
    costs: dict[str, dict[int, list[float]]] = {name: {batch: [] for batch in rows} for name in runtimes}
    for _ in range(options.rounds):
        for batch, ids in rows.items():
            for name, runtime in runtimes.items():
                costs[name][batch].append(_round(runtime, ids, options.seconds))
    ways = {
        name: {f"batch_{batch}": spread(values) for batch, values in by_batch.items()}
        for name, by_batch in costs.items()
    }
    return {"conditions": report, "us_per_row": ways, "not_run": not_run}


def _round(runtime: ModelRuntime, ids: NDArray[np.int64], seconds: float) -> float:
    """CPU microseconds for one row, over runs that take `seconds` together."""
    runtime.run(ids)
    runs, began = 0, time.process_time()
    while (spent := time.process_time() - began) < seconds or not runs:
        runtime.run(ids)
        runs += 1
    return spent / (runs * len(ids)) * 1e6


def parser() -> argparse.ArgumentParser:
    options = arguments(__doc__)
    options.add_argument("--tokens", type=int, default=64, help="tokens of a row (default: %(default)s)")
    options.add_argument(
        "--batches", type=int, nargs="+", default=[1, 8, 32], metavar="ROWS", help="batch sizes (default: 1 8 32)"
    )
    options.add_argument("--rounds", type=int, default=5, help="rounds (default: %(default)s)")
    options.add_argument("--seconds", type=float, default=0.05, help="CPU time of a round (default: %(default)s)")
    options.add_argument("--ways", nargs="+", default=[], metavar="WAY", help="ways to run (default: all)")
    return options


if __name__ == "__main__":
    run(measure, parser())
