"""Mutations that keep what a payload means, per family (the operators of WAF-A-MoLE, Demetrio et al. 2020, and more).

Each takes the payload and a source of chance and returns another spelling of the same attack, or the payload itself
where it finds nothing to change. Text inside SQL string literals is left alone where the meaning would change.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from vedette.datasets import primitives

Mutator = Callable[[str, random.Random], str]

_SQL_WORDS = re.compile(
    r"\b(select|union|all|from|where|and|or|not|order|by|group|having|insert|into|update|delete|drop|table|values|set|"
    r"like|between|in|is|null|case|when|then|else|end|limit|exists|sleep|benchmark|waitfor|delay|exec|concat|char|"
    r"substring|ascii|version|database|user|as|xor|div|true|false|distinct|count|cast|convert|if)\b",
    re.IGNORECASE,
)
_STRING = re.compile(r"'(?:[^'\\]|'')*'")
_NUMBER = re.compile(r"(?<![\w.'\"#@%&$!])(\d{1,9})(?![\w.'\"%])")
_CONSTANT_NUMBERS = re.compile(
    r"(?i)(?:order|group)\W*by|limit|delay|offset|fetch|interval|top\b|\bas\s+\w+\s*\(|"
    r"\b(?:n?varchar2?|n?char|decimal|numeric)\s*\(\s*\d+\s*\)"
)


_BEFORE_LITERAL = re.compile(
    r"(?i)(?:[=(,<>|+&]|\b(?:like|and|or|in|then|select|when|else|where|not|between|escape|regexp|rlike|ilike|glob|is|"
    r"delay|time|outfile|dumpfile|infile|exec|execute|immediate|interval|date|as|separator|from|to|[xs]p_\w+))\s*\Z"
)
# Where only a literal may stand, or one with a letter before it that says what it holds.
_ONLY_LITERAL = re.compile(
    r"(?i)(?:\b(?:escape|delay|time|outfile|dumpfile|infile|exec|execute|interval|date|as|separator|from|to|[xs]p_\w+)\s*|\w)\Z"
)
_SQL_SERVER = re.compile(r"(?i)waitfor|[xs]p_|sysobjects|syscolumns|convert\(int|\bexec\b|master\.\.")
_MYSQL = re.compile(r"(?i)sleep\s*\(|benchmark|updatexml|extractvalue|group_concat|load_file|outfile|dumpfile|#|0x")


_NEAR = 400  # characters before a match that tell what it stands in: a long payload takes no longer for each of them


def _before(match: re.Match[str]) -> str:
    return match.string[max(0, match.start() - _NEAR) : match.start()]


def _outside_strings(text: str, change: Callable[[str], str]) -> str:
    """Apply `change` to what stands outside closed SQL string literals.

    The first quote of an injection closes a literal of the statement it breaks out of, unless an operator or key word
    stands before it.
    """
    start = _end_of_the_outer_literal(text)
    out = [text[:start]]
    last = start
    for match in _STRING.finditer(text, start):
        out += [change(text[last : match.start()]), match[0]]
        last = match.end()
    return "".join([*out, change(text[last:])])


def _end_of_the_outer_literal(text: str) -> int:
    first = text.find("'")
    return 0 if first < 0 or _BEFORE_LITERAL.search(text[:first]) else first + 1


# --- SQL -------------------------------------------------------------------------------------------------------------


def sql_case(payload: str, rng: random.Random) -> str:
    """Key words in another case."""
    style = rng.choice((str.upper, str.lower, str.capitalize, lambda word: _mixed(word, rng)))
    return _outside_strings(payload, lambda part: _SQL_WORDS.sub(lambda match: style(match[0]), part))


def _mixed(text: str, rng: random.Random) -> str:
    return "".join(rng.choice((char.lower(), char.upper())) for char in text)


def sql_space(payload: str, rng: random.Random) -> str:
    """Spaces as other white space or comments; what follows a line comment stays as it is."""
    if "--" in payload or "#" in payload:
        cut = min(index for index in (payload.find("--"), payload.find("#")) if index >= 0)
    else:
        cut = len(payload)
    head, tail = payload[:cut], payload[cut:]
    spellings = ["\t", "\n", "  ", "\x0c", "\r\n"]
    if "/*" not in head:  # comments do not nest
        spellings += ["/**/", f"/*{primitives.letters(rng)}*/", " /**/ "]
    spelling = rng.choice(spellings)
    every = rng.random() < 0.6
    change = lambda part: "".join(  # noqa: E731
        spelling if char == " " and (every or rng.random() < 0.5) else char for char in part
    )
    return _outside_strings(head, change) + tail


def sql_number(payload: str, rng: random.Random) -> str:
    """Integers as sums, differences, products or in parentheses: the same number to every engine.

    Where a number names a column or must be a constant (ORDER BY, LIMIT, WAITFOR DELAY, the length of a type) nothing
    changes.
    """
    if _CONSTANT_NUMBERS.search(payload):
        return payload

    def spell(match: re.Match[str]) -> str:
        if rng.random() < 0.5:
            return match[0]
        number = int(match[1])
        part = rng.randrange(1, 100)
        forms = (f"({number})", f"({number + part}-{part})", f"({number}+0)", f"({number}*1)", f"(-(-{number}))")
        return rng.choice((*forms, f"(SELECT {number})"))

    return _outside_strings(payload, lambda part: _NUMBER.sub(spell, part))


def sql_string(payload: str, rng: random.Random) -> str:
    """A closed string literal as a concatenation: with +, by standing side by side or with ||, as the engine has it."""
    glue = "+" if _SQL_SERVER.search(payload) else " " if _MYSQL.search(payload) else "||"
    start = _end_of_the_outer_literal(payload)

    def spell(match: re.Match[str]) -> str:
        signs = re.findall(r"''|[^']", match[0][1:-1])  # a doubled quote is one sign
        if len(signs) < 2 or rng.random() < 0.5 or _ONLY_LITERAL.search(_before(match)):
            return match[0]
        cut = rng.randint(1, len(signs) - 1)
        return f"('{''.join(signs[:cut])}'{glue}'{''.join(signs[cut:])}')"

    out, last = [payload[:start]], start
    for match in _STRING.finditer(payload, start):
        out += [payload[last : match.start()], spell(match)]
        last = match.end()
    return "".join([*out, payload[last:]])


def sql_operator(payload: str, rng: random.Random) -> str:
    """Comparison and logic written otherwise: AND as &&, OR as ||, <> as !=, = as LIKE between plain numbers."""
    choice = rng.randrange(4)
    if choice == 0:
        if re.search(r"(?i)\bbetween\b", payload):  # whose "and" is none
            return payload
        return _outside_strings(payload, lambda part: re.sub(r"(?i)(?<!\s)\s+and\s+", " && ", part))
    if choice == 1:
        return _outside_strings(payload, lambda part: re.sub(r"(?i)(?<!\s)\s+or\s+", " || ", part))
    if choice == 2:
        return payload.replace("<>", "!=") if "<>" in payload else payload.replace("!=", "<>")
    return re.sub(r"\b(\d{1,9})\s*=\s*(\d{1,9})\b", r"\1 LIKE \2", payload)


def sql_tautology(payload: str, rng: random.Random) -> str:
    """Another always-true comparison in the place of 1=1 or '1'='1'."""
    number, text = primitives.integer(rng), primitives.letters(rng)
    true = rng.choice((f"{number}={number}", f"{number}<{number}1", f"'{text}'='{text}'", f"{number} IS NOT NULL",
                       f"{number} BETWEEN 0 AND {number}", f"{number} IN ({number})", "NOT 1=2",
                       f"'{text}' LIKE '{text}'"))  # fmt: skip
    return re.sub(r"\b1\s*=\s*1\b|'1'\s*=\s*'1'", lambda _: true, payload)


def sql_comment(payload: str, rng: random.Random) -> str:
    """A harmless comment rewritten or added behind."""
    text = primitives.letters(rng)
    payload = re.sub(r"/\*\*/|/\*[a-z]{1,8}\*/", lambda _: f"/*{text}*/", payload)
    if payload.rstrip().endswith(("--", "#")):
        return payload.rstrip() + " " + text
    return payload


_NO_CONDITION = re.compile(
    r"(?i);|\b(?:order|group|limit|into|delay|exec\w*|procedure|offset|fetch|for|values|drop|create|alter)\b|"
    r"\bfrom\b(?!.*\b(?:where|having)\b)"
)


def sql_invariant(payload: str, rng: random.Random) -> str:
    """`AND true` or `OR false` behind a trailing-comment payload's condition, if a condition is what stands there."""
    match = re.search(r"(?i)(\s)(--|#)", payload)
    if not match or _NO_CONDITION.search(payload[: match.start()]):
        return payload
    number = primitives.integer(rng)
    extra = rng.choice((f" AND {number}={number}", f" OR {number}<>{number}", " AND 'a'='a'", " AND NOT 1=2"))
    return payload[: match.start()] + extra + payload[match.start() :]


