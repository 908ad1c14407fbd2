"""Text transforms that grammar files may call as «name(text)». Each takes the text and a source of chance."""

from __future__ import annotations

import base64
import codecs
import random
import re
from collections.abc import Callable
from urllib.parse import quote

Transform = Callable[[str, random.Random], str]


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def b64(text: str, rng: random.Random) -> str:
    """Standard base64 of the UTF-8 bytes."""
    return base64.b64encode(_utf8(text)).decode()


def b64utf16(text: str, rng: random.Random) -> str:
    """Base64 of the UTF-16LE bytes, as PowerShell's -EncodedCommand takes it."""
    return base64.b64encode(text.encode("utf-16-le", "surrogatepass")).decode()


def mixed(text: str, rng: random.Random) -> str:
    """One of: as it is, lower, upper, capitalised, or each letter in a random case."""
    style = rng.random()
    if style < 0.4:
        return text
    if style < 0.6:
        return text.lower()
    if style < 0.8:
        return text.upper()
    if style < 0.85:
        return text.capitalize()
    return "".join(char.upper() if rng.random() < 0.5 else char.lower() for char in text)


def sometimes_mixed(text: str, rng: random.Random) -> str:
    """Mostly the text itself, one time in eight in random case."""
    return mixed(text, rng) if rng.random() < 0.125 else text


def entities(text: str, rng: random.Random) -> str:
    """Some or all characters as decimal or hexadecimal character references."""
    share = rng.choice((0.15, 0.5, 1.0))
    form = rng.choice(("&#{};", "&#x{:x};", "&#x{:X};", "&#{:07d};", "&#x{:06x};", "&#{}"))
    coded = [form.format(ord(char)) if rng.random() < share else char for char in text]
    open_ended = not form.endswith(";")  # a letter, a digit or a semicolon behind would belong to the number
    return "".join(
        part + ";" if open_ended and len(part) > 1 and (behind[:1].isalnum() or behind == ";") else part
        for part, behind in zip(coded, [*coded[1:], ""], strict=True)
    )


def js_unicode(text: str, rng: random.Random) -> str:
    """Some letters as JavaScript identifier escapes: \\u0061 or \\u{61}."""
    share = rng.choice((0.2, 0.5, 1.0))
    form = rng.choice(("\\u{:04x}", "\\u{{{:x}}}", "\\u{:04X}", "\\u{{{:06x}}}"))
    return "".join(form.format(ord(char)) if char.isalpha() and rng.random() < share else char for char in text)


def js_string(text: str, rng: random.Random) -> str:
    """The characters as escapes of a JavaScript string: \\x61, \\141 or \\u0061."""
    form = rng.choice(("\\x{:02x}", "\\{:o}", "\\u{:04x}", "\\u{{{:x}}}"))
    return "".join(form.format(ord(char)) for char in text)


def char_codes(text: str, rng: random.Random) -> str:
    """Comma-separated decimal code points."""
    return ",".join(str(ord(char)) for char in text)


def hexed(text: str, rng: random.Random) -> str:
    """Hexadecimal digits of the UTF-8 bytes."""
    return _utf8(text).hex()


def hex_escapes(text: str, rng: random.Random) -> str:
    """Every byte as \\xNN."""
    return "".join(f"\\x{byte:02x}" for byte in _utf8(text))


def octal_escapes(text: str, rng: random.Random) -> str:
    """Every byte as \\NNN."""
    return "".join(f"\\{byte:03o}" for byte in _utf8(text))


def percent(text: str, rng: random.Random) -> str:
    """Percent-encode what RFC 3986 does not allow as it is."""
    return quote(text, safe="", errors="surrogatepass")


def percent_all(text: str, rng: random.Random) -> str:
    """Percent-encode every byte."""
    return "".join(f"%{byte:02x}" for byte in _utf8(text))


def percent_twice(text: str, rng: random.Random) -> str:
    """Percent-encode twice."""
    return quote(quote(text, safe="", errors="surrogatepass"), safe="")


def js_concat(text: str, rng: random.Random) -> str:
    """The text as a sum of string literals: 'al'+'ert'."""
    if len(text) < 2:
        return f"'{text}'"
    cut = rng.randint(1, len(text) - 1)
    mark = rng.choice("'\"`")
    return f"{mark}{text[:cut]}{mark}+{mark}{text[cut:]}{mark}"


def backwards(text: str, rng: random.Random) -> str:
    """The text from its end to its start."""
    return text[::-1]


def rot13(text: str, rng: random.Random) -> str:
    """ROT13."""
    return codecs.encode(text, "rot13")


def php_string(text: str, rng: random.Random) -> str:
    """A serialised PHP string: s:3:"abc";"""
    return f's:{len(_utf8(text))}:"{text}";'


