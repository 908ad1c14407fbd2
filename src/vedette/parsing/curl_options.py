"""What each curl option means for the request: a table of handlers, and the names that change nothing a server sees.

Options that read a file are refused by name, so is everything not listed here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote_from_bytes

from vedette.errors import MalformedInput
from vedette.http_request import validate_method
from vedette.parsing.wire_text import to_bytes

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*+)"')
_ATTRIBUTE = re.compile(r";(type|filename|headers|encoder)=(\"(?:[^\"\\]|\\.)*+\"|[^;]*+)")
BOUNDARY = "------------------------d74496d66958873e"

SHORT = {
    "A": "user-agent", "b": "cookie", "d": "data", "e": "referer", "F": "form", "G": "get", "H": "header",
    "I": "head", "r": "range", "u": "user", "X": "request", "x": "proxy", "o": "output", "m": "max-time",
    "w": "write-out", "c": "cookie-jar", "E": "cert", "D": "dump-header", "U": "proxy-user", "K": "config",
    "T": "upload-file", "C": "continue-at", "y": "speed-time", "Y": "speed-limit", "z": "time-cond",
    "t": "telnet-option", "P": "ftp-port", "Q": "quote",
}  # fmt: skip
SHORT_FLAGS = "#01234679BNOJLMRSVafghijklnpqsvZ"

FILES = {"config": "-K", "upload-file": "-T", "netrc-file": "--netrc-file", "variable": "--variable"}
_READ_OVER_NAMES = """
proxy output max-time write-out cookie-jar cert dump-header proxy-user continue-at speed-time speed-limit
cacert capath cert-type ciphers connect-timeout connect-to crlfile curves dns-servers engine expect100-timeout
happy-eyeballs-timeout-ms hostpubmd5 interface keepalive-time key key-type limit-rate local-port max-filesize
max-redirs noproxy output-dir pass pinnedpubkey preproxy proto proto-default proxy-header rate resolve retry
retry-delay retry-max-time service-name socks4 socks4a socks5 socks5-hostname stderr tls-max tls13-ciphers
tlsuser tlspassword trace trace-ascii unix-socket abstract-unix-socket proxy-cacert proxy-cert proxy-key
proxy1.0 aws-sigv4 alt-svc hsts doh-url create-file-mode ip-tos
"""
READ_OVER = frozenset(_READ_OVER_NAMES.split())
_FLAGS_NAMES = """
silent show-error location location-trusted insecure verbose include fail fail-with-body globoff
http0.9 http1.0 http1.1 http2 http2-prior-knowledge http3 http3-only no-buffer path-as-is progress-bar
no-progress-meter remote-name remote-name-all remote-header-name raw tcp-fastopen tcp-nodelay tlsv1 tlsv1.0
tlsv1.1 tlsv1.2 tlsv1.3 sslv2 sslv3 ssl ssl-reqd ipv4 ipv6 anyauth basic digest ntlm negotiate
junk-session-cookies no-keepalive no-sessionid netrc netrc-optional parallel post301 post302 post303
proxytunnel create-dirs retry-all-errors retry-connrefused styled-output no-styled-output
suppress-connect-headers disable http2-only ssl-no-revoke proxy-insecure proxy-basic cert-status
haproxy-protocol tr-encoding ntlm-wb no-alpn no-npn no-compressed remote-time xattr list-only append use-ascii
trace-time trace-ids fail-early
"""
FLAGS = frozenset(_FLAGS_NAMES.split())


@dataclass(slots=True)
class CurlCommand:
    """What the options seen so far ask for. `defaults` are headers that an explicit -H of the same name replaces."""

    url: str | None = None
    method: str | None = None
    target: str | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)
    removed: set[str] = field(default_factory=set)
    data: list[bytes] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)
    query: list[bytes] = field(default_factory=list)
    cookies: list[str] = field(default_factory=list)
    user: str | None = None
    get: bool = False
    head: bool = False
    json: bool = False
    defaults: dict[str, str] = field(default_factory=dict)


def set_url(state: CurlCommand, value: str) -> None:
    """Take `value` as the one URL of the command."""
    if state.url is not None:
        raise MalformedInput("the command has more than one URL", field="url")
    state.url = value


def _set_method(state: CurlCommand, value: str) -> None:
    state.method = validate_method(value, field="-X")


def _set_target(state: CurlCommand, value: str) -> None:
    state.target = value


def _add_header(state: CurlCommand, value: str) -> None:
    if value.startswith("@"):
        raise MalformedInput("-H @file reads a file; write its headers out instead", field="-H")
    name, colon, text = value.partition(":")
    if not colon:
        if not value.endswith(";"):
            raise MalformedInput(f"-H {value[:64]!r} is not NAME: VALUE", field="-H")
        state.headers.append((value[:-1].strip(), ""))  # curl's way to send an empty header
    elif not text.strip():
        state.removed.add(name.strip().lower())
    else:
        state.headers.append((name.strip(), text.strip(" \t")))


def _add_data(state: CurlCommand, value: str) -> None:
    _refuse_file(value, "-d")
    state.data.append(to_bytes(value))


def _add_raw_data(state: CurlCommand, value: str) -> None:
    state.data.append(to_bytes(value))


def _add_binary_data(state: CurlCommand, value: str) -> None:
    _refuse_file(value, "--data-binary")
    state.data.append(to_bytes(value))


def _add_json(state: CurlCommand, value: str) -> None:
    _refuse_file(value, "--json")
    state.data.append(to_bytes(value))
    state.json = True


def _add_encoded_data(state: CurlCommand, value: str) -> None:
    state.data.append(_urlencoded(value, "--data-urlencode"))


def _add_query(state: CurlCommand, value: str) -> None:
    state.query.append(to_bytes(value[1:]) if value.startswith("+") else _urlencoded(value, "--url-query"))


def _urlencoded(value: str, option: str) -> bytes:
    """``content``, ``=content`` or ``name=content``; ``@file`` and ``name@file`` are refused."""
    name, equals, content = value.partition("=")
    if "@" in name:
        raise MalformedInput(f"{option} {value[:64]} reads a file; write its content out instead", field=option)
    encoded = quote_from_bytes(to_bytes(content if equals else value), safe=" -._~").replace(" ", "+").encode("ascii")
    return to_bytes(name) + b"=" + encoded if equals and name else encoded


def _add_form(state: CurlCommand, value: str) -> None:
    name, equals, content = value.partition("=")
    if not equals:
        raise MalformedInput(f"-F {value[:64]!r} is not NAME=CONTENT", field="-F")
    if content.startswith(("@", "<")):
        raise MalformedInput(f"-F {value[:64]} reads a file, which is not done here", field="-F")
    quoted = _QUOTED.match(content)
    after = quoted.end() if quoted else 0
    first = _ATTRIBUTE.search(content, after)
    text = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else content[: first.start() if first else None]
    _add_part(state, name, text, {key: value.strip('"') for key, value in _ATTRIBUTE.findall(content, after)})


def _add_form_string(state: CurlCommand, value: str) -> None:
    name, _, content = value.partition("=")
    _add_part(state, name, content, {})


def _add_part(state: CurlCommand, name: str, content: str, attributes: dict[str, str]) -> None:
    head = f'Content-Disposition: form-data; name="{_quoted(name)}"'
    if "filename" in attributes:
        head += f'; filename="{_quoted(attributes["filename"])}"'
    if "type" in attributes:
        head += f"\r\nContent-Type: {attributes['type']}"
    state.parts.append(to_bytes(f"--{BOUNDARY}\r\n{head}\r\n\r\n{content}\r\n"))


def _quoted(text: str) -> str:
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _add_cookie(state: CurlCommand, value: str) -> None:
    if "=" not in value:
        raise MalformedInput(f"-b {value[:64]} names a cookie file, which is not read here", field="-b")
    state.cookies.append(value)


def _set_user(state: CurlCommand, value: str) -> None:
    state.user = value if ":" in value else value + ":"


def _refuse_file(value: str, option: str) -> None:
    if value.startswith("@"):
        raise MalformedInput(f"{option} {value[:64]} reads a file; write its content out instead", field=option)


def _set_default(name: str) -> Callable[[CurlCommand, str], None]:
    def handler(state: CurlCommand, value: str) -> None:
        state.defaults[name] = value

    return handler


def _set_referer(state: CurlCommand, value: str) -> None:
    if referer := value.partition(";auto")[0]:
        state.defaults["Referer"] = referer


def _set_bearer(state: CurlCommand, value: str) -> None:
    state.defaults["Authorization"] = "Bearer " + value


def _set_range(state: CurlCommand, value: str) -> None:
    state.defaults["Range"] = "bytes=" + value


def _get(state: CurlCommand) -> None:
    state.get = True


def _head(state: CurlCommand) -> None:
    state.head = True


def _compressed(state: CurlCommand) -> None:
    state.defaults["Accept-Encoding"] = "deflate, gzip, br, zstd"


OPTIONS: dict[str, Callable[[CurlCommand, str], None]] = {
    "cookie": _add_cookie,
    "data": _add_data,
    "data-ascii": _add_data,
    "data-binary": _add_binary_data,
    "data-raw": _add_raw_data,
    "data-urlencode": _add_encoded_data,
    "form": _add_form,
    "form-string": _add_form_string,
    "header": _add_header,
    "json": _add_json,
    "oauth2-bearer": _set_bearer,
    "range": _set_range,
    "referer": _set_referer,
    "request": _set_method,
    "request-target": _set_target,
    "url": set_url,
    "url-query": _add_query,
    "user": _set_user,
    "user-agent": _set_default("User-Agent"),
}
ACTING_FLAGS: dict[str, Callable[[CurlCommand], None]] = {"get": _get, "head": _head, "compressed": _compressed}
