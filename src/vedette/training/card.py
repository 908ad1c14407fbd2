"""Many runs at once on one graphics card, within a given time: their teachers side by side, then their students.

A detector of this size cannot fill a card. So every model gets a CUDA graph of its step over packed rows (see
`packed`), the graphs are replayed on a few streams, and processes draw the batches. The draws, losses and schedules are
those of `Trainer` and `distil`; what counts is the clock instead of steps.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from vedette.model.anomaly_detector import AnomalyDetector
from vedette.model.detector_config import DetectorConfig, attack_indexes
from vedette.training.distil import AVERAGED, NOISE, WARM_UP, WEIGHT_DECAY, distance, said
from vedette.training.packed import IGNORED, FlatWeights, Reader, Shape, pack, pack_contexts, unpack
from vedette.training.rows import Drawn, Rows, Sampler
from vedette.training.train import Log, TrainPlan, attack_rows, find_hardest

_FORK = multiprocessing.get_context("fork")  # the rows are not copied
_STREAMS = 4  # models that learn at the same time on a card
_HARD_AT = (0.12, 0.25, 0.4, 0.55, 0.7, 0.85)  # shares of the teachers' time at which hard rows are looked for,
_STUDENTS_HARD_AT = (0.1, 0.35, 0.6)  # and of the students', who look among
_STUDENTS_SAMPLE = 4  # times as many
_MOMENTS, _TINY = (0.9, 0.98), 1e-8
_SOURCES = 3  # processes that draw for one student
_TOLD_EVERY_S = 15.0

_JUDGED_AT_ONCE = 4  # batches

Loss = Callable[[Tensor, Tensor], Tensor]
"""Weights (P,), blob -> loss."""


class Source:
    """A process that draws the batches of one model, until it is closed. `tell` changes what it draws from."""

    def __init__(self, sampler: Sampler, shape: Shape) -> None:
        self._directory = tempfile.TemporaryDirectory()
        self._told = _FORK.RawValue("i", 0)
        self._blobs, theirs = _FORK.Pipe(duplex=False)
        self._process = _FORK.Process(target=self._feed, args=(sampler, shape, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def read_into(self, blob: Tensor) -> None:
        """Put the next batch into `blob`, on the processor."""
        numbers: Any = blob.numpy()
        self._blobs.recv_bytes_into(memoryview(numbers).cast("B"))

    def tell(self, kind: str, rows: NDArray[np.int64]) -> None:
        """From now on, `rows` are the hardest harmless ones (kind "hard"), the hardest attacks ("hard_attacks") or the
        attacks ("attacks"). Never waits for the process."""
        np.save(Path(self._directory.name) / f"{self._told.value}.{kind}.npy", rows)
        self._told.value += 1

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._blobs.close()
        self._directory.cleanup()

    def _feed(self, sampler: Sampler, shape: Shape, blobs: Any) -> None:
        os.nice(3)
        torch.set_num_threads(1)
        known = 0
        while True:
            drawn = sampler.draw(shape.rows)
            order = sampler.rng.permutation(len(drawn))  # rows that have no room are not of one kind
            blobs.send_bytes(pack(shape, [drawn[at] for at in order]))
            while known < self._told.value:
                (path,) = Path(self._directory.name).glob(f"{known}.*.npy")
                known += 1
                rows = np.load(path)
                match path.name.split(".")[1]:
                    case "hard":
                        sampler.hard = rows
                    case "hard_attacks":
                        sampler.hard_attacks = rows
                    case _:
                        sampler.decide(rows)


class Learner:
    """One model on the card: weights, moments and averaged weights as vectors, and its step as a graph."""

    def __init__(self, start: Tensor, shape: Shape, device: str, loss: Loss, weight_decay: float, stream: Any) -> None:
        self._device, self._loss, self._weight_decay, self._stream = device, loss, weight_decay, stream
        self._weights = start.to(device).clone().requires_grad_(True)
        self._moments = torch.zeros(2, len(start), device=device)
        self.average = self._weights.detach().clone()
        self._blob = torch.zeros(shape.size, dtype=torch.int16, device=device)
        self._rates = torch.zeros(4, device=device)  # learning rate, corrections of both moments, share of the average
        self._total = torch.zeros((), device=device)
        pinned = device == "cuda"
        self._waiting = [
            (torch.zeros(shape.size, dtype=torch.int16, pin_memory=pinned), torch.zeros(4, pin_memory=pinned))
            for _ in range(2)
        ]
        self._copied: list[Any] = [None, None]
        self._graph: Any = None
        self.steps = 0

    def capture(self) -> None:
        """Record the step as a graph; without a card there is none."""
        if self._device != "cuda":
            return
        state = (self._weights.detach(), self._moments, self.average, self._total)
        kept = [part.clone() for part in state]
        torch.cuda.synchronize()
        with torch.cuda.stream(self._stream):
            for _ in range(2):
                self._compute()
        self._graph = torch.cuda.CUDAGraph()
        # On the stream that replays it: what the products of matrices write aside belongs to a stream.
        with torch.cuda.graph(self._graph, stream=self._stream):
            self._compute()
        torch.cuda.synchronize()
        for part, before in zip(state, kept, strict=True):
            part.copy_(before)
        torch.cuda.synchronize()

    def step(self, source: Source, rate: float, average_decay: float) -> None:
        """Learn from the next batch of `source`; on a card it is only set on its way."""
        turn = self.steps % 2
        blob, rates = self._waiting[turn]
        if self._copied[turn] is not None:
            self._copied[turn].synchronize()
        source.read_into(blob)
        self.steps += 1
        corrections = (1 - moment**self.steps for moment in _MOMENTS)
        decay = min(average_decay, self.steps / (9 + self.steps))
        rates.copy_(torch.tensor([rate, *corrections, 1 - decay]))
        with torch.cuda.stream(self._stream):
            self._blob.copy_(blob, non_blocking=True)
            self._rates.copy_(rates, non_blocking=True)
            if self._device == "cuda":
                self._copied[turn] = torch.cuda.Event()  # type: ignore[no-untyped-call]
                self._copied[turn].record()
            if self._graph is None:
                self._compute()
            else:
                self._graph.replay()

    def mean_loss(self) -> float:
        """Of about all steps so far, as the card may be at work on some; not finite once one was not."""
        return float(self._total) / max(1, self.steps)

    def _compute(self) -> None:
        """AdamW with the gradient's norm bounded by 1, as `torch.optim.AdamW` has it."""
        loss = self._loss(self._weights, self._blob)
        (gradient,) = torch.autograd.grad(loss, self._weights)
        with torch.no_grad():
            gradient = gradient * (1.0 / (gradient.norm() + 1e-6)).clamp(max=1.0)
            first, second = self._moments
            first.lerp_(gradient, 1 - _MOMENTS[0])
            second.mul_(_MOMENTS[1]).addcmul_(gradient, gradient, value=1 - _MOMENTS[1])
            rate, correct_first, correct_second, follow = self._rates.unbind()
            self._weights.mul_(1 - rate * self._weight_decay)
            self._weights.sub_(rate * (first / correct_first) / ((second / correct_second).sqrt() + _TINY))
            self.average.add_((self._weights - self.average) * follow)
            self._total.add_(loss)


