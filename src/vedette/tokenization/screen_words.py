"""The words of the screen: which of them an attack is spelled with, alone or in company."""

from __future__ import annotations

import re
from collections.abc import Iterator

_ALPHA = re.compile(r"[a-z]+")
_OCTET = r"(?:\d{1,3}|0\d*)"
_ADDRESS = re.compile(rf"(?<!\d){_OCTET}(?:\.{_OCTET}){{3}}(?!\d)")
# Names of files, directories, wrappers and hosts that an attack asks for, and the endings of what servers run.
PLACES = frozenset(
    """
    javascript vbscript ftp gopher dict ldap ldaps rmi jndi jar netdoc expect zip glob smb sftp tftp localhost
    internal metadata
    localdomain nip xip sslip oast burpcollaborator interact
    etc proc var usr bin sbin root opt tmp dev sys boot windows winnt inetpub passwd shadow hosts win ini
    inf
    htaccess htpasswd env git svn ssh bash profile history rsa config conf cfg log logs bak sql yml
    properties environ
    proto prototype constructor
    crossdomain keychain keychains composer
    netrc pgpass dockercfg aws hgrc dirstate bzr wgetrc mdf
    bashrc vimrc terraformrc boto cnf dockerenv kdbx intranet rbndr rebind localtest lacolhost lvh
    springframework rowset functors priorityqueue typeconfusedelegate
    """.split()
)
_ENDINGS = frozenset(
    """
    php phtml phtm pht phar asp aspx ashx asmx asa cer jsp jspx jspf war cgi pl py sh exe bat cmd ps shtml shtm stm
    vbs hta cfm cfml cfc swf axd cdx scr asax vbhtm vbhtml ctp ascx
    cshtml cshtm wsf wsh vbe jse jsv pgif hphp phpt wss dbm
    """.split()
)
FILES = PLACES | _ENDINGS
# Words that need a second one of any kind beside them: alone they stand in prose, paths and cookies everywhere.
_COMMON = frozenset(
    """
    group order load user version char mid
    script data alert prompt confirm import svg
    file system wp instance
    id dir net hostname type cn commons
    cc content header location host cookie transfer
    """.split()
)
# A word that carries an attack without the help of any sign.
_STRONG = (
    FILES
    | _COMMON
    | frozenset(
        """
    select union insert update delete drop alter create truncate exec execute declare having waitfor sleep
    benchmark
    concat chr ascii substring substr sysdate pg xp sp utl dbms schema outfile dumpfile
    null sqlite mysql procedure cast convert extractvalue updatexml
    onerror onload onclick expression iframe
    srcdoc eval
    whoami uname ifconfig ipconfig netstat wget curl nslookup powershell ping ls cat systeminfo
    sudo chmod chown chgrp crontab mkfifo mkfs socat netcat nmap tcpdump iptables telnet xterm nohup pkill killall
    useradd usermod regsvr rundll mshta msiexec certutil bitsadmin schtasks wmic localgroup cscript wscript tasklist
    taskkill cpl xll appref wsh
    aced rooab java objectclass userpassword mutation typename introspection
    shutdown reboot mainmodule
    prepend append uid request response process runtime return bcc
    """.split()
    )
)
# SQL's words where its grammar has no place for them: a union or a drop of nothing, and three names in a row behind
# "select", unless a table follows after all.
_NO_NAME = (
    "from as into where all distinct distinctrow null top case limit order group having for unique except intersect "
    "offset fetch not binary like between is collate in or and sql"
).replace(" ", "|")
_PROSE = re.compile(
    r"\bunion\b(?!\W+(?:all|distinct|select|table|values|corresponding)\b)"
    r"|\bdrop\b(?=-|[.,!?]|\Z| +(?:of|in|by|off|out|down|us|me|a|an|the|to)\b)"
    rf"|\bselect(?: +(?!(?:union +(?:all|distinct|select)|{_NO_NAME})\b)[a-z]+){{3}}\b"
)
_FROM_TABLE = re.compile(r"\bselect\b.*\bfrom (?!(?:our|the|your|a|an|my|their)\b)", re.DOTALL)
# Words that need a number or a truth value beside them to mean anything to an interpreter.
_OPERATORS = "or and xor not like rlike regexp between in is div mod case limit"
_OPERATOR = "(?:" + _OPERATORS.replace(" ", "|") + ")"
_WEAK = frozenset(
    f"{_OPERATORS} if true false by document file script data cookie location import using system this cn "
    "rm nc kill find dd where".split()
)


