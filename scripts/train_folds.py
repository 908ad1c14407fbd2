"""Train the four folds and the whole: at once on a graphics card, or one after another on a few cores.

    train_folds.py prepare DATA RUNS            read the corpus, learn the vocabularies (some minutes)
    train_folds.py train RUNS SECONDS [OUT]     teachers and students (a card; needs no data but what was prepared)
    train_folds.py root RUNS STEPS              what all runs may learn (no card)
    train_folds.py branch RUNS STEPS [RUN...]   each run goes on from the root (no card)
    train_folds.py restart RUNS STEPS [RUN...]  students learn on, at the rate of a branch (no card)
    train_folds.py refine RUNS STEPS [RUN...]   where grammars have changed since: students go on (no card)
    train_folds.py finish DATA RUNS [RUN...]    early exit of the whole, int8, held-out records (no card)
    train_folds.py keep RUNS FOLDER             what folds and root have learned, half precision
    train_folds.py take FOLDER RUNS             brings it back, with the shipped whole: for `finish` or to go on from

Then calibrate by `calibrate_folds.py RUNS/fold-1 ... RUNS/fold-4` and judge by `vedette evaluate` on the same. RUNS
gets the directories whole and fold-1 to fold-4, each as `vedette train --all-sites` would leave it. The steps may be
taken on different machines: `train` reads corpus.msgpack (or .xz), plan.json and the vocabularies from RUNS and writes
student.pt, hard.npy and plan.json of each run to OUT, which `finish` looks for in RUNS. `root`, `branch`, `restart` and
`refine` resume where they were cut off. `restart` and `refine` need a corpus of today; they count their steps in the
plan; the former student stays as student-before.pt, and a run where that stands beside the student is done.
"""

from __future__ import annotations

import json
import lzma
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from vedette.model.anomaly_detector import AnomalyDetector
from vedette.model.detector_config import DetectorConfig
from vedette.tokenization.http_tokenizer import HTTPTokenizer
from vedette.training.believe import GENERATED
from vedette.training.card import CardTrainer
from vedette.training.cores import NOISE, CoreTrainer, Schedule, branch_schedule, root_schedule, transferred
from vedette.training.corpus import Bag, assign, examples_of
from vedette.training.refine import Refiner
from vedette.training.rows import Rows, rows_of
from vedette.training.split import FOLDS
from vedette.training.train import TrainPlan, learn_vocabulary, prepare_corpus, summary

ROOT, WHOLE = "root", "whole"
CHECKPOINT, VOCABULARY, KEPT, BEFORE = "cores.pt", "vocabulary.json", "student.safetensors", "student-before.pt"
RUNS = {WHOLE: None, **{f"fold-{fold}": fold for fold in FOLDS}}
_BEGAN = time.monotonic()


def log(line: str) -> None:
    """Tell on stderr, with the seconds since the start."""
    print(f"{time.monotonic() - _BEGAN:6.1f} s  {line}", file=sys.stderr, flush=True)


def plan_of(run: Path) -> TrainPlan:
    """The plan that stands in a run's directory."""
    return msgspec.convert(json.loads((run / "plan.json").read_text()), TrainPlan)


def write_plan(run: Path, plan: TrainPlan) -> None:
    """Write `plan` into the directory of its run."""
    (run / "plan.json").write_text(json.dumps(summary(plan), indent=2) + "\n")


def save_student(student: AnomalyDetector, path: Path) -> None:
    """Write the weights rounded to half precision: what is judged is what `keep` can keep."""
    torch.save({name: part.half() for name, part in student.state_dict().items()}, path)


def bags_of(runs: Path, plan: TrainPlan) -> list[Bag]:
    """The corpus with what each bag does in the run of `plan`."""
    plain = runs / "corpus.msgpack"  # which may be newer than the packed one
    raw = plain.read_bytes() if plain.exists() else lzma.decompress((runs / "corpus.msgpack.xz").read_bytes())
    bags = msgspec.msgpack.decode(raw, type=list[Bag])
    assign(bags, plan.fold, calibrating=plan.calibrating)
    return bags


