"""A request between its reading and its verdict, and the pieces of it that wait for the model."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from vedette.inference.score_memory import Key, Remembered
from vedette.parsing.field import Field, Piece
from vedette.tokenization.http_tokenizer import Window
from vedette.verdict import NotInspected


class Prepared:
    """A parsed and screened request.

    What the model reads is kept once in a *slot*: `keys`, `windows`, their text `views`, `costs` and `answers` run over
    slots, and `reads` says which field reads which slot, at which place of its value. `pending` are the slots that need
    the model; `pieces` were read and may become known; `known_score` is the highest score of those that were left out
    as known; `answers` is filled by inference threads, slot by slot, and read by whoever judges. `started_at` is
    ``time.monotonic()``. Setting `abandoned` tells inference that nobody waits any more.

    `owners` are the fields of the slots, -1 where several read one. Fields that are surely attacks need not be read to
    their ends; once they have `most_attacked` names, as many as a verdict lists, nothing else has to be read.
    """

    __slots__ = ("_attacked", "_names_attacked", "abandoned", "answers", "costs", "fields", "keys", "known_score",
                 "most_attacked", "not_inspected", "owners", "pending", "pieces", "reads", "request_id", "started_at",
                 "views", "windows")  # fmt: skip

    def __init__(
        self,
        request_id: str,
        started_at: float,
        fields: list[Field],
        not_inspected: list[NotInspected],
        pieces: Sequence[Piece] = (),
        *,
        known_score: float = 0.0,
        most_attacked: int = 1 << 30,
    ) -> None:
        self.request_id = request_id
        self.started_at = started_at
        self.fields = fields
        self.not_inspected = not_inspected
        self.pieces = pieces
        self.reads: list[tuple[int, int, Window]] = []
        self.keys: list[Key] = []
        self.windows: list[Window] = []
        self.views: list[str] = []
        self.costs: list[int] = []
        self.owners: list[int] = []
        self.answers: list[Remembered | None] = []
        self.pending: list[int] = []
        self._attacked: set[int] = set()
        self._names_attacked: set[tuple[str, str, str]] = set()
        self.most_attacked = most_attacked
        self.known_score = known_score
        self.abandoned = False

    def is_settled(self, slot: int) -> bool:
        """Whether a slot need not be read any more."""
        return self.owners[slot] in self._attacked or len(self._names_attacked) >= self.most_attacked

    def settle(self, slot: int) -> None:
        """Take the field that reads a slot for a sure attack, once the slot has its answer."""
        owner = self.owners[slot]
        if owner >= 0:
            field = self.fields[owner]
            self._attacked.add(owner)
            self._names_attacked.add((field.location, field.name, field.kind))

    def settled(self) -> Callable[[int], bool]:
        """Return `is_settled` as it stands now, whatever threads find out from here on."""
        if len(self._names_attacked) >= self.most_attacked:
            return lambda slot: True
        attacked, owners = frozenset(self._attacked), self.owners
        return lambda slot: owners[slot] in attacked

    def slices(self, max_cost: int, *, until: float = math.inf) -> Iterator[Slice]:
        """Cut the pending slots into pieces of about `max_cost` tokens, which workers can share."""
        slots: list[int] = []
        total = 0
        for slot in self.pending:
            if slots and total + self.costs[slot] > max_cost:
                yield Slice(self, slots, total, until)
                slots, total = [], 0
            slots.append(slot)
            total += self.costs[slot]
        if slots:
            yield Slice(self, slots, total, until)


@dataclass(slots=True, eq=False)
class Slice:
    """Slots of one request that are run together: about `cost` tokens, not begun after `until` (monotonic)."""

    prepared: Prepared
    slots: list[int]
    cost: int
    until: float

    @property
    def wanted(self) -> bool:
        """Whether running it still helps anybody."""
        return not self.prepared.abandoned and time.monotonic() < self.until
