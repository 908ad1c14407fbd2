"""The whole recipe in one call: what `make train` and `vedette train` run."""

from __future__ import annotations

import os
from pathlib import Path

from vedette.bundle import Bundle
from vedette.errors import ConfigError
from vedette.tokenization.http_tokenizer import HTTPTokenizer
from vedette.training.finish import finish
from vedette.training.train import Log, Progress, TrainPlan, prepare_corpus, run_training, write_held_out

HELD_OUT = "held_out.jsonl.gz"


def train_bundle(data: Path, run: Path, out: Path, plan: TrainPlan, log: Log, progress: Progress) -> Bundle:
    """Train on the data directory `data` and write the bundle `out`; return it loaded.

    `run` keeps every stage: a run that was cut off goes on where it stopped when it is called again with the same plan.
    It ends with the corpus, the checkpoint, the weights, and ``held_out.jsonl.gz``: the records of sites and attack
    sources never trained on, for `vedette evaluate`. Raises `ConfigError` if `data` holds no data set.
    """
    if not list(data.glob("*/*.jsonl.xz")):
        raise ConfigError(f"{data}: holds no data set (expected attacks/*.jsonl.xz and benign/*.jsonl.xz)", key="data")
    processes = len(os.sched_getaffinity(0))
    trainer = run_training(data, run, plan, processes, log, progress)
    bags = prepare_corpus(data, run, plan, processes, log)
    tokenizer = HTTPTokenizer.load(run / "vocabulary.json", plan.max_tokens)
    counts = write_held_out(data, bags, run / HELD_OUT)
    log(f"held-out records for vedette evaluate: {run / HELD_OUT} {counts}")
    return finish(trainer, tokenizer, bags, data, out, log)