# --- shell -----------------------------------------------------------------------------------------------------------

_COMMAND = re.compile(
    r"(?<![\w/.$'\"\\=-])(cat|ls|id|whoami|uname|wget|curl|ping|sleep|nslookup|bash|sh|nc|ps|pwd|head|tail|grep|find|env|"
    r"dig|host|chmod|rm|cp|mv|touch|ifconfig|netstat|hostname|python3?|perl|php|ruby|tac|nl|od|xxd|strings|base64|awk|sed|"
    r"tee|dd|tar|gzip|zip|ssh|scp|telnet|socat|ncat|nmap|busybox|openssl|sudo|crontab|lsof|df|du|printenv|printf|uptime|"
    r"lua|tftp|rsync|useradd|systemctl|docker|kubectl|mkfifo|xargs|getent|traceroute|usleep|lsblk|lscpu|lspci|lsusb|lsmod|"
    r"dmesg|logname|chown|chgrp|mkdir|rmdir|md5sum|sha1sum|hexdump|unzip|gunzip|gcc|git|npm|node|java|vim|journalctl|iptables|"
    r"whois|tcpdump|sftp|curlie|aria2c|axel|lynx|w3m|gdb|strace|nohup|setsid|uniq|wc|tmux|sqlite3|mysql|psql|rpm|dpkg|yum|dnf)"
    r"(?![\w='\"(])"
)
# Any other program where a command begins, told by a path of POSIX among what follows.
_ANY_COMMAND = re.compile(
    r"(?:\A(?=.*[;&|\n])|(?<=[;&|`])|(?<=[;&|] )|(?<=\$\()|(?<=[<>]\())"
    r"(?!(?:if|then|else|elif|do|done|for|while|until|case|esac|in|function|select|time|coproc)\b)"
    r"[a-z][a-z0-9_]{2,19}(?=[ \t](?:[\w=-]{1,30}[ \t]){0,2}@?(?:file:/)?(?:[~.]{0,2}/[\w.-]{1,30}/|[~.]{1,2}/\w))"
)
_WINDOWS = re.compile(
    r"(?i)(?<![\w/.$'\"\\=^-])(ipconfig|systeminfo|tasklist|taskkill|certutil|bitsadmin|powershell|rundll32|regsvr32|mshta|"
    r"cmd(?=\.exe|\s*[,;]?/|\s*\Z)|"
    r"wmic|schtasks|netsh|msiexec|cscript|wscript|forfiles|vssadmin|nltest|icacls|wevtutil|msbuild|installutil|"
    r"cmstp|odbcconf|esentutl|xcopy|robocopy|findstr|driverquery|quser|cmdkey|gpresult|getmac|bcdedit|auditpol|nbtstat|"
    r"tracert|pathping|dsquery|eventvwr|fsutil|msconfig|diskpart|takeown|wbadmin|fltmc|fodhelper|computerdefaults|"
    r"eudcedit|presentationhost|pcalua|scriptrunner|verclsid|xwizard|regasm|regsvcs|makecab|extrac32|mavinject)"
    r"(?![\w='\"(])"
)


