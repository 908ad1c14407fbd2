"""One value, unwrapped: decoded until it stops changing, then opened if it holds JSON, base64 or a token.

Every pass is linear and their number is bounded, so a value of n characters costs O(n). What a pass did is kept in
`decoded_by` for the explanation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import islice
from typing import Any

from vedette.parsing import decoders
from vedette.parsing.field import FieldCollector
from vedette.parsing.native_reading import LAYERS, native
from vedette.parsing.shapes import DANGEROUS_NAME, OPERATORS, PACKED, PLAIN_NAME, PLAIN_WORD
from vedette.verdict import LOCATIONS

_PASSES: tuple[tuple[str, str, Callable[[str], str]], ...] = (
    ("%", "percent", decoders.percent),
    ("&", "entities", decoders.entities),
    ("\\", "escapes", decoders.escapes),
    ("+A", "utf7", decoders.utf7),
)
_JWT = re.compile(r"(?:[Bb]earer +)?(eyJ[A-Za-z0-9_\-]+)\.([A-Za-z0-9_\-]+)\.[A-Za-z0-9_\-]*\Z")
_DATA_URL = re.compile(r"data:[\w/+.\-]{0,100}(?:;[\w=.\-]{1,50}){0,4};base64,([A-Za-z0-9+/_\-\s]+={0,2})")
# Of MongoDB's queries. Alone such a name may be anybody's; what it does to which member tells more.
_OPERATORS = frozenset(f"${name}" for name in OPERATORS)
_MAX_MEMBER = 32  # characters of a member's name
_ANYTHING = re.compile(r"[.*+^$?]{0,3}\Z")  # operands that say nothing but "whatever"
_MIN_BASE64 = 12
_SEGMENT_END = re.compile("[;#]")
_MAX_PATH = 128
_MAX_DATA_URLS = 64


class JSONObject(list[tuple[str, Any]]):
    """A JSON object as ordered pairs: duplicate names are kept, because servers differ on which one they take."""


def parse_json(text: str) -> Any:
    """Parse JSON; numbers stay text, objects become `JSONObject`. Raises ValueError or RecursionError."""
    return json.loads(
        text, strict=False, object_pairs_hook=JSONObject, parse_int=str, parse_float=str, parse_constant=str
    )


def decode(
    text: str, decoded_by: tuple[str, ...], max_passes: int, *, to_json: bool = False
) -> tuple[str, tuple[str, ...]]:
    """Undo encodings until nothing changes or `max_passes` is reached; return the text and what was applied.

    With `to_json`, a text that has become a JSON document is left so: its backslashes are those of its strings.
    """
    if text.isascii() and "%" not in text and "&" not in text and "\\" not in text and "+A" not in text:
        return text, decoded_by  # nothing that a decoder could act on
    found = None if native is None or max_passes <= LAYERS else native.decode(text)
    if found is not None:
        return found[0], (*decoded_by, *("percent",) * found[1])
    return decode_by_passes(text, decoded_by, max_passes, to_json=to_json)


def decode_by_passes(
    text: str, decoded_by: tuple[str, ...], max_passes: int, *, to_json: bool = False
) -> tuple[str, tuple[str, ...]]:
    """As `decode`: the twin of the library's."""
    applied = list(decoded_by)
    for _ in range(max_passes):
        before = text
        for sign, name, decoder in _PASSES:
            if sign in text:
                if to_json and sign == "\\" and _is_json(text):
                    return text, tuple(applied)
                plain = decoder(text)
                if plain != text:
                    text = plain
                    applied.append(name)
        if not text.isascii():
            plain = decoders.mojibake(text)
            if plain != text:
                text = plain
                applied.append("mojibake")
        if text == before:
            folded = decoders.compatibility(text)
            if folded == text:
                return text, tuple(applied)
            text = folded  # may show a full-width percent sign, hence once more
            applied.append("nfkc")
    folded = decoders.compatibility(text)
    if folded != text:
        text = folded
        applied.append("nfkc")
    return text, tuple(applied)


def read_value(
    out: FieldCollector, location: str, name: str, text: str, decoded_by: tuple[str, ...] = (), level: int = 0
) -> None:
    """Add `text` as a field, decoded, and the fields nested in it."""
    if not text:
        return
    limits = out.limits
    if len(text) > limits.max_value_chars:
        out.refuse(location, name, "max_value_chars")
        text = text[: limits.max_value_chars]
    deepest = level >= limits.max_decode_passes
    text, applied = decode(text, decoded_by, limits.max_decode_passes, to_json=not deepest)
    if deepest:
        out.add(location, name, text, applied)
        return
    if _is_bracketed(text):
        try:
            read_document(out, location, name, text, (*applied, "json"), level + 1)
        except (ValueError, RecursionError):
            out.add(location, name, text, applied)
            return
        return
    out.add(location, name, text, applied)
    if len(text) >= _MIN_BASE64:
        _read_base64(out, location, name, text, applied, level)


