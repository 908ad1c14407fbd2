"""Between the bytes of the wire and Python text, without losing a byte and without a surprise error.

Text that came as bytes is UTF-8 with ``surrogateescape``. Everything here is linear in the length of its input.
"""

from __future__ import annotations

import json
import re

import msgspec

from vedette.errors import MalformedInput

_decoder = msgspec.json.Decoder()

# nginx ngx_http_log_escape writes \xHH; Apache ap_escape_logitem writes \b \n \r \t \v \" \\ and \xhh.
_LOG_ESCAPE = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|([bnrtvf\"\\]))")
_LOG_CHARACTERS = {
    b"b": b"\b",
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
    b"v": b"\v",
    b"f": b"\f",
    b'"': b'"',
    b"\\": b"\\",
}
_JSON_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|([bnrtf\"\\/]))")
_JSON_CHARACTERS = {"b": "\b", "n": "\n", "r": "\r", "t": "\t", "f": "\f", '"': '"', "\\": "\\", "/": "/"}


def to_text(data: bytes) -> str:
    """Return `data` as UTF-8 text; bytes that are not UTF-8 become lone surrogates (PEP 383)."""
    return data.decode("utf-8", "surrogateescape")


def to_bytes(text: str) -> bytes:
    """Return the bytes of `text`, undoing `to_text`; surrogates that no byte stands behind are encoded as they are."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def load_json(data: bytes, *, field: str | None = None) -> object:
    """Return the JSON value in `data`, tolerant of invalid UTF-8 and raw control characters inside strings.

    Servers copy bytes above 127 into JSON logs as they came, so a strict decoder would let a client hide a request.
    Raises `MalformedInput`, also for nesting beyond the interpreter's recursion limit.
    """
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    except RecursionError:
        raise MalformedInput("JSON is nested too deep", field=field) from None
    try:
        value: object = json.loads(to_text(data), strict=False)
    except RecursionError:
        raise MalformedInput("JSON is nested too deep", field=field) from None
    except ValueError:
        raise MalformedInput("not valid JSON", field=field) from None
    return value


def unescape_log(value: str) -> str:
    """Undo the escapes that nginx (``escape=default``) and Apache write into a log; unknown escapes stay."""
    if "\\" not in value:
        return value
    return to_text(_LOG_ESCAPE.sub(_log_character, to_bytes(value)))


def unescape_json(value: str) -> str:
    """Undo the escapes of nginx's ``escape=json`` in a value outside a JSON document; unknown escapes stay."""
    if "\\" not in value:
        return value
    return _JSON_ESCAPE.sub(_json_character, value)


def _log_character(match: re.Match[bytes]) -> bytes:
    code = match[1]
    return bytes((int(code, 16),)) if code is not None else _LOG_CHARACTERS[match[2]]


def _json_character(match: re.Match[str]) -> str:
    code: str | None = match[1]
    return chr(int(code, 16)) if code is not None else _JSON_CHARACTERS[match[2]]
