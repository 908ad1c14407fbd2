"""What the pipeline yields: fields, and what it could not read.

`FieldCollector` is the one place where fields are counted, so that every body processor shares the same bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol

from vedette.config import InspectionSettings
from vedette.parsing.decoders import without_surrogates
from vedette.parsing.native_reading import native
from vedette.verdict import NotInspected

Kind = Literal["value", "name"]


class Field(NamedTuple):
    """One piece of a request, decoded. `location` is one of `verdict.LOCATIONS`.

    `name` is the argument, cookie, header or part name, or the path of a JSON/XML leaf such as ``user.tags[3]``.
    `decoded_by` lists the transformations applied, in order. `kind` is "name" where the value is itself a name that the
    client chose (an argument name, a cookie name, a JSON key).
    """

    location: str
    name: str
    value: str
    decoded_by: tuple[str, ...] = ()
    kind: Kind = "value"


SourceKey = tuple[str, str, str] | bytes
"""Stands for one piece of a request as it was sent: a header, a cookie, an argument, the path."""


Piece = tuple[str, str, str] | list[tuple[str, str]]
"""A piece as it was sent: location, name and text; or names and texts of pieces that came together."""


class Known(NamedTuple):
    """What is known of a piece that came before: how many values it gives and which odd names, the highest score among
    all of them (in the memory: among those without keys), and the memory's own keys of what is read of it."""

    values: int
    names: tuple[str, ...]
    score: float
    keys: tuple[Any, ...]


class Source(NamedTuple):
    """A piece of a request as it was sent, and what it gave: ``fields[start:end]`` and what the `known` pieces in it
    stand for, in all so many values and these odd names. `opened` says whether a document was found in it, of which not
    every name shows in the fields."""

    key: SourceKey
    start: int
    end: int
    values: int
    names: tuple[str, ...] = ()
    known: tuple[Known, ...] = ()
    opened: bool = False
    piece: Piece = ("", "", "")


class KnownSources(Protocol):
    """Pieces of requests that were read before and found harmless. `inert` is the library's set of those that need not
    be read (see native/inert.h), None where there is no library."""

    @property
    def inert(self) -> object:
        """The set."""

    def key(self, location: str, name: str, raw: str) -> SourceKey | None:
        """Return what stands for the piece, None if it is not to be remembered."""

    def key_of_group(self, pieces: Sequence[tuple[str, str]]) -> SourceKey | None:
        """Return what stands for pieces that often come together, in this order; None as above."""

    def recall(self, key: SourceKey) -> Known | None:
        """Return what is known of a piece, None if it has to be read."""

    def hand_over(self, key: SourceKey, piece: Piece, known: Known) -> None:
        """Leave a piece that was recalled to `inert`."""


@dataclass(slots=True)
class ParsedRequest:
    """The fields of one request, in the order in which they stand in it, and the parts beyond a bound.

    Where known sources are left out, `known_score` is the highest of theirs, and `sources` are those that were read.
    """

    fields: list[Field] = field(default_factory=list)
    not_inspected: list[NotInspected] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    known_score: float = 0.0


_SHORT, _LAYERS = 1440, 2  # what the library judges by itself: native/reading.h, LONGEST_AT_ONCE and MOST_LAYERS
_MAX_NAME = 256  # characters of a field's name that are kept for finding it again; a name is read whole as a value