def length_prefixed(text: str, rng: random.Random) -> str:
    """The text's length in bytes, a colon, then the text in double quotes, as PHP's serialize writes class names."""
    return f'{len(_utf8(text))}:"{text}"'


def carets(text: str, rng: random.Random) -> str:
    """cmd.exe's escape character strewn between letters."""
    return "".join("^" + char if char.isalpha() and rng.random() < 0.4 else char for char in text)


def backticks(text: str, rng: random.Random) -> str:
    """PowerShell's escape character strewn between letters that it does not change."""
    return "".join("`" + char if char.isalpha() and char not in "abefnrtuv0" and rng.random() < 0.3 else char
                   for char in text)  # fmt: skip


def shell_quotes(text: str, rng: random.Random) -> str:
    """The first word broken by empty quotes, backslashes or empty expansions; the shell reads the same word."""
    head, space, tail = text.partition(" ")
    style = rng.randrange(6)
    out = []
    for index, char in enumerate(head):
        if index and char.isalnum() and rng.random() < 0.5:
            out.append(("''", '""', "\\", "$@", "${z}", "$*")[style])
        out.append(char)
    return "".join(out) + space + tail


def wildcards(text: str, rng: random.Random) -> str:
    """Some letters of every path replaced by ? or the tail by *."""
    return "".join("?" if char.isalpha() and rng.random() < 0.4 else char for char in text)


def split_word(text: str, rng: random.Random) -> str:
    """The first word cut in one to three places by the same thing that a shell drops: empty quotes, expansions."""
    head, space, tail = text.partition(" ")
    if len(head) < 2:
        return text
    gap = rng.choice(
        (
            "''",
            '""',
            "\\",
            "$@",
            "$*",
            "``",
            "$()",
            "${z}",
            "${_q}",
            "$1",
            "$(:)",
            "${@}",
            "${*}",
            "${@^}",
            "${*//x}",
            "\\\n",
        )
    )
    cuts = set(rng.sample(range(1, len(head)), min(rng.choice((1, 1, 1, 2, 3)), len(head) - 1)))
    return "".join((gap if index in cuts else "") + char for index, char in enumerate(head)) + space + tail


def quoted_pieces(text: str, rng: random.Random) -> str:
    """Pieces of the first word in quotes, which the shell takes off: "wh"o"am"i."""
    head, space, tail = text.partition(" ")
    mark, out, index, inside = rng.choice('""\''), "", 0, rng.random() < 0.6
    while index < len(head):
        piece = head[index : index + rng.randint(1, 3)]
        out += f"{mark}{piece}{mark}" if inside else piece
        index, inside = index + len(piece), not inside
    return (out if mark in out else f"{mark}{head}{mark}") + space + tail


def caret_each(text: str, rng: random.Random) -> str:
    """A caret between all the letters of cmd.exe's words: w^h^o^a^m^i."""
    return " ".join("^".join(word) if word.isalnum() else word for word in text.split(" "))


def masked(text: str, rng: random.Random) -> str:
    """File names as patterns: most letters as ?, some in brackets, or the tail as *, the slashes left."""

    def mask(name: str) -> str:
        if len(name) > 2 and rng.random() < 0.15:
            return name[: rng.randint(1, 2)] + "*"
        share = rng.choice((0.3, 0.6, 0.9))
        return "".join(
            char if not char.isalnum() or rng.random() > share else f"[{char}]" if rng.random() < 0.12 else "?"
            for char in name
        )

    return "/".join(mask(name) for name in text.split("/"))


def braced(text: str, rng: random.Random) -> str:
    """The words of one plain command as a brace expansion: {cat,/etc/hosts}."""
    return "{" + text.replace(" ", ",") + ("" if " " in text else ",") + "}"


def joined(text: str, rng: random.Random) -> str:
    """Blanks as they arrive when they were encoded once more or not decoded: +, a tab, %20, %09."""
    return text.replace(" ", rng.choice(("+", "+", "+", "\t", "\t", "%20", "%09", "  ")))


def from_variables(text: str, rng: random.Random) -> str:
    """A command whose first word is put together from variables: a=i;b=d;$a$b."""
    head, space, tail = text.partition(" ")
    count = min(len(head), rng.choice((1, 2, 2, 2, 3)))
    cuts = [0, *sorted(rng.sample(range(1, len(head)), count - 1)), len(head)]
    names = rng.sample(rng.choice(("abcdefgh", "xyzuvw", "ABCXYZ", "klmnpqrst")), count)
    then = rng.choice((";", ";", ";", "; ", "&&", "\n"))
    mark = rng.choice(("", "", "", "'", '"'))
    call = rng.choice(("${}", "${}", "${{{}}}"))
    sets = then.join(f"{n}={mark}{head[a:b]}{mark}" for n, a, b in zip(names, cuts, cuts[1:], strict=False))
    return sets + then + "".join(call.format(name) for name in names) + space + tail