def prepare(data: Path, runs: Path) -> None:
    """Read the corpus and learn the vocabulary of each run. Runs that have these keep them, and their plans."""
    runs.mkdir(parents=True, exist_ok=True)
    processes = len(os.sched_getaffinity(0))
    bags: list[Bag] = []
    for name, fold in RUNS.items():
        run = runs / name
        run.mkdir(exist_ok=True)
        # A model that will be judged is not told by it which tokens to leave unread.
        plan = replace(TrainPlan(), fold=fold, calibrating=False)
        if not (run / "plan.json").exists():
            write_plan(run, plan if fold is None else replace(plan, exit_steps=0))
        bags = bags or prepare_corpus(data, runs, plan, processes, log)
        assign(bags, fold, calibrating=False)
        log(f"{name}: {learn_vocabulary(bags, run, plan).vocab_size} words")


def _save_rows(runs: Path, name: str, path: Path) -> None:
    run = runs / name
    plan = plan_of(run)
    tokenizer = HTTPTokenizer.load(run / VOCABULARY, plan.max_tokens)
    rows = rows_of(examples_of(bags_of(runs, plan)), tokenizer)
    np.savez(path, **{key: getattr(rows, key) for key in ("ids", "start", "context", "label", "origin", "bag")})
    path.with_suffix(".json").write_text(
        json.dumps({"contexts": rows.contexts, "origins": rows.origins, "vocab_size": tokenizer.vocab_size})
    )
    log(f"{name}: {len(rows)} rows, {rows.ids.size / len(rows):.1f} tokens each")


def train(runs: Path, seconds: float, out: Path) -> None:
    """Train the runs that stand in `runs`; what is needed to finish them goes to `out`."""
    names = [name for name in RUNS if (runs / name / VOCABULARY).exists()]
    with tempfile.TemporaryDirectory() as scratch:
        paths = {name: Path(scratch) / f"{name}.npz" for name in names}
        fork = multiprocessing.get_context("fork")  # before the card is touched
        readers = [fork.Process(target=_save_rows, args=(runs, name, path)) for name, path in paths.items()]
        for reader in readers:
            reader.start()
        plan = replace(plan_of(runs / names[0]), fold=None)
        trainer = CardTrainer(plan, plan.vocab_size, log)
        rows: dict[str, Rows] = {}
        for (name, path), reader in zip(paths.items(), readers, strict=True):
            reader.join()
            rest = json.loads(path.with_suffix(".json").read_text())
            if rest.pop("vocab_size") != plan.vocab_size:
                sys.exit(f"{name}: its vocabulary is smaller than the plan's {plan.vocab_size} words")
            rows[name] = Rows(**np.load(path), **rest)
    for name, done in trainer.train(rows, seconds - (time.monotonic() - _BEGAN)).items():
        run = out / name
        run.mkdir(parents=True, exist_ok=True)
        save_student(done.student, run / "student.pt")
        np.save(run / "hard.npy", done.hard)
        write_plan(run, replace(plan_of(runs / name), steps=done.steps, distil_steps=done.distil_steps))
        log(f"{name}: {done.steps} and {done.distil_steps} steps")


def root(runs: Path, steps: int) -> None:
    """Learn what all runs may see: what the grammars made, but for the productions kept apart."""
    directory = runs / ROOT
    directory.mkdir(exist_ok=True)
    plan = plan_of(runs / "fold-1")
    bags = [bag for bag in bags_of(runs, plan) if bag.origin.startswith(GENERATED)]
    tokenizer = learn_vocabulary(bags, directory, plan)
    trainer = _learn(directory, bags, tokenizer, plan, root_schedule(steps), None)
    save_student(trainer.model, directory / "student.pt")
    write_plan(directory, replace(plan, fold=None, steps=steps, noise=(NOISE,), distil_steps=0))


