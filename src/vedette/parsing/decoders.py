"""Decoders: each undoes one encoding of a text value, in one linear pass.

A decoder takes a string and returns the decoded string; it returns its argument unchanged where there is nothing to
decode, so that "did it change?" is an identity-cheap comparison. None raises on any input. The tables of cases stand in
tests/parsing/cases/decoders.json.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
import unicodedata
from html.entities import html5

from vedette.parsing.native_reading import native

_PERCENT_RUN = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
# What a single escape stands for, by far the most frequent run.
_ASCII_ESCAPES = {form % code: chr(code) for code in range(128) for form in ("%%%02X", "%%%02x")}
_PERCENT_U = re.compile(r"%[uU]([0-9A-Fa-f]{4})")
# Escapes of JavaScript, JSON, C and shells ($'..'): \uXXXX, \u{X..}, \UXXXXXXXX, \xHH, \NNN (octal, 2 or 3 digits).
_BACKSLASH = re.compile(
    r"\\(?:u([0-9A-Fa-f]{4})|u\{0{0,8}([0-9A-Fa-f]{1,6})\}|U([0-9A-Fa-f]{8})|x([0-9A-Fa-f]{2})|([0-3]?[0-7]{2}))"
)
# Numeric references need no semicolon (HTML Living Standard 13.2.5.80); zero padding is unbounded there, 32 here.
_ENTITY = re.compile(r"&(?:#0{0,32}([0-9]{1,7});?|#[xX]0{0,32}([0-9A-Fa-f]{1,6});?|([A-Za-z][A-Za-z0-9]{1,31});)")
_UTF7_RUN = re.compile(r"\+(A[A-Za-z0-9+/]{2,64})-?")
_BASE64 = re.compile(r"(?=.{12})[A-Za-z0-9+/_\-]{10,}={0,2}\Z")
_SURROGATE = re.compile("[\ud800-\udfff]")
# Bytes that begin no valid sequence: continuation bytes, bytes beyond Unicode, lead bytes with nothing to lead.
_STRAY = re.compile(rb"(?:[\x80-\xbf\xf5-\xff]|[\xc2-\xf4](?![\x80-\xbf]))*")
_BYTES_OF_UTF8 = bytes([b"ABC"[(byte >= 0x80) + (0xC2 <= byte <= 0xF4)] for byte in range(256)])
_BEGINS = b"CB"  # a first byte and another behind it, as that table has them
_UTF8_AS_LATIN1 = re.compile(
    "(?:[\u00c2-\u00df][\u0080-\u00bf]|[\u00e0-\u00ef][\u0080-\u00bf]{2}|[\u00f0-\u00f4][\u0080-\u00bf]{3})+"
)
# Canonical ordering is quadratic in a run of combining marks: 1 MiB of two marks in turn takes CPython 3.11 minutes.
_FOLD_STEP = 512


def _overlong_or_latin1(error: UnicodeError) -> tuple[str, int]:
    """Codec error handler: an overlong UTF-8 form gives the character it hides, any other stray byte its Latin-1 one.

    RFC 3629 section 3 forbids overlong forms because decoders that accept them are a way around filters.
    """
    if not isinstance(error, UnicodeDecodeError):
        raise error
    data, at = error.object, error.start
    lead = data[at]
    length = 2 if lead in (0xC0, 0xC1) else 3 if lead == 0xE0 else 4 if lead == 0xF0 else 0
    tail = data[at + 1 : at + length] if length else b""
    # Lenient decoders mask the tail with 0x3f whatever its top bits are (%c0%2f), so this one does too.
    if length == 2 and len(tail) == 1:
        code = (lead & 0x1F) << 6 | (tail[0] & 0x3F)
        if tail[0] & 0xC0 == 0x80 or tail[0] in b"\x2e\x2f\x5c":
            return (chr(code if tail[0] & 0xC0 == 0x80 else tail[0]), at + 2)
    if length > 2 and len(tail) == length - 1 and all(byte & 0xC0 == 0x80 for byte in tail):
        code = lead & (0x0F if length == 3 else 0x07)
        for byte in tail:
            code = code << 6 | (byte & 0x3F)
        return (_character(code), at + length)
    stray = _STRAY.match(data, at + 1)  # many at once: a call for each byte costs half a second a megabyte
    end = stray.end() if stray else at + 1
    return (data[at:end].decode("latin-1"), end)


codecs.register_error("vedette", _overlong_or_latin1)


def utf8(data: bytes) -> str:
    """Decode bytes as UTF-8; overlong forms give what they hide, other invalid bytes their Latin-1 character."""
    return data.decode("utf-8", "vedette")


def without_surrogates(text: str) -> str:
    """Return `text` as encodable Unicode: bytes kept by ``surrogateescape`` decode as in `utf8`, others give U+FFFD."""
    if text.isascii() or not _SURROGATE.search(text):
        return text
    try:
        return utf8(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        return _SURROGATE.sub("\ufffd", text)


def percent(text: str) -> str:
    """Undo one layer of percent-encoding (RFC 3986 section 2.1) and of the non-standard ``%uXXXX``.

    Invalid escapes stay as they are.
    """
    if "%" not in text:
        return text
    plain = None if native is None else native.percent(text)
    return percent_by_runs(text) if plain is None else plain


def percent_by_runs(text: str) -> str:
    """As `percent`, for any text: the twin of the library's."""
    if "%u" in text or "%U" in text:
        text = _PERCENT_U.sub(lambda match: _character(int(match[1], 16)), text)
    return _PERCENT_RUN.sub(_percent_run, text)


