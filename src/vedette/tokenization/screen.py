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
_DOTS = re.compile(
    r"\.\.(?<![A-Za-z0-9.]..)(?!\.)|\.\.(?<!\...)(?![A-Za-z0-9.]|\Z)|\.{4}|\.{3}(?=[/\\])"
)  # three dots are an ellipsis unless a slash follows
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
    r"|py\b|rb\b|cmd|ps1|swf|axd|cdx|scr|vbhtm|ctp|cshtm|stm|pgif|dbm|jsw)"
)
# How serialised objects begin in base64 and hexadecimal: Java, pickle protocols 0 and 2-5, .NET and its view state,
# gzip, Ruby Marshal.
_SERIALISED = re.compile(
    r"(?:rO0|/wEy|Y3Bvc2l4|gA[IJMNQRSTUVWX]|AAEAAAD|H4sI|BAh|aced0005|ACED0005|800[2-5])[A-Za-z0-9+/_\-]{8}"
)
# A plain outside URL is knowledge about the site, not an attack: a host name under letters, path and query of words.
_PLAIN_URL = re.compile(
    r"https?://(?:[A-Za-z0-9\-]+\.)+[A-Za-z]{2,18}(?::\d{2,5})?"
    r"(?P<rest>(?:/[\w\-.~/*!+@,:=]*)?(?:\?[\w\-.=&~,:/!+@\[\] ]*)?(?:#[\w\-./=&]*)?)\Z"
)
_PATH = re.compile(r"[A-Za-z0-9_\-~@!,+=:./*\u00a0-\U0010ffff]*\Z")
_OF_PATHS = frozenset("config conf cfg log logs dev tmp javascript".split())
_PLACES_OF_PATHS, _FILES_OF_PATHS = PLACES - _OF_PATHS, FILES - _OF_PATHS
_SECOND_HOST = re.compile(r"\?@|[@#][\w\-]*\.")
# Behind an ampersand no word without a value and no space, which a shell would run, nor an option of a client.
_COMMAND = re.compile(r"&(?![\w.\-\[\]]+=)|&[^&]* |\s-{1,2}[A-Za-z]")
# A script or text for the server to fetch and run, as remote file inclusion wants it.
_INCLUDED = re.compile(
    r"\?\Z|\.(?:php\d?|phtml|txt|inc|aspx?|jspx?|cgi|pl|py|sh|exe|bat|ps1)\Z|\.(?:ph(?:ar|tm)|hta|vbs|war|ashx|cfm|exe)\b|\.php\d?[#/.]|[?&](?:cmd|exec|command)=",
    re.IGNORECASE,
)
_PAIR = re.compile(r"[A-Za-z_][\w.\-\[\]]*=")
_NAME = re.compile(r"[A-Za-z0-9_.:/\-\[\]\u00c0-\U0010ffff]*\Z")
# Names that reach what no argument should: prototypes, globals, what a driver loads on connecting.
_DANGEROUS_NAME = re.compile(
    r"proto|construct|classloader|__|globals|_(?:session|server|env|files)\b|deserialize|infile|interceptor|factory"
    r"|trusted_connection|integrated",
    re.IGNORECASE,
)
_SEPARATOR = re.compile(r"[&;]")
# Letters of scripts that are no attack's.
_LETTER = r"[\u00c0-\u167f\u1681-\u180d\u180f-\u1fff\u3040-\u3096\u30a1-\u30fa\u4e00-\u55ff\u5640-\ud7ff]"
# Signs that cannot begin anything: quotes within a word, bars and semicolons before a number or such a letter, bytes
# spelled as $15, a GUID's braces; the punctuation of JSON where it stands as JSON has it, of a query between its pairs.
_HEX = "[0-9A-Fa-f]"
_PROPERTY = r"-{0,2}[a-z][a-z\-]{1,40}"  # of a style sheet
_AGENT = r"(?=(?:Windows NT|Macintosh;|X11;|Linux;|iPhone;|iPad;|compatible;|KHTML,))"  # of a browser
_COMMANDS = (
    "Dir|Ver|Set|Path|Tree|Vol|Type|Net|Netstat|Task\\w*|Hostname|Reg|Arp|Route|Query|Driverquery|Schtasks|Wmic|Cmd|Start"
    "|Calc|Notepad|Find\\w*|More|Sort|Msg|Echo|Copy|Del|Move|Ren|Assoc|Attrib|Gpresult|Getmac|Tracert|Nbtstat|Runas"
)
_FUNCTIONS = ("rgb", "rgba", "hsl", "hsla", "calc", "scale", "rotate", "translate", "translateX", "translateY")
_CALM = re.compile(
    "|".join(
        (
            rf"\"(?={_LETTER})(?<={_LETTER}\")|'(?={_LETTER})(?<={_LETTER}')",
            *(rf"{bar}(?=-?\d[\d:_.,\-]*(?:[|;]|\Z)| ?{_LETTER})" for bar in (r"\|", ";")),
            # Bars of titles and of tokens: no command begins with a capital or has a number in so long a word.
            rf"\|(?= [A-Z][a-z]{{2,}})(?! (?:{_COMMANDS})\b)|\|(?=[A-Za-z0-9=_\-]{{10,}}(?:\||\Z))(?=[^|]*\d)",
            r"'(?<=[A-Za-z].)(?=(?:s|m|t|re|ve|ll|d)\b)|'(?<=[OoDdLl].)(?<![A-Za-z]..)(?=[A-Z][a-z])",
            rf"\({_AGENT}(?:[\w .,:/\-]|; (?=[A-Z]|x64|rv:|wv|arm))*\)",
            r";(?=[A-Za-z_~][\w~]{0,24}=[^\s;&|'\"`$<>(){}\\]{0,200}(?:;|\Z))",
            r"\$[0-9A-F]{2}(?![\w(){])",
            r"/(?<=\w/)/+(?=[\w+\-]+(?:[/,;|~=]|\Z))",
            rf"\{{(?={_HEX}{{8}}-(?:{_HEX}{{4}}-){{3}}{_HEX}{{12}}\}})|\}}(?<=-{_HEX}{{12}}\}})",
            *(
                rf"{quote}[\]}}\s]*[,:][\s\[{{]*(?:\\?\"(?![\s>=+|])|(?=[0-9\-\]}}]|(?:true|false|null)\b|\Z))"
                for quote in (r"\"", r"\\\"")
            ),
            *(rf"{quote}[\]}}]+(?=[,\]}}]|\Z)" for quote in (r"\"", r"\\\"")),
            r"\"(?=[\w@\u00a0-\uffff])(?<=[\[{,:]\")|\\\"(?=[\w@\u00a0-\uffff])(?<=[\[{,:]\\\")",
            r"\[[\[{]*(?=[\"\[{])|\{(?!\{)[\[{]*(?=[\"\[{])|\][\]}]*(?=[\]},])|\}[\]}]*(?=[\]},])",
            r"&if(?==(?:true|false)(?:&|\Z))",  # of the most common tracker; else a condition
            r"&(?=[A-Za-z_][\w.\-\[\]]{0,40}=[^\s&]{0,200}(?:&|\Z))",
            # What stands between words of such a script, and between the words of a date.
            rf"'{_LETTER}[^'\"=<>(){{}};&|`]{{0,64}}{_LETTER}'(?=[\s,.|!?]|\Z)",
            rf"\({_LETTER}[^'\"=<>(){{}};&|`]{{0,64}}\)|\([A-Z][a-z]+(?:[ +][A-Z][a-z]+){{1,4}}\)",
            # Between numbers, and in a run of letters that is too long for a command.
            r";(?<=[\d.,];)(?=-?\d+(?:\.\d+)?[,;|:])|[*|](?<=[0-9a-z_.].)(?=\d[0-9a-z]{0,6}[,*|:])",
            r"\$(?<=[A-Za-z0-9+\-$]{16}.)(?=[A-Za-z0-9+\-$]{16})|%(?<=\d.)(?=[\s;,)]|\Z)",
            # Declarations of a style sheet, names of its classes, sources of a picture, blanks around words.
            rf";(?:\r?\n[ \t]{{2,}})?(?= ?{_PROPERTY}: ?[\w.#\-])|#(?<=: .)(?=[0-9a-fA-F]{{3,8}}\b)",
            rf"\{{(?<=[\w\]].)(?=\s*{_PROPERTY}: ?[\w.#\-][^{{}}<>();\"'`$]{{0,80}}[;}}])",
            r"\}(?=\s{0,8}[.#@]?[A-Za-z][\w\- .,#:>]{0,80}\{)|\}(?<=;.|\d.)(?=\s*\Z)",
            rf"\((?:{'|'.join(rf'(?<={name}.)' for name in _FUNCTIONS)})(?=[\d .,%+*/\-]+\))|\)(?<=[\d%].)",
            r"__(?<=[a-z0-9]__)(?=[a-z])|//(?<=, //)(?=[\w.\-]+/)",
            rf"[\r\n\t]+(?= {{2,}}(?:[A-Z0-9]|{_LETTER}|{_PROPERTY}: ))",
            # The boundary of a form (RFC 2046), and the signature behind a signed cookie.
            r"; boundary=-{2,}(?=\w+\Z)|--(?<=[A-Za-z0-9+/=]{16}..)(?=[0-9a-f]{40,64}\Z)",
            # Placeholders of URI templates (RFC 6570), subscripts by plain names.
            r"\{[a-z]+(?:_[a-z]+){1,4}\}|\[[\w.\-]*\](?=[=&\[,\s]|\Z)",
        )
    )
)
# Declarations of a style sheet, as elements and recorders of sessions carry them.
_STYLE_VALUE = (
    r"(?:(?:rgba?|hsla?|calc|var|min|max|clamp|translate\w*|scale\w*|rotate\w*|matrix\w*|blur)"
    r"\((?:[\w .,%+*/\-]|\([\w .,%+*/\-]*\))*\)|[\w .,%#+!\-])+"
)
_DECLARATIONS = re.compile(rf"(?: *{_PROPERTY}: ?{_STYLE_VALUE}(?:;|\Z))+\Z")
# What ends a string of JSON, adds an option, or sends to another host in a way that only an attacker writes.
_BREAKS_OUT = re.compile(r"\s*(?:\\?[\"']\s*[\]},]|-|/https?:|https?:\\)")
_JSON_HEAD = re.compile(r"\s*[\[{]")
_QUOTED = re.compile(rf"\"(?!{_LETTER})|(?<!{_LETTER})\"")
_HOST_OF_URL = re.compile(
    r"https?:(?:\\?/){2}(?:[A-Za-z0-9\-]+\.)+[A-Za-z]{2,18}(?=[/?#&\"'\s,\\|]|\Z)(?!\?@|\s@|[^/?#\s\"]{0,200}@)"
)
_NEVER_CALM = re.compile(
    r"[^A-Za-z0-9_ .,:+@=~/!?\-\"'|;${}\[\]&\\\u00a0-\U0010ffff\s()*%#]|\{\{|\s-{1,2}[A-Za-z]"  # templates, options
)
_INSIDE_HOST = re.compile(
    r"localhost|internal|metadata|\.local|nip\.io|xip\.io|sslip|oast|burpcollab|interact|intranet|kubernetes|spoofed|vcap|rbndr|rebind"
    r"|localtest|lacolhost|lvh\.me|1u\.ms|\.corp\b|\.lan\b|\d\.\d+\.\d"
)


