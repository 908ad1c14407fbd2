"""Hard negatives: harmless field values that look like attacks, drawn at random from hundreds of shapes.

A filter earns its false alarms on prose with SQL words, editors' HTML, code in JSON, template placeholders, trackers'
home-made separators and plain binary. Each shape here draws its content anew, so that what can be learned of it is the
shape and not the sample. The grammars `data/benign_*.grammar` hold the shapes that are text; the functions below make
those that a grammar cannot: bytes, blobs, counted strings, paths of curves.
"""

from __future__ import annotations

import base64
import json
import random
import re
import string
import zlib
from collections.abc import Callable
from functools import cache

from vedette.datasets import primitives
from vedette.datasets.grammar import Grammar, load_grammar

MAX_CHARS = 2400
"""No value is longer; longer ones are cut wherever that falls, as logs and windows cut theirs, most of them sooner."""

GRAMMARS = ("common", "prose", "markup", "code", "web", "query", "sites", "docs", "more", "apps", "scripts", "apis",
            "services", "manual", "files", "wide", "dialects", "daily", "traffic")  # fmt: skip
"""The grammar files, each named after its prefix `benign_`."""

_TOPICS = ("prose", "names", "markup", "code", "web", "query", "sites", "docs", "more", "apps", "scripts", "apis",
           "services", "manual", "files", "wide", "dialects", "daily", "traffic")  # fmt: skip
_TOPIC_WEIGHTS = (20, 8, 11, 14, 16, 11, 10, 8, 9, 18, 34, 34, 46, 38, 6, 100, 150, 180, 150)
_DOCUMENT_TOPICS = ("markup blk snip code js other conf help json log prose program langsrc plaintag docbit svbit "
                    "mentry jline dlman dltmpl dldiagram dltalk dlbody dlwire").split()  # fmt: skip
_USUAL_CHARS, _LONG_SHARE = 600, 0.25
_BLOB_SHARE = 0.18
_JOIN_SHARE = 0.06
_WRAP_SHARE = 0.06
_CUT_SHARE = 0.04
# None of the signs that chain commands: harmless words behind one would teach that commands behind one are harmless.
_JOINERS = ("\n", " ", "\n\n", ", ", " - ", "\r\n", "\t")
_CHAINS = "&|;` \t"  # what chains commands never begins a text that was cut
_OWN_MACHINE = re.compile(r"https?://(?:localhost|0\.0\.0\.0|(?:127|10|192\.168)\.[\d.]+)(?::\d+)?(?:[/?#]\S*)?\Z")

# Magic numbers and first header bytes of the files that people upload, in Latin-1.
_MAGIC = (
    "\xff\xd8\xff\xe0\0\x10JFIF\0\x01", "\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "GIF89a", "PK\x03\x04\x14\0", "wOF2",
    "%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<</Type/", "\x1f\x8b\x08\0", "RIFF\0\0\0\0WEBPVP8 ", "BZh91AY&SY", "II*\0",
    "\0\0\0\x18ftypmp42", "\x7fELF\x02\x01\x01", "SQLite format 3\0", "OggS\0", "ID3\x03",
)  # fmt: skip

Shape = Callable[[random.Random], str]