def branch(runs: Path, name: str, steps: int) -> None:
    """Let a run go on from the root with all that it may see."""
    run, directory = runs / name, runs / ROOT
    plan = plan_of(run)
    own, its = (HTTPTokenizer.load(place / VOCABULARY, plan.max_tokens) for place in (run, directory))
    model = transferred(_student(plan, its, directory / "student.pt"), its, own)
    trainer = _learn(run, bags_of(runs, plan), own, plan, branch_schedule(steps), model)
    (run / BEFORE).unlink(missing_ok=True)  # of another student
    steps += plan_of(directory).steps
    plan = replace(plan, steps=steps, noise=(NOISE,), distil_steps=0, restart_steps=0, refine_steps=0)
    _replace(run, trainer.average, trainer.sampler.hard, plan)


def _learn(
    run: Path,
    bags: list[Bag],
    tokenizer: HTTPTokenizer,
    plan: TrainPlan,
    schedule: Schedule,
    start: AnomalyDetector | None,
) -> CoreTrainer:
    torch.set_num_threads(1)
    rows = rows_of(examples_of(bags), tokenizer)
    log(f"{run.name}: {len(rows)} rows, {rows.ids.size / len(rows):.1f} tokens each")
    trainer = CoreTrainer(
        rows, tokenizer, plan, schedule, run / CHECKPOINT, lambda line: log(f"{run.name}: {line}"), start
    )
    trainer.train(len(os.sched_getaffinity(0)))
    trainer.load()
    return trainer


def restart(runs: Path, name: str, steps: int) -> None:
    """Let a run's student learn on as a branch does, unless it has, and take the mean of before and after.

    The end of each cycle of the rate is a good model; their mean is a better one (Izmailov et al., "Averaging weights
    leads to wider optima and better generalization", 2018).
    """
    run = runs / name
    plan, before = plan_of(run), _set_aside(run, CHECKPOINT)
    if before is None:
        return
    tokenizer = HTTPTokenizer.load(run / VOCABULARY, plan.max_tokens)
    student = _student(plan, tokenizer, before)
    trainer = _learn(run, bags_of(runs, plan), tokenizer, plan, branch_schedule(steps), student)
    with torch.no_grad():
        for mean, part in zip(trainer.average.parameters(), student.parameters(), strict=True):
            mean.lerp_(part, 0.5)
    _replace(run, trainer.average, trainer.sampler.hard, replace(plan, restart_steps=plan.restart_steps + steps))
    (run / CHECKPOINT).unlink()  # no branch goes on from it


def refine(runs: Path, name: str, steps: int) -> None:
    """Let a run's student go on, unless it has."""
    run = runs / name
    plan, before = plan_of(run), _set_aside(run, "refine.pt")
    if before is None:
        return
    tokenizer = HTTPTokenizer.load(run / VOCABULARY, plan.max_tokens)
    rows = rows_of(examples_of(bags_of(runs, plan)), tokenizer)
    student = _student(plan, tokenizer, before)
    refiner = Refiner(student, tokenizer, rows, plan, steps, run, lambda line: log(f"{name}: {line}"))

    def progress(done: int, total: int, note: str) -> None:
        if done % 40 == 0:
            log(f"{name}: step {done} of {total}, {note}")

    average = refiner.train(progress)
    _replace(run, average, refiner.sampler.hard, replace(plan, refine_steps=plan.refine_steps + refiner.step))


def _set_aside(run: Path, checkpoint: str) -> Path | None:
    """Where the student to go on from stands now, or None where another has come of it already."""
    before, after = run / BEFORE, run / "student.pt"
    if before.exists() and after.exists():
        log(f"{run.name}: has gone on; once {before} is removed, it can again")
        return None
    if not before.exists():
        (run / checkpoint).unlink(missing_ok=True)  # steps of an earlier time
        after.rename(before)
    return before


def _replace(run: Path, student: AnomalyDetector, hard: NDArray[np.int64], plan: TrainPlan) -> None:
    """Let `student` be the run's, and forget what belonged to the one before."""
    partial = run / "student.new"
    save_student(student, partial)
    np.save(run / "hard.npy", hard)
    (run / "early_exit.pt").unlink(missing_ok=True)
    write_plan(run, plan)
    partial.replace(run / "student.pt")  # last: from here on it is done
    log(f"{run.name}: {plan.steps}, {plan.restart_steps} and {plan.refine_steps} steps")


