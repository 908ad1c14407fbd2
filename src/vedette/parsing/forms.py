"""URL-encoded pairs: query strings, form bodies, and the Cookie header."""

from __future__ import annotations

from functools import partial

from vedette.parsing import decoders
from vedette.parsing.field import FieldCollector
from vedette.parsing.values import read_name, read_value


def read_pairs(out: FieldCollector, location: str, text: str) -> None:
    """Read ``a=1&b=2`` (WHATWG URL, application/x-www-form-urlencoded parsing). Repeated names are kept.

    A semicolon is no separator: servers differ on it, and as part of a value the text around it is read whole.
    """
    for pair in _pieces(out, location, text, "&"):
        if pair:
            name, _, _ = pair.partition("=")
            out.read_source(location, name, pair, _READ_PAIR[location])


def _read_pair(location: str, out: FieldCollector, name: str, pair: str) -> None:
    value = pair[len(name) + 1 :]
    name, name_flags = _component(name)
    read_name(out, location, name, name_flags)
    if value:
        value, flags = _component(value)
        read_value(out, location, name, value, flags)


_READ_PAIR = {location: partial(_read_pair, location) for location in ("query", "form")}


def _component(text: str) -> tuple[str, tuple[str, ...]]:
    """Undo the encoding that the format itself asks for; it is not listed as suspicious twice, only once."""
    if "+" in text:
        text = decoders.plus(text)
    if "%" in text:
        plain = decoders.percent(text)
        if plain != text:
            return plain, ("percent",)
    return text, ()


def read_cookies(out: FieldCollector, text: str) -> None:
    """Read a Cookie header value (RFC 6265 section 4.2); values lose one pair of surrounding quotes."""
    for pair in _pieces(out, "cookie", text, ";"):
        out.read_source("cookie", "", pair, _read_cookie)


def _read_cookie(out: FieldCollector, _: str, pair: str) -> None:
    name, sign, value = pair.strip().partition("=")
    if not sign:
        name, value = "", name
    read_name(out, "cookie", name)
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = value[1:-1]
    read_value(out, "cookie", name, value)


def _pieces(out: FieldCollector, location: str, text: str, separator: str) -> list[str]:
    """Split into at most `max_fields` pieces; what is left over is reported."""
    pieces = text.split(separator, out.limits.max_fields)
    if len(pieces) > out.limits.max_fields:
        out.refuse(location, "", "max_fields")
        pieces.pop()
    return pieces
