"""The model's work of one batch: distinct windows, their rows of tokens, and how rows are cut into runs."""

from __future__ import annotations

from vedette.inference.prepared import Slice
from vedette.inference.score_memory import Key, Remembered

RUN_TOKENS = 4096  # rows times padded length of one model run: some 16 ms, so a deadline is noticed soon
RUN_CHARS = 4096  # of text views that are read in one call: at most 20 ms, usually 7
RUN_OVERHEAD = 24  # padded tokens that cost as much as starting a run: 90 to 150 of 5 to 7 us a token (int8, one core)
BUCKET = 16  # rows are padded to a multiple of this, so that the runtime sees few shapes


class Reading:
    """One distinct window of a batch, and the slots that wait for it."""

    __slots__ = ("best", "held", "key", "rows_left", "view", "window")

    def __init__(self, key: Key, held: list[tuple[Slice, int]]) -> None:
        self.key = key
        self.held = held
        piece, slot = held[0]
        self.window = piece.prepared.windows[slot]
        self.view = piece.prepared.views[slot]
        self.rows_left = 0
        self.best: Remembered | None = None

    @property
    def wanted(self) -> bool:
        """Whether one of the slots is still waited for."""
        return any(piece.wanted and not piece.prepared.is_settled(slot) for piece, slot in self.held)

    def take(self, answer: Remembered, threshold: float) -> Remembered | None:
        """Note a row's answer. Return the window's answer once all rows are in."""
        if self.best is None or answer.score > self.best.score:
            self.best = answer
        self.rows_left -= 1
        if self.rows_left == 0 or self.best.score >= threshold:  # an attack is told at once, before a deadline cuts
            for piece, slot in self.held:
                piece.prepared.answers[slot] = self.best
        return self.best if self.rows_left == 0 else None

    def settle(self) -> None:
        """Take what was read, and answered, for a sure attack: the fields that hold it need no further reading."""
        for piece, slot in self.held:
            piece.prepared.settle(slot)


def cut_readings(readings: list[Reading]) -> list[list[Reading]]:
    """Cut readings into parts of at most `RUN_CHARS` characters, or one."""
    parts: list[list[Reading]] = []
    left = 0
    for reading in readings:
        left -= len(reading.view)
        if left < 0 or not parts:
            parts.append([])
            left = RUN_CHARS - len(reading.view)
        parts[-1].append(reading)
    return parts


class Row:
    """One row of tokens: row `number` of a reading."""

    __slots__ = ("ids", "number", "reading")

    def __init__(self, reading: Reading, number: int, ids: list[int]) -> None:
        self.reading = reading
        self.number = number
        self.ids = ids


def cut_runs(rows: list[Row]) -> list[list[Row]]:
    """Cut rows, ascending by length, into runs of at most `RUN_TOKENS` padded tokens.

    A run also ends where a longer row would pad those before it by more tokens than another run costs.
    """
    runs: list[list[Row]] = []
    run: list[Row] = []
    before = 0
    for row in rows:
        width = -(-len(row.ids) // BUCKET) * BUCKET
        if run and ((len(run) + 1) * width > RUN_TOKENS or len(run) * (width - before) > RUN_OVERHEAD):
            runs.append(run)
            run = []
        run.append(row)
        before = width
    if run:
        runs.append(run)
    return runs