def generate(rng: random.Random) -> str:
    """Return one harmless value of 1 to `MAX_CHARS` characters, the same for the same state of `rng`."""
    text = ""
    while not text.strip():
        text = _one(rng)
        chance = rng.random()
        if _OWN_MACHINE.match(text):
            break  # alone it says where a request comes from; inside something else it is where one is asked to go
        if chance < _JOIN_SHARE:
            text += rng.choice(_JOINERS) + _one(rng)
        elif chance < _JOIN_SHARE + _WRAP_SHARE:
            text = _wrapped(text, rng)
        elif chance < _JOIN_SHARE + _WRAP_SHARE + _CUT_SHARE:
            text = text[rng.randint(0, len(text) // 2) :].lstrip(_CHAINS)
    return text[: MAX_CHARS if rng.random() < _LONG_SHARE else _USUAL_CHARS]


@cache
def benign_grammar() -> Grammar:
    """Return the grammar of all harmless topics; no two files define the same rule."""
    return load_grammar(*(f"benign_{name}" for name in GRAMMARS))


def _one(rng: random.Random) -> str:
    if rng.random() < _BLOB_SHARE:
        return rng.choice(_SHAPES)(rng)
    return benign_grammar().draw(rng, rng.choices(_TOPICS, _TOPIC_WEIGHTS)[0])


def _wrapped(text: str, rng: random.Random) -> str:
    """Put a value inside something else, as programs do that carry it."""
    name = primitives.ident(rng)
    quoted = json.dumps(text, ensure_ascii=rng.random() < 0.5)
    return rng.choice(
        (
            quoted,
            f'"{text}"',
            f"'{text}'",
            f"({text})",
            f"[{text}]",
            f"`{text}`",
            f"> {text}",
            f"{name}={text}",
            f"{name}: {text}",
            f"<p>{text}</p>",
            f'<div class="{name}">{text}</div>',
            f"{{{json.dumps(name)}:{quoted}}}",
            f"[{quoted},{primitives.integer(rng)}]",
            f"```\n{text}\n```",
            f"<![CDATA[{text}]]>",
            f"<{name}>{text}</{name}>",
            json.dumps({name: quoted}),
            text.replace('"', '\\"').replace("'", "\\'"),
            text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"),
        )
    )


def _bytes_as_text(rng: random.Random) -> str:
    """Random bytes, read as Latin-1 or as broken UTF-8."""
    raw = rng.randbytes(rng.randint(3, 200))
    return raw.decode("latin-1") if rng.random() < 0.4 else raw.decode("utf-8", "replace")


def _printable_runs(rng: random.Random) -> str:
    """What is left of binary data when only its printable runs are kept."""
    alphabet = string.printable[:95]
    sizes = rng.choices((1, 2, 3, 4, 5, 8, 13), (2, 2, 1, 1, 1, 1, 1), k=rng.randint(2, 60))
    joiner = rng.choice(("\n", " ", "", "\ufffd", "\x00"))
    return joiner.join("".join(rng.choices(alphabet, k=size)) for size in sizes)


def _compressed(rng: random.Random) -> str:
    """The readable runs of compressed or encrypted bytes in Latin-1, as a body parser shows binary."""
    raw = rng.randbytes(rng.randint(20, 400)).decode("latin-1")
    return "\n".join(re.findall(r"[\t\x20-\x7e\xa0-\xff]{2,}", raw))


def _utf16(rng: random.Random) -> str:
    """UTF-16 read byte by byte, or bytes read as UTF-16: letters between NULs, or rare letters in a row."""
    if rng.random() < 0.6:
        return primitives.sentence(rng).encode(rng.choice(("utf-16", "utf-16-le"))).decode("latin-1")
    return rng.randbytes(2 * rng.randint(4, 80)).decode("utf-16-le", "replace")


def _file_start(rng: random.Random) -> str:
    """The first bytes of an uploaded file, as text: a magic number, a little header, then noise."""
    magic = rng.choice(_MAGIC)
    noise = rng.randbytes(rng.randint(4, 200)).decode("latin-1")
    return magic + rng.choice(("", primitives.words(rng), "Created with GIMP\n")) + noise


def _document(rng: random.Random) -> str:
    """Several pieces of one kind after another: a page, a source file, a log; often seen from its middle on."""
    topic = rng.choice(_DOCUMENT_TOPICS)
    text = rng.choice(("\n", "\n", "\n\n", "\n    ", "\r\n", " ")).join(
        benign_grammar().draw(rng, topic) for _ in range(rng.randint(2, 6))
    )
    return text[rng.randrange(len(text)) // 2 :].lstrip(_CHAINS) if rng.random() < 0.4 else text


def _protobuf(rng: random.Random) -> str:
    """Tag, length, text: a protobuf-like message whose bytes are read as text."""
    out = bytearray()
    for _ in range(rng.randint(1, 12)):
        number = rng.randint(1, 31)
        if rng.random() < 0.3:
            out += bytes((number << 3 & 0xFF, rng.randrange(128)))
            continue
        draw = rng.choice((primitives.word, primitives.uuid4, primitives.url, primitives.alnum, primitives.words))
        value = draw(rng).encode()[:100]
        out += bytes(((number << 3 | 2) & 0xFF, len(value))) + value
    return out.decode("utf-8", "replace" if rng.random() < 0.7 else "ignore")


def _control_characters(rng: random.Random) -> str:
    """Words between control characters, as of terminals, scanners and old file formats."""
    marks = (*map(chr, range(32)), "\x1b[0m", "\x1b[31m", *"\x7f\x85\xa0\xad\u200b\u200e\u202e\u2028\ufeff")
    return "".join(primitives.benign_value(rng) + rng.choice(marks) for _ in range(rng.randint(1, 12)))


def _base64_blob(rng: random.Random) -> str:
    """Base64 in its alphabets: of random bytes, of one byte repeated, of short cycles, of sparse bit fields."""
    size = rng.randint(4, 300)
    style = rng.randrange(4)
    if style == 0:
        raw = rng.randbytes(size)
    elif style == 1:
        raw = bytes((rng.randrange(256),)) * size
    elif style == 2:
        raw = rng.randbytes(rng.randint(2, 9)) * (size // 4 + 1)
    else:
        raw = bytes(rng.randrange(256) if rng.random() < 0.12 else 0 for _ in range(size))
    text = (base64.urlsafe_b64encode if rng.random() < 0.4 else base64.b64encode)(raw).decode()
    if rng.random() < 0.25:
        text = text.translate(str.maketrans("+/=", rng.choice(("$-*", "*.~", "-$_", "!*-"))))
    if rng.random() < 0.15:
        text = "\n".join(text[start : start + 76] for start in range(0, len(text), 76))
    return text.rstrip("=") if rng.random() < 0.3 else text


def _repeated(rng: random.Random) -> str:
    """One short unit many times: padding, rulers, stuck keys, empty bit fields."""
    unit = rng.choice((primitives.letter, primitives.digit, primitives.letters, primitives.word, _symbol, _symbol))(rng)
    joiner = rng.choice(("", "", "", " ", ",", "|", ";"))
    return joiner.join([unit] * rng.randint(3, 120))


def _symbol(rng: random.Random) -> str:
    if rng.random() < 0.3:
        return rng.choice(("AAAA", "ff", "<>", "()", "--", "-=", "[]", "{}", "=="))
    return rng.choice("A=-_.*/#~+0\\'\"?!|;°•█░▪─═")


def _token(rng: random.Random) -> str:
    """A JSON Web Token or another dotted, signed token."""
    claims = {
        "sub": primitives.benign_value(rng),
        "exp": rng.randrange(2**31),
        primitives.ident(rng): primitives.words(rng),
    }
    parts = ({"alg": rng.choice(("HS256", "RS256", "ES256")), "typ": "JWT"}, claims)
    head = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    return f"{head}.{base64.urlsafe_b64encode(rng.randbytes(32)).decode().rstrip('=')}"


def _deflated(rng: random.Random) -> str:
    """A sign-on request or a state as it travels in a query: deflated, then base64; or what is seen of it unpacked."""
    topics = ("samldoc", "dlsaml", "dlsaml", "wsdoc", "json", "panelq")
    text = benign_grammar().draw(rng, rng.choice(topics)).encode()
    if rng.random() < 0.35:  # as forms carry it
        plain = base64.b64encode(text).decode()
        width, end = rng.choice((60, 64, 76)), rng.choice(("\n", "\r\n", "\\n"))
        broken = rng.random() < 0.35
        return end.join(plain[at : at + width] for at in range(0, len(plain), width)) if broken else plain
    packed = zlib.compress(text)
    raw = rng.choice((packed[2:-4], packed[2:-4], packed))
    if rng.random() < 0.15:
        return raw.decode("latin-1")
    return (base64.urlsafe_b64encode if rng.random() < 0.3 else base64.b64encode)(raw).decode()


def _query_in_json(rng: random.Random) -> str:
    """A body that holds a query, a filter or a message of some small language among its other members."""
    text = benign_grammar().draw(rng, "dialects")
    members: dict[str, object] = {primitives.ident(rng): primitives.benign_value(rng) for _ in range(rng.randint(0, 2))}
    members[rng.choice(("query", "filter", "expr", "q", "where", "search", "value", primitives.ident(rng)))] = text
    members |= {primitives.ident(rng): rng.choice((rng.randrange(100), True, None)) for _ in range(rng.randint(0, 2))}
    body = rng.choice((members, members, [members], {primitives.ident(rng): [members]}))
    return json.dumps(body, ensure_ascii=rng.random() < 0.5, separators=rng.choice((None, (",", ":"))))


def _escaped_slashes(rng: random.Random) -> str:
    """JSON, markup and addresses whose slashes a writer of JSON escaped, once or twice, often a piece of it."""
    topic = rng.choice(("purl", "json", "json", "appconfig", "blk", "utfield", "csp", "appconfig"))
    text = benign_grammar().draw(rng, topic).replace("/", "\\/")
    if rng.random() < 0.3:
        text = json.dumps(text, ensure_ascii=rng.random() < 0.5)[1:-1]
    return text[rng.randrange(len(text)) // 2 :] if rng.random() < 0.3 else text


def _svg_path(rng: random.Random) -> str:
    """Path data of a drawing: commands and coordinates."""
    steps = []
    for _ in range(rng.randint(2, 40)):
        count = rng.choice((1, 2, 2, 4, 6, 7))
        numbers = (f"{rng.uniform(-200, 200):.{rng.randint(0, 3)}f}" for _ in range(count))
        steps.append(rng.choice("MLHVCSQTAZmlhvcsqtaz") + rng.choice((" ", ",")).join(numbers))
    return rng.choice(("", " ")).join(steps)


def _hex_dump(rng: random.Random) -> str:
    """A hex dump with its text column, or colon-separated bytes."""
    if rng.random() < 0.5:
        return rng.randbytes(rng.randint(4, 60)).hex(rng.choice((":", " ", "-")))
    lines = []
    for row in range(rng.randint(1, 5)):
        raw = rng.randbytes(16)
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in raw)
        lines.append(f"{row * 16:08x}  {raw.hex(' ')}  |{shown}|")
    return "\n".join(lines)


def _hash(rng: random.Random) -> str:
    """A digest, a password hash or a signature in one of the usual spellings."""
    bits = rng.choice((16, 20, 32, 64))
    digest = rng.randbytes(bits).hex()
    blob = base64.b64encode(rng.randbytes(bits)).decode()
    return rng.choice((digest, digest.upper(), f"sha256-{blob}", f"$2y$10${blob[:53]}", f"sha1={digest}", f"0x{digest}",
                       f"$argon2id$v=19$m=65536,t=3,p=4${blob[:22]}${blob}", f"{{SSHA}}{blob}", f"md5:{digest[:32]}",
                       f"t={rng.randrange(2**31)},v1={digest}", f"{digest}:{rng.randrange(10**6)}"))  # fmt: skip


def _random_ascii(rng: random.Random) -> str:
    """A generated password, key or compressed token over all printable characters."""
    alphabet = string.ascii_letters + string.digits + "".join(rng.sample(string.punctuation, rng.randint(1, 32)))
    return "".join(rng.choices(alphabet, k=rng.randint(3, rng.choice((80, 80, 400)))))


_SENSOR_ALPHABETS = (
    string.printable[:94], string.printable[:94], string.printable[:95], string.printable[:94].replace('"', ""),
    string.ascii_lowercase + string.punctuation, string.ascii_letters + string.punctuation, string.printable[:94],
    string.ascii_lowercase + string.digits + "!#$%&()*+,-./:;<=>?@[]^_`{|}~",
    string.ascii_letters + string.digits + "!#$%&()*+,-./:;<=>?@[]^_`{|}~", string.printable[:94] + "\xa1\xa7\xb5\xdf",
    "".join(map(chr, range(33, 118))), "".join(map(chr, range(35, 127))), "".join(map(chr, range(0x21, 0x100))),
)  # fmt: skip


def _sensor_noise(rng: random.Random) -> str:
    """What anti-bot sensors, obfuscated states and base85 or base91 make: all printable characters, evenly mixed."""
    alphabet = rng.choice(_SENSOR_ALPHABETS)
    if rng.random() < 0.3:
        alphabet = "".join(rng.sample(alphabet, rng.randint(min(8, len(alphabet)), len(alphabet))))
    size = rng.choice((rng.randint(4, 30), rng.randint(30, 200), rng.randint(200, 600), _USUAL_CHARS))
    text = "".join(rng.choices(alphabet, k=size))
    style = rng.random()
    if style < 0.12:
        joiner = rng.choice((" ", ";", ",", "|", "~", ":", "-", ".", "&", "=", "==", "!", "$"))
        width = rng.randint(2, 40)
        return joiner.join(text[start : start + width] for start in range(0, len(text), width))
    if style < 0.3:
        head = rng.choice((f"{rng.randint(1, 9)};", "1~", f"{rng.randint(0, 9)}:", f"{primitives.alnum(rng)}==;",
                           f"{rng.randint(1, 9)};{rng.randint(0, 9)};{rng.randint(0, 9)};{rng.randint(0, 9)};",
                           f"{primitives.integer(rng)},", "a;", "$", "b!", f"{primitives.ident(rng)}="))  # fmt: skip
        return head + text
    return text


def _bang_cookie(rng: random.Random) -> str:
    """Few signs many times between short runs: counters and bit sets in a home-made base."""
    filler = rng.choice("!!!$#-_.*~")
    return "".join(
        filler * rng.randint(1, 7) + "".join(rng.choices(string.ascii_letters + "#$=<>[]'@%&+", k=rng.randint(0, 4)))
        for _ in range(rng.randint(2, 20))
    )


def _broken_letter(rng: random.Random) -> str:
    """A name or password whose letter with a mark was lost to an encoding: one stray character in it."""
    text = rng.choice((primitives.benign_value, primitives.alnum, primitives.first_name, primitives.letters))(rng)
    stray = rng.choice((chr(rng.randint(0x80, 0x9F)), chr(rng.randint(0x80, 0xFF)), "\ufffd", "\u2028", "\xad", "\xa0"))
    at = rng.randint(0, len(text))
    return text[:at] + stray + text[at:] + rng.choice(("", "", f".{rng.choice(('txt', 'pdf', 'jpg'))}"))


def _php_scalars(rng: random.Random) -> str:
    """PHP's serialization of numbers, texts and arrays, never of an object: a counter or a basket in a cookie."""

    def one(depth: int) -> str:
        style = rng.randrange(7 if depth < 3 else 5)
        if style == 0:
            return f"i:{primitives.integer(rng)};"
        if style == 1:
            return rng.choice(("b:0;", "b:1;", "N;", f"d:{primitives.decimal(rng)};"))
        if style < 5:
            text = rng.choice((primitives.word, primitives.ident, primitives.words, primitives.benign_value))(rng)
            return f's:{len(text.encode())}:"{text}";'
        count = rng.randint(0, 4)
        keys = (rng.choice((f"i:{index};", f's:{len(name)}:"{name}";'))
                for index, name in enumerate(primitives.ident(rng) for _ in range(count)))  # fmt: skip
        return f"a:{count}:{{{''.join(key + one(depth + 1) for key in keys)}}}"

    if rng.random() < 0.25:
        return f"{primitives.ident(rng)}|{one(1)}{primitives.ident(rng)}|{one(1)}"
    return one(0)


def _framework_state(rng: random.Random) -> str:
    """A signed session of Rails or Django, a view state of ASP.NET, a Flask cookie: base64 with a known beginning."""
    words = [primitives.ident(rng) for _ in range(rng.randint(1, 5))]
    if rng.random() < 0.5:
        texts = [text for word in words for text in (word, primitives.benign_value(rng))]
        raw = b"\x04\x08{" + bytes((len(words) + 5,)) + b"".join(map(_ruby_text, texts, range(len(texts))))
        text = base64.b64encode(raw).decode()
        return text + rng.choice(("", "--" + rng.randbytes(20).hex()))
    if rng.random() < 0.5:
        raw = b"\xff\x01\x0f\x0f\x05" + b"".join(bytes((5, len(word))) + word.encode() for word in words)
        return base64.b64encode(raw + rng.randbytes(20)).decode()
    body = json.dumps({word: primitives.benign_value(rng) for word in words}, separators=(",", ":")).encode()
    text = base64.urlsafe_b64encode(body).decode().rstrip("=")
    return f"{text}{rng.choice('.:')}{primitives.alnum(rng)}{rng.choice('.:')}{primitives.alnum(rng)}"


def _ruby_text(text: str, index: int) -> bytes:
    raw = text.encode()[:100]
    return b'I"' + bytes((len(raw) + 5,)) + raw + (b"\x06;\x00T" if index else b"\x06:\x06ET")


def _packed(rng: random.Random) -> str:
    """Text compressed into characters of the whole basic plane, as lz-string does for a browser's storage."""
    points = (rng.choice((rng.randint(0x20, 0x7E), rng.randint(0xA1, 0xD7FF), rng.randint(0xA1, 0xD7FF)))
              for _ in range(rng.randint(5, 120)))  # fmt: skip
    return "".join(map(chr, points))


def _script_text(rng: random.Random) -> str:
    """Random letters of one Unicode block, with punctuation: any language a model never saw."""
    first, last = rng.choice(((0x0400, 0x045F), (0x0370, 0x03CE), (0x05D0, 0x05EA), (0x0620, 0x064A), (0x0905, 0x0939),
                              (0x0E01, 0x0E2E), (0x3041, 0x3096), (0x30A1, 0x30FA), (0x4E00, 0x9FA5), (0xAC00, 0xD7A3),
                              (0x0531, 0x0556), (0x10D0, 0x10F0), (0xC0, 0x17F), (0x1F300, 0x1F64F)))  # fmt: skip
    sizes = [rng.randint(1, 8) for _ in range(rng.randint(1, 14))]
    words = ["".join(chr(rng.randint(first, last)) for _ in range(size)) for size in sizes]
    return rng.choice((" ", " ", ", ", "、", "-", "' ", '" ')).join(words) + rng.choice(" .!？。…")


def _mojibake(rng: random.Random) -> str:
    """Text of another alphabet that was read in the wrong encoding, or lost its bytes as percent signs."""
    text = _script_text(rng)
    if rng.random() < 0.5:
        return text.encode().decode("latin-1")
    return "".join(f"%{byte:02X}" for byte in text.encode())[: rng.randint(6, 300)]


def _json_tree(rng: random.Random) -> str:
    """A nested JSON document of random shape."""

    def tree(depth: int) -> object:
        style = rng.randrange(9 if depth < 4 else 6)
        if style > 6:
            return {primitives.ident(rng): tree(depth + 1) for _ in range(rng.randint(0, 4))}
        if style == 6:
            return [tree(depth + 1) for _ in range(rng.randint(0, 4))]
        leaves = (rng.randrange(10**6), rng.random() < 0.5, None, primitives.benign_value(rng), primitives.url(rng),
                  primitives.sentence(rng))  # fmt: skip
        return leaves[style]

    root = {primitives.ident(rng): tree(1) for _ in range(rng.randint(1, 6))}
    indent = 2 if rng.random() < 0.15 else None
    return json.dumps(root, indent=indent, separators=rng.choice((None, (",", ":"))))


_SHAPES: tuple[Shape, ...] = (
    _compressed, _compressed, _utf16, _file_start, _document, _document, _document, _document,
    _bytes_as_text, _printable_runs, _protobuf, _protobuf, _control_characters, _base64_blob,
    _base64_blob, _packed, _packed, _random_ascii, _repeated, _token, _svg_path, _hex_dump, _hash, _random_ascii,
    _script_text, _script_text,
    _mojibake, _json_tree, _json_tree,
    *(_sensor_noise,) * 14, _bang_cookie, _broken_letter, _broken_letter, _php_scalars, _php_scalars, _php_scalars,
    _framework_state, _framework_state, _deflated, _deflated, _deflated,
    *(_escaped_slashes,) * 5, *(_query_in_json,) * 5,
)  # fmt: skip
