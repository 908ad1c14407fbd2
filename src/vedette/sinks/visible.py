"""Text of strangers made safe to be shown, on a terminal or a page.

What an attacker sent stands next to what the operator trusts, so nothing in it may move the cursor, change colours,
ring the bell, reorder the line or hide: control characters, bidirectional overrides and invisible characters are shown
as escapes. One character of input becomes at most ten of output.
"""

from __future__ import annotations

import unicodedata

# Cc controls, Cf formats (zero-width, bidi), Cs lone surrogates, Co private use, Cn unassigned, Zl/Zp separators.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def visible(text: str) -> str:
    """Return `text` with every character that is not plainly visible written as an escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(visible_character, text))


def visible_character(char: str) -> str:
    """Return one character as itself, or as ``\\n``, ``\\x1b``, ``\\u202e``."""
    if char in _NAMED:
        return _NAMED[char]
    if unicodedata.category(char) not in _HIDDEN:
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