def _is_bracketed(text: str) -> bool:
    head, tail = text[0], text[-1]
    return ((head == "{" and tail == "}") or (head == "[" and tail == "]")) and len(text) > 2


def _is_json(text: str) -> bool:
    if not _is_bracketed(text):
        return False
    try:
        parse_json(text)
    except (ValueError, RecursionError):
        return False
    return True


def _read_base64(
    out: FieldCollector, location: str, name: str, text: str, applied: tuple[str, ...], level: int
) -> None:
    plain = decoders.base64_text(text)
    if plain is not None:
        read_value(out, location, name, plain, (*applied, "base64"), level + 1)
        return
    if text[:6].lower() == "basic ":
        credentials = decoders.base64_text(text[6:].strip())
        if credentials is not None:
            read_value(out, location, name, credentials, (*applied, "base64"), level + 1)
        return
    token = _JWT.match(text) if "eyJ" in text else None
    if token:
        for part in token.groups():
            claims = decoders.base64_text(part)
            if claims is not None:
                read_value(out, location, name, claims, (*applied, "jwt"), level + 1)
        return
    if "base64," in text:
        for embedded in islice(_DATA_URL.finditer(text), _MAX_DATA_URLS):
            plain = decoders.base64_text(embedded[1])
            if plain is not None:
                read_value(out, location, name, plain, (*applied, "data-url"), level + 1)


def is_plain_word(text: str) -> bool:
    """True for a number and for a word of at most eleven letters, digits, dashes and underscores: nothing is encoded in
    it, and no attack can be spelled with it."""
    return PLAIN_WORD.match(text) is not None


def is_plain_pair(name: str, value: str) -> bool:
    """True for a plain word under a plain name, of which nothing has to be read."""
    plain = None if native is None else native.is_plain_pair(name, value)
    return is_plain_pair_by_shape(name, value) if plain is None else plain


def is_plain_pair_by_shape(name: str, value: str) -> bool:
    """As `is_plain_pair`: the twin of the library's."""
    return len(name) <= 64 and PLAIN_WORD.match(value) is not None and _is_plain_name(name) and not _is_packed(name)


def read_name(out: FieldCollector, location: str, name: str, decoded_by: tuple[str, ...] = ()) -> None:
    """Add a name that the client chose as a field of its own, unless it is plain.

    Plain: letters, digits, dots, dashes, brackets and single underscores, at most 128 characters, and neither
    ``proto``, ``construct`` nor ``classloader`` in it. No attack on names is spelled with these alone: injections need
    a quote, a space, ``$`` or another sign, and pollution of prototypes and beans needs one of the three words. A name
    that is base64 of readable text, plain or not, is read as that text too.
    """
    text, applied = name, decoded_by
    if len(name) > 128 or not _is_plain_name(name):
        text, applied = decode(name, decoded_by, out.limits.max_decode_passes)
        out.add_name(location, text, applied)
    if (
        len(text) >= _MIN_BASE64
        and (plain := _packed_text(text)) is not None
        and out.is_new(f"{location} base64 {text}")
    ):
        read_value(out, location, text, plain, (*applied, "base64"), 1)


def read_path(out: FieldCollector, name: str, path: str) -> None:
    """Add the path of a request, and what is base64 in it: the whole, or segments without their parameters."""
    read_value(out, "path", name, path)
    if len(path) <= _MIN_BASE64 or (path.islower() and "%" not in path):  # base64 has capitals
        return
    segments = path.split("/")
    for piece in (path[1:], *segments) if len(segments) > 2 else (path[1:],):
        if len(piece) >= _MIN_BASE64:
            text, applied = decode(_SEGMENT_END.split(piece, maxsplit=1)[0], (), out.limits.max_decode_passes)
            if (plain := _packed_text(text)) is not None:
                read_value(out, "path", name, plain, (*applied, "base64"), 1)


def _packed_text(text: str) -> str | None:
    return decoders.base64_text(text) if PACKED.match(text) else None


@lru_cache(maxsize=16_384)
def _is_packed(name: str) -> bool:
    return len(name) >= _MIN_BASE64 and _packed_text(name) is not None


@lru_cache(maxsize=16_384)
def _is_plain_name(name: str) -> bool:
    return PLAIN_NAME.match(name) is not None and DANGEROUS_NAME.search(name) is None