def is_inert(text: str, location: str = "", *, whole: bool = True) -> bool:
    """True if no attack can be spelled in `text`, a value at `location`. Linear in its length.

    Not `whole`: a piece of a value, or a long one. Prose, pairs and the signs of JSON are told by the whole of a short
    value only; in a long one `hot_spots` leaves such signs out one by one.
    """
    if whole and text.endswith("  "):  # of a page's layout; a lone line break may be meant
        text = text.rstrip()
    if is_loaded(text):
        return False
    if _WORD.match(text) or (location == "path" and _is_plain_path(text)):
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
    if _NEVER_CALM.search(text) or _BREAKS_OUT.match(text) or _DANGEROUS_NAME.search(text):
        return False
    if _QUOTED.search(text) and not _JSON_HEAD.match(text):  # a value that has left the string it was put into
        return False
    plain = _calmed(text)
    return plain != text and not _INCLUDED.search(text) and not _has_sign(plain) and not has_words(plain)


def _is_style(text: str) -> bool:
    return ";" in text and _DECLARATIONS.match(text) is not None and not _COMPANY.search(text) and not has_words(text)


def _calmed(text: str) -> str:
    """Return `text` with what cannot begin anything replaced, of the same length."""
    return _CALM.sub(_commas, _HOST_OF_URL.sub(_letters, text) if "://" in text or ":\\/" in text else text)


