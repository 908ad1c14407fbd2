"""The synchronous core: a request becomes a verdict in three steps, without I/O, threads or an event loop.

    prepare   parse -> fields -> screen -> windows -> remembered scores; what is left waits for the model
    infer     windows of many requests -> rows of tokens, sorted by length, cut by token budget -> model -> answers
    judge     worst window of each field -> findings -> policy -> `Verdict`

`check` does all three. A service runs `prepare` and `judge` where requests arrive and `infer` in worker threads, over
the slices of as many requests as wait. Everything here is safe to call from many threads at once.
"""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from vedette.errors import InferenceFailed
from vedette.http_request import HTTPRequest
from vedette.inference.evidence import tightest_range, trimmed
from vedette.inference.piece_memory import PieceMemory
from vedette.inference.policy import Policy
from vedette.inference.prepared import Prepared, Slice
from vedette.inference.rows import BUCKET, Reading, Row, cut_readings, cut_runs
from vedette.inference.score_memory import Key, Remembered, ScoreMemory
from vedette.inference.text_reader import TextReader, text_reader
from vedette.inference.turn import TURN
from vedette.parsing.pipeline import ParsingPipeline
from vedette.sinks.masking import excerpt, is_secret, short_name
from vedette.tokenization.native_screen import view
from vedette.verdict import Degraded, Finding, NotInspected, Verdict

if TYPE_CHECKING:
    from vedette.bundle import Bundle
    from vedette.config import Settings
    from vedette.inference.runtime import ModelRuntime
    from vedette.parsing.field import Field
    from vedette.tokenization.http_tokenizer import Window

_SURE = 0.95  # score from which on a field that is an attack is not read to its end
_CHARS_PER_TOKEN = 3  # of the text view; only to weigh work before it is tokenised
# For ids that nobody has to guess. At the system call of `os.urandom` another thread would get its turn, so that a
# small request waited for the preparation of a large one.
_random = random.Random(os.urandom(32))  # noqa: S311
if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=lambda: _random.seed(os.urandom(32)))
_MAX_LISTED = 256  # parts named in `not_inspected`; a flood of fields must not become a flood of answers


