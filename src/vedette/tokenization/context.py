"""Where a value stands, in the few words that the model reads before the value itself.

location, the bucket of its name, and how it was decoded: ``query url percent2``. Buckets rather than names, so that the
model learns what kind of slot a value is in and not which site it came from.
"""

from __future__ import annotations

import re
from functools import lru_cache

from vedette.parsing.field import Field
from vedette.verdict import LOCATIONS

_HEADERS = {
    "user-agent": "agent", "referer": "referer", "origin": "referer", "host": "host", "x-forwarded-host": "host",
    "authorization": "secret", "proxy-authorization": "secret", "content-type": "media", "accept": "media",
    "accept-language": "accept", "accept-encoding": "accept", "accept-charset": "accept", "cache-control": "cache",
    "if-none-match": "cache", "if-modified-since": "cache", "etag": "cache", "pragma": "cache", "range": "cache",
    "x-forwarded-for": "address", "x-real-ip": "address", "forwarded": "address", "via": "address",
    "x-requested-with": "accept", "content-disposition": "file",
}  # fmt: skip
_BUCKETS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("secret", re.compile(r"pass|pwd|token|secret|auth|sess|csrf|xsrf|nonce|sign?\b|signature|hash|jwt|apikey|api_key"
                          r"|sid\b")),
    ("file", re.compile(r"file|path|dir\b|folder|template|include|attachment|upload|document_root|filename|\bdoc\b")),
    ("url", re.compile(r"ur[li]|link|href|src|redirect|return|next|callback|dest|target|goto|continue|refer|domain|host"
                       r"|site|webhook|origin|\bd[lr]\b|feed|proxy|image|img|location|website")),
    ("code", re.compile(r"sql|code|script|expr|filter|where|command|cmd|exec|eval|selector|xpath|jql|formula|regex"
                        r"|pattern|rule")),
    ("text", re.compile(r"text|content|body|message|msg|comment|desc|title|html|markdown|summary|note|bio|about|prompt"
                        r"|question|answer|subject|review|feedback|\bq\b|query|search|keyword|term|label|caption|stack|error")),
    ("time", re.compile(r"date|time|zone|\btz\b|stamp")),
    ("person", re.compile(r"name|user|login|mail|phone|address|city|country|company|street|author|account")),
    ("id", re.compile(r"id\b|uuid|guid|key|\bcid\b|number|code|sku|ref\b")),
    ("locale", re.compile(r"lang|locale|currency|region|timezone")),
)  # fmt: skip
_DECODINGS = {
    "base64": "base64", "jwt": "base64", "data-url": "base64", "json": "nested", "entities": "entities",
    "escapes": "escapes", "utf7": "charset", "nfkc": "compat", "strings": "binary",
}  # fmt: skip

NAME_BUCKETS = tuple(
    sorted({*_HEADERS.values(), *(bucket for bucket, _ in _BUCKETS), "key", "header", "other", "path"})
)
DECODINGS = ("percent2", "base64", "nested", "entities", "escapes", "charset", "compat", "binary")
CONTEXT_WORDS = (*LOCATIONS, *(bucket for bucket in NAME_BUCKETS if bucket not in LOCATIONS), *DECODINGS, "more")
"""Every word a context can hold, each one token of the vocabulary; "more" marks a window other than a first."""


def name_bucket(location: str, name: str) -> str:
    """Return the bucket of a field name: what kind of value usually stands there."""
    if location == "header":
        return _HEADERS.get(name.lower(), "header")
    if location == "path":
        return "path"
    return _bucket_of(name.rpartition(".")[2].partition("[")[0][:64] or name[-64:])


@lru_cache(maxsize=16_384)
def _bucket_of(last: str) -> str:
    # Split camelCase, so that word boundaries hold.
    last = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", last).lower().replace("_", " ").replace("-", " ")
    for bucket, pattern in _BUCKETS:
        if pattern.search(last):
            return bucket
    return "other"


@lru_cache(maxsize=4096)
def _decodings(decoded_by: tuple[str, ...]) -> str:
    words = {_DECODINGS.get(name, "charset") for name in decoded_by if name != "percent"}
    if decoded_by.count("percent") > 1:
        words.add("percent2")
    return "".join(" " + word for word in DECODINGS if word in words)


def context_of(field: Field) -> str:
    """Return the context words of `field`, separated by spaces."""
    bucket = "key" if field.kind == "name" else name_bucket(field.location, field.name)
    if not field.decoded_by:
        return f"{field.location} {bucket}"
    return f"{field.location} {bucket}{_decodings(field.decoded_by)}"