def _commas(match: re.Match[str]) -> str:
    text = match[0]
    if text[0] in "'([" and len(text) > 2 and text[1] not in "[{":  # a phrase: what is in it still counts
        return f",{text[1:-1].replace(';', ',')},"
    return "," * len(text)


def _letters(match: re.Match[str]) -> str:
    return match[0] if _INSIDE_HOST.search(match[0].lower()) else "u" * len(match[0])


def is_loaded(text: str) -> bool:
    """True if `text` begins as a serialised object does, or is one word that is an attack by itself."""
    if _SERIALISED.match(text):
        return True
    if not _WORD.match(text):
        return False
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
    if _INSIDE_HOST.search(text[: match.start("rest")].lower()):
        return False
    if (" " in rest or "+" in rest) and has_words(rest):
        return False
    low = rest.lower()
    path, _, query = low.partition("?")
    if not PLACES.isdisjoint(words_of(query)) or not _PLACES_OF_PATHS.isdisjoint(words_of(path)):
        return False
    return not any(part in low for part in _DUNDERS)


def is_inert_name(text: str) -> bool:
    """True if no attack can be spelled in `text`, a name that the client chose."""
    if not _NAME.match(text):
        return False
    return not (_DANGEROUS_NAME.search(text) or is_loaded(text) or _has_sign(text) or has_words(text))


def hot_spots(text: str, join: int = 0) -> list[tuple[int, int]]:
    """Ranges of `text` that are not inert, in order: where to look in a long value.

    Spots at most `join` characters apart make one range, so that a text of nothing but signs gives a short list.
    """
    text = _calmed(text.rstrip() if text.endswith("  ") else text)
    low = text.lower() if text.isascii() else text.casefold()
    if len(low) != len(text):  # a few characters fold to two; then read case as it stands
        low = text
    patterns = [_SIGNS, _COMPANY]
    patterns += [pattern for mark, pattern in (("..", _DOTS), (":", _COLON)) if mark in text]
    if not text.isascii():
        patterns.append(_WIDE)
    spots = [spot for pattern in patterns for spot in _joined(_spans(pattern, text), join)]
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