_ALSO_WINDOWS = re.compile(
    r"(?i)(?<![\w/.$'\"\\=^-])(whoami|ping|curl|nslookup|hostname|net|dir|type|copy|del|echo|reg|sc|ver|set|tree|arp|route|"
    r"query|attrib|start|more|ftp|find)(?![\w='\"(^:.\\-])"
)
_CMDLET = re.compile(
    r"(?i)(?<![\w./-])(?:get|invoke|new|set|start|stop|add|remove|import|enable|disable|out|select|where|foreach)-"
    r"(?!shell\b)[a-z]{3,30}\b(?!-)"
)
# Programs whose commands have names of the same shape.
_NO_POWERSHELL = re.compile(
    r"\b(?:(?:system|hostname|timedate|locale|login|machine|kube)ctl|tmux|aws|gcloud|az|git|cargo|npm|dotnet)\b"
)
# What cmd.exe is to read, which knows none of a POSIX shell's expansions.
_FOR_CMD = re.compile(
    r"(?i)\b[a-z]:\\|%(?!(?!cd)[0-9a-f]{2}%)[a-z]\w*(?:\(x86\))?(?::~[\d,-]+)?%|(?<![\w$.=/?&-])cmd(?![\w='\"\])};:.-])|"
    r"powershell|\.(?:exe|dll|msi|ps1|bat|vbs|cpl)\b|\bping -n\b|\s/[a-z]\b(?!/)|[a-z]\^[a-z]"
)


