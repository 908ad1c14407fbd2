"""The whole recipe in one call: what `make train` and `vedette train` run."""

from __future__ import annotations

import json
import os
from pathlib import Path

from vedette.bundle import Bundle
from vedette.config import Settings, WafServiceSettings
from vedette.errors import ConfigError
from vedette.evaluation.evaluate import evaluate
from vedette.evaluation.plots import write_plots
from vedette.evaluation.records import read_records
from vedette.inference.engine import load_engine
from vedette.tokenization.http_tokenizer import HTTPTokenizer
from vedette.training.finish import finish
from vedette.training.train import Log, Progress, TrainPlan, prepare_corpus, run_training, write_held_out

HELD_OUT = "held_out.jsonl.gz"


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
    counts = write_held_out(data, bags, run / HELD_OUT)
    log(f"held-out records for vedette evaluate: {run / HELD_OUT} {counts}")
    bundle = finish(trainer, tokenizer, bags, data, out, log)
    write_report(bundle, run, log)
    return bundle


def write_report(bundle: Bundle, run: Path, log: Log) -> None:
    """Judge the held-out records as `vedette evaluate` does; the report and its plots go to ``report/`` in `run`."""
    settings = Settings(waf_service=WafServiceSettings(model_path=str(bundle.path)))
    report = evaluate(read_records([run / HELD_OUT]), load_engine(settings))
    directory = run / "report"
    directory.mkdir(exist_ok=True)
    (directory / "evaluation.json").write_text(json.dumps(report.details(), indent=2) + "\n", "utf-8")
    for path in write_plots(report, directory):
        log(f"wrote {path}")
