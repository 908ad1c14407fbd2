"""The whole recipe in one call: what `make train` and `vedette train` run."""

from __future__ import annotations

import json
import os
from pathlib import Path

from vedette.bundle import Bundle
from vedette.errors import ConfigError
from vedette.evaluation.folds import evaluate_run
from vedette.evaluation.measures import measures
from vedette.evaluation.plots import write_plots
from vedette.training.corpus import examples_of
from vedette.training.distil import distil
from vedette.training.early_exit import add_early_exit
from vedette.training.finish import Trained, engine_of, finish
from vedette.training.held_out import write_held_out
from vedette.training.rows import rows_of
from vedette.training.train import Log, Progress, TrainPlan, learn_vocabulary, prepare_corpus, summary, train_teachers


def train_bundle(data: Path, run: Path, out: Path, plan: TrainPlan, log: Log, progress: Progress) -> Bundle:
    """Train on the data directory `data` and write the bundle `out`; return it loaded.

    `run` keeps every stage: a run that was cut off goes on where it stopped when it is called again with the same plan.
    It ends with the corpus, the checkpoints and the weights. With `plan.fold` it also holds the records of the sites
    and attack sources left out, for `vedette evaluate`, and what that says of the model in ``report/``. Raises
    `ConfigError` if `data` holds no data set.
    """
    if not list(data.glob("*/*.jsonl.xz")):
        raise ConfigError(f"{data}: holds no data set (expected attacks/*.jsonl.xz and benign/*.jsonl.xz)", key="data")
    run.mkdir(parents=True, exist_ok=True)
    _keep_plan(run / "plan.json", plan)
    trained = train_model(data, run, plan, log, progress)
    bundle = finish(trained, data, run, out, log)
    if plan.fold is not None:
        log(f"held-out records: {write_held_out(data, trained.bags, run, plan.fold)}")
        write_report(bundle, run, log)
    return bundle


def _keep_plan(path: Path, plan: TrainPlan) -> None:
    """Write the plan; a run that was begun with another one is refused, but for the number of steps."""
    now = summary(plan)
    if path.exists():
        before = json.loads(path.read_text("utf-8"))
        other = sorted(key for key in now.keys() | before.keys() if now.get(key) != before.get(key) and key != "steps")
        if other:
            raise ConfigError(f"{path.parent}: holds a run of another plan ({', '.join(other)} differ)", key="run")
    path.write_text(json.dumps(now, indent=2) + "\n", "utf-8")


def train_model(data: Path, run: Path, plan: TrainPlan, log: Log, progress: Progress) -> Trained:
    """Read, tokenise, train the teachers and distil them."""
    bags = prepare_corpus(data, run, plan, len(os.sched_getaffinity(0)), log)
    tokenizer = learn_vocabulary(bags, run, plan)
    rows = rows_of(examples_of(bags), tokenizer)
    tokens = rows.ids.size / max(1, len(rows))
    log(f"{len(rows)} rows, {int((rows.label == 0).sum())} harmless, {tokens:.1f} tokens each")
    teachers = train_teachers(rows, tokenizer.vocab_size, plan, run, log, progress)
    student = distil(teachers, rows, plan, run, log, progress)
    if plan.exit_steps and plan.n_layers > 1:
        student = add_early_exit(student, rows, teachers[0].sampler.hard, plan, run, log, progress)
    return Trained(student, tokenizer, rows, bags, plan)


def write_report(bundle: Bundle, run: Path, log: Log) -> None:
    """Judge the held-out records as `vedette evaluate` does; the report and its plots go to ``report/`` in `run`."""
    found = evaluate_run(run, engine_of(bundle))
    directory = run / "report"
    directory.mkdir(exist_ok=True)
    report = {"measures": [row.to_dict() for row in measures(found)], **found.held_out.details()}
    (directory / "evaluation.json").write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    for path in write_plots(found.held_out, directory):
        log(f"wrote {path}")
    for rate, tpr in found.held_out.to_dict()["tpr_at_fpr"].items():
        log(f"attacks found at a false-positive rate of {rate}: {tpr}")
