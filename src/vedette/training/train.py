"""The recipe: data directory in, bundle out. `make train` and `vedette train` run this.

    corpus -> vocabulary -> rows -> steps (warm-up, cosine; hardest rows re-drawn; bags decided twice)
           -> averaged weights of six teachers -> a student -> its early exit
           -> calibration on sites never trained on -> bundle

The stages are kept in the run directory, so that a run that was cut off goes on where it stopped: the corpus and the
vocabulary as files, the steps of each teacher as a checkpoint, the student, its early exit. Same data, plan and seed
give the same draws.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vedette.model.anomaly_detector import AnomalyDetector
from vedette.model.detector_config import CLASSES, DetectorConfig, attack_indexes
from vedette.tokenization.http_tokenizer import HTTPTokenizer
from vedette.training.corpus import Bag, CorpusPlan, assign, build
from vedette.training.rows import Rows, Sampler, pad

Log = Callable[[str], None]
Progress = Callable[[int, int, str], None]
SURE = 4.5  # log-odds that a generated attack is to have at least,
HOPELESS = -6.0  # unless it has no more than this: what it drew is no attack, or none that can be told


@dataclass(frozen=True, slots=True)
class TrainPlan:
    """All choices of a run: `steps` batches of `batch` windows for each teacher, then `distil_steps` for the student.

    There are as many teachers as `noise` has numbers; with one teacher it is the result itself.
    """

    corpus: CorpusPlan = field(default_factory=CorpusPlan)
    fold: int | None = None  # sites and attack sources to leave out, which then judge
    calibrating: bool = True  # by a fifth of the other sites; without, these train too, and scripts/calibrate_folds.py
    vocab_size: int = 4096
    max_tokens: int = 128
    d_model: int = 96
    n_layers: int = 2
    n_heads: int = 3
    d_ff: int = 256
    dropout: float = 0.0
    steps: int = 9_500
    batch: int = 512
    learning_rate: float = 2.5e-3
    warm_up: int = 500
    weight_decay: float = 0.1
    label_smoothing: float = 0.01
    average_decay: float = 0.9995
    decide_at: tuple[float, ...] = (0.2, 0.5)
    hard_every: int = 2_500
    hard_sample: int = 50_000
    hard_keep: float = 0.16
    noise: tuple[float, ...] = (0.0, 0.15, 0.15, 0.3, 0.1, 0.2)  # share of harmless rows torn apart for each teacher
    distil_steps: int = 8_800
    distil_batch: int = 512
    distil_rate: float = 7e-4
    restart_steps: int = 0  # batches of further rates that rose and fell (`scripts/train_folds.py restart`)
    refine_steps: int = 0  # batches with which its student went on, once grammars had changed (`refine`)
    exit_steps: int = 1_000  # 0, or a single layer: every token is read to the end
    exit_rate: float = 1e-2
    exit_below: float = -3.0  # careful log-odds of an attack below which a token is not read by the last layer
    seed: int = 7


def prepare_corpus(data: Path, run: Path, plan: TrainPlan, processes: int, log: Log) -> list[Bag]:
    """Return the bags of the corpus, from the run directory where they stand there already."""
    path = run / "corpus.msgpack"
    bags: list[Bag] = []
    if path.exists():
        bags = msgspec.msgpack.decode(path.read_bytes(), type=list[Bag])
    else:
        for name, new in build(data, plan.corpus, processes):
            bags += new
            log(f"read {name}: {len(new)} bags")
        path.write_bytes(msgspec.msgpack.encode(bags))
    assign(bags, plan.fold, calibrating=plan.calibrating)
    return bags


def learn_vocabulary(bags: list[Bag], run: Path, plan: TrainPlan) -> HTTPTokenizer:
    """Learn the vocabulary from training texts, attacks and harmless in equal parts, each distinct text once."""
    path = run / "vocabulary.json"
    if not path.exists():
        rng = np.random.default_rng(plan.seed)
        pools: list[list[str]] = [[], []]
        seen: set[str] = set()
        for bag in bags:
            if bag.part == "train":
                for _, text in bag.windows:
                    if text not in seen:
                        seen.add(text)
                        pools[bag.label != CLASSES[0]].append(text[:512])
        size = min(200_000, *map(len, pools))
        texts = [pool[i] for pool in pools for i in rng.choice(len(pool), size, replace=False)]
        HTTPTokenizer.train(texts, plan.vocab_size, plan.max_tokens).save(path)
    return HTTPTokenizer.load(path, plan.max_tokens)


class Trainer:
    """The steps of one teacher, resumable from its `checkpoint` in the run directory."""

    def __init__(
        self, rows: Rows, vocab_size: int, plan: TrainPlan, checkpoint: Path, log: Log, noise: float = 0.0
    ) -> None:
        torch.manual_seed(plan.seed)
        self.rows, self.plan, self.checkpoint, self.log = rows, plan, checkpoint, log
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        config = DetectorConfig(vocab_size, plan.max_tokens, plan.d_model, plan.n_layers, plan.n_heads, plan.d_ff)
        self.model = AnomalyDetector(config, plan.dropout).to(self.device)
        self.average = AnomalyDetector(config).to(self.device).eval()
        self.average.load_state_dict(self.model.state_dict())
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), plan.learning_rate, betas=(0.9, 0.98), weight_decay=plan.weight_decay
        )
        self.sampler = Sampler(rows, np.random.default_rng(plan.seed), plan.max_tokens, noise=noise)
        self.loss = nn.CrossEntropyLoss(label_smoothing=plan.label_smoothing)
        self.step = 0
        self.decided = 0

    def train(self, progress: Progress) -> None:
        """Run the remaining steps."""
        began = time.monotonic()
        recent: list[Tensor] = []  # on the device: reading one would wait for it
        batches = self.sampler.batches(self.plan.batch)
        while self.step < self.plan.steps:
            if self.step >= self._next_decision():
                self.decide_bags()
                self.decided += 1
                batches = self.sampler.batches(self.plan.batch)
            if self.step and self.step % self.plan.hard_every == 0:
                self.find_hard()
                self.save()
            ids, labels, _ = next(batches)
            recent.append(self._one(ids, labels))
            self.step += 1
            if self.step % 50 == 0:
                note = f"loss {float(torch.stack(recent).mean()):.4f}"
                note += f", {self.plan.batch * len(recent) / (time.monotonic() - began):.0f} windows/s"
                progress(self.step, self.plan.steps, note)
                if self.step % 500 == 0:
                    self.log(f"step {self.step}: {note}")
                recent, began = [], time.monotonic()
        self.save()

    def _next_decision(self) -> float:
        """The step at which bags are decided next."""
        shares = self.plan.decide_at
        return shares[self.decided] * self.plan.steps if self.decided < len(shares) else math.inf

    def _one(self, ids: NDArray[np.int64], labels: NDArray[np.int64]) -> Tensor:
        plan = self.plan
        warm = min(1.0, (self.step + 1) / plan.warm_up)
        rate = plan.learning_rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * self.step / plan.steps)))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.model.train()
        logits, _ = self.model(torch.from_numpy(ids).to(self.device))
        loss = self.loss(logits, torch.from_numpy(labels).to(self.device))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        follow(self.average, self.model, plan.average_decay, self.step)
        told: Tensor = loss.detach()
        return told

    def margins(self, indexes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Log-odds of attack of rows under the averaged weights, (N,)."""
        return attack_margins(self.average, [self.rows.read(i) for i in indexes], self.device)

    def find_hard(self) -> None:
        """Keep the harmless rows with the highest margins, out of a random sample and those kept before, and the
        generated attacks with low ones."""
        own = self.sampler
        own.hard, own.hard_attacks, note = find_hardest(
            self.rows, self.plan, own.hard, own.hard_attacks, self.margins, own.rng
        )
        self.log(f"hard rows: {note}")

    def decide_bags(self) -> None:
        """Choose the rows of each bag that attack."""
        chosen, note = attack_rows(self.rows, self.margins)
        self.log(f"bags: {note}")
        self.sampler.decide(chosen)

    def save(self) -> None:
        """Write the checkpoint atomically."""
        state = {
            "step": self.step,
            "decided": self.decided,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "hard": torch.from_numpy(self.sampler.hard),
            "hard_attacks": torch.from_numpy(self.sampler.hard_attacks),
        }
        save_atomically(state, self.checkpoint)

    def resume(self) -> bool:
        """Load the checkpoint if there is one. Draws after a resumption differ from those of an unbroken run."""
        if not self.checkpoint.exists():
            return False
        state = torch.load(self.checkpoint, weights_only=True, map_location=self.device)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        self.sampler.hard, self.sampler.hard_attacks = (state[name].cpu().numpy() for name in ("hard", "hard_attacks"))
        self.sampler.rng = np.random.default_rng([self.plan.seed, self.step])
        if state["decided"]:
            self.decide_bags()
            self.decided = state["decided"]
        return True