def _percent_run(match: re.Match[str]) -> str:
    run = match[0]
    return _ASCII_ESCAPES.get(run) or utf8(bytes.fromhex(run.replace("%", "")))


def plus(text: str) -> str:
    """Undo the plus sign for a space of application/x-www-form-urlencoded."""
    return text.replace("+", " ")


def entities(text: str) -> str:
    """Undo HTML character references: named, decimal and hexadecimal, numeric ones with or without semicolon."""
    if "&" not in text:
        return text
    return _ENTITY.sub(_entity, text)


def _entity(match: re.Match[str]) -> str:
    decimal, hexadecimal, named = match.groups()
    if named:
        return html5.get(named + ";", match[0])
    return _character(int(decimal) if decimal else int(hexadecimal, 16))


def escapes(text: str) -> str:
    r"""Undo backslash escapes that stand for a character: ``\uXXXX``, ``\u{..}``, ``\xHH`` and octal."""
    if "\\" not in text:
        return text
    return _BACKSLASH.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    u4, braced, u8, x2, octal = match.groups()
    return _character(int(octal, 8) if octal else int(u4 or braced or u8 or x2, 16))


def _character(code: int) -> str:
    """The character of a code point; surrogates and points beyond Unicode give U+FFFD."""
    return "\ufffd" if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF else chr(code)


def utf7(text: str) -> str:
    """Undo UTF-7 runs such as ``+ADw-`` (RFC 2152) where they hide ASCII; other text stays."""
    if "+A" not in text:
        return text
    return _UTF7_RUN.sub(_utf7_run, text)


def _utf7_run(match: re.Match[str]) -> str:
    # Modified base64 of UTF-16BE; a run that decodes to anything but ASCII is a coincidence.
    try:
        plain = base64.b64decode(match[1] + "=" * (-len(match[1]) % 4)).decode("utf-16-be")
    except (ValueError, binascii.Error):
        return match[0]
    return plain if plain.isascii() and plain.isprintable() else match[0]


def mojibake(text: str) -> str:
    """Undo one encoding too many: UTF-8 that was read as Latin-1."""
    if text.isascii() or _BEGINS not in text.encode("latin-1", "ignore").translate(_BYTES_OF_UTF8):
        return text
    return _UTF8_AS_LATIN1.sub(_as_utf8, text)


def _as_utf8(match: re.Match[str]) -> str:
    try:
        return match[0].encode("latin-1").decode()
    except UnicodeDecodeError:  # overlong, or a surrogate
        return match[0]


def compatibility(text: str) -> str:
    """Fold Unicode compatibility forms (NFKC, UAX #15) where that yields ASCII, e.g. full-width ``＜`` to ``<``."""
    if text.isascii():
        return text
    pieces = (text[at : at + _FOLD_STEP] for at in range(0, len(text), _FOLD_STEP))
    folded = "".join([unicodedata.normalize("NFKC", piece) for piece in pieces])
    if folded == text or _count_ascii(folded) <= _count_ascii(text):
        return text
    return folded


def _count_ascii(text: str) -> int:
    return len(text.encode("ascii", "ignore"))


def base64_text(text: str) -> str | None:
    """Decode `text` if it is base64 (standard or URL-safe, padded or not) of readable text, else None.

    Readable: UTF-8 of at least 4 characters, or UTF-16 of ASCII, of which at least nine in ten print.
    """
    if native is not None and not native.may_be_base64(text):
        return None
    data = base64_bytes(text)
    if data is None:
        return None
    if data.count(0) * 5 > len(data) * 2:  # UTF-16 of ASCII is half NUL; PowerShell takes its commands so
        wide = data.decode("utf-16-le" if data[1] == 0 else "utf-16-be", "replace")
        if wide.isascii() and sum(map(str.isprintable, wide)) * 10 >= len(wide) * 9:
            return wide
    try:
        plain = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if len(plain) < 4:
        return None
    if plain.isprintable():
        return plain
    printing = sum(map(str.isprintable, plain)) + sum(plain.count(c) for c in "\n\r\t\x00")
    return plain if printing * 10 >= len(plain) * 9 else None


def base64_bytes(text: str) -> bytes | None:
    """Decode `text` if its shape is base64 of at least 9 bytes, or padded of 7, else None. Line breaks are skipped."""
    if len(text) > 76:
        text = "".join(text.split())
    if not _BASE64.match(text):
        return None
    bare = text.rstrip("=").replace("-", "+").replace("_", "/")
    if len(bare) % 4 == 1:
        return None
    try:
        return binascii.a2b_base64(bare + "=" * (-len(bare) % 4), strict_mode=True)
    except (ValueError, binascii.Error):
        return None