class JudgedRows:
    """The rows of a run on the card, to be judged by weights."""

    def __init__(self, rows: Rows, reader: Reader, weights: FlatWeights, shape: Shape, device: str) -> None:
        self._reader, self._weights, self._device = reader, weights, device
        self._tokens = _JUDGED_AT_ONCE * shape.tokens
        self._attacks = torch.tensor(attack_indexes(weights.config.classes), device=device)
        self._ids = torch.from_numpy(rows.ids.copy()).to(device)
        self._start = rows.start
        contexts = pack_contexts(rows.contexts)
        self._contexts = torch.from_numpy(contexts).to(device)
        self._context = torch.from_numpy(rows.context.astype(np.int64)).to(device)

    @torch.no_grad()
    def margins(self, flat: Tensor, indexes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Log-odds of attack of rows under weights (P,), (len(indexes),)."""
        named = self._weights.named(flat)
        lengths = np.diff(self._start)[indexes]
        ends = lengths.cumsum()
        first = torch.from_numpy(self._start[:-1][indexes]).to(self._device)
        where = torch.from_numpy(indexes).to(self._device)
        found = torch.zeros(len(indexes), device=self._device)
        at = 0
        while at < len(indexes):
            done = int(ends[at - 1]) if at else 0
            to = max(at + 1, int(np.searchsorted(ends, done + self._tokens, side="right")))
            taken, rows = int(lengths[at:to].sum()), to - at
            length = torch.from_numpy(lengths[at:to]).to(self._device)
            row = torch.full((self._tokens,), rows, device=self._device)
            row[:taken] = torch.repeat_interleave(torch.arange(rows, device=self._device), length, output_size=taken)
            own = row[:taken]
            offset = torch.arange(taken, device=self._device) - (length.cumsum(0) - length)[own]
            ids = torch.zeros(self._tokens, dtype=torch.long, device=self._device)
            ids[:taken] = self._ids[first[at:to][own] + offset].long()
            contexts = self._contexts[self._context[where[at:to]]].long()
            logits = self._reader.logits(named, ids, row, contexts)
            found[at:to] = logits[:, self._attacks].logsumexp(1)
            at = to
        result: NDArray[np.float32] = found.cpu().numpy()
        return result


@dataclass(slots=True)
class Finished:
    """What came of a run: its student on the processor, the harmless rows that it found hardest, and how
    many steps there was time for."""

    student: AnomalyDetector
    hard: NDArray[np.int64]
    steps: int
    distil_steps: int


@dataclass(slots=True)
class _Model:
    """A teacher or a student, what draws for it in turn, and what it found hardest."""

    run: str
    number: int
    learner: Learner
    sources: list[Source]
    hard: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    hard_attacks: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))


class CardTrainer:
    """Trains the runs of one plan, all of detectors of one shape. Its functions are compiled on construction."""

    def __init__(self, plan: TrainPlan, vocab_size: int, log: Log, *, tokens_per_row: int = 56) -> None:
        self._plan, self._log = plan, log
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        config = DetectorConfig(vocab_size, plan.max_tokens, plan.d_model, plan.n_layers, plan.n_heads, plan.d_ff)
        self._config, self._weights = config, FlatWeights(config)
        self._attacks = attack_indexes(config.classes)
        self._shape = Shape(-(-plan.batch * tokens_per_row // 64) * 64, plan.batch)
        self._reader = Reader(config, _JUDGED_AT_ONCE * self._shape.tokens, self._device)
        self._label_loss: Loss = self._by_labels
        self._tell: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = self._told
        self._student_loss: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] = self._by_teachers
        self._streams: list[Any] = [None]
        if self._device == "cuda":
            self._streams = [torch.cuda.Stream() for _ in range(_STREAMS)]  # type: ignore[no-untyped-call]
            torch.set_float32_matmul_precision("high")
            self._label_loss = torch.compile(self._by_labels, dynamic=False)
            self._tell = torch.compile(self._told, dynamic=False)
            self._student_loss = torch.compile(self._by_teachers, dynamic=False)
            self._run_once()

    def train(self, runs: dict[str, Rows], seconds: float, students_share: float = 0.3) -> dict[str, Finished]:
        """Train the teachers of every run, then, for `students_share` of the `seconds`, their students."""
        began = time.monotonic()
        with torch.no_grad():
            judged = {
                run: JudgedRows(rows, self._reader, self._weights, self._shape, self._device)
                for run, rows in runs.items()
            }
        models = [
            self._teacher(run, number, rows) for number in range(len(self._plan.noise)) for run, rows in runs.items()
        ]
        self._log(f"{len(models)} teachers stand, {time.monotonic() - began:.0f} s")
        self._train_teachers(models, runs, judged, began, (1 - students_share) * seconds)
        students = self._train_students(models, runs, judged, began, seconds)
        return {
            student.run: Finished(
                self._weights.model(student.learner.average),
                student.hard,
                models[0].learner.steps,
                student.learner.steps,
            )
            for student in students
        }

    def _learner(self, start: Tensor, loss: Loss, weight_decay: float) -> Learner:
        """A model that is ready to learn, on the next stream."""
        self._streams.append(self._streams.pop(0))
        learner = Learner(start, self._shape, self._device, loss, weight_decay, self._streams[0])
        learner.capture()
        return learner

    def _wait(self) -> None:
        """Until the card has done all that it was told to: what was learned on one stream is read on another."""
        if self._device == "cuda":
            torch.cuda.synchronize()

    # -- teachers --------------------------------------------------------------------------------------------------

    def _teacher(self, run: str, number: int, rows: Rows) -> _Model:
        plan = self._plan
        torch.manual_seed(plan.seed + number)
        start = self._weights.flatten(AnomalyDetector(self._config))
        learner = self._learner(start, self._label_loss, plan.weight_decay)
        rng = np.random.default_rng([plan.seed + number, 1])
        sampler = Sampler(rows, rng, plan.max_tokens, noise=plan.noise[number])
        return _Model(run, number, learner, [Source(sampler, self._shape)])

    def _train_teachers(
        self, models: list[_Model], runs: dict[str, Rows], judged: dict[str, JudgedRows], began: float, until_s: float
    ) -> None:
        plan, rng = self._plan, np.random.default_rng(self._plan.seed)
        start = time.monotonic()
        until_s -= start - began
        marks = sorted([(share, "hard") for share in _HARD_AT] + [(share, "attacks") for share in plan.decide_at])
        told_at = 0.0
        while (share := (time.monotonic() - start) / until_s) < 1:
            if marks and share >= marks[0][0]:
                _, kind = marks.pop(0)
                self._wait()
                for model in models:
                    self._look(kind, model, runs[model.run], judged[model.run], plan, rng)
            steps = models[0].learner.steps
            rate = plan.learning_rate * min(1.0, (steps + 1) / plan.warm_up) * _cosine(share)
            for model in models:
                model.learner.step(model.sources[0], rate, plan.average_decay)
            if time.monotonic() - told_at > _TOLD_EVERY_S:
                told_at = time.monotonic()
                self._log(f"{share:.0%}: {steps} steps each, mean loss {_mean_loss(models):.4f}")
        self._end(models)

    def _end(self, models: Sequence[_Model]) -> None:
        self._wait()
        for source in (source for model in models for source in model.sources):
            source.close()

    def _look(
        self, kind: str, model: _Model, rows: Rows, judged: JudgedRows, plan: TrainPlan, rng: np.random.Generator
    ) -> None:
        told: dict[str, NDArray[np.int64]] = {}

        def judge(indexes: NDArray[np.int64]) -> NDArray[np.float32]:
            return judged.margins(model.learner.average, indexes)

        if kind == "hard":
            model.hard, model.hard_attacks, note = find_hardest(rows, plan, model.hard, model.hard_attacks, judge, rng)
            told = {"hard": model.hard, "hard_attacks": model.hard_attacks}
        else:
            told["attacks"], note = attack_rows(rows, judge)
        for source in model.sources:
            for name, chosen in told.items():
                source.tell(name, chosen)
        if model.number == 0:
            self._log(f"{model.run}: {kind} {note}")

    # -- students --------------------------------------------------------------------------------------------------

    def _train_students(
        self,
        teachers: Sequence[_Model],
        runs: dict[str, Rows],
        judged: dict[str, JudgedRows],
        began: float,
        seconds: float,
    ) -> list[_Model]:
        plan, rng = self._plan, np.random.default_rng([self._plan.seed, 2])
        wider = replace(
            plan, hard_sample=_STUDENTS_SAMPLE * plan.hard_sample, hard_keep=plan.hard_keep / _STUDENTS_SAMPLE
        )
        students = [
            self._student([teacher for teacher in teachers if teacher.run == run], rows) for run, rows in runs.items()
        ]
        start = time.monotonic()
        left = max(1.0, seconds - (start - began))
        self._log(f"students for {left:.0f} s")
        marks = list(_STUDENTS_HARD_AT)
        steps, average_decay = 0, 0.9
        while (share := (time.monotonic() - start) / left) < 1:
            if marks and share >= marks[0]:
                marks.pop(0)
                self._wait()
                for student in students:
                    self._look("hard", student, runs[student.run], judged[student.run], wider, rng)
            if share > 0.02:
                average_decay = 1 - 1 / max(10.0, AVERAGED * steps / share)
            rate = plan.distil_rate * min(1.0, (share + 0.001) / WARM_UP) * _cosine(share)
            for student in students:
                student.learner.step(student.sources[steps % _SOURCES], rate, average_decay)
            steps += 1
        self._end(students)
        self._log(f"{steps} steps, mean loss {_mean_loss(students):.4f}")
        return students

    def _student(self, teachers: Sequence[_Model], rows: Rows) -> _Model:
        first, plan = teachers[0], self._plan
        learner = self._learner(first.learner.average, self._taught_by(teachers), WEIGHT_DECAY)
        sources = []
        for number in range(_SOURCES):
            rng = np.random.default_rng([plan.seed, 2, number])
            sampler = Sampler(rows, rng, plan.max_tokens, first.hard, NOISE, first.hard_attacks)
            sampler.decide(np.flatnonzero(rows.label > 0))  # the teachers say which rows of bags attack
            sources.append(Source(sampler, self._shape))
        return _Model(first.run, 0, learner, sources, first.hard, first.hard_attacks)

    def _taught_by(self, teachers: Sequence[_Model]) -> Loss:
        averages = [teacher.learner.average for teacher in teachers]

        def loss(weights: Tensor, blob: Tensor) -> Tensor:
            with torch.no_grad():
                told = [self._tell(average, blob) for average in averages]
                margin, classes = (torch.stack(parts).mean(0) for parts in zip(*told, strict=True))
            return self._student_loss(weights, blob, margin, classes)

        return loss

    # -- compiled ----------------------------------------------------------------------------------------------------

    def _logits(self, weights: Tensor, blob: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ids, row, contexts, labels, certain = unpack(blob, self._shape)
        return self._reader.logits(self._weights.named(weights), ids, row, contexts), labels, certain

    def _by_labels(self, weights: Tensor, blob: Tensor) -> Tensor:
        logits, labels, _ = self._logits(weights, blob)
        return F.cross_entropy(logits, labels, ignore_index=IGNORED, label_smoothing=self._plan.label_smoothing)

    def _told(self, weights: Tensor, blob: Tensor) -> tuple[Tensor, Tensor]:
        logits, _, _ = self._logits(weights, blob)
        return said([logits], self._attacks)

    def _by_teachers(self, weights: Tensor, blob: Tensor, margin: Tensor, classes: Tensor) -> Tensor:
        logits, labels, certain = self._logits(weights, blob)
        used = (labels != IGNORED).float()
        apart = distance(logits, margin, classes, labels, certain, self._attacks)
        return (apart * used).sum() / used.sum()

    def _run_once(self) -> None:
        """Run each function once, on a batch of nothing much."""
        weights = self._weights.flatten(AnomalyDetector(self._config)).to(self._device).requires_grad_(True)
        drawn = [Drawn([1], np.full(20, 50, np.int16), 1, certain=True)] * self._shape.rows
        blob = torch.from_numpy(pack(self._shape, drawn)).to(self._device)
        torch.autograd.grad(self._label_loss(weights, blob), weights)
        with torch.no_grad():
            margin, classes = (part.clone() for part in self._tell(weights.detach(), blob))
        torch.autograd.grad(self._student_loss(weights, blob, margin, classes), weights)
        self._log("compiled")


def _mean_loss(models: Sequence[_Model]) -> float:
    return float(np.mean([model.learner.mean_loss() for model in models]))


def _cosine(share: float) -> float:
    """The learning rate's share of the highest, down to a fiftieth."""
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
