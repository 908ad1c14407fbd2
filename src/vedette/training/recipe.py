"""The whole recipe in one call: what `make train` and `vedette train` run."""

from __future__ import annotations

import json
import os
from pathlib import Path

from vedette.bundle import Bundle
from vedette.errors import ConfigError
from vedette.evaluation.evaluate import evaluate
from vedette.evaluation.plots import write_plots
from vedette.evaluation.records import read_records
from vedette.tokenization.http_tokenizer import HTTPTokenizer
from vedette.training.finish import engine_of, finish, with_held_out
from vedette.training.train import (
    HELD_OUT,
    HELD_OUT_VALUES,
    Log,
    Progress,
    TrainPlan,
    prepare_corpus,
    run_training,
    write_held_out,
)


def train_bundle(data: Path, run: Path, out: Path, plan: TrainPlan, log: Log, progress: Progress) -> Bundle:
    """Train on the data directory `data` and write the bundle `out`; return it loaded.

    `run` keeps every stage: a run that was cut off goes on where it stopped when it is called again with the same plan.
    It ends with the corpus, the checkpoint, the weights, ``report/``, and ``held_out.jsonl.gz``: the records of sites
    and attack sources never trained on, for `vedette evaluate`. Raises `ConfigError` if `data` holds no data set.
    """
    if not list(data.glob("*/*.jsonl.xz")):
        raise ConfigError(f"{data}: holds no data set (expected attacks/*.jsonl.xz and benign/*.jsonl.xz)", key="data")
    processes = len(os.sched_getaffinity(0))
    trainer = run_training(data, run, plan, processes, log, progress)
    bags = prepare_corpus(data, run, plan, processes, log)
    tokenizer = HTTPTokenizer.load(run / "vocabulary.json", plan.max_tokens)
    counts = write_held_out(data, bags, run)
    log(f"held-out records for vedette evaluate: {run / HELD_OUT} {counts}")
    return write_report(finish(trainer, tokenizer, bags, data, out, log), run, log)


def write_report(bundle: Bundle, run: Path, log: Log) -> Bundle:
    """Judge the held-out records as `vedette evaluate` does.

    The report and its plots go to ``report/`` in `run`, its figures into the bundle's manifest.
    """
    engine = engine_of(bundle)
    report = evaluate(read_records([run / HELD_OUT]), engine)
    values = evaluate(read_records([run / HELD_OUT_VALUES]), engine)
    directory = run / "report"
    directory.mkdir(exist_ok=True)
    (directory / "evaluation.json").write_text(json.dumps(report.details(), indent=2) + "\n", "utf-8")
    for path in write_plots(report, directory):
        log(f"wrote {path}")
    for rate, tpr in report.to_dict()["tpr_at_fpr"].items():
        log(f"attacks found at a false-positive rate of {rate}: {tpr}")
    return with_held_out(bundle, report, values)
