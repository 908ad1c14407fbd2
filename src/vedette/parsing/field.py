"""What the pipeline yields: fields, and what it could not read.

`FieldCollector` is the one place where fields are counted, so that every body processor shares the same bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from vedette.config import InspectionSettings
from vedette.parsing.decoders import without_surrogates
from vedette.parsing.native_reading import LAYERS, native
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


Texts = tuple[str, str, str] | list[tuple[str, str]]


class Piece(NamedTuple):
    """A piece of a request as it was sent, and what it gave.

    `texts` are its location, name and text, or the names and texts of headers or cookies that came together. It gave
    ``fields[start:end]``, in all so many `values` with those that were left out, of which `score` is the highest.
    """

    texts: Texts
    start: int
    end: int
    values: int
    score: float


class KnownPieces(Protocol):
    """Pieces of requests that were read before and found harmless. `inert` is the library's set of them (see
    native/inert.h), None where there is no library."""

    @property
    def inert(self) -> object:
        """The set."""


@dataclass(slots=True)
class ParsedRequest:
    """The fields of one request, in the order in which they stand in it, and the parts beyond a bound.

    Where known pieces are left out, `known_score` is the highest of theirs, and `pieces` are those that were read.
    """

    fields: list[Field] = field(default_factory=list)
    not_inspected: list[NotInspected] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    known_score: float = 0.0


_SHORT = 1440  # characters of the longest value that the library judges by itself: native/reading.h, LONGEST_AT_ONCE
MOST_PIECES = 256  # of one request that can become known, those of its head first
_MAX_NAME = 256  # characters of a field's name that are kept for finding it again; a name is read whole as a value


class FieldCollector:
    """Collects fields under the limits of one request."""

    __slots__ = ("_again", "_names", "_refusals", "_refused", "_scores", "fields", "inert", "leaves_out", "left_out",
                 "limits", "not_inspected", "pieces")  # fmt: skip

    def __init__(self, limits: InspectionSettings, known: KnownPieces | None = None) -> None:
        self.limits = limits
        self.leaves_out = known is not None  # what need not be read, rather than listing all
        # Where a short value can be too long, or decoded too often, each is measured by the twins.
        within = limits.max_value_chars >= _SHORT and limits.max_decode_passes > LAYERS
        self.inert = known.inert if known is not None and within else None  # for the library's functions
        self.left_out = 0  # fields of known pieces; they count as if they had been read
        self._scores: list[float] = []  # of known pieces
        self.pieces: list[Piece] = []
        self._again = self._refusals = 0
        self.fields: list[Field] = []
        self.not_inspected: list[NotInspected] = []
        self._names: set[str] = set()
        self._refused: set[tuple[str, str]] = set()

    @property
    def full(self) -> bool:
        """True once `max_fields` is reached; producers stop then, having said so by `refuse`."""
        return len(self.fields) + self.left_out >= self.limits.max_fields

    @property
    def known_score(self) -> float:
        """The highest score of what was left out."""
        return max(self._scores) if self._scores else 0.0

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
        if name in self._names:
            self._again += 1
            return False
        self._names.add(name)
        return True

    def read_piece(
        self,
        location: str,
        name: str,
        raw: str,
        read: Callable[[FieldCollector, str, str], None],
        *,
        looked_up: bool = False,
    ) -> None:
        """Read a piece as it was sent by ``read(self, name, raw)``, unless it is known. It is not where it was
        `looked_up` before."""
        inert = self.inert
        if inert is None or native is None:
            read(self, name, raw)
            return
        if not looked_up and self.is_passed_over(native.inert(inert, location, name, raw)):
            return
        before = self._state()
        read(self, name, raw)
        self._note((location, name, raw), before)

    def read_group(self, pieces: list[tuple[str, str]], read: Callable[[FieldCollector], None]) -> None:
        """Read pieces that often come together by ``read(self)``, which hands them to `read_piece` one by one, unless
        all of them came before in this order."""
        inert = self.inert
        if inert is None or native is None:
            read(self)
            return
        if self.is_passed_over(native.inert_group(inert, pieces)):
            return
        before = self._state()
        read(self)
        self._note(pieces, before)

    def _state(self) -> tuple[int, int, int, int, int]:
        return self._again, self._refusals, len(self.fields), self.left_out, len(self._scores)

    def _note(self, texts: Texts, before: tuple[int, int, int, int, int]) -> None:
        """Note a piece that was read, so that it can become known.

        One with a name that was read before, or of which something was refused, cannot: what it gave depends on what
        stood before it.
        """
        again, refusals, start, left_out, scores = before
        if again == self._again and refusals == self._refusals and len(self.pieces) < MOST_PIECES:
            end = len(self.fields)
            score = max(self._scores[scores:]) if len(self._scores) > scores else 0.0
            self.pieces.append(Piece(texts, start, end, end - start + self.left_out - left_out, score))

    def passes_over(self) -> bool:
        """Leave out a value that no attack can be spelled in. Returns False where it has to be read all the same: where
        nothing is left out, and where the limit is reached."""
        if not self.leaves_out or self.full:
            return False
        self.left_out += 1
        return True

    def is_passed_over(self, known: tuple[int, float] | None) -> bool:
        """Leave out a piece of which the library knows values and score, where there is room for it."""
        if known is None:
            return False
        values, score = known
        if values > self.limits.max_fields - len(self.fields) - self.left_out:
            return False
        self.left_out += values
        if score > 0.0:
            self._scores.append(score)
        return True

    def pass_over(self, values: int, score: float) -> None:
        """Leave out values that need not be read: they hold nothing, or a model gave them no more than `score`."""
        self.left_out += values
        if score > 0.0:
            self._scores.append(score)

    def refuse(self, location: str, name: str, reason: str) -> None:
        """Report a part that is not read; each (location, reason) pair is listed once."""
        self._refusals += 1
        if (location, reason) not in self._refused:
            self._refused.add((location, reason))
            self.not_inspected.append(
                NotInspected(location=location, name=without_surrogates(name[:256]), reason=reason)
            )