def _is_powershell(payload: str) -> bool:
    return bool(_CMDLET.search(payload)) and not _NO_POWERSHELL.search(payload)


def _is_for_windows(payload: str) -> bool:
    return bool(_FOR_CMD.search(payload)) or _is_powershell(payload)


def shell_quotes(payload: str, rng: random.Random) -> str:
    """Command words broken by empty quotes or backslashes, which the shell removes (POSIX, quote removal)."""
    if "'" in payload or '"' in payload or "`" in payload or _is_for_windows(payload):
        return payload
    style = rng.randrange(4)

    def spell(match: re.Match[str]) -> str:
        word = match[0]
        cut = rng.randint(1, len(word) - 1) if len(word) > 1 else 0
        return (f"{word[:cut]}''{word[cut:]}", f'{word[:cut]}""{word[cut:]}', f"{word[:cut]}\\{word[cut:]}",
                f"'{word}'")[style]  # fmt: skip

    return _ANY_COMMAND.sub(spell, _COMMAND.sub(spell, payload))


def shell_empty(payload: str, rng: random.Random) -> str:
    """A command word broken by an expansion that is empty: `$@`, `$*`, an unset variable, an empty substitution."""
    if any(char in payload for char in "'\"`\\") or _is_for_windows(payload):
        return payload
    gap = rng.choice(("$@", "$*", "${" + primitives.letters(rng) + "}", "$()", "``"))

    def spell(match: re.Match[str]) -> str:
        cut = rng.randint(1, len(match[0]) - 1)
        return match[0][:cut] + gap + match[0][cut:]

    changed = _COMMAND.sub(spell, payload, count=1)
    return changed if changed != payload else _ANY_COMMAND.sub(spell, payload, count=1)


def cmd_carets(payload: str, rng: random.Random) -> str:
    """A word of cmd.exe with carets, which it removes outside quotes, or in another case, which it does not mind.

    PowerShell takes the case alone.
    """
    if _is_powershell(payload):
        return _CMDLET.sub(lambda match: _mixed(match[0], rng), payload)
    if '"' in payload:
        return payload
    every = rng.random() < 0.3

    def spell(match: re.Match[str]) -> str:
        if every:
            return "^".join(match[0])
        if rng.random() < 0.4:
            return _mixed(match[0], rng)
        cut = rng.randint(1, len(match[0]) - 1)
        return f"{match[0][:cut]}^{match[0][cut:]}"

    payload = _WINDOWS.sub(spell, payload)
    return _ALSO_WINDOWS.sub(spell, payload) if _is_for_windows(payload) else payload


def shell_ifs(payload: str, rng: random.Random) -> str:
    """The blanks between words as tabs, or those of one plain command as the field separator (POSIX)."""
    if any(char in payload for char in "'\"`\\"):
        closed = not payload.count("'") % 2 and not payload.count('"') % 2
        return _outside(_LITERAL, payload, _tabbed) if closed and "\\" not in payload else payload
    is_plain = _COMMAND.search(payload.partition(" ")[0]) and not _is_for_windows(payload)
    if any(char in payload for char in "\n{<>&$(*=") or not is_plain:
        return payload.replace(" ", "\t")
    return payload.replace(" ", rng.choice(("${IFS}", "$IFS$9", "\t")))


def _tabbed(part: str) -> str:
    return part.replace(" ", "\t")


_ABSOLUTE = re.compile(r"(?<![\w/:)\]}*?])(?:~|\.{1,2})?/(?!dev/(?:tcp|udp)/|inet/)[\w.+-]+(?:/[\w.+-]+)+")


def shell_path(payload: str, rng: random.Random) -> str:
    """Slashes of paths doubled or with a dot between, which resolve alike; of addresses and of patterns none."""
    if "://" in payload:
        return payload
    way = rng.choice(("//", "/./", "///"))
    return _ABSOLUTE.sub(lambda match: re.sub(r"(?<=\w)/(?=\w)", way, match[0]), payload)


