"""The body: inflated, decoded by its charset, and taken apart by what it is rather than by what it says it is.

The declared type is tried first; where it does not fit, the shape of the text decides (browsers send JSON as
text/plain), and what fits nothing is read as one text. Nothing is skipped because a parser refused it.
"""

from __future__ import annotations

import codecs
import re

from vedette.http_request import HTTPRequest
from vedette.parsing import decoders
from vedette.parsing.field import FieldCollector
from vedette.parsing.forms import read_pairs
from vedette.parsing.inflate import inflate
from vedette.parsing.multipart import boundary_of, guess_boundary, read_multipart
from vedette.parsing.values import JSONObject, parse_json, read_json, read_known_json, read_value
from vedette.parsing.xml_body import read_xml

_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:\-]{1,40})", re.IGNORECASE)
_FORM = re.compile(r"[\w.\-%+\[\]$@~*]{1,200}=")
_GRAPHQL = re.compile(r"\s*(?:(?:query|mutation|subscription|fragment)\b[^{]{0,2000}\{|\{\s*[_A-Za-z])")
# Runs that a person or a program could read: what `strings` finds, with letters beyond Latin. Bytes of a picture look
# like Latin-1 letters often; eight printable ones in a row stand there by chance once in 2,800 places.
_STRINGS = re.compile(r"[\x20-\x7e\t\u0370-\ud7ff\uf900-\ufdff]{8,}")
_CONTROL = bytes([*range(9), *range(0x0E, 0x1B), *range(0x1C, 0x20), 0x7F])
# What an encoding's first bytes are, and how many of them are a mark rather than text. UTF-32 before UTF-16, whose mark
# begins alike; the last is "<?xm" in EBCDIC (XML 1.0 appendix F).
_MARKS = (
    (codecs.BOM_UTF8, "utf-8", 3), (codecs.BOM_UTF32_LE, "utf-32-le", 4), (codecs.BOM_UTF32_BE, "utf-32-be", 4),
    (codecs.BOM_UTF16_LE, "utf-16-le", 2), (codecs.BOM_UTF16_BE, "utf-16-be", 2), (b"\x4c\x6f\xa7\x94", "cp037", 0),
)  # fmt: skip
# Codecs that turn bytes into text and nothing else; Python's list also holds compressors and "unicode_escape".
_CHARSETS = re.compile(
    r"(?:utf-?(?:7|8|16|32)(?:-?[lb]e)?|us-ascii|iso-?8859-?\d{1,2}|latin-?1|windows-?12\d\d|cp\d{3,4}|ibm-?\d{2,4}"
    r"|koi8-[ru]|shift_?jis|euc-(?:jp|kr)|iso-2022-(?:jp|kr)|gb(?:k|2312|18030)|big5(?:-hkscs)?|tis-620|macroman)\Z",
    re.IGNORECASE,
)
# In these, ASCII bytes are not the text they look like; a server that ignores the charset sees another body than we do.
_WIDE = re.compile(r"utf-?(?:16|32)", re.IGNORECASE)
_OPAQUE = re.compile(r"iso-2022|ibm|cp(?!125|65001)", re.IGNORECASE)
_WIDE_RUNS = re.compile(rb"[\t\n\r\x20-\x7e\x80-\xff]{12,}")
_ASCII_RUNS = re.compile(rb"[\t\n\r\x20-\x7e]{16,}")
_MARKUP = re.compile(r"x-www-form-urlencoded|json|xml", re.IGNORECASE)
_SAMPLE = 4096  # bytes by which a body is taken for text or not
_MIN_INFLATED = 64 * 1024
_MAX_CODINGS = 4
_MAX_TYPES = 4
_MAX_RUNS = 64  # runs of packed bytes that are looked up in the unpacked text


def read_body(out: FieldCollector, request: HTTPRequest) -> None:
    """Add the fields of the request's body."""
    content_types: list[str] = []
    codings: list[str] = []
    for header, value in request.headers:
        key = header.lower()
        if key == "content-type" and value not in content_types:
            content_types.append(value)
        elif key == "content-encoding":
            codings += [coding for part in value.lower().split(",") if (coding := part.strip()) not in ("", "identity")]
    body = request.body
    if not codings and body.startswith(b"\x1f\x8b\x08"):
        codings = ["gzip"]  # undeclared, as some beacons send it
    if codings:
        body = _inflated(out, body, codings)
    if len(body) > out.limits.max_body_bytes:
        out.refuse("body", "", "max_body_bytes")
        body = body[: out.limits.max_body_bytes]
    # Servers differ on which of several content types they take, so each reading is made.
    for content_type in content_types[:_MAX_TYPES] or [""]:
        read_content(out, "body", "body", body, content_type)


def _inflated(out: FieldCollector, body: bytes, codings: list[str]) -> bytes:
    """Undo `codings`, the last first; read too what a server that ignores them would find in the packed bytes."""
    if len(codings) > _MAX_CODINGS:
        out.refuse("body", "", "content_encoding")
        return body
    limits, packed = out.limits, body
    for name in reversed(codings):
        limit = min(limits.max_body_bytes, max(_MIN_INFLATED, limits.max_inflate_ratio * len(body)))
        result = inflate(body, name, limit)
        if result.cut:
            out.refuse("body", "", "max_inflate_ratio" if limit < limits.max_body_bytes else "max_body_bytes")
        if result.failed and result.data is body:
            if _is_binary(body):
                out.refuse("body", "", "content_encoding")
            return body  # not what it says it is: read the bytes as they stand
        body = result.data
        if result.failed or name.endswith(("gzip", "deflate")):
            # A gzip header has room for text, and text may follow a stream; packed bytes show none of that length.
            runs = _ASCII_RUNS.findall(packed[: limits.max_body_bytes])
            hidden = [run for run in runs[:_MAX_RUNS] if run not in body] + runs[_MAX_RUNS:]
            read_value(out, "body", "body", decoders.utf8(b"\n".join(hidden)), ("strings",))
    return body