def _student(plan: TrainPlan, tokenizer: HTTPTokenizer, weights: Path) -> AnomalyDetector:
    model = AnomalyDetector(
        DetectorConfig(tokenizer.vocab_size, plan.max_tokens, plan.d_model, plan.n_layers, plan.n_heads, plan.d_ff)
    )
    model.load_state_dict(torch.load(weights, weights_only=True))
    return model.eval()


def keep(runs: Path, folder: Path) -> None:
    """Write what the folds and the root have learned to `folder`, a few megabytes."""
    from safetensors.torch import save_file

    for name in (ROOT, *RUNS):
        run, kept = runs / name, folder / name
        if name == WHOLE or not (run / "student.pt").exists():  # the shipped bundle holds the whole
            continue
        kept.mkdir(parents=True, exist_ok=True)
        save_file(torch.load(run / "student.pt", weights_only=True), kept / KEPT)
        for file in (VOCABULARY, "plan.json"):
            shutil.copyfile(run / file, kept / file)
        log(f"{name}: kept in {kept}")


def take(folder: Path, runs: Path) -> None:
    """Bring back to `runs` what was kept in `folder`, and the whole from the shipped bundle."""
    from safetensors.torch import load_file

    from vedette.bundle import default_bundle_path, load_bundle

    for name in (ROOT, *RUNS):
        run, kept = runs / name, folder / name
        if name != WHOLE and not kept.exists():
            continue
        run.mkdir(parents=True, exist_ok=True)
        if name == WHOLE:
            bundle = load_bundle(default_bundle_path())
            weights = load_file(bundle.path / "model.safetensors")
            (run / "plan.json").write_text(json.dumps(bundle.manifest.training["plan"], indent=2) + "\n")
            shutil.copyfile(bundle.path / VOCABULARY, run / VOCABULARY)
        else:
            weights = load_file(kept / KEPT)
            for file in (VOCABULARY, "plan.json"):
                shutil.copyfile(kept / file, run / file)
        torch.save({key: part for key, part in weights.items() if not key.startswith("exit.")}, run / "student.pt")
        log(f"{name}: taken to {run}")


def complete(data: Path, runs: Path, name: str) -> None:
    """Make the bundle of a run, and for a fold write the records that judge it."""
    # The machine with the card needs none of what these need.
    from vedette.training.early_exit import add_early_exit
    from vedette.training.finish import Trained, finish
    from vedette.training.held_out import write_held_out

    run = runs / name
    plan = plan_of(run)
    bags = bags_of(runs, plan)
    tokenizer = HTTPTokenizer.load(run / VOCABULARY, plan.max_tokens)
    rows = rows_of(examples_of(bags), tokenizer)
    model = _student(plan, tokenizer, run / "student.pt")
    if plan.exit_steps:
        model = add_early_exit(model, rows, np.load(run / "hard.npy"), plan, run, log, lambda *_: None)
    if plan.fold is not None:
        log(f"{name}: held-out records {write_held_out(data, bags, run, plan.fold)}")
    bundle = finish(Trained(model, tokenizer, rows, bags, plan), data, run, run / "bundle", log)
    log(f"{name}: {bundle.version}")


def main(arguments: list[str]) -> None:
    """Do what the command line says."""
    match arguments:
        case ["prepare", data, runs]:
            prepare(Path(data), Path(runs))
        case ["train", runs, seconds, *out] if len(out) < 2:
            train(Path(runs), float(seconds), Path(out[0] if out else runs))
        case ["root", runs, steps] if steps.isdigit():
            root(Path(runs), int(steps))
        case ["branch", runs, steps, *names] if steps.isdigit():
            for name in names or RUNS:
                branch(Path(runs), name, int(steps))
        case ["restart" | "refine" as way, runs, steps, *names] if steps.isdigit():
            for name in names or [name for name in RUNS if any((Path(runs) / name).glob("student*.pt"))]:
                (restart if way == "restart" else refine)(Path(runs), name, int(steps))
        case ["keep", runs, folder]:
            keep(Path(runs), Path(folder))
        case ["take", folder, runs]:
            take(Path(folder), Path(runs))
        case ["finish", data, runs, *names]:
            for name in names or RUNS:
                complete(Path(data), Path(runs), name)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