_ASSIGNMENT = re.compile(r"(?:export\s+)?\w+=")


def shell_separator(payload: str, rng: random.Random) -> str:
    """A leading `;` as another sign that ends a command, and a leading newline as `;`."""
    if _is_for_windows(payload):
        return payload
    command = payload[1:].lstrip()
    if payload.startswith(";") and command[:1] not in (";", "&", "|", "#", ")", "}"):
        # What is assigned in a pipe is gone behind it.
        return rng.choice("\n&" if _ASSIGNMENT.match(command) else "\n&&||") + payload[1:]
    return ";" + payload[1:] if payload.startswith("\n") else payload


# --- markup ----------------------------------------------------------------------------------------------------------

_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
# An attribute, not the property of that name, whose letters have a case.
_EVENT = re.compile(r"(?<![\w.{;:,(>$\[])on[a-z]{3,40}(?=\s*=(?![=>]))", re.IGNORECASE)
_ADDRESS_NAME = (
    r"(?i:[\s/\"'](?:xlink:)?"
    r"(?:href|src|action|formaction|data|background|poster|lowsrc|dynsrc|to|from|values|content))\s*=\s*"
)
_IN_QUOTES = re.compile(_ADDRESS_NAME + r"[\"']\s*\Z")
_WITHOUT_QUOTES = re.compile(_ADDRESS_NAME + r"\Z")
_UNQUOTED = re.compile(rf"(?:{_ADDRESS_NAME}|(?i:\bon[a-z]{{3,40}})\s*=\s*)[^\s\"'`<>]*\Z")


def html_case(payload: str, rng: random.Random) -> str:
    """Tag and attribute names in mixed case: HTML compares them without case."""
    style = rng.choice((str.upper, lambda word: _mixed(word, rng)))
    payload = _TAG.sub(lambda match: f"<{match[1]}{style(match[2])}", payload)
    return _EVENT.sub(lambda match: style(match[0]), payload)


def html_separator(payload: str, rng: random.Random) -> str:
    """The white space after a tag name as another that HTML accepts."""
    spaces = (" ", "/", "\t", "\n", "\x0c", "\r\n", " / ")
    return re.sub(r"(<[a-zA-Z][a-zA-Z0-9]*)[ /\t\n](?=[a-zA-Z])", lambda match: match[1] + rng.choice(spaces), payload)


def html_equals(payload: str, rng: random.Random) -> str:
    """White space around an event attribute's equals sign."""
    return re.sub(
        r"(\bon[a-zA-Z]{3,40})\s*=(?![=>])\s*", lambda match: match[1] + rng.choice((" = ", "=\n", "\t=", "=")), payload
    )


def html_entities(payload: str, rng: random.Random) -> str:
    """Some letters of a quoted event attribute as character references."""

    def spell(match: re.Match[str]) -> str:
        form = rng.choice(("&#{};", "&#x{:x};", "&#x{:04x};"))
        body = "".join(form.format(ord(char)) if char.isalpha() and rng.random() < 0.3 else char for char in match[3])
        return match[1] + match[2] + body + match[2]

    return re.sub(r"((?<![\w.{;:,(>$\[])on[a-zA-Z]{3,40}\s*=\s*)([\"'])([^\"'&]{1,400})\2", spell, payload)


def html_scheme(payload: str, rng: random.Random) -> str:
    """`javascript:` in another case or with a tab or line end inside, which the URL parser drops.

    White space would end an attribute without quotes, where a reference to it does not, and may break a script.
    """

    def spell(match: re.Match[str]) -> str:
        before = _before(match)
        word = _mixed(match[0], rng) if rng.random() < 0.5 else match[0]
        gaps = [""]
        if not before.strip() or _IN_QUOTES.search(before):
            gaps += ["\t", "\n", "\r"]
        if _IN_QUOTES.search(before) or _WITHOUT_QUOTES.search(before):
            gaps += ["&Tab;", "&NewLine;", "&#9;", "&#x0a;"]
        cut = rng.randint(1, len(word) - 2)
        return word[:cut] + rng.choice(gaps) + word[cut:]

    return re.sub(r"(?i)javascript:", spell, payload)


def html_open(payload: str, rng: random.Random) -> str:
    """The last tag left open: the page around it has the sign that closes it."""
    if payload.count("<") != 1 or not payload.endswith(">") or not _EVENT.search(payload):
        return payload
    return payload[:-1] + rng.choice(("", "//", f" {primitives.letter(rng)}=", "\n"))


