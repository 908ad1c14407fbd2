"""Secrets stay out of excerpts, events and remembered values.

Two questions are answered here: is this whole field a secret (by its location and name), and which pieces of a free
text look like one (card numbers, bearer strings, ``password=...``)? Where it is unsure it masks: a lost excerpt costs
an operator a look at their own logs, a leaked password costs more. An attack's own span outside secret fields is
always shown, since it is the reason for the verdict.

Cost: text is looked at only around an excerpt, so at most `EXCERPT_CHARS` + 2 * `_CONTEXT_CHARS` characters.
"""

from __future__ import annotations

import re
from functools import lru_cache

MASK = "[masked]"
EXCERPT_CHARS = 160
_CONTEXT_CHARS = 256  # looked at on each side of an excerpt, so that a secret cut by its edge is still recognised
_NAME_CHARS = 256

_SECRET_NAME = re.compile(
    r"pass(?:w|phrase|code|$)|pwd|secret|token|sess|(?<![a-z])s?sid(?![a-z])|api[-_]?key|access[-_]?key|private[-_]?key"
    r"|auth(?!or(?![iy]))|credential|(?<!dis)card(?!inal)|(?<![a-z])cc[-_]?(?:n|$)|cvv|cvc|cvn|iban|(?<![a-z])ssn"
    r"|(?<![a-z])(?:pin|otp|pan|jwt)(?![a-z])|signature|cookie"
)
# What secrets look like, each behind words of which one stands in every text that holds such a piece.
_PIECES = (
    (
        ("eyj",),  # JWT, RFC 7519
        re.compile(r"(?P<secret>eyJ[\w-]{6,512}\.[\w-]{4,1024}(?:\.[\w-]{0,1024})?)", re.ASCII),
    ),
    (
        ("bearer", "basic", "digest", "negotiate"),  # RFC 6750
        re.compile(r"(?i)\b(?:bearer|basic|digest|negotiate)[ +]{1,4}(?P<secret>[\w.~+/=%-]{6,})", re.ASCII),
    ),
    (
        ("akia", "asia", "gh", "k_"),
        re.compile(r"\b(?P<secret>(?:AKIA|ASIA)[A-Z0-9]{16}|gh[pousr]_\w{20,}|[sr]k_(?:live|test)_\w{8,})", re.ASCII),
    ),
    (("://",), re.compile(r"://[^/\s:@]{0,128}:(?P<secret>[^/\s@]{1,128})@")),  # RFC 3986 userinfo
    (
        ("pass", "pwd", "secret", "token", "sess", "sid", "key", "auth", "cookie", "credential", "card", "cv"),
        re.compile(
            r"(?i)(?:passw(?:or)?d|passphrase|pwd|secret|token|session(?:[-_]?id)?|sid|api[-_]?key|authorization|cookie"
            r"|credentials?|card(?:[-_]?(?:no|num(?:ber)?))?|cvv|cvc)[\"']?(?:\]|%5D)?\s{0,4}(?:[=:]|%3[Dd]|%3[Aa])\s{0,4}"
            r"[\"']?(?P<secret>[^\s&;,\"'}<>]{2,})"
        ),
    ),
)
_CARD = re.compile(r"(?<![0-9])[0-9](?:[ -]?[0-9]){12,18}(?![0-9])")  # ISO/IEC 7812: 13 to 19 digits
_INDEX = re.compile(r"\[\d+\]")
_LETTERS_I = {0x130: "i", 0x131: "i"}  # with and without a dot: (?i) takes both for i, casefold does not
_SURROGATE = re.compile("[\ud800-\udfff]")


def is_secret(location: str, name: str, kind: str = "value") -> bool:
    """Whether the values of this field must not be shown or kept: cookies, credentials, and what is named like one.

    A name that the client chose (`kind` "name") is not a value, so it is none.
    """
    if kind == "name":
        return False
    if "[" in name:
        name = _INDEX.sub("[]", name)  # lists of a document have many
    return location == "cookie" or _is_secret_name(name[:_NAME_CHARS])


@lru_cache(maxsize=8192)
def _is_secret_name(name: str) -> bool:
    return _SECRET_NAME.search(name.lower()) is not None


def printable(text: str) -> str:
    """Return `text` as it can be encoded to UTF-8: lone surrogates (bytes that were no UTF-8) become U+FFFD."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def short_name(name: str) -> str:
    """Return a field's name as a verdict may show it."""
    return printable(name[:_NAME_CHARS])


def mask_text(text: str, *, keep: tuple[int, int] = (0, 0)) -> str:
    """Return `text` with what looks like a secret replaced, the characters of `keep` excepted."""
    pieces = _secret_ranges(text, keep)
    if not pieces:
        return text
    out: list[str] = []
    at = 0
    for start, end in pieces:
        out += (text[at:start], MASK)
        at = end
    return "".join((*out, text[at:]))


def excerpt(value: str, span: tuple[int, int], *, secret: bool) -> str:
    """Return about `EXCERPT_CHARS` characters of `value` around `span`, masked; all of it where the field is secret."""
    if secret:
        return MASK
    start, end = span
    end = min(end, start + EXCERPT_CHARS)
    room = EXCERPT_CHARS - (end - start)
    left = max(0, start - room // 2)
    right = min(len(value), max(end, left + EXCERPT_CHARS))
    left = max(0, min(left, right - EXCERPT_CHARS))
    base = max(0, left - _CONTEXT_CHARS)
    context = value[base : right + _CONTEXT_CHARS]
    out: list[str] = ["…"] if left > 0 else []
    at = left - base
    stop = right - base
    for from_, to in _secret_ranges(context, (span[0] - base, span[1] - base)):
        if to <= at or from_ >= stop:
            continue
        out += (context[at:from_], MASK)
        at = to
    out.append(context[at:stop])
    if right < len(value):
        out.append("…")
    return printable("".join(out))


def _secret_ranges(text: str, keep: tuple[int, int]) -> list[tuple[int, int]]:
    """Return disjoint ascending ranges of `text` that look like secrets, without those of `keep`."""
    low = text.lower() if text.isascii() else text.translate(_LETTERS_I).casefold()  # letters as (?i) has them
    found = [
        match.span("secret")
        for words, pattern in _PIECES
        if any(word in low for word in words)
        for match in pattern.finditer(text)
    ]
    found += [match.span() for match in _CARD.finditer(text) if _luhn(match.group())]
    if not found:
        return []
    outside: list[tuple[int, int]] = []
    for start, end in found:
        if end <= keep[0] or start >= keep[1]:
            outside.append((start, end))
        else:
            outside += [piece for piece in ((start, keep[0]), (keep[1], end)) if piece[0] < piece[1]]
    merged: list[tuple[int, int]] = []
    for start, end in sorted(outside):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _luhn(text: str) -> bool:
    """ISO/IEC 7812-1 annex B."""
    digits = [int(char) for char in text if char.isdigit()]
    doubled = sum(digits[-1::-2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return doubled % 10 == 0 and len(set(digits)) > 1
