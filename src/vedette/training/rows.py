"""Examples as arrays of token ids, and the batches drawn from them.

One row is what the model sees at once: context ids, then at most ``max_tokens`` of text. Batches draw attacks and
harmless rows half and half; attack classes by the square root of their number, and within a class generated and
collected examples likewise, at most three fifths of them collected; harmless rows at random over their origins and,
two in five, from those that the model last found hardest; so, up to three in twenty, are attacks that grammars made.
"""

from __future__ import annotations

from bisect import bisect
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vedette.model.detector_config import CLASSES
from vedette.tokenization.http_tokenizer import HTTPTokenizer
from vedette.training.believe import GENERATED
from vedette.training.corpus import Example

_CHUNK = 20_000
CROP = 40
# What attackers send most counts most; a tautology is SQL far more often than XPath, and a probe is hardly an attack.
_EMPHASIS = {"sqli": 2.0, "xss": 1.5, "cmdi": 2.0, "traversal": 1.5, "xpath": 0.4, "probe": 0.3}
_NOISED = 80  # tokens of a noised row, at most
SURROUND = 64  # tokens of harmless text around a row, at most, in three cases of four; else all that has room
COLLECTED = 0.6  # share of an attack class drawn from collections, at most
HARD = 0.4  # share of harmless rows drawn from the hardest
HARD_ATTACKS = 0.15  # share of attacks drawn from the hardest
_HARD_ATTACK = 1e-4  # and of each of these, at most: the fewer there are, the sooner they are learned by heart
ELSEWHERE, ANYWHERE = 0.15, 0.25  # rows under another row's context up to here, and under one of any place up to here
SURROUNDED, SURROUNDED_HARMLESS = 0.5, 0.15  # how often: of attacks, and of harmless rows, lest padding tell them apart