def js_call(payload: str, rng: random.Random) -> str:
    """A call of alert and its like through another spelling of the same function."""
    number = primitives.integer(rng)

    def spell(match: re.Match[str]) -> str:
        name = match[1]
        spaced = f"{name}(" if _UNQUOTED.search(_before(match)) else f"{name} ("
        return rng.choice((f"({name})(", f"window.{name}(", f"self.{name}(", f"top.{name}(", f"{name}?.(", spaced,
                           f"{name}/*{number}*/("))  # fmt: skip

    return re.sub(r"(?<![\w.$\[\]'\"`])(alert|confirm|prompt|print|fetch|eval)\(", spell, payload)


# --- paths -----------------------------------------------------------------------------------------------------------


def path_spelling(payload: str, rng: random.Random) -> str:
    """Every `../` in one other spelling of dot and slash."""
    dots = rng.choice(("..", "%2e%2e", ".%2e", "%2E.", "..", "%252e%252e", "%c0%ae%c0%ae", "%u002e%u002e",
                       "%e0%80%ae%e0%80%ae", "%25c0%25ae%25c0%25ae", "%uff0e%uff0e", "%%32%65%%32%65",
                       "%25%32%65%25%32%65"))  # fmt: skip
    slash = rng.choice(("/", "%2f", "\\", "%5c", "%252f", "%c0%af", "//", "/./", "%u2215", "%255c", "%c1%9c",
                        "%e0%80%af", "%25c0%25af", "%u2216", "%%32%66", "%25%32%66", ";/"))  # fmt: skip
    return re.sub(r"\.\.[/\\]", lambda _: dots + slash, payload)


def path_depth(payload: str, rng: random.Random) -> str:
    """More climbs than needed: above the root there is the root."""
    return re.sub(r"^((?:\.\./)+)", lambda match: match[1] + "../" * rng.randint(1, 6), payload)


def path_noise(payload: str, rng: random.Random) -> str:
    """A `./` or a doubled slash between segments."""
    if re.search(r"[a-z]{2,}:/", payload):  # where two slashes would name a host
        return payload
    return payload.replace("/", rng.choice(("//", "/./")), 1)


# --- documents and queries -------------------------------------------------------------------------------------------

_QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"")
_LITERAL = re.compile(r"\"[^\"]*\"|'[^']*'")
_DECLARATION = re.compile(r"<!(?:DOCTYPE|ENTITY|NOTATION)\s[^<>]*", re.IGNORECASE)


def _outside(strings: re.Pattern[str], text: str, change: Callable[[str], str]) -> str:
    out, last = [], 0
    for match in strings.finditer(text):
        out += [change(text[last : match.start()]), match[0]]
        last = match.end()
    return "".join([*out, change(text[last:])])


def json_space(payload: str, rng: random.Random) -> str:
    """White space around the signs of a JSON text."""
    if not payload.startswith(("{", "[")) or payload.startswith(("{{", "[$")) or not _QUOTED.search(payload):
        return payload
    gap = rng.choice((" ", "  ", "\t", "\n", "\r\n", "\n  "))
    return _outside(_QUOTED, payload, lambda part: re.sub(r"([:,{}\[\]])", lambda match: match[1] + gap, part))


def graphql_space(payload: str, rng: random.Random) -> str:
    """What GraphQL ignores, commas among it, around the brackets of a document."""
    if '":' in payload or "%" in payload or "#" in payload or '"' in _QUOTED.sub("", payload):
        return payload
    gap = rng.choice((" ", "\n", "\t", ",", "\n  ", ", ", "\r\n"))
    return _outside(_QUOTED, payload, lambda part: re.sub(r"(?<!\()([{}])", lambda match: gap + match[1] + gap, part))


def xml_space(payload: str, rng: random.Random) -> str:
    """The white space inside declarations as another."""
    gap = rng.choice(("\t", "\n", "  ", "\r\n", " \n"))
    return _DECLARATION.sub(lambda match: _outside(_LITERAL, match[0], lambda part: part.replace(" ", gap)), payload)


def xpath_space(payload: str, rng: random.Random) -> str:
    """Every blank that stands outside a closed literal as other white space."""
    gap = rng.choice(("\t", "\n", "  ", "\r\n", " \n "))
    return _outside_strings(payload, lambda part: part.replace(" ", gap)) if '"' not in payload else payload