def ifs(text: str, rng: random.Random) -> str:
    """Spaces spelled as the shell's field separator."""
    spelling = rng.choice(("${IFS}", "$IFS$9", "${IFS}", "$IFS", "${IFS%??}", "\t", "<"))
    if spelling == "$IFS":  # a letter behind would belong to the name
        return re.sub(r" (\w?)", lambda match: ("${IFS}" if match[1] else "$IFS") + match[1], text)
    if spelling == "<" and not re.fullmatch(r"\S+ [/.~]\S*", text):  # where a program reads one file
        spelling = "${IFS}"
    return text.replace(" ", spelling)


def lowered(text: str, rng: random.Random) -> str:
    """Lower case."""
    return text.lower()


def uppered(text: str, rng: random.Random) -> str:
    """Upper case."""
    return text.upper()


def full_width(text: str, rng: random.Random) -> str:
    """ASCII as its full-width forms (U+FF01 to U+FF5E)."""
    return "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in text)


def dotless(text: str, rng: random.Random) -> str:
    """An IPv4 address in one of the notations that inet_aton(3) reads."""
    parts = [int(part) for part in text.split(".")]
    number = (parts[0] << 24) | (parts[1] << 16) | (parts[2] << 8) | parts[3]
    forms: list[str] = [
        str(number),
        hex(number),
        f"0{number:o}",
        ".".join(f"0{part:o}" for part in parts),
        ".".join(hex(part) for part in parts),
        f"{parts[0]}.{number & 0xFFFFFF}",
        f"{parts[0]}.{parts[1]}.{number & 0xFFFF}",
        f"0x{parts[0]:02x}.{parts[1]}.0{parts[2]:o}.{parts[3]}",
        ".".join(f"{part:03o}".zfill(4) for part in parts),
        f"[::ffff:{parts[0]}.{parts[1]}.{parts[2]}.{parts[3]}]",
        f"[::ffff:{number >> 16:x}:{number & 0xFFFF:x}]",
        f"[0:0:0:0:0:ffff:{parts[0]}.{parts[1]}.{parts[2]}.{parts[3]}]",
        f"[64:ff9b::{number >> 16:x}:{number & 0xFFFF:x}]",
        f"[::{parts[0]}.{parts[1]}.{parts[2]}.{parts[3]}]",
        str(number + 2**32),
        "。".join(str(part) for part in parts),
    ]
    return rng.choice(forms)


def complemented(text: str, rng: random.Random) -> str:
    """Every bit turned over, percent-encoded, which PHP's ~ turns back."""
    return "".join(f"%{255 - byte:02X}" for byte in _utf8(text))


def xored(text: str, rng: random.Random) -> str:
    """Two strings in quotes whose exclusive or is the text, as PHP's ^ takes it, percent-encoded or readable."""
    data = _utf8(text)
    if rng.random() < 0.5:
        mask = rng.choice((0xFF, 0x80, 0x7F, rng.randrange(0x80, 0x100)))
        first, second = "".join(f"%{byte ^ mask:02x}" for byte in data), f"%{mask:02x}" * len(data)
    else:
        signs = "`{}[]~!@#$%^*()_-+=|:;<>,.?/"
        pairs = [rng.choice([(a, chr(ord(a) ^ byte)) for a in signs]) for byte in data]
        first, second = "".join(a for a, _ in pairs), "".join(b for _, b in pairs)
    quote = "'" if '"' in first + second else '"'
    return f"{quote}{first}{quote}^{quote}{second}{quote}"


def json_escape(text: str, rng: random.Random) -> str:
    """The text as the inside of a JSON string."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")


def plused(text: str, rng: random.Random) -> str:
    """Spaces as plus signs, as a form's encoding leaves them where nobody decodes it."""
    return text.replace(" ", "+")


TRANSFORMS: dict[str, Transform] = {
    "b64": b64, "b64utf16": b64utf16, "mixed": mixed, "mix": sometimes_mixed, "ent": entities, "jsu": js_unicode,
    "jss": js_string, "codes": char_codes, "hex": hexed, "hexesc": hex_escapes, "octesc": octal_escapes,
    "pct": percent, "pctall": percent_all, "pct2": percent_twice, "jscat": js_concat, "rev": backwards,
    "rot13": rot13, "phps": php_string, "lenq": length_prefixed, "carets": carets, "ticks": backticks,
    "shq": shell_quotes, "wild": wildcards, "ifs": ifs, "lower": lowered, "upper": uppered, "wide": full_width,
    "dotless": dotless, "jsonesc": json_escape, "cutw": split_word, "pieces": quoted_pieces, "caret1": caret_each,
    "neg": complemented, "xor": xored, "mask": masked, "braced": braced, "joined": joined, "vars": from_variables,
    "plused": plused,
}  # fmt: skip
"""Every transform by the name that grammar files use."""
