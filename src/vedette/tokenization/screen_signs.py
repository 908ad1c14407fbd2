"""The signs of the screen that begin nothing where they stand: they are told by their neighbours and left out.

A rule may look at what stands beside a sign, and nowhere else; what it leaves out is replaced, so that the words and
the other signs of a text still count. Every rule is linear: it is tried once for each sign, looks at a bounded stretch
or takes what it has looked at.
"""

from __future__ import annotations

import re

# Letters of scripts that are no attack's.
LETTER = r"[\u00c0-\u167f\u1681-\u180d\u180f-\u1fff\u3040-\u3096\u30a1-\u30fa\u4e00-\u55ff\u5640-\ud7ff]"
_HEX = "[0-9A-Fa-f]"
_PROPERTY = (  # of a style sheet
    r"(?:--?[a-z]+-)?(?:align|animation|appearance|backdrop|background|border|bottom|box|clear|clip|color|column|content"
    r"|cursor|direction|display|fill|filter|flex|float|font|gap|grid|height|inset|justify|left|letter|line|list|margin|mask"
    r"|max|min|object|opacity|order|outline|overflow|padding|perspective|place|pointer|position|resize|right|row|scroll"
    r"|stroke|table|text|top|touch|transform|transition|unicode|user|vertical|visibility|white|width|will|word|z)"
    r"(?:-[a-z\-]{1,32})?"
)
_FUNCTIONS = ("rgb", "rgba", "hsl", "hsla", "calc", "scale", "rotate", "translate", "translateX", "translateY")
_AGENT = (  # what a browser says of itself in parentheses
    r"\((?:Windows NT [\d.]{1,8}(?:; (?:Win64|WOW64|x64|rv:[\d.]{1,8}))*|Macintosh; Intel Mac OS X [\d_.]{1,12}"
    r"|X11; Linux \w{1,8}|Linux; Android [\d.]{1,8}(?:; K)?|KHTML, like Gecko)\)"
)
_TITLE = r"(?: (?:[A-Z][A-Za-z]{1,24}|&|and|of|the|for|in)){2,12}"
# In title case too, since Windows does not tell case.
_COMMANDS = (
    r"Dir|Ver|Set|Path|Tree|Vol|Type|Net\d?|Netstat|Task\w*|Hostname|Reg|Arp|Route|Query|Driverquery|Schtasks|Wmic|Cmd"
    r"|Start|Calc|Notepad|Find\w*|More|Sort|Msg|Echo|Copy|Del|Move|Ren|Assoc|Attrib|Gp\w*|Getmac|Tracert|Nbtstat|Runas"
    r"|Telnet|Ftp|Mshta|Iex|Sc|At|Ssh|Curl|Invoke\w*"
)
_LISTED = f"(?:{'|'.join(rf'(?<=,[0-9a-z_.]{{{n}}}.)' for n in (1, 2, 3, 4))})"  # behind an item of a list in base 36
_CALM = re.compile(
    "|".join(
        (
            # A quote inside a word of such a script; an apostrophe of a contraction, of O'Brien.
            rf"\"(?={LETTER})(?<={LETTER}\")|'(?={LETTER})(?<={LETTER}')",
            r"'(?<=[A-Za-z].)(?=(?:s|m|t|re|ve|ll|d)\b)|'(?<=[OoDdLl].)(?<![A-Za-z]..)(?=[A-Z][a-z])",
            # Bars and semicolons before numbers, such letters, titles and tokens, and between names with values.
            *(rf"{bar}(?=-?\d[\d:_.,\-]*(?:[|;]|\Z)| ?{LETTER})" for bar in (r"\|", ";")),
            rf"\|(?! (?:{_COMMANDS})\b)(?={_TITLE} *(?:\||\Z))|\|(?=[A-Za-z0-9=_\-]{{10,}}(?:\||\Z))(?=[^|]*\d)",
            r";(?=[A-Za-z_~][\w~]{0,24}=[^\s;&|'\"`$<>(){}\\]{0,200}(?:;|\Z))",
            r";(?<=[\d.,];)(?=-?\d+(?:\.\d+)?[,;|:])",
            # Bytes spelled as $15, a sign in a run of letters that is too long for a command, lists in base 36.
            r"\$[0-9A-F]{2}(?![\w(){])|\$(?<=[A-Za-z0-9+\-$]{16}.)(?![A-Z]{2})(?=[A-Za-z0-9+\-$]{16})",
            rf"[*|]{_LISTED}(?=\d[0-9a-z]{{0,6}}[,*|:])|\*{_LISTED}(?=\d[0-9a-z]{{0,6}}(?:\"|\Z))",
            r"\A#(?=[0-9A-Fa-f]{1,8}\Z)",  # a number, a colour
            r"%(?<=\d.)(?=[\s;,)]|\Z)",
            r"/(?<=\w/)/+(?=[\w+\-]+(?:[/,;|~=]|\Z))|//(?<=, //)(?=[\w\-]+\.[\w.\-]+/)|__(?<=[a-z0-9]__)(?=[a-z])",
            # A GUID's braces, a placeholder of a URI template (RFC 6570), a subscript at the end.
            rf"\{{(?={_HEX}{{8}}-(?:{_HEX}{{4}}-){{3}}{_HEX}{{12}}\}})|\}}(?<=-{_HEX}{{12}}\}})",
            r"\{(?<==.)[a-z]+(?:_[a-z]+){1,4}\}|\[(?<=[\w\]].)[\w.\-]*\](?=\[|\Z)",
            # Subscripts in the name of a pair, of members too, before another pair: rooms[0].adults=2&
            r"\[(?<=\w.)\d{0,4}\](?=(?:\.\w{1,40}|\[\d{0,4}\]){0,4}=[^\s&(\[]{0,200}&)",
            # The punctuation of JSON where it stands as JSON has it, of a query between its pairs.
            *(
                rf"{quote}[\]}}\s]*[,:][\s\[{{]*(?:\\?\"(?![\s>=+|])|(?=[0-9\-\]}}]|(?:true|false|null)\b|\Z))"
                for quote in (r"\"", r"\\\"")
            ),
            *(rf"{quote}[\]}}]+(?=[,\]}}]|\Z)" for quote in (r"\"", r"\\\"")),
            r"\"(?=[\w@\u00a0-\uffff])(?<=[\[{,:]\")|\\\"(?=[\w@\u00a0-\uffff])(?<=[\[{,:]\\\")",
            r"\[[\[{]*(?=[\"\[{])|\{(?!\{)[\[{]*(?=[\"\[{])|\][\]}]*(?=[\]},])|\}[\]}]*(?=[\]},])",
            r"&if(?==(?:true|false)(?:&|\Z))",  # of the most common tracker; else a condition
            r"&(?=[A-Za-z_][\w.\-\[\]]{0,80}=[^\s&]{0,200}(?:&|\Z))|&(?<=\w=.)(?=\Z)",
            # Parentheses of a browser's name, of a time zone's.
            _AGENT,
            r"\((?<=[+\-]\d{4}[ +].)[A-Z][a-z]+(?:[ +][A-Z][a-z]+){1,4}\)",
            # Style sheets as recorders of sessions carry them, and blanks of a page's layout.
            rf";(?:\r?\n[ \t]{{2,40}}+)?(?= ?{_PROPERTY}: ?[\w.#\-])|#(?<=: .)(?=[0-9a-fA-F]{{3,8}}\b)",
            rf"\{{(?<=[\w\]].)(?=\s{{0,40}}+{_PROPERTY}: ?[\w.#\-][^{{}}<>();\"'`$]{{0,80}}[;}}])",
            r"\}(?=\s{0,8}[.#@]?[A-Za-z][\w\- .,#:>]{0,80}\{)|\}(?<=;.|\d.)(?=\s{0,40}\Z)",
            rf"\((?:{'|'.join(rf'(?<={name}.)' for name in _FUNCTIONS)})[\d .,%+*/\-]+\)",
            rf"[\r\n\t]{{1,4}}+(?= {{2,40}}+(?:{LETTER}|{_PROPERTY}: ))",
            # The boundary of a form (RFC 2046), and the digest behind a signed cookie.
            r"; boundary=-{2,}(?=\w+\Z)|--(?<=[A-Za-z0-9+/=]{16}..)(?=[0-9a-f]{40,64}\Z)",
        )
    )
)
_STYLE_VALUE = (
    r"(?:(?:rgba?|hsla?|calc|var|min|max|clamp|translate|translate[XYZ3][d]?|scale|rotate|matrix|blur)"
    r"\((?:[\w .,%+*/\-]|\([\w .,%+*/\-]*+\))*+\)|[\w .,#+!\-]|(?<=\d)%)++"
)
_DECLARATIONS = re.compile(rf"(?: *+{_PROPERTY}:{_STYLE_VALUE}(?:;|\Z))++\Z")
_HOST_OF_URL = re.compile(
    r"https?:(?:\\?/){2}(?:[A-Za-z0-9\-]+\.)+[A-Za-z]{2,18}(?=[/?#&\"'\s,\\|]|\Z)(?!\?@|\s@|[^/?#\s\"]{0,200}@)"
)
# Hosts that are, or resolve to, the inside of a network.
INSIDE_HOST = re.compile(
    r"localhost|internal|metadata|\.local|nip\.io|xip\.io|sslip|oast|burpcollab|interact|intranet|kubernetes|spoofed|vcap|rbndr|rebind"
    r"|localtest|lacolhost|lvh\.me|1u\.ms|\.corp\b|\.svc\b|\.consul\b|\.lan\b|\d\.\d+\.\d"
)


def calmed(text: str) -> str:
    """Return `text` with what cannot begin anything replaced, of the same length."""
    return _CALM.sub(_commas, _HOST_OF_URL.sub(_letters, text) if "://" in text or ":\\/" in text else text)


def is_style(text: str) -> bool:
    """True if `text` is made of declarations of a style sheet."""
    return ";" in text and _DECLARATIONS.match(text) is not None


def _commas(match: re.Match[str]) -> str:
    text = match[0]
    if text[0] == "[" and len(text) > 2 and text[1] not in "[{":  # what is in a subscript still counts
        return f",{text[1:-1]},"
    return "," * len(text)


def _letters(match: re.Match[str]) -> str:
    return match[0] if INSIDE_HOST.search(match[0].lower()) else "u" * len(match[0])