def _whole_word(words: str, then: str) -> str:
    """Alternatives for any of `words`, where a word begins there, and what follows it."""
    return "|".join(rf"{word}(?<!\w{word}){then}" for word in words.split())


# In two parts, each of which begins with what `re` can look for fast: digits, and letters.
_WEAK_0 = re.compile(rf"\d\W*{_OPERATOR}\b")
_WEAK_1 = re.compile(
    "|".join(
        (
            # A name, also of a member or, as `calmed` leaves it, with a subscript.
            _whole_word("or and xor where", r"\W+\w{1,64}(?:\.\w{1,40}|,\d{0,4},){0,4}\s*(?:=|like\b)"),
            _whole_word(f"{_OPERATORS} if", r"\W+(?:\d|true|false|not\b)"),
            _whole_word("true false", rf"\W*{_OPERATOR}\b"),
            _whole_word("order group", r"\W+by\b"),
            _whole_word("case", r"\W+when\b"),
            _whole_word("document this location", r"\."),
            _whole_word("file script data cookie location", ":"),
            _whole_word("location cn", r"\s*="),
            _whole_word("rm nc kill", r" +-{1,2}\w"),
            _whole_word("find", r" +[./~][\w./\-]* +-"),
            _whole_word("dd", r" +[io]f="),
            r"@(?:import|using|system)\b",
        )
    )
)
_WEAK_SHAPES = (_WEAK_0, _WEAK_1)
_ALONE = _STRONG - _COMMON
_FEW = 4  # words that are looked for one by one in a long text; more are met while all words are gone through


def words_of(low: str) -> list[str]:
    """Return the words of lower-case ASCII letters in `low`, in order."""
    return _ALPHA.findall(low)


def has_words(text: str) -> bool:
    """True if the words of `text` can mean something to an interpreter, or it holds an address."""
    low = text.lower()
    words = _ALPHA.findall(low)
    strong = _STRONG.intersection(words)
    if strong and (len(strong) > 1 or not strong <= _COMMON):
        return True
    if not _WEAK.isdisjoint(words) and any(shape.search(low) for shape in _WEAK_SHAPES):
        return True
    return has_address(text)


def has_address(text: str) -> bool:
    """True if `text` holds an IPv4 address in dotted decimals."""
    return text.count(".") > 2 and _ADDRESS.search(text) is not None


def is_prose(text: str) -> bool:
    """True if all words of SQL in `text` stand where SQL's grammar has no place for them."""
    low = text.lower()
    prose = _PROSE.sub(" ", low)
    return prose != low and not has_words(prose) and not _FROM_TABLE.search(low)


def word_spots(low: str) -> list[Iterator[tuple[int, int]]]:
    """Where in the lower-case text `low` words or addresses stand that need no company, or have the company they need.

    Each iterator gives ranges in order.
    """
    words = set(_ALPHA.findall(low))
    patterns = [*([_ADDRESS] if low.count(".") > 2 else ()), *(_WEAK_SHAPES if not _WEAK.isdisjoint(words) else ())]
    found = [(match.span() for match in pattern.finditer(low)) for pattern in patterns]
    strong = _ALONE.intersection(words)
    if len(strong) > _FEW:
        return [*found, (match.span() for match in _ALPHA.finditer(low) if match[0] in strong)]
    return [*found, *(_places(low, word) for word in strong)]


def _places(text: str, word: str) -> Iterator[tuple[int, int]]:
    """Where `word` stands in `text` between characters that are no ASCII letters."""
    at = text.find(word)
    while at >= 0:
        end = at + len(word)
        if not ("a" <= text[at - 1 : at] <= "z" or "a" <= text[end : end + 1] <= "z"):
            yield at, end
        at = text.find(word, end)
