"""The one shape in which a request enters Vedette, whatever road it came by."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from vedette.errors import RequestError

# RFC 9110 section 5.6.2: token = 1*tchar. Methods and header names are tokens.
_MAX_TOKEN = 256
_TOKEN = re.compile(rf"[!#$%&'*+\-.^_`|~0-9A-Za-z]{{1,{_MAX_TOKEN}}}\Z")


@dataclass(frozen=True, slots=True)
class HTTPRequest:
    """An HTTP request as it was sent: nothing decoded, nothing merged.

    `target` is the raw request target (RFC 9112 section 3.2) with its query, still percent-encoded. `headers` are
    ordered pairs because names repeat. Text that came as bytes is UTF-8 with ``surrogateescape``, so that no byte is
    lost. `client_ip` is the address of the client where it is known.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    client_ip: str | None = None

    def header(self, name: str) -> str | None:
        """Return the first value of header `name` (compared without case), or None."""
        wanted = name.lower()
        for key, value in self.headers:
            if key.lower() == wanted:
                return value
        return None


def validate_method(method: str, *, field: str = "method") -> str:
    """Return `method` if it is an RFC 9110 token, else raise `RequestError` naming `field`."""
    if not _TOKEN.match(method):
        raise RequestError("must be an HTTP token: letters, digits and !#$%&'*+-.^_`|~", field=field)
    return method


@lru_cache(maxsize=4096)
def _is_token(name: str) -> bool:
    return _TOKEN.match(name) is not None


def validate_headers(headers: Iterable[tuple[str, str]], *, field: str = "headers") -> tuple[tuple[str, str], ...]:
    """Return `headers` as a tuple of pairs.

    Header names must be tokens. A value may hold anything but CR, LF and NUL (RFC 9110 section 5.5), which no
    HTTP server hands on. Raises `RequestError` naming the header.
    """
    pairs = tuple(headers)
    for name, value in pairs:
        if len(name) > _MAX_TOKEN or not _is_token(name):
            raise RequestError(f"header name {name[:64]!r} is not an HTTP token", field=field)
        if "\r" in value or "\n" in value or "\x00" in value:
            raise RequestError("a header value must not hold CR, LF or NUL", field=f"{field}.{name}")
    return pairs
