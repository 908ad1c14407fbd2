"""URL-encoded pairs: query strings, form bodies, and the Cookie header."""

from __future__ import annotations

from functools import partial

from vedette.parsing import decoders
from vedette.parsing.field import FieldCollector
from vedette.parsing.native_reading import native
from vedette.parsing.shapes import CUT, NAME_OF_FORM, OPEN
from vedette.parsing.values import is_plain_pair, read_name, read_value


def read_pairs(out: FieldCollector, location: str, text: str) -> None:
    """Read ``a=1&b=2`` (WHATWG URL, application/x-www-form-urlencoded parsing). Repeated names are kept.

    A semicolon is no separator: servers differ on it, and as part of a value the text around it is read whole. Pieces
    whose names no form has, as of a value whose ampersands nobody escaped, are read alone and once more together with
    the argument before them.
    """
    read = _READ_PAIR[location]
    pairs = _not_plain(out, location, text, "&")
    if pairs is not None:
        for pair in pairs:
            out.read_piece(location, pair.partition("=")[0], pair, read, looked_up=True)
        return
    torn: list[str] = []  # an argument and what bare ampersands have cut off it
    for pair in _pieces(out, location, text, "&"):
        name, sign, value = pair.partition("=")
        if pair and not (is_plain_pair(name, value) and out.passes_over()):
            out.read_piece(location, name, pair, read)
        bare = not sign and bool(torn) and (len(torn) > 1 or not NAME_OF_FORM.match(name) or OPEN.search(torn[0]))
        if torn and (CUT.search(name) if sign else bare):
            torn.append(pair)
        else:
            _read_torn(out, location, torn)
            torn = [pair] if pair else []
    _read_torn(out, location, torn)


def _read_torn(out: FieldCollector, location: str, torn: list[str]) -> None:
    """Read an argument once more with what stands behind its bare ampersands: ``q=1;x=&id >f`` is one command.

    It goes by the names of all its pieces that have one, so that a secret among them stays one.
    """
    if len(torn) < 2:
        return
    text = "&".join(torn).rstrip("&")
    if "&" in text:
        names = [torn[0].partition("=")[0], *(piece.partition("=")[0] for piece in torn[1:] if "=" in piece)]
        out.read_piece(location, "&".join(names), text, _READ_TORN[location])


def _read_torn_pair(location: str, out: FieldCollector, name: str, text: str) -> None:
    value, flags = _component(text.partition("=")[2] if "=" in text else text)
    read_value(out, location, _component(name)[0], value, flags)


def _read_pair(location: str, out: FieldCollector, name: str, pair: str) -> None:
    value = pair[len(name) + 1 :]
    name, name_flags = _component(name)
    read_name(out, location, name, name_flags)
    if value:
        value, flags = _component(value)
        read_value(out, location, name, value, flags)


_READ_PAIR = {location: partial(_read_pair, location) for location in ("query", "form")}
_READ_TORN = {location: partial(_read_torn_pair, location) for location in ("query", "form")}


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
    out.read_group([("cookie", text)], partial(_read_cookie_pairs, text))


def _read_cookie_pairs(text: str, out: FieldCollector) -> None:
    pairs = _not_plain(out, "cookie", text, ";")
    if pairs is not None:
        for pair in pairs:
            out.read_piece("cookie", "", pair, _read_cookie, looked_up=True)
        return
    for pair in _pieces(out, "cookie", text, ";"):
        name, _, value = pair.partition("=")
        if not (is_plain_pair(name.strip(), value) and out.passes_over()):
            out.read_piece("cookie", "", pair, _read_cookie)


def _read_cookie(out: FieldCollector, _: str, pair: str) -> None:
    name, sign, value = pair.strip().partition("=")
    if not sign:
        name, value = "", name
    read_name(out, "cookie", name)
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = value[1:-1]
    read_value(out, "cookie", name, value)


def _not_plain(out: FieldCollector, location: str, text: str, separator: str) -> list[str] | None:
    """Pass over the plain and the inert pairs of `text` and return the others; None where each piece has to be looked
    at: where known pieces are read as well, where there may be too many, and where bare separators may have torn a
    value."""
    if native is None or not out.leaves_out:
        return None
    found = native.pieces(text, separator, out.room, out.inert, location)
    if found is None:
        return None
    passed_over, score, others = found
    out.pass_over(passed_over, score)
    return others


def _pieces(out: FieldCollector, location: str, text: str, separator: str) -> list[str]:
    """Split into at most `max_fields` pieces; what is left over is reported."""
    pieces = text.split(separator, out.limits.max_fields)
    if len(pieces) > out.limits.max_fields:
        out.refuse(location, "", "max_fields")
        pieces.pop()
    return pieces
