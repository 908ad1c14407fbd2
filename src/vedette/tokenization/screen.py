"""The screen: which text need not be read by the model, because no attack can be spelled in it.

A text is inert if it holds no sign outside a small neutral alphabet and none of a set of words. How that is proven:
every grammar that Vedette generates attacks from, and every attack collection it is trained on, is run against the
screen; training counts the attacks that it would swallow and writes the count into the manifest, and a test holds the
generators to it (docs/screen.md). The screen decides nothing about the text that passes: the model does.

Cost: one pass with a character class, and a second over the words only where the first found nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from vedette.tokenization.screen_signs import INSIDE_HOST, LETTER, calmed, is_style
from vedette.tokenization.screen_words import (
    FILES,
    PLACES,
    has_address,
    has_words,
    is_prose,
    word_spots,
    words_of,
)

# One word of letters, digits, dashes, underscores and single dots: identifiers, numbers, versions, most cookie values.
_WORD = re.compile(r"[A-Za-z0-9_\-]+(?:\.[A-Za-z0-9_\-]+)*\Z")
# Neutral: signs that separate the parts of prose, numbers, dates, paths and pairs, and letters of any script.
_SIGNS = re.compile(r"[^A-Za-z0-9_ .,:+@=~/!?\-\u00a0-\U0010ffff]+")
_NEUTRAL = re.compile(r"[A-Za-z0-9_ .,:+@=~/!?\-\u00a0-\U0010ffff]*\Z")
# Neutral signs that are none in company: "--", "//", "@@", "__" belong to SQL, URLs and Python, "~/", "/??" and "!!a"
# to homes, globs and YAML's tags. Each alternative begins with a letter of its own, which `re` looks for first.
_COMPANY = re.compile(r"--|//|@@|__|0x2[ef]|~/|/\?\?|!![a-z]")
# SQL and Python need more signs than a path of words has, another host one of these behind its slashes.
_PATH_COMPANY = re.compile(
    r"//(?:(?<=:..)|(?=[^/]*(?:[.@:]|0x|\d{4})))|@@|0x2[ef]|(?<!/)~/|~/\.|/\?\?|!![a-z]|/\*|\*/|\*\*|/\.(?!well-known/)[a-z]"
)
# Two dots, unless they stand behind a letter or digit and before another or the end; three are an ellipsis unless a
# slash follows.
_DOTS = re.compile(r"\.\.(?<![A-Za-z0-9.]..)(?!\.)|\.\.(?<!\...)(?![A-Za-z0-9.]|\Z)|\.{4}|\.{3}(?=[/\\])")
_COLON = re.compile(r"\b[A-Za-z]:/|[Hh][Tt]{2}[Pp][Ss]?:(?!//)|:\w+@")  # drives, a host without slashes, userinfo
# Full-width and other forms of ASCII signs, characters whose low byte is a line break or < or >, kana like slashes.
_WIDE = re.compile(
    r"[\uff00-\uffef\u2024-\u2044\u2215\u2216\u560a\u560d\u563c\u563e\u3031-\u3035\u309d]"
    r"|\u010d\u010a|\u3002(?=[A-Za-z0-9])|\u30fc\u30fc"
)
# A single word can still be a serialised object, an address, an attribute of Python's or a dangerous name.
_LOADED_STARTS = (
    "org.apache.",
    "org.spring",
    "java.",
    "javax.",
    "com.sun.",
    "typeconfuse",
    "crossdomain",
    "ro0ab",
    "aaeaaad",
    "gasv",
    "gasw",
    "h4sia",
    "aced0005",
    "04086f3a",
)
_DUNDERS = ("__class", "__init", "__glob", "__subc", "__base", "__mro", "__impo", "__buil")
_LOADED_DOTS = re.compile(
    r"(?:\A|[^a-z0-9])(?:(?:\d{1,3}|0\d*)\.){3}(?:\d{1,3}|0\d*)(?!\d)"
    r"|\.(?:p?ph|as|js|exe|ht|env|git|svn|ini|conf|internal|nip|xip|sslip|sh|cgi|ba(?:[tks]|sh|ckup)?\b|cer|cf|pl\b|war|vbs|properties|bak|sql|log"
    r"|py\b|rb\b|cmd|ps1|swf|axd|cdx|scr|vbhtm|vb[es]\b|wss|ctp|cshtm|stm|pgif|dbm|jsw|(?:cpl|msc|xll|ws[chf]|sct|scf|lnk|appref-ms)\b)"
)
# How serialised objects begin in base64 and hexadecimal: Java, pickle protocols 0 and 2-5, .NET and its view state,
# gzip, Ruby Marshal, PHP.
_SERIALISED = re.compile(
    r"(?:rO0|/wEy|Y3Bvc2l4|KG[RxlN]wM|gA[IJMNQRSTUVWX]|AAEAAAD|H4sI|BAh|Tzo[xyz0-5]|aced0005|ACED0005|800[2-5]"
    r"|28[67][0-9a-f]70300a)[A-Za-z0-9+/_\-]{8}"
)
_SERIALISED_STARTS = frozenset("r/YKgAHBTa82")
_MAX_PREFIX = 64  # characters up to an equals sign behind which an object may begin
# A plain outside URL is knowledge about the site, not an attack: a host name under letters, path and query of words.
_PLAIN_URL = re.compile(
    r"https?://(?:[A-Za-z0-9\-]+\.)+[A-Za-z]{2,18}(?::\d{2,5})?"
    r"(?P<rest>(?:/[\w\-.~/*!+@,:=]*)?(?:\?[\w\-.=&~,:/!+@\[\] ]*)?(?:#[\w\-./=&]*)?)\Z"
)
_PATH = re.compile(r"[A-Za-z0-9_\-~@!,+=:./*\u00a0-\U0010ffff]*\Z")
_FILES_OF_PATHS = FILES - frozenset(("dev", "tmp", "javascript"))
_PLACES_OF_URLS = PLACES - frozenset("config conf cfg log logs dev tmp javascript".split())
_SECOND_HOST = re.compile(r"\?@|[@#][\w\-]*\.")
# Behind an ampersand no word without a value and no space, which a shell would run, nor an option of a client.
_COMMAND = re.compile(r"&(?![\w.\-\[\]]+=)|&[^&]* |\s-{1,2}[A-Za-z]")
# A script or text for the server to fetch and run, as remote file inclusion wants it.
_INCLUDED = re.compile(
    r"\?\Z|\.(?:php\d?|phtml|txt|inc|aspx?|jspx?|cgi|pl|py|sh|exe|bat|ps1)\Z|\.(?:ph(?:ar|tm)|hta|vbs|war|ashx|cfm|exe)\b|\.php\d?[#/.]|[?&](?:cmd|exec|command)=",
    re.IGNORECASE,
)
_PAIR = re.compile(r"[A-Za-z_][\w.\-\[\]]*=")
_HASH = re.compile(r"(?<=[A-Za-z])#(?=[A-Za-z])")  # in names of cookies; alone it can only cut a statement short
_ACTION = re.compile(r"(?:action|method|redirect\w*):")  # of Struts
_NAME = re.compile(r"[A-Za-z0-9_.:/\-\[\]\u00c0-\U0010ffff]*\Z")
# Names that reach what no argument should: prototypes, globals, what a driver loads on connecting.
_DANGEROUS_NAME = re.compile(
    r"proto|construct|classloader|__|globals|_(?:session|server|env|files)\b|deserialize|infile|interceptor|factory"
    r"|trusted_connection|integrated",
    re.IGNORECASE,
)
_DANGEROUS_PART = re.compile(r"[\[.]\w{0,24}(?:proto(?!col)|construct|classloader)", re.IGNORECASE)
# What clients send with each request: media ranges (a type begins with a letter: RFC 6838 section 4.2) and quoted
# words, in which words and dots still count, and what browsers send word by word, with brands that hold odd signs.
_MEDIA = (
    r"(?:\*/\*|[A-Za-z][A-Za-z0-9+\-]{0,32}/(?:\*|[A-Za-z][A-Za-z0-9.+\-]{0,64}))"
    r"(?: ?; ?[A-Za-z]{1,16}=[A-Za-z0-9.\-]{1,32})*"
)
_VERSIONED = r"(?:;v=\"[0-9.]{1,24}\")?"
_QUOTED_WORD = rf"\"(?:[A-Za-z0-9][A-Za-z0-9 .]{{0,40}}|)\"{_VERSIONED}"
_OF_CLIENT = re.compile(rf"(?:{_MEDIA}(?:, ?{_MEDIA})*|{_QUOTED_WORD}(?:, ?{_QUOTED_WORD})*)\Z")
_BRAND = (
    r"\"(?:Chromium|Google Chrome|Microsoft Edge(?: WebView2)?|Opera(?: GX)?|Brave|Vivaldi|YaBrowser|Yandex"
    r"|HeadlessChrome|Android WebView|Samsung Internet| ?\(?Not[ ()\-./:;=?_][A ][()\-./:;=?_A]?;?Brand)\"" + _VERSIONED
)
_WORD_BY_WORD = re.compile(
    rf"(?:{_BRAND}(?:, ?{_BRAND})*|\"(?:Windows|macOS|Linux|Android|iOS|Chrome OS|Chromium OS)\""
    r"|application/json, text/javascript, \*/\*; q=0\.01)\Z"
)
# Names of cookies that begin like Python's attributes and are none: __utma, __Secure-id, __cf_bm.
_OF_COOKIE = re.compile(
    r"__(?!proto|constr|class|init|glob|subc|base|mro|impo|buil|dict|doc|schema|typename|name|module|code|func|self)"
    r"[a-z0-9]+(?:[_\-][a-z0-9]+)*\Z",
    re.IGNORECASE,
)
_SEPARATOR = re.compile(r"[&;]")
# What ends a string of JSON, adds an option, or sends to another host in a way that only an attacker writes.
_BREAKS_OUT = re.compile(r"\s*(?:\\?[\"']\s*[\]},]|-|/https?:|https?:\\)")
# An attribute that a page would obey.
_ATTRIBUTE = re.compile(r"[\s\"'/](?:on[a-z]{3,24}|formaction|srcdoc)\s*=", re.IGNORECASE)
_JSON_HEAD = re.compile(r"\s*[\[{]")
_QUOTED = re.compile(rf"\"(?!{LETTER})|(?<!{LETTER})\"")
_NEVER_CALM = re.compile(
    r"[^A-Za-z0-9_ .,:+@=~/!?\-\"'|;${}\[\]&\\\u00a0-\U0010ffff()*%#]|\{\{|\s-{1,2}[A-Za-z]"  # templates, options
)


def is_inert(text: str, location: str = "", *, whole: bool = True) -> bool:
    """True if no attack can be spelled in `text`, a value at `location`. Linear in its length.

    Not `whole`: a piece of a value, or a long one. Prose, pairs and the signs of JSON are told by the whole of a short
    value only; in a long one `hot_spots` leaves such signs out one by one.
    """
    if whole and text.endswith("  "):  # of a page's layout; a lone line break may be meant
        text = text.rstrip()
    if _begins_serialised(text):
        return False
    if _WORD.match(text):
        return not _is_loaded_word(text)
    if location == "path" and _is_plain_path(text):
        return True
    if (
        location == "header"
        and whole
        and (_WORD_BY_WORD.match(text) or (_OF_CLIENT.match(text) and not has_words(text) and not _has_mark(text)))
    ):
        return True
    if not _has_sign(text):
        return not has_words(text) or (whole and is_prose(text))
    return _is_plain_url(text) or (whole and (_is_pairs(text) or _is_calm(text) or _is_style(text)))


def _has_sign(text: str) -> bool:
    return not _NEUTRAL.match(text) or _COMPANY.search(text) is not None or _has_mark(text)


def _has_mark(text: str) -> bool:
    return (
        (".." in text and _DOTS.search(text) is not None)
        or (":" in text and _COLON.search(text) is not None)
        or (not text.isascii() and _WIDE.search(text) is not None)
    )


def _is_plain_path(text: str) -> bool:
    if not _PATH.match(text) or _PATH_COMPANY.search(text) or _has_mark(text):
        return False
    low = text.lower()
    if any(part in low for part in _DUNDERS):
        return False
    if "+" in text or "=" in text or ":" in text:  # for a space, an attribute, a scheme
        return not has_words(text)
    if has_address(text):
        return False
    return _FILES_OF_PATHS.isdisjoint(words_of(low))


def _is_pairs(text: str) -> bool:
    """True for ``a=1&b=2`` or ``a=1;b=2`` of inert values: a server reads them one by one."""
    sign = _SEPARATOR.search(text)
    if not sign or not _PAIR.match(text):
        return False
    for pair in text.split(sign[0]):
        name = _PAIR.match(pair)
        if name is None:
            if pair:
                return False
            continue
        value = pair[name.end() :]
        if _DANGEROUS_NAME.search(name[0]):
            return False
        if value and (" " in value or _has_sign(value) or not is_inert(value)):
            return False
    return True


def _is_calm(text: str) -> bool:
    if _NEVER_CALM.search(text) or _BREAKS_OUT.match(text) or _DANGEROUS_NAME.search(text) or _ATTRIBUTE.search(text):
        return False
    if _QUOTED.search(text) and not _JSON_HEAD.match(text):  # a value that has left the string it was put into
        return False
    plain = calmed(text)
    return plain != text and not _INCLUDED.search(text) and not _has_sign(plain) and not has_words(plain)


def _is_style(text: str) -> bool:
    return is_style(text) and not _COMPANY.search(text) and not has_words(text)


def is_loaded(text: str) -> bool:
    """True if `text` begins as a serialised object does, or is one word that is an attack by itself."""
    return _begins_serialised(text) or (_WORD.match(text) is not None and _is_loaded_word(text))


def _begins_serialised(text: str) -> bool:
    if text[:1] in _SERIALISED_STARTS and _SERIALISED.match(text):
        return True
    start = text.find("=", 0, _MAX_PREFIX) + 1
    return start > 0 and text[start : start + 1] in _SERIALISED_STARTS and _SERIALISED.match(text, start) is not None


def _is_loaded_word(text: str) -> bool:
    low = text.lower()
    if "." in low and _LOADED_DOTS.search(low):
        return True
    if len(low) < 8:
        return False
    if "proto" in low or "construct" in low or "passwd" in low or "localhost" in low or "classloader" in low:
        return True
    return low.startswith(_LOADED_STARTS) or ("__" in low and any(part in low for part in _DUNDERS))


def _is_plain_url(text: str) -> bool:
    match = _PLAIN_URL.match(text)
    if not match:
        return False
    rest = match["rest"]
    if _DOTS.search(rest) or "//" in rest or has_address(rest):
        return False
    if any(pattern.search(rest) for pattern in (_SECOND_HOST, _INCLUDED, _COMMAND)):
        return False
    if INSIDE_HOST.search(text[: match.start("rest")].lower()):
        return False
    if (" " in rest or "+" in rest) and has_words(rest):
        return False
    low = rest.lower()
    path, _, query = low.partition("?")
    if not PLACES.isdisjoint(words_of(query)) or not _PLACES_OF_URLS.isdisjoint(words_of(path)):
        return False
    return not any(part in low for part in _DUNDERS)


def is_inert_name(text: str, location: str = "") -> bool:
    """True if no attack can be spelled in `text`, a name that the client chose."""
    if location == "cookie" and _OF_COOKIE.match(text):
        return True
    if "#" in text:
        text = _HASH.sub("_", text)
    if not _NAME.match(text) or _ACTION.match(text):
        return False
    return not (_DANGEROUS_NAME.search(text) or is_loaded(text) or _has_sign(text) or has_words(text))


def hot_spots(text: str, join: int = 0) -> list[tuple[int, int]]:
    """Ranges of `text` that are not inert, in order: where to look in a long value.

    Spots at most `join` characters apart make one range, so that a text of nothing but signs gives a short list.
    """
    whole = text.rstrip() if text.endswith("  ") else text
    text = calmed(whole)
    low = text.lower() if text.isascii() else text.casefold()
    if len(low) != len(text):  # a few characters fold to two; then read case as it stands
        low = text
    patterns = [_SIGNS, _COMPANY]
    patterns += [pattern for mark, pattern in (("..", _DOTS), (":", _COLON), ("=", _ATTRIBUTE)) if mark in text]
    if not text.isascii():
        patterns.append(_WIDE)
    spots = [spot for pattern in patterns for spot in _joined(_spans(pattern, text), join)]
    if "proto" in low or "construct" in low or "classloader" in low:
        spots += _joined(_spans(_DANGEROUS_PART, whole), join)
    spots += [spot for run in word_spots(low) for spot in _joined(run, join)]
    spots.sort()
    return _joined(spots, join)


def _spans(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    return (match.span() for match in pattern.finditer(text))


def _joined(spots: Iterable[tuple[int, int]], join: int) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    start, end = -1, -1
    for low, high in spots:
        if end < 0:
            start, end = low, high
        elif low - end > join:
            ranges.append((start, end))
            start, end = low, high
        elif high > end:
            end = high
    if end >= 0:
        ranges.append((start, end))
    return ranges