def read_content(out: FieldCollector, location: str, name: str, body: bytes, content_type: str) -> None:
    """Add the fields of `body`. `location` is "body" for the request's own body, "multipart" for a part of it.

    Fields found inside get the location of their format (form, json, xml, graphql, multipart), or `location` for text.
    """
    if not body:
        return
    kind = content_type.partition(";")[0].strip().lower()
    top = location == "body"
    if top and (kind.startswith("multipart/") or body[:2] == b"--"):
        declared = boundary_of(content_type) if kind.startswith("multipart/") else None
        for boundary in (declared, guess_boundary(body)):
            if boundary and read_multipart(out, body, boundary, read_content):
                return
    text, decoded_by = _text(body, content_type)
    _read_text(out, location, name, kind, text, decoded_by)
    if top and decoded_by:
        runs = _WIDE_RUNS if _WIDE.match(decoded_by[0]) else _ASCII_RUNS if _OPAQUE.match(decoded_by[0]) else None
        plain = b"\n".join(runs.findall(body)) if runs else b""
        if plain:
            _read_text(out, location, name, kind, decoders.utf8(plain), ())


def _read_text(
    out: FieldCollector, location: str, name: str, kind: str, text: str, decoded_by: tuple[str, ...]
) -> None:
    top = location == "body"
    form = top and "x-www-form-urlencoded" in kind
    if form and not _looks_like_json(text):
        read_pairs(out, "form", text)
    elif kind == "application/graphql":
        read_value(out, "graphql", "query", text, decoded_by)
    elif _looks_like_json(text):
        _read_json_text(out, location, name, text, decoded_by, form=form)
    elif kind.endswith(("/xml", "+xml")) or text.lstrip("\ufeff \t\r\n").startswith(("<?xml", "<!DOCTYPE", "<soap")):
        read_xml(out, text, decoded_by)
    elif top and _FORM.match(text) and "strings" not in decoded_by:
        read_pairs(out, "form", text)
    else:
        read_value(out, location, name, text, decoded_by)


def _looks_like_json(text: str) -> bool:
    start = text.lstrip("\ufeff \t\r\n")[:1]
    return start in ("{", "[", '"') and start != ""


def _read_json_text(
    out: FieldCollector, location: str, name: str, text: str, decoded_by: tuple[str, ...], *, form: bool
) -> None:
    inside = "json" if location == "body" else location
    prefix = "" if location == "body" else name
    text = text.lstrip("\ufeff")
    if read_known_json(out, inside, prefix, text, decoded_by):
        return
    try:
        document = parse_json(text)
    except (ValueError, RecursionError):
        if form:
            read_pairs(out, "form", text)
        else:
            _read_json_lines(out, location, name, text, decoded_by)
        return
    for part in document if type(document) is list else [document]:
        if isinstance(part, JSONObject):
            for index, (key, value) in enumerate(part):
                if key == "query" and isinstance(value, str) and _GRAPHQL.match(value):
                    read_value(out, "graphql", "query", value, decoded_by)
                    part[index] = (key, None)
    read_json(out, inside, prefix, document, decoded_by)


def _read_json_lines(out: FieldCollector, location: str, name: str, text: str, decoded_by: tuple[str, ...]) -> None:
    """JSON Lines, else the whole as one text. The first line that is no JSON ends the reading of lines."""
    lines = text.split("\n", out.limits.max_fields)
    documents = []
    if len(lines) > 1:
        for line in lines:
            if line.strip():
                try:
                    documents.append(parse_json(line))
                except (ValueError, RecursionError):
                    documents.clear()
                    break
    if not documents:
        read_value(out, location, name, text, decoded_by)
    for document in documents:
        read_json(out, "json" if location == "body" else location, "", document, decoded_by)


def _text(body: bytes, content_type: str) -> tuple[str, tuple[str, ...]]:
    """Bytes -> text and how: by byte-order mark, by declared charset, as UTF-8, or the readable runs of a binary."""
    for mark, codec, length in _MARKS:
        if body.startswith(mark):
            return body[length:].decode(codec, "replace"), () if codec == "utf-8" else (codec,)
    match = _CHARSET.search(content_type)
    if match and match[1].lower() not in ("utf-8", "utf8") and _CHARSETS.match(match[1]):
        try:
            return body.decode(match[1], "replace"), (match[1].lower(),)
        except (LookupError, UnicodeError):
            pass
    sample = body[:_SAMPLE]
    nul = sample.count(b"\x00")
    if nul * 8 > len(sample) * 5:  # unmarked UTF-32 of ASCII is three quarters NUL, UTF-16 half
        return body.decode("utf-32-le" if sample[1:2] == b"\x00" else "utf-32-be", "replace"), ("utf-32",)
    if nul * 5 > len(sample) * 2:
        return body.decode("utf-16-le" if sample[1:2] == b"\x00" else "utf-16-be", "replace"), ("utf-16",)
    # Text by its type is read whole: of a form with some control characters in it, runs alone would be a way around.
    if _is_binary(sample) and not _MARKUP.search(content_type):
        return "\n".join(_STRINGS.findall(body.decode("utf-8", "replace"))), ("strings",)
    return decoders.utf8(body), ()


def _is_binary(body: bytes) -> bool:
    sample = body[:_SAMPLE]
    return (len(sample) - len(sample.translate(None, _CONTROL))) * 50 > len(sample)