class Engine:
    """One model with its policy and its memory. A new model means a new engine."""

    def __init__(self, bundle: Bundle, runtime: ModelRuntime, settings: Settings) -> None:
        waf = settings.waf_service
        self.bundle = bundle
        self.runtime = runtime
        self.model_version = bundle.version
        chosen = waf.threshold
        self.threshold = (
            chosen if chosen is not None else bundle.scorer.calibration.threshold_for_budget(waf.false_positive_budget)
        )
        self.runs_inline = runtime.runs_inline
        self.policy = Policy.from_settings(waf, threshold=self.threshold)
        memory_bytes = settings.inference.score_memory.max_bytes
        self.memory = ScoreMemory(memory_bytes - memory_bytes // 4)
        self._pipeline = ParsingPipeline(waf.inspection)
        self._pieces = PieceMemory(memory_bytes // 4, self.threshold)
        self._tokenizer = bundle.tokenizer
        self._scorer = bundle.scorer
        self._max_windows = waf.inspection.max_windows
        self._max_findings = waf.max_findings
        self._slice_tokens = settings.inference.queue.max_batch_tokens
        self._reader = text_reader(runtime, bundle.tokenizer, bundle.scorer, self.threshold)

    def check(self, request: HTTPRequest, *, deadline_s: float | None = None, request_id: str | None = None) -> Verdict:
        """Return the verdict on `request`, in this thread. What the model could not read within `deadline_s` seconds
        is listed in `not_inspected`."""
        prepared = self.prepare(request, request_id=request_id)
        until = math.inf if deadline_s is None else prepared.started_at + deadline_s
        failure = None
        try:
            for piece in prepared.slices(self._slice_tokens, until=until):
                self.infer([piece])
        except InferenceFailed:
            failure = Degraded.MODEL_FAILED
        return self.judge(prepared, failure)

    # -- prepare -------------------------------------------------------------------------------------------------

    def prepare(self, request: HTTPRequest, *, request_id: str | None = None) -> Prepared:
        """Take `request` apart and look up what is known. Pure CPU, bounded by the inspection settings.

        A thread that has the `TURN` passes it on in between.
        """
        started_at = time.monotonic()
        parsed = self._pipeline.parse(request, self._pieces)
        fields = parsed.fields
        prepared = Prepared(
            request_id or new_request_id(),
            started_at,
            fields,
            parsed.not_inspected,
            parsed.pieces,
            most_attacked=self._max_findings,
            known_score=parsed.known_score,
        )
        windows_of, key_of = self._tokenizer.windows, self.memory.key
        slots: dict[Key, int] = {}
        for index, field in enumerate(fields):
            windows = windows_of(field)
            if not windows:
                continue
            secret = is_secret(field.location, field.name, field.kind)
            for window in windows:
                TURN.pass_on()
                seen = view(window.text)
                key = key_of(window.context, seen, secret=secret)
                slot = slots.get(key)
                if slot is None:
                    slot = slots[key] = len(prepared.keys)
                    prepared.keys.append(key)
                    prepared.windows.append(window)
                    prepared.views.append(seen)
                    prepared.costs.append(4 + len(seen) // _CHARS_PER_TOKEN)
                    prepared.owners.append(index)
                elif prepared.owners[slot] != index:
                    prepared.owners[slot] = -1
                prepared.reads.append((index, slot, window))
        if prepared.keys:
            prepared.answers = self.memory.look_up(prepared.keys)
            prepared.pending = [slot for slot, answer in enumerate(prepared.answers) if answer is None]
            if prepared.pending:
                self._keep_within_bound(prepared)
        return prepared

    def _keep_within_bound(self, prepared: Prepared) -> None:
        """Drop what lies beyond `max_windows`, the text with the largest share of signs first in line."""
        room = self._tokenizer.max_tokens * 3 // 4  # tokens that a row adds
        rows = {slot: 1 + prepared.costs[slot] // room for slot in prepared.pending}
        if sum(rows.values()) <= self._max_windows:
            return
        left = self._max_windows
        kept: set[int] = set()
        for slot in sorted(prepared.pending, key=lambda slot: -_share_of_signs(prepared.windows[slot].text)):
            if rows[slot] <= left:
                left -= rows[slot]
                kept.add(slot)
        dropped = {slot for slot in prepared.pending if slot not in kept}
        prepared.pending = [slot for slot in prepared.pending if slot in kept]
        _list_unread(prepared, dropped, "max_windows", prepared.not_inspected)

    # -- infer ---------------------------------------------------------------------------------------------------

    def infer(self, batch: Sequence[Slice]) -> None:
        """Run the model over the slots of `batch` and fill in their answers.

        Between two runs slices that nobody wants any more (see `Slice.wanted`) are left out; their slots stay without
        an answer. Raises `InferenceFailed` if the model fails or answers with something that is no score.
        """
        owners: dict[Key, list[tuple[Slice, int]]] = {}
        for piece in batch:
            if piece.wanted:
                for slot in piece.slots:
                    owners.setdefault(piece.prepared.keys[slot], []).append((piece, slot))
        if not owners:
            return
        readings = [Reading(key, held) for key, held in owners.items()]
        if self._reader is not None:
            readings = self._read(self._reader, readings)
            if not readings:
                return
        views = [reading.view for reading in readings]
        encoded = self._tokenizer.encode([reading.window for reading in readings], views)
        rows = []
        for reading, its_rows in zip(readings, encoded, strict=True):
            reading.rows_left = len(its_rows)
            rows += [Row(reading, number, ids) for number, ids in enumerate(its_rows)]
        rows.sort(key=lambda row: len(row.ids))
        for run in cut_runs(rows):
            wanted = [row for row in run if row.reading.wanted]
            if wanted:
                self._run(wanted)

    def _read(self, reader: TextReader, readings: list[Reading]) -> list[Reading]:
        """Text views -> answers, in one call for each part. Returns the readings that only the library can encode."""
        left: list[Reading] = []
        for part in cut_readings(readings):
            wanted = [reading for reading in part if reading.wanted]
            contexts = [self._tokenizer.context_ids(reading.window.context) for reading in wanted]
            finished = []
            views = [reading.view for reading in wanted]
            with TURN.aside():
                found = reader.read(views, contexts)
            for reading, context, answer in zip(wanted, contexts, found, strict=True):
                if answer is None:
                    left.append(reading)
                    continue
                score, class_index, row, evidence = answer
                if not math.isfinite(score):
                    raise InferenceFailed("the model's output is no score for each row")
                start = end = 0
                if evidence is not None:
                    start, end = self._range(evidence, len(context))
                reading.rows_left = 1
                taken = reading.take(Remembered(score, class_index, row, start, end), self.threshold)
                if self._is_sure(score, class_index):
                    reading.settle()
                if taken is not None:
                    finished.append((reading.key, taken))
            self.memory.remember(finished)
        return left

    def _is_sure(self, score: float, class_index: int) -> bool:
        return score >= _SURE and self.policy.is_attack(score, self._scorer.classes[class_index])

    @staticmethod
    def _range(evidence: list[float], context: int) -> tuple[int, int]:
        """Evidence of a row's text -> the tokens of the row that hold it, behind its context; (0, 0) if none."""
        start, end = tightest_range(evidence)
        return (start + context, end + context) if end else (0, 0)

    def _run(self, rows: list[Row]) -> None:
        """One model run: rows -> ids (B, T) -> logits (B, C), evidence (B, T) -> answers."""
        longest = len(rows[-1].ids)
        width = min(-(-longest // BUCKET) * BUCKET, max(longest, self._tokenizer.max_tokens))
        ids = np.full((len(rows), width), self._tokenizer.pad_id, dtype=np.int64)
        for line, row in zip(ids, rows, strict=True):
            line[: len(row.ids)] = row.ids
        try:
            with TURN.aside():
                output = self.runtime.run(ids)
            scored = self._scorer.score_rows(output.logits)
        except Exception as error:
            raise InferenceFailed(f"{type(error).__name__}: {error}") from error
        if len(scored) != len(rows) or not all(math.isfinite(score) for score, _ in scored):
            raise InferenceFailed("the model's output is no score for each row")
        finished = []
        for index, (row, (score, class_index)) in enumerate(zip(rows, scored, strict=True)):
            start = end = 0
            if score >= self.threshold:
                context = len(self._tokenizer.context_ids(row.reading.window.context))
                start, end = self._range(output.evidence[index, context : len(row.ids)].tolist(), context)
            answer = row.reading.take(Remembered(score, class_index, row.number, start, end), self.threshold)
            if self._is_sure(score, class_index):
                row.reading.settle()
            if answer is not None:
                finished.append((row.reading.key, answer))
        self.memory.remember(finished)

    # -- judge ---------------------------------------------------------------------------------------------------

    def judge(self, prepared: Prepared, failure: Degraded | None = None) -> Verdict:
        """Return the verdict on what was read. `failure` says why slots may lack an answer (default: time ran out)."""
        pending, score = prepared.pending, prepared.known_score
        # Threads may still be at it: what is settled is asked first, as its answers were there before.
        is_settled = prepared.settled() if pending else _never
        answers = list(prepared.answers)
        for answer in answers:
            if answer is not None and answer.score > score:
                score = answer.score
        unread = {slot for slot in pending if answers[slot] is None and not is_settled(slot)} if pending else ()
        findings = self._findings(prepared, answers) if score >= self.threshold else ()
        if prepared.pieces:
            self._pieces.remember(prepared.pieces, prepared.reads, answers)
        not_inspected = prepared.not_inspected
        degraded = Degraded.PARTIALLY_INSPECTED if not_inspected else None
        late = known = False
        if unread:
            failure = failure or Degraded.TIMED_OUT
            late = failure is not Degraded.MODEL_FAILED
            not_inspected = list(not_inspected)
            reason = "deadline" if failure is Degraded.TIMED_OUT else failure.value
            _list_unread(prepared, unread, reason, not_inspected)
            known = bool(findings) or (late and len(unread) < len(pending))
            degraded = Degraded.PARTIALLY_INSPECTED if known else failure
        is_anomaly = bool(findings) if known or not unread else None
        return Verdict(
            request_id=prepared.request_id,
            action=self.policy.action(is_anomaly=is_anomaly, degraded=degraded, late=late),
            anomaly_score=None if is_anomaly is None else score,
            is_anomaly=is_anomaly,
            threshold=self.threshold,
            attack_class=findings[0].attack_class if findings else None,
            findings=findings,
            not_inspected=tuple(not_inspected),
            degraded=degraded,
            model_version=self.model_version,
            processing_time_ms=(time.monotonic() - prepared.started_at) * 1000,
        )

    def unjudged(self, degraded: Degraded, *, started_at: float, request_id: str | None = None) -> Verdict:
        """Return the verdict on a request that could not even be prepared in time."""
        return Verdict(
            request_id=request_id or new_request_id(),
            action=self.policy.action(is_anomaly=None, degraded=degraded),
            anomaly_score=None,
            is_anomaly=None,
            threshold=self.threshold,
            attack_class=None,
            findings=(),
            not_inspected=(),
            degraded=degraded,
            model_version=self.model_version,
            processing_time_ms=(time.monotonic() - started_at) * 1000,
        )

    def _findings(self, prepared: Prepared, answers: list[Remembered | None]) -> tuple[Finding, ...]:
        """The worst window that was read of each field that is an attack, worst first."""
        worst: dict[tuple[str, str, str], tuple[Remembered, Field, Window]] = {}
        for index, slot, window in prepared.reads:
            answer = answers[slot]
            if answer is None or answer.score < self.threshold:
                continue
            if not self.policy.is_attack(answer.score, self._scorer.classes[answer.class_index]):
                continue
            field = prepared.fields[index]
            name = (field.location, field.name, field.kind)
            if name not in worst or answer.score > worst[name][0].score:
                worst[name] = (answer, field, window)
        ranked = sorted(worst.values(), key=lambda found: -found[0].score)
        return tuple(self._finding(*found) for found in ranked[: self._max_findings])

    def _finding(self, answer: Remembered, field: Field, window: Window) -> Finding:
        start, end = window.offset, window.offset + len(window.text)
        if answer.end > answer.start:
            span = self._tokenizer.span(window, answer.row, answer.start, answer.end)
            if span is not None:
                start, end = trimmed(field.value, span[0], max(span))
        secret = is_secret(field.location, field.name, field.kind)
        return Finding(
            location=field.location,
            name=short_name(field.name),
            attack_class=self._scorer.classes[answer.class_index],
            score=answer.score,
            span=(start, end),
            excerpt=excerpt(field.value, (start, end), secret=secret),
            decoded_by=field.decoded_by,
        )

    def warm_up(self) -> None:
        """Run the model once for each width, so that the first request pays no set-up. Raises what the model raises."""
        for width in range(BUCKET, self._tokenizer.max_tokens + 1, BUCKET):
            output = self.runtime.run(np.ones((1, width), dtype=np.int64))
            if not np.isfinite(output.logits).all():
                raise InferenceFailed("the model's first run gave no numbers")


def _never(_slot: int) -> bool:
    return False


def _list_unread(prepared: Prepared, slots: Collection[int], reason: str, out: list[NotInspected]) -> None:
    """Name the fields of `slots` in `out`, each once."""
    named: dict[tuple[str, str], None] = {}
    for index, slot, _ in prepared.reads:
        if slot in slots:
            named[prepared.fields[index].location, prepared.fields[index].name] = None
    listed = list(named)[:_MAX_LISTED]
    out += [NotInspected(location=location, name=short_name(name), reason=reason) for location, name in listed]
    if len(named) > len(listed):
        more = f"(and {len(named) - len(listed)} more)"
        out.append(NotInspected(location=listed[-1][0], name=more, reason=reason))


def _share_of_signs(text: str) -> float:
    return sum(not char.isalnum() and not char.isspace() for char in text) / (len(text) or 1)


def new_request_id() -> str:
    """Return 32 hexadecimal digits that sort by time: 48 bits of milliseconds, then random (as UUIDv7, RFC 9562)."""
    return "%032x" % (time.time_ns() // 1_000_000 << 80 | _random.getrandbits(80))


def load_engine(settings: Settings) -> Engine:
    """Load the configured model and return an engine over it. Raises `BundleError` or `BackendUnavailable`."""
    from vedette.bundle import load_model
    from vedette.inference.runtime import load_runtime

    # Parallelism comes from the inference threads; the tokenizer's own pool costs a seventh more CPU and fights them.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    waf, inference = settings.waf_service, settings.inference
    bundle = load_model(waf.model_path, waf.vocab_path)
    return Engine(bundle, load_runtime(bundle, inference.optimization, inference.device), settings)
