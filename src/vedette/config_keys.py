"""The settings as a flat list of keys: dotted name, environment name, type, default.

The loader resolves names against this list, and the reference page and the sample files are written from it, so none of
them can name a key that does not exist or leave one out.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from vedette.config import Settings

ENV_PREFIX = "VEDETTE_"


@dataclass(frozen=True, slots=True)
class Key:
    """One setting. `path` is its place in the tree, e.g. ``("inference", "async", "timeout")``."""

    path: tuple[str, ...]
    field: FieldInfo

    @property
    def dotted(self) -> str:
        """The name used in messages: ``inference.async.timeout``."""
        return ".".join(self.path)

    @property
    def env(self) -> str:
        """The environment variable: ``VEDETTE_INFERENCE__ASYNC__TIMEOUT``."""
        return ENV_PREFIX + "__".join(part.upper() for part in self.path)

    @property
    def default(self) -> Any:
        """The default, of a JSON type."""
        value = self.field.default
        return list(value) if isinstance(value, tuple) else value

    @property
    def nullable(self) -> bool:
        """Whether null is a value of this key."""
        return types.NoneType in _members(self.field.annotation)

    @property
    def is_list(self) -> bool:
        """Whether the value is a list of strings."""
        return any(typing.get_origin(member) is tuple for member in _members(self.field.annotation))

    @property
    def is_secret(self) -> bool:
        """Whether the value must not be shown."""
        return SecretStr in _members(self.field.annotation) or not self.field.repr

    @property
    def type_name(self) -> str:
        """The type in words with its bounds, e.g. ``integer, 0..65535, or null``."""
        words = [_word(member) for member in _members(self.field.annotation) if member is not types.NoneType]
        bounds = _bounds(self.field)
        return " or ".join(words) + (f", {bounds}" if bounds else "") + (", or null" if self.nullable else "")


@cache
def keys() -> tuple[Key, ...]:
    """Return every setting, in the order in which the models declare them."""
    return tuple(_walk(Settings, ()))


@cache
def sections() -> dict[tuple[str, ...], str]:
    """Return {path: docstring} of every group of settings, the root (an empty path) included."""
    return dict(_walk_sections(Settings, ()))


def _walk(model: type[BaseModel], above: tuple[str, ...]) -> Iterator[Key]:
    for name, field in model.model_fields.items():
        path = (*above, field.alias or name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _walk(field.annotation, path)
        else:
            yield Key(path, field)


def _walk_sections(model: type[BaseModel], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    yield path, (model.__doc__ or "").strip()
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _walk_sections(field.annotation, (*path, field.alias or name))


def _members(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union (one for a plain type), stripped of ``Annotated``."""
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return tuple(inner for arg in typing.get_args(annotation) for inner in _members(arg))
    return (annotation,)


def _word(annotation: Any) -> str:
    if typing.get_origin(annotation) is Literal:
        return " or ".join(f"`{choice}`" for choice in typing.get_args(annotation))
    if typing.get_origin(annotation) is tuple:
        return "list of strings"
    names = {int: "integer", float: "number", str: "string", SecretStr: "string, secret", bool: "true or false"}
    return names[annotation]


def _bounds(field: FieldInfo) -> str:
    """Return the numeric range in words; bounds of ``Annotated[...] | None`` sit inside the annotation."""
    found: dict[str, Any] = {}
    for item in [*field.metadata, *_inner_metadata(field.annotation)]:
        for source in getattr(item, "metadata", None) or [item]:
            found |= {name: getattr(source, name) for name in ("ge", "gt", "le", "lt") if hasattr(source, name)}
    low = f"from {found['ge']:,}" if "ge" in found else f"above {found['gt']:,}" if "gt" in found else ""
    high = f"to {found['le']:,}" if "le" in found else ""
    return " ".join(part for part in (low, high) if part)


def _inner_metadata(annotation: Any) -> list[Any]:
    if typing.get_origin(annotation) is typing.Annotated:
        return list(typing.get_args(annotation)[1:])
    return [item for arg in typing.get_args(annotation) for item in _inner_metadata(arg)]