def read_document(
    out: FieldCollector, location: str, name: str, text: str, decoded_by: tuple[str, ...] = (), level: int = 0
) -> None:
    """Add the leaves of the JSON `text`. Raises ValueError or RecursionError, having added nothing, if it is none."""
    if not read_known_json(out, location, name, text, decoded_by, level):
        read_json(out, location, name, parse_json(text), decoded_by, level)


def read_known_json(
    out: FieldCollector, location: str, name: str, text: str, decoded_by: tuple[str, ...], level: int = 0
) -> bool:
    """Read the JSON `text` as `read_json` does, but without building it. Returns False, having done nothing, where
    known pieces are read as well, and where the document is odd or large."""
    if native is None or not out.leaves_out:
        return False
    alone = not (level or decoded_by)  # then a leaf is a piece of its own
    found = native.json(text, name, out.limits.max_depth, out.inert if alone else None, location, out.room)
    if found is None or found[0] + len(found[3]) > out.room:
        return False
    _, passed_over, score, items = found
    out.pass_over(passed_over, score)
    read = _READ_LEAF[location]
    for path, leaf in items:
        if leaf is None:
            read_name(out, location, path, decoded_by)
        elif alone:
            out.read_piece(location, path, leaf, read, looked_up=True)
        else:
            read_value(out, location, path, leaf, decoded_by, level)
    return True


def read_json(
    out: FieldCollector, location: str, name: str, document: Any, decoded_by: tuple[str, ...] = (), level: int = 0
) -> None:
    """Add the leaves of a parsed JSON document, in order. Numbers, booleans and null are no text and give no field."""
    limit = out.limits.max_depth
    stack: list[Iterator[tuple[str, Any]]] = [iter([(name, document)])]
    while stack:
        for path, node in stack[-1]:
            if isinstance(node, str):
                if is_plain_word(node) and out.passes_over():
                    continue
                if level or decoded_by:
                    read_value(out, location, path, node, decoded_by, level)
                else:
                    out.read_piece(location, path, node, _READ_LEAF[location])
            elif len(stack) > limit:
                out.refuse(location, path, "max_depth")
            elif isinstance(node, list):
                stack.append(_children(out, location, path, node, decoded_by))
                break
            if out.full:
                out.refuse(location, "", "max_fields")
                return
        else:
            stack.pop()


_READ_LEAF = {
    location: lambda out, path, text, location=location: read_value(out, location, path, text) for location in LOCATIONS
}


def _children(
    out: FieldCollector, location: str, path: str, node: list[Any], decoded_by: tuple[str, ...]
) -> Iterator[tuple[str, Any]]:
    """Add the names of an object; return the members of an object or array that can hold text, with their paths."""
    path = path[-_MAX_PATH:]  # bounded, or one long key would be copied to every leaf
    if not isinstance(node, JSONObject):
        return ((f"{path}[{index}]", value) for index, value in enumerate(node) if _holds_text(value))
    for key, value in node:
        if key in _OPERATORS or (key == "prototype" and _last(path) == "constructor"):
            out.add_name(location, key, decoded_by, _operation(path, key, value))
        else:
            read_name(out, location, key, decoded_by)
    prefix = path + "." if path else ""
    return ((prefix + key[:_MAX_PATH], value) for key, value in node if _holds_text(value))


def _operation(path: str, key: str, value: Any) -> str:
    """What an operator does to a member, as JSON: ``{"password": {"$gt": ""}}``. Of its operand only the shape is told,
    as it may be a secret."""
    member = json.dumps(_last(path)[-_MAX_MEMBER:], ensure_ascii=False)
    return f'{{{member}: {{"{key}": {_shape(value)}}}}}'


def _last(path: str) -> str:
    return path.rpartition(".")[2].partition("[")[0]


def _shape(value: Any) -> str:
    if isinstance(value, JSONObject):
        return "{}"
    if isinstance(value, list):
        return f"[{_shape(value[0]) if value and not isinstance(value[0], list) else ''}]"
    if not isinstance(value, str):
        return json.dumps(value)  # booleans and null
    if _is_number(value):
        return "-1" if value.startswith("-") else "1" if value.strip("0.") else "0"
    return f'"{value}"' if _ANYTHING.match(value) else '"x"'


def _holds_text(node: Any) -> bool:
    return bool(node) and (isinstance(node, list) or (isinstance(node, str) and not _is_number(node)))


def _is_number(text: str) -> bool:
    return len(text) <= 32 and text.isascii() and text.replace(".", "", 1).removeprefix("-").isdigit()