def follow(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move the exponential average of a model's weights on, after `step` (from 0): by less of it at the beginning."""
    decay = min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)


def save_atomically(state: dict[str, Any], path: Path) -> None:
    """Write `state` so that `path` always holds a whole one: the former, or this."""
    partial = path.with_suffix(".new")
    torch.save(state, partial)
    partial.replace(path)


def find_hardest(
    rows: Rows,
    plan: TrainPlan,
    hard: NDArray[np.int64],
    hard_attacks: NDArray[np.int64],
    judge: Callable[[NDArray[np.int64]], NDArray[np.float32]],
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64], str]:
    """Harmless rows (N,) with the highest log-odds and generated attacks (M,) with low ones, out of random samples and
    those that were the hardest before (`hard`, `hard_attacks`), and a note. `judge` gives the log-odds of rows."""
    pool = _candidates(rows, plan, hard, rng)
    hard, note = _hardest(rows, plan, pool, judge(pool))
    pool = _attack_candidates(rows, plan, hard_attacks, rng)
    hard_attacks, attacks_note = _hardest_attacks(pool, judge(pool))
    return hard, hard_attacks, f"{note}; {attacks_note}"


def _candidates(rows: Rows, plan: TrainPlan, hard: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Harmless rows among which the hardest are looked for: a random sample and those that were the hardest before."""
    benign = np.flatnonzero(rows.label == 0)
    sample = rng.choice(benign, min(plan.hard_sample, len(benign)), replace=False)
    pool: NDArray[np.int64] = np.unique(np.concatenate([sample, hard]))
    return pool


def _hardest(
    rows: Rows, plan: TrainPlan, pool: NDArray[np.int64], margins: NDArray[np.float32]
) -> tuple[NDArray[np.int64], str]:
    """Rows of `pool` and their log-odds of attack -> those with the highest, and a note.

    At most half of them are generated: what grammars make up may not crowd out what people really send.
    """
    keep = max(256, int(plan.hard_keep * plan.hard_sample))
    order = np.argsort(-margins)
    ranked, top = pool[order], margins[order]
    generated = rows.is_generated(ranked)
    hard = np.concatenate([ranked[generated][: keep // 2], ranked[~generated][: keep // 2]])
    return hard, f"{len(hard)}, margins {top[0]:.1f} .. {top[min(keep, len(top)) - 1]:.1f}"


def _attack_candidates(
    rows: Rows, plan: TrainPlan, hard: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Attacks among which the hardest are looked for: a random sample of those that the grammars made, and those that
    were the hardest before. Labels of collections are not so certain."""
    made = np.flatnonzero(rows.made_attacks())
    sample = rng.choice(made, min(plan.hard_sample, len(made)), replace=False)
    return np.unique(np.concatenate([sample, hard]))


def _hardest_attacks(pool: NDArray[np.int64], margins: NDArray[np.float32]) -> tuple[NDArray[np.int64], str]:
    """Attacks of `pool` and their log-odds -> those that the model is not sure of, and a note."""
    hard: NDArray[np.int64] = pool[(margins < SURE) & (margins > HOPELESS)]
    return hard, f"of {len(pool)} generated attacks {len(hard)} are hard"


def attack_rows(rows: Rows, judge: Callable[[NDArray[np.int64]], NDArray[np.float32]]) -> tuple[NDArray[np.int64], str]:
    """Rows that attack, and a note: the certain ones, and of each bag the row with the highest margin and those near
    it. A bag where none looks like an attack is left out. `judge` gives the margins of rows."""
    certain = np.flatnonzero((rows.label > 0) & (rows.bag < 0))
    undecided = np.flatnonzero(rows.bag >= 0)
    if not len(undecided):
        return certain, "none"
    margins, bags = judge(undecided), rows.bag[undecided]
    peaks = np.full(int(bags.max()) + 1, -np.inf, np.float32)
    np.maximum.at(peaks, bags, margins)
    chosen = undecided[(margins >= peaks[bags] - 0.5) & (margins > -1.0) | (margins > 3.0)]
    seen = np.unique(bags)
    dropped = int((peaks[seen] <= -1.0).sum())
    note = f"{len(seen)}, dropped for want of an attack {dropped}, attack rows chosen {len(chosen)}"
    return np.concatenate([certain, chosen]), note


def attack_margins(model: AnomalyDetector, rows: list[list[int]], device: str = "cpu") -> NDArray[np.float32]:
    """Log-odds of attack (see `AnomalyScorer.margins`) for rows of ids, run length-sorted, (N,)."""
    attacks = attack_indexes(model.config.classes)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    result = np.zeros(len(rows), np.float32)
    model.eval()
    with torch.inference_mode():
        for at in range(0, len(order), 512):
            part = order[at : at + 512]
            logits, _ = model(torch.from_numpy(pad([rows[i] for i in part])).to(device))
            margin = logits[:, attacks].logsumexp(1) - logits[:, 0]
            result[part] = margin.cpu().numpy()
    return result


def train_teachers(
    rows: Rows, vocab_size: int, plan: TrainPlan, run: Path, log: Log, progress: Progress
) -> list[Trainer]:
    """Train what differs in its seed and in its share of noise, each to its end; the checkpoints stay in `run`."""
    trainers, teachers = [], len(plan.noise)
    for number, noise in enumerate(plan.noise):
        own = replace(plan, seed=plan.seed + number)
        trainer = Trainer(rows, vocab_size, own, run / f"checkpoint-{number + 1}.pt", log, noise)
        if trainer.resume():
            log(f"teacher {number + 1} of {teachers}: resumed at step {trainer.step}")
        trainer.train(lambda done, total, note, n=number: progress(done + n * total, teachers * total, note))  # type: ignore[misc]
        trainers.append(trainer)
    return trainers


def summary(plan: TrainPlan) -> dict[str, Any]:
    """The plan as JSON types, for the manifest."""
    result: dict[str, Any] = json.loads(json.dumps(asdict(plan)))
    return result