# --- any -------------------------------------------------------------------------------------------------------------


def pad_before(payload: str, rng: random.Random) -> str:
    """Harmless text before."""
    text = rng.choice((primitives.words, primitives.benign_value, primitives.sentence))(rng)
    return text + rng.choice((" ", "\n", " " if payload[:1].isalnum() else "")) + payload


def pad_behind(payload: str, rng: random.Random) -> str:
    """Harmless text behind."""
    return payload + rng.choice((" ", "\n")) + rng.choice((primitives.words, primitives.sentence))(rng)


_SQL: tuple[Mutator, ...] = (sql_case, sql_space, sql_number, sql_string, sql_operator, sql_tautology, sql_comment,
                             sql_invariant)  # fmt: skip
_SHELL: tuple[Mutator, ...] = (shell_quotes, shell_empty, cmd_carets, shell_ifs, shell_path, shell_separator)
_HTML: tuple[Mutator, ...] = (html_case, html_separator, html_equals, html_entities, html_scheme, html_open, js_call)
_PATH: tuple[Mutator, ...] = (path_spelling, path_depth, path_noise)
_PAD: tuple[Mutator, ...] = (pad_before, pad_behind)

MUTATORS: dict[str, tuple[Mutator, ...]] = {
    "sqli": _SQL, "xss": _HTML, "cmdi": _SHELL, "shellshock": _SHELL[:1], "traversal": _PATH, "upload": (),
    "redirect": (), "ssrf": (), "xxe": (xml_space,), "deser": (), "nosqli": (json_space,), "graphql": (graphql_space,),
    "protopollution": (json_space,), "xpath": (xpath_space,),
}  # fmt: skip
"""The mutators of each family; a family that is not named only gets harmless text around it."""

WHOLE = frozenset("traversal redirect ssrf deser xxe upload shellshock nosqli graphql protopollution crlf".split())
"""What attacks as a whole value only: a path, an address or a document with words before it is none any more."""


def is_whole(payload: str, attack_class: str) -> bool:
    """Tell whether words beside `payload` would leave no attack: by its family, or since it is a JSON document."""
    return attack_class in WHOLE or payload.startswith(('{"', '["'))


def mutate(payload: str, attack_class: str, rng: random.Random) -> str:
    """Return another spelling of `payload` that means the same to what it attacks: one to three mutations."""
    operators = MUTATORS.get(attack_class, ())
    if operators:
        for operator in rng.sample(operators, k=min(len(operators), rng.randint(1, 3))):
            payload = operator(payload, rng)
    if not is_whole(payload, attack_class) and rng.random() < 0.2:
        pad = rng.choice(_PAD) if may_follow_text(payload, attack_class) else pad_behind
        payload = pad(standing_in_text(payload, attack_class), rng)
    return payload


_RUNS_ALONE = re.compile(r"[;|&\n`]|\$\(|<\(|%(?:0a|0d|26|3b|7c|60)", re.IGNORECASE)
_CLOSED = re.compile(r"--|#|/\*|;\s*\Z")
_A_COMMENT = re.compile(r"/\*[^*]*\*/")
_ANY_QUOTE = re.compile(r"['\"]|%(?:25)*2[27]")


def may_follow_text(payload: str, attack_class: str) -> bool:
    """Tell whether words may stand before `payload`: before SQL only where it breaks out of a literal."""
    if attack_class != "sqli":
        return True
    quote = _ANY_QUOTE.search(payload)
    return quote is not None and not _BEFORE_LITERAL.search(_A_COMMENT.sub(" ", payload[: quote.start()]))


def standing_in_text(payload: str, attack_class: str) -> str:
    """Return what acts as `payload` does with other text around: SQL ends with a comment, a command is told apart.

    cmd.exe takes `&` for what `;` is to other shells.
    """
    if attack_class == "cmdi":
        if payload.startswith("-") or _RUNS_ALONE.search(payload):  # an option stands among other arguments
            return payload
        return ("& " if _FOR_CMD.search(payload) or _WINDOWS.search(payload) else "; ") + payload
    if attack_class != "sqli" or _CLOSED.search(payload):
        return payload
    # A literal that is open at the end takes the text up.
    opened = payload[_end_of_the_outer_literal(payload) :].count("'") % 2 or (
        '"' in payload and payload.count('"') % 2 == 0
    )
    return payload if opened else payload + " -- "