@dataclass(slots=True)
class Rows:
    """N rows: `ids` holds the text ids of all rows end to end, row i at ids[start[i]:start[i+1]]."""

    ids: NDArray[np.int16]
    start: NDArray[np.int64]  # (N + 1,)
    context: NDArray[np.int32]  # (N,) index into `contexts`
    label: NDArray[np.int16]  # (N,) index into CLASSES
    origin: NDArray[np.int16]  # (N,) index into `origins`
    bag: NDArray[np.int32]  # (N,) -1, or the number of the record whose malicious row is not known
    contexts: list[list[int]]
    origins: list[str]

    def __len__(self) -> int:
        return len(self.label)

    def is_generated(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of `rows` come from our own grammars."""
        generated = np.array([origin.startswith(GENERATED) for origin in self.origins])
        found: NDArray[np.bool_] = generated[self.origin[rows]]
        return found

    def made_attacks(self) -> NDArray[np.bool_]:
        """Which rows are attacks as our own grammars made them, whole: their labels are certain. (N,)."""
        return (self.label > 0) & (self.bag < 0) & self.is_generated(np.arange(len(self)))

    def text(self, row: int) -> NDArray[np.int16]:
        """Text ids of one row."""
        return self.ids[self.start[row] : self.start[row + 1]]

    def read(self, row: int) -> list[int]:
        """What the model reads of one row: the ids of its context, then those of its text."""
        return [*self.contexts[self.context[row]], *self.text(row).tolist()]


def rows_of(examples: Sequence[Example], tokenizer: HTTPTokenizer) -> Rows:
    """Tokenise examples; an attack text longer than one window becomes a bag of its own."""
    contexts: dict[str, int] = {}
    origins: dict[str, int] = {}
    flat: list[NDArray[np.int16]] = []
    lengths, columns = [0], ([], [], [], [])  # type: ignore[var-annotated]
    next_bag = max((example.bag for example in examples), default=0) + 1
    index = {name: number for number, name in enumerate(CLASSES)}
    for at in range(0, len(examples), _CHUNK):
        chunk = examples[at : at + _CHUNK]
        for example, ids in zip(chunk, tokenizer.encode_texts([e.text for e in chunk]), strict=True):
            room = tokenizer.max_tokens - len(tokenizer.context_ids(example.context))
            pieces = tokenizer.cut(ids, room)
            bag = example.bag
            if len(pieces) > 1 and bag < 0 and example.label != CLASSES[0]:
                bag, next_bag = next_bag, next_bag + 1
            for piece in pieces:
                flat.append(np.array(piece, np.int16))
                lengths.append(len(piece))
                columns[0].append(contexts.setdefault(example.context, len(contexts)))
                columns[1].append(index[example.label])
                columns[2].append(origins.setdefault(example.origin, len(origins)))
                columns[3].append(bag)
    return Rows(
        ids=np.concatenate(flat) if flat else np.zeros(0, np.int16),
        start=np.cumsum(lengths, dtype=np.int64),
        context=np.array(columns[0], np.int32),
        label=np.array(columns[1], np.int16),
        origin=np.array(columns[2], np.int16),
        bag=np.array(columns[3], np.int32),
        contexts=[tokenizer.context_ids(context) for context in contexts],
        origins=list(origins),
    )


class Drawn(NamedTuple):
    """A row as drawn: the ids of its context and of its text, its label, and whether it is an attack for certain."""

    context: list[int]
    text: NDArray[np.int16]
    label: int
    certain: bool


class Batch(NamedTuple):
    """Rows as the model reads them."""

    ids: NDArray[np.int64]  # (B, T)
    labels: NDArray[np.int64]  # (B,)
    certain: NDArray[np.bool_]  # (B,) which ones are attacks for certain


@dataclass(slots=True)
class Sampler:
    """Draws training batches; `hard` are benign rows to draw more often, `hard_attacks` attacks.

    `noise` is the share of harmless rows that are torn apart: two spliced, some tokens replaced by those of others, or
    tokens at random. That teaches that an attack is what has the form of one, not what was never seen.
    """

    rows: Rows
    rng: np.random.Generator
    max_tokens: int
    hard: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    noise: float = 0.0
    hard_attacks: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    _made_attacks: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    _attacks: dict[int, list[NDArray[np.int64]]] = field(default_factory=dict)
    _collected: dict[int, float] = field(default_factory=dict)  # share of a class's draws from its first pool
    _weights: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))  # how often each attack class is drawn
    _benign: list[NDArray[np.int64]] = field(default_factory=list)
    _pool: NDArray[np.int16] = field(default_factory=lambda: np.zeros(0, np.int16))  # tokens of harmless rows
    _benign_shares: list[float] = field(default_factory=list)  # of all draws, up to each origin
    _by_place: list[NDArray[np.int64]] = field(default_factory=list)  # rows by location and kind of name

    def __post_init__(self) -> None:
        self._made_attacks = self.rows.made_attacks()
        by_origin = defaultdict(list)
        for row in np.flatnonzero(self.rows.label == 0):
            by_origin[int(self.rows.origin[row])].append(row)
        self._benign = [np.array(rows) for rows in by_origin.values()]
        weights = np.array([len(rows) for rows in self._benign], np.float64) ** 0.7
        self._benign_shares = (weights.cumsum() / weights.sum()).tolist()
        self._benign_shares[-1] = 1.0
        places: dict[tuple[int, ...], int] = {}
        place_of = np.array([places.setdefault(tuple(ids[:2]), len(places)) for ids in self.rows.contexts], np.int64)
        of_row = place_of[self.rows.context]
        order = np.argsort(of_row, kind="stable")
        self._by_place = np.split(order, np.flatnonzero(np.diff(of_row[order])) + 1)
        self.decide(np.flatnonzero((self.rows.label > 0) & (self.rows.bag < 0)))

    def decide(self, attack_rows: NDArray[np.int64]) -> None:
        """Set the attack rows to draw from, in two pools for each class: collected and generated."""
        is_generated = self.rows.is_generated(attack_rows)
        self._attacks = {}
        for label in np.unique(self.rows.label[attack_rows]):
            of_class = self.rows.label[attack_rows] == label
            pools = [attack_rows[of_class & ~is_generated], attack_rows[of_class & is_generated]]
            self._attacks[int(label)] = pools
            roots = [float(len(pool)) ** 0.5 for pool in pools]  # or a handful of records would be learned by heart
            self._collected[int(label)] = min(roots[0] / sum(roots), COLLECTED) if len(pools[1]) else 1.0
        weights = [
            _EMPHASIS.get(CLASSES[label], 1.0) * sum(map(len, pools)) ** 0.5 for label, pools in self._attacks.items()
        ]
        self._weights = np.array(weights) / sum(weights)

    def batches(self, size: int, groups: int = 8) -> Iterator[Batch]:
        """Yield batches without end; `groups` of them are drawn at once and cut by length."""
        while True:
            drawn = self.draw(size * groups)
            drawn.sort(key=lambda one: len(one.context) + len(one.text))
            cuts = [drawn[at : at + size] for at in range(0, len(drawn), size)]
            for number in self.rng.permutation(len(cuts)):
                cut = cuts[number]
                yield Batch(
                    pad([[*one.context, *one.text.tolist()] for one in cut]),
                    np.array([one.label for one in cut], np.int64),
                    np.array([one.certain for one in cut]),
                )

    def draw(self, size: int) -> list[Drawn]:
        """Draw `size` rows, the attacks first."""
        labels = list(self._attacks)
        drawn = [self._attack(labels[k]) for k in self.rng.choice(len(labels), size // 2, p=self._weights)]
        return drawn + [self._harmless() for _ in range(size // 2)]

    def _attack(self, label: int) -> Drawn:
        row = self._attack_row(label)
        return Drawn(*self._draw(row, surround=True), int(self.rows.label[row]), bool(self._made_attacks[row]))

    def _attack_row(self, label: int) -> int:
        hard = self.hard_attacks
        if len(hard) and self.rng.random() < min(HARD_ATTACKS, len(hard) * _HARD_ATTACK):
            return int(hard[self._below(len(hard))])
        collected, generated = self._attacks[label]
        pool = collected if self.rng.random() < self._collected[label] else generated
        return int(pool[self._below(len(pool))])

    def _harmless(self) -> Drawn:
        if self.noise and self.rng.random() < self.noise:
            return Drawn(*self._noised(self._benign_row()), 0, certain=False)
        if len(self.hard) and self.rng.random() < HARD:
            row = int(self.hard[self._below(len(self.hard))])
        else:
            row = self._benign_row()
        return Drawn(*self._draw(row, surround=False), 0, certain=False)

    def _benign_row(self) -> int:
        pool = self._benign[bisect(self._benign_shares, self.rng.random())]
        return int(pool[self._below(len(pool))])

    def _below(self, n: int) -> int:
        return int(self.rng.random() * n)  # a tenth of what Generator.integers costs

    def _draw(self, row: int, surround: bool) -> tuple[list[int], NDArray[np.int16]]:
        """Context and text of a row, sometimes another context, sometimes harmless text around the text.

        Another context is that of any row, or of a row of any place: by their number alone, a header that is seldom
        recorded would hardly be seen with an attack in it, and be trusted.
        """
        rng = self.rng
        other, kind = row, rng.random()
        if kind < ELSEWHERE:
            other = self._below(len(self.rows))
        elif kind < ANYWHERE:
            place = self._by_place[self._below(len(self._by_place))]
            other = int(place[self._below(len(place))])
        context = self.rows.contexts[self.rows.context[other]]
        text = self.rows.text(row)
        room = self.max_tokens - len(context)
        if not surround and len(text) > CROP and rng.random() < 0.75:
            start = self._below(len(text) - CROP + 1)  # a piece of harmless text is harmless, and cheaper
            text = text[start : start + CROP]
        if len(text) < room and rng.random() < (SURROUNDED if surround else SURROUNDED_HARMLESS):
            text = self._surround(text, room - len(text))
        return context, text[:room]

    def _noised(self, row: int) -> tuple[list[int], NDArray[np.int16]]:
        """Context and text of a harmless row that has been torn apart, often under another row's context."""
        rng, text, kind = self.rng, self.rows.text(row)[:_NOISED], self.rng.random()
        if kind < 0.4:
            other = self.rows.text(self._benign_row())[:_NOISED]
            cut, start = self._below(len(text) + 1), self._below(len(other) + 1)
            tail = text[cut:] if rng.random() < 0.5 else text[:0]
            spliced = np.concatenate([text[:cut], other[start:], tail])[:_NOISED]
            text = spliced if len(spliced) else other
        elif kind < 0.8:
            text = text.copy()
            places = rng.integers(0, len(text), min(len(text), 1 + int(len(text) * rng.random() * 0.3)))
            text[places] = self._tokens(len(places))
        else:
            text = self._tokens(4 + self._below(30))
        context = self.rows.contexts[self.rows.context[self._below(len(self.rows)) if rng.random() < 0.3 else row]]
        return context, text[: self.max_tokens - len(context)]

    def _tokens(self, n: int) -> NDArray[np.int16]:
        """`n` tokens of harmless rows, as often as they stand there."""
        if not len(self._pool):
            rows = self.rng.choice(np.flatnonzero(self.rows.label == 0), 10_000)
            self._pool = np.concatenate([self.rows.text(int(row)) for row in rows])
        return self._pool[self.rng.integers(0, len(self._pool), n)]

    def _surround(self, text: NDArray[np.int16], spare: int) -> NDArray[np.int16]:
        """Put harmless text before and behind: at most `spare` tokens of another row, or some over and over.

        No single words over and over: that may be a flood of GraphQL fields.
        """
        rng = self.rng
        if rng.random() < 0.75:
            spare = min(spare, SURROUND)
        padding = self.rows.text(self._benign_row())
        if rng.random() < 0.35 and len(padding) > 2:
            start = self._below(len(padding) - 2)
            padding = np.tile(padding[start : start + 3 + self._below(8)], spare)
        elif len(padding) < spare:
            padding = np.concatenate([padding, self.rows.text(self._benign_row())])
        padding = padding[:spare]
        head = len(padding) if rng.random() < 0.4 else self._below(len(padding) + 1)
        return np.concatenate([padding[:head], text, padding[head:]])


def pad(rows: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Rows of ids -> (B, T) with zeros behind the shorter ones."""
    width = max(map(len, rows))
    ids = np.zeros((len(rows), width), np.int64)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row
    return ids
