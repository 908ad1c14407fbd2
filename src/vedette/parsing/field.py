"""What the pipeline yields: fields, and what it could not read.

`FieldCollector` is the one place where fields are counted, so that every body processor shares the same bounds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from vedette.config import InspectionSettings
from vedette.parsing.decoders import without_surrogates
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


@dataclass(slots=True)
class ParsedRequest:
    """The fields of one request, in the order in which they stand in it, and the parts beyond a bound."""

    fields: list[Field] = field(default_factory=list)
    not_inspected: list[NotInspected] = field(default_factory=list)


_MAX_NAME = 256  # characters of a field's name that are kept for finding it again; a name is read whole as a value


class FieldCollector:
    """Collects fields under the limits of one request."""

    __slots__ = ("_names", "_refused", "fields", "limits", "not_inspected")

    def __init__(self, limits: InspectionSettings) -> None:
        self.limits = limits
        self.fields: list[Field] = []
        self.not_inspected: list[NotInspected] = []
        self._names: set[tuple[str, str]] = set()
        self._refused: set[tuple[str, str]] = set()

    @property
    def full(self) -> bool:
        """True once `max_fields` is reached; producers stop then, having said so by `refuse`."""
        return len(self.fields) >= self.limits.max_fields

    def add(self, location: str, name: str, value: str, decoded_by: tuple[str, ...] = (), kind: Kind = "value") -> None:
        """Append a field; a value beyond `max_value_chars` is cut and the cut reported."""
        if len(self.fields) >= self.limits.max_fields:
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

    def add_name(self, location: str, name: str, decoded_by: tuple[str, ...] = ()) -> None:
        """Append a name that the client chose as a field of its own, once for each location."""
        key = (location, name)
        if key not in self._names:
            self._names.add(key)
            self.add(location, name, name, decoded_by, "name")

    def refuse(self, location: str, name: str, reason: str) -> None:
        """Report a part that is not read; each (location, reason) pair is listed once."""
        if (location, reason) not in self._refused:
            self._refused.add((location, reason))
            self.not_inspected.append(
                NotInspected(location=location, name=without_surrogates(name[:256]), reason=reason)
            )
