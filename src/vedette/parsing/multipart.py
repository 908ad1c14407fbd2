"""multipart/form-data (RFC 7578), read leniently: a part without end, a missing header or a stray line is still read.

Strict parsers refuse such bodies, lenient servers take them, so a firewall has to read them. Splitting on the
delimiter is linear in the body.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from vedette.parsing import decoders
from vedette.parsing.field import FieldCollector
from vedette.parsing.values import read_name, read_value
from vedette.parsing.wire_text import to_bytes

_BOUNDARY = re.compile(r'boundary\s*=\s*(?:"([^"]{1,256})"|([^;,\s]{1,256}))', re.IGNORECASE)
_PARAMETER = re.compile(r"""[;\s](name|filename)(\*?)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]*))""", re.IGNORECASE)
_EXTENDED = re.compile(r"\A[\w\-]{0,32}'[\w\-]{0,32}'")  # RFC 8187: charset'language'value
_HEADER_NAME = re.compile(r"[\w.;=+\-]{1,64}\Z")
_DISPOSITIONS = ("form-data", "attachment", "file", "inline", "")
_MAX_PART_HEADER = 16 * 1024

ReadPart = Callable[[FieldCollector, str, str, bytes, str], None]


def boundary_of(content_type: str) -> bytes | None:
    """Return the boundary parameter of a multipart content type, or None."""
    match = _BOUNDARY.search(content_type)
    return to_bytes(match[1] or match[2]) if match else None


def guess_boundary(body: bytes) -> bytes | None:
    """Return the boundary that the first line of `body` shows, for bodies whose content type lost it."""
    match = re.match(rb"\s{0,8}--([^\r\n]{1,256})\r?\n", body)
    return match[1].rstrip() if match else None


def read_multipart(out: FieldCollector, body: bytes, boundary: bytes, read_part: ReadPart) -> bool:
    """Read every part of `body`; False if the delimiter never occurs, so that the caller reads it as text.

    `read_part(out, location, name, content, content_type)` reads the content of a file or of a part with a type.
    """
    # A delimiter stands at the start of a line (RFC 2046 section 5.1.1): elsewhere it would cut an attack in two.
    pieces = (b"\n" + body).split(b"\n--" + boundary, out.limits.max_fields)
    if len(pieces) == 1:
        return False
    if len(pieces) > out.limits.max_fields:
        out.refuse("multipart", "", "max_fields")
        pieces.pop()
    preamble = pieces[0].strip()
    if preamble:
        read_value(out, "multipart", "preamble", decoders.utf8(preamble))
    for piece in pieces[1:]:
        if piece[:2] == b"--":
            piece = piece[2:].strip()
            if piece:
                read_value(out, "multipart", "epilogue", decoders.utf8(piece))
            continue
        _read_piece(out, piece, read_part)
    return True


def _read_piece(out: FieldCollector, piece: bytes, read_part: ReadPart) -> None:
    piece = piece.removeprefix(b"\r").removeprefix(b"\n")
    end = re.search(rb"\r?\n[ \t]*\r?\n", piece[:_MAX_PART_HEADER])
    if piece[:1] in (b"\r", b"\n"):  # no header at all
        head, content = "", piece.lstrip(b"\r\n")
    elif end:
        head, content = decoders.utf8(piece[: end.start()]), piece[end.end() :]
    else:
        head, content = decoders.utf8(piece[:_MAX_PART_HEADER]), piece[_MAX_PART_HEADER:]
        read_value(out, "multipart", "header", head)
    content = content.removesuffix(b"\n").removesuffix(b"\r")  # the delimiter's line break belongs to the delimiter
    name, has_file, content_type = "", False, ""
    for line in re.split(r"\r?\n(?![ \t])", head):
        key, colon, value = line.partition(":")
        key = key.strip().lower()
        if key == "content-disposition":
            for parameter, extended, quoted, bare in _PARAMETER.findall(";" + value):
                text = re.sub(r'\\(["\\])', r"\1", quoted) if quoted else bare
                if extended:
                    text = decoders.percent(_EXTENDED.sub("", text, count=1))
                if parameter.lower() == "name":
                    name = text
                    read_name(out, "multipart", text)
                else:
                    has_file = True
                    read_value(out, "multipart", (name or "file") + ".filename", text)
            if _PARAMETER.sub("", ";" + value).strip("; \t\r\n").lower() not in _DISPOSITIONS:
                read_value(out, "multipart", (name or "part") + ".content-disposition", value.strip())
        elif key == "content-type":
            content_type = value.strip()
            read_value(out, "multipart", (name or "part") + ".content-type", content_type)
        elif colon and key:
            if not _HEADER_NAME.match(key):
                read_name(out, "multipart", key)
            read_value(out, "multipart", (name or "part") + "." + key[:64], value.strip())
        else:
            read_value(out, "multipart", "header", line.strip())
    if not content:
        return
    if has_file or content_type:
        read_part(out, "multipart", name or "file", content, content_type)
    else:
        read_value(out, "multipart", name, decoders.utf8(content))