class FieldCollector:
    """Collects fields under the limits of one request."""

    __slots__ = ("_again", "_inert", "_names", "_names_in_order", "_refusals", "_refused", "fields", "known",
                 "known_pieces", "known_score", "left_out", "limits", "not_inspected", "opened", "sources")  # fmt: skip

    def __init__(self, limits: InspectionSettings, known: KnownSources | None = None) -> None:
        self.limits = limits
        self.known = known
        # Where a short value can be too long, or decoded too often, each is measured by the twins.
        within = limits.max_value_chars >= _SHORT and limits.max_decode_passes > _LAYERS
        self._inert = known.inert if known is not None and within else None
        self.known_score = 0.0
        self.left_out = 0  # fields of known pieces; they count as if they had been read
        self.opened = 0  # documents found inside of values
        self.known_pieces: list[Known] = []
        self.sources: list[Source] = []
        self._again = self._refusals = 0
        self.fields: list[Field] = []
        self.not_inspected: list[NotInspected] = []
        self._names: set[str] = set()
        self._names_in_order: list[str] = []
        self._refused: set[tuple[str, str]] = set()

    @property
    def full(self) -> bool:
        """True once `max_fields` is reached; producers stop then, having said so by `refuse`."""
        return len(self.fields) + self.left_out >= self.limits.max_fields

    @property
    def inert(self) -> object:
        """The library's set of pieces that hold nothing, for its functions."""
        return self._inert

    @property
    def room(self) -> int:
        """Fields that may still come."""
        return self.limits.max_fields - len(self.fields) - self.left_out

    def add(self, location: str, name: str, value: str, decoded_by: tuple[str, ...] = (), kind: Kind = "value") -> None:
        """Append a field; a value beyond `max_value_chars` is cut and the cut reported."""
        if self.full:
            self.refuse(location, "", "max_fields")
            return
        if len(value) > self.limits.max_value_chars:
            value = value[: self.limits.max_value_chars]
            self.refuse(location, name, "max_value_chars")
        if len(name) > _MAX_NAME:
            name = f"{name[: _MAX_NAME // 2]}\u2026{name[1 - _MAX_NAME // 2 :]}"
        if not (name.isascii() and value.isascii()):
            name, value = without_surrogates(name), without_surrogates(value)
        self.fields.append(Field(location, name, value, decoded_by, kind))

    def add_name(self, location: str, name: str, decoded_by: tuple[str, ...] = (), text: str | None = None) -> None:
        """Append a name that the client chose as a field of its own, once for each location.

        `text` is what is to be read of it where that is more than the name.
        """
        text = name if text is None else text
        if self.is_new(f"{location} {text}"):
            self.add(location, name, text, decoded_by, "name")

    def is_new(self, name: str) -> bool:
        """Whether a name, told with its location, has not been read before in this request; from now on it has."""
        if self._is_new(name):
            return True
        self._again += 1
        return False

    def _is_new(self, name: str) -> bool:
        if name in self._names:
            return False
        self._names.add(name)
        self._names_in_order.append(name)
        return True

    def read_source(self, location: str, name: str, raw: str, read: Callable[[FieldCollector, str, str], None]) -> None:
        """Read a piece as it was sent by ``read(self, name, raw)``, unless it is known.

        A piece with a name that was read before, or of which something was refused, does not become known: what it gave
        depends on what stood before it.
        """
        inert = self._inert
        if inert is not None and native is not None and self.is_passed_over(native.inert(inert, location, name, raw)):
            return
        key = None if self.known is None else self.known.key(location, name, raw)
        if key is None:
            read(self, name, raw)
            return
        piece = location, name, raw
        if not self._is_known(key, piece):
            self._learn(key, piece, partial(read, self, name, raw))

    def read_group(self, pieces: list[tuple[str, str]], read: Callable[[FieldCollector], None]) -> None:
        """Read pieces that often come together by ``read(self)``, which hands them to `read_source` one by one, unless
        all of them came before in this order."""
        inert = self._inert
        if inert is not None and native is not None and self.is_passed_over(native.inert_group(inert, pieces)):
            return
        key = None if self.known is None else self.known.key_of_group(pieces)
        if key is None:
            read(self)
        elif not self._is_known(key, pieces):
            self._learn(key, pieces, partial(read, self))

    def passes_over(self) -> bool:
        """Leave out a value that no attack can be spelled in. Returns False where it has to be read all the same: where
        known pieces are read as well, and where the limit is reached."""
        if self.known is None or self.full:
            return False
        self.left_out += 1
        return True

    def is_passed_over(self, known: tuple[int, float] | None) -> bool:
        """Leave out a piece of which the library knows values and score, where there is room for it."""
        if known is None or known[0] > self.room:
            return False
        self.pass_over(*known)
        return True

    def pass_over(self, values: int, score: float) -> None:
        """Leave out values that need not be read: they hold nothing, or a model gave them no more than `score`."""
        self.left_out += values
        if score > 0.0:
            self.known_pieces.append(Known(values, (), score, ()))
            self.known_score = max(self.known_score, score)

    def _is_known(self, key: SourceKey, piece: Piece) -> bool:
        memory = self.known
        known = None if memory is None else memory.recall(key)
        count = len(self.fields) + self.left_out
        if memory is None or known is None or count + known.values + len(known.names) > self.limits.max_fields:
            return False
        self.left_out += known.values
        for name in known.names:
            self.left_out += self._is_new(name)
        self.known_pieces.append(known)
        if known.score > self.known_score:
            self.known_score = known.score
        if self._inert is not None:
            memory.hand_over(key, piece, known)
        return True

    def _learn(self, key: SourceKey, piece: Piece, read: Callable[[], None]) -> None:
        start, before = len(self.fields), len(self.fields) + self.left_out
        again, refusals, names, pieces = self._again, self._refusals, len(self._names), len(self.known_pieces)
        opened = self.opened
        read()
        if again == self._again and refusals == self._refusals:
            end, known = len(self.fields), tuple(self.known_pieces[pieces:])
            new = tuple(self._names_in_order[names:])
            values = end + self.left_out - before - len(new)
            self.sources.append(Source(key, start, end, values, new, known, self.opened > opened, piece))

    def refuse(self, location: str, name: str, reason: str) -> None:
        """Report a part that is not read; each (location, reason) pair is listed once."""
        self._refusals += 1
        if (location, reason) not in self._refused:
            self._refused.add((location, reason))
            self.not_inspected.append(
                NotInspected(location=location, name=without_surrogates(name[:256]), reason=reason)
            )
