"""A URL cut into what a request needs: authority for Host, and the raw target. Nothing is decoded or normalised."""

from __future__ import annotations

import re
from typing import NamedTuple

# RFC 3986 section 3.1: scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]{0,31})://")
_AUTHORITY_END = re.compile(r"[/?#\\]")


class UrlParts(NamedTuple):
    """`userinfo` is None where there is none; `target` starts with a slash and holds the query, not the fragment."""

    scheme: str
    userinfo: str | None
    authority: str
    target: str


def split_url(url: str) -> UrlParts | None:
    """Cut an absolute URL (``scheme://authority...``) into parts, or return None if it is not one."""
    match = _SCHEME.match(url)
    if match is None:
        return None
    end = _AUTHORITY_END.search(url, match.end())
    stop = end.start() if end else len(url)
    userinfo, at, host = url[match.end() : stop].rpartition("@")
    target = url[stop:].partition("#")[0]
    if not target.startswith("/"):
        target = "/" + target
    return UrlParts(match[1].lower(), userinfo if at else None, host, target)


def strip_port(address: str) -> str:
    """Return the address in ``192.0.2.1:443``, ``[2001:db8::1]:443`` or a bare address."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    host, colon, port = address.rpartition(":")
    return host if colon and port.isdigit() and ":" not in host else address
