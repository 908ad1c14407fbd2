"""A command line cut into words, as a POSIX shell (with ``$'...'``) or as cmd.exe does. Nothing is ever expanded.

Variables, substitutions and globs stay as typed. An operator that begins a word (``|``, ``;``, ``&&``, ``>``) ends the
command: what follows belongs to another one. One pass from the left; every character is read once.
"""

from __future__ import annotations

import re

from vedette.errors import MalformedInput
from vedette.parsing.wire_text import to_bytes, to_text

_PLAIN = re.compile(r"[^\s'\"\\$^]+")
_OPERATOR = re.compile(r"\|\|?|&&?|;|[0-9]?>>?|<")
_ANSI_ESCAPE = re.compile(
    rb"\\(?:x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{1,4})|U([0-9A-Fa-f]{1,8})|([0-7]{1,3})|c(.)|(.))", re.DOTALL
)
_ANSI_CHARACTERS = {
    b"a": b"\a", b"b": b"\b", b"e": b"\x1b", b"E": b"\x1b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t",
    b"v": b"\v", b"\\": b"\\", b"'": b"'", b'"': b'"', b"?": b"?",
}  # fmt: skip


def split_posix(text: str) -> list[str]:
    """Return the words of a POSIX shell command; raises `MalformedInput` for a quote that is never closed."""
    words: list[str] = []
    word: list[str] | None = None
    i = 0
    while i < len(text):
        char = text[i]
        if char.isspace():
            if word is not None:
                words.append("".join(word))
                word = None
            i += 1
            continue
        if text.startswith(("\\\n", "\\\r\n"), i):
            i = text.index("\n", i) + 1
            continue
        if word is None:
            operator = _OPERATOR.match(text, i)
            if operator and words:
                break
            if char == "#":
                end = text.find("\n", i)
                i = len(text) if end < 0 else end
                continue
            word = []
        piece, i = _posix_piece(text, i)
        word.append(piece)
    if word is not None:
        words.append("".join(word))
    return words


def split_cmd(text: str) -> list[str]:
    """Return the words of a cmd.exe command as a C program sees them: carets first, then quotes and backslashes."""
    text = re.sub(r"\^(?:\r?\n(\r?\n)?|(.))", lambda match: "\n" if match[1] else match[2] or "", text)
    words: list[str] = []
    word: list[str] | None = None
    quoted = False
    for run, quote, space, plain in re.findall(r'(\\+(?="))?(")|(\s+)|((?:\\+(?!["\\])|[^\s"\\])+)', text):
        if space and not quoted:
            if word is not None:
                words.append("".join(word))
            word = None
            continue
        word = [] if word is None else word
        if quote:
            word.append("\\" * (len(run) // 2))
            if len(run) % 2:
                word.append('"')
            else:
                quoted = not quoted
        else:
            word.append(space or plain)
    if quoted:
        raise MalformedInput('a " is never closed', field="command")
    if word is not None:
        words.append("".join(word))
    return words


def _posix_piece(text: str, i: int) -> tuple[str, int]:
    """Return what the quote, escape or plain run at `i` stands for, and where it ends."""
    if text.startswith("$'", i):
        end = _ansi_end(text, i + 2)
        return _ansi(text[i + 2 : end]), end + 1
    char = text[i]
    if char == "'":
        end = text.find("'", i + 1)
        if end < 0:
            raise MalformedInput("a ' is never closed", field="command")
        return text[i + 1 : end], end + 1
    if char == '"':
        return _double_quoted(text, i + 1)
    if char == "\\":
        return text[i + 1 : i + 2], i + 2
    if char == "$" and text.startswith('$"', i):  # bash's translated string
        return _double_quoted(text, i + 2)
    run = _PLAIN.match(text, i)
    return (run[0], run.end()) if run else (char, i + 1)


_DOUBLE = re.compile(r'(?:[^"\\]|\\.)*+', re.DOTALL)
_SINGLE = re.compile(r"(?:[^'\\]|\\.)*+", re.DOTALL)


def _double_quoted(text: str, start: int) -> tuple[str, int]:
    match = _DOUBLE.match(text, start)
    end = match.end() if match else start
    if not text.startswith('"', end):
        raise MalformedInput('a " is never closed', field="command")
    # POSIX 2.2.3: inside double quotes the backslash escapes only these.
    inner = re.sub(r'\\(?:\r?\n|([$`"\\]))', lambda found: found[1] or "", text[start:end])
    return inner, end + 1


def _ansi_end(text: str, start: int) -> int:
    match = _SINGLE.match(text, start)
    end = match.end() if match else start
    if not text.startswith("'", end):
        raise MalformedInput("a $' is never closed", field="command")
    return end


def _ansi(text: str) -> str:
    return to_text(_ANSI_ESCAPE.sub(_ansi_character, to_bytes(text)))


def _ansi_character(match: re.Match[bytes]) -> bytes:
    two, four, eight, octal, control, other = match.groups()
    if two:
        return bytes((int(two, 16),))
    if octal:
        return bytes((int(octal, 8) & 0xFF,))
    if four or eight:
        code = int(four or eight, 16)
        return to_bytes(chr(code)) if code < 0x110000 else b"\xef\xbf\xbd"
    if control:
        return bytes((control[0] & 0x1F,))
    return _ANSI_CHARACTERS.get(other, b"\\" + other)
