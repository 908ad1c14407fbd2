"""Encoders that mirror the pipeline's decoders, and placers that put a value into a request.

`encode` wraps a value in what an attacker's client might send; `place` builds a whole record in the dataset format
(method, url, headers, body) with the value in one field and harmless material around it. Placement alone never changes
the value that a correct reader decodes.
"""

from __future__ import annotations

import base64
import html
import json
import random
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus

from vedette.datasets import primitives

Encoder = Callable[[str, random.Random], str]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def percent(text: str, rng: random.Random) -> str:
    """Percent-encode what RFC 3986 reserves."""
    return quote(text, safe=rng.choice(("", "/", "/:", "-_.!~*'()")), errors="surrogatepass")


def percent_plus(text: str, rng: random.Random) -> str:
    """Percent-encode as HTML forms do, with + for a space."""
    return quote_plus(text, errors="surrogatepass")


def percent_all(text: str, rng: random.Random) -> str:
    """Percent-encode every byte, in lower or upper hexadecimal."""
    form = rng.choice(("%{:02x}", "%{:02X}"))
    return "".join(form.format(byte) for byte in _bytes(text))


def percent_some(text: str, rng: random.Random) -> str:
    """Percent-encode the reserved bytes and some of the others."""
    form = rng.choice(("%{:02x}", "%{:02X}"))
    return "".join(
        chr(byte) if chr(byte).isalnum() and byte < 128 and rng.random() < 0.7 else form.format(byte)
        for byte in _bytes(text)
    )


def percent_twice(text: str, rng: random.Random) -> str:
    """Percent-encode twice."""
    return quote(quote(text, safe="", errors="surrogatepass"), safe="")


def percent_thrice(text: str, rng: random.Random) -> str:
    """Percent-encode three times."""
    return quote(percent_twice(text, rng), safe="")


def percent_u(text: str, rng: random.Random) -> str:
    """Non-alphanumeric (or all) UTF-16 units as %uXXXX, the form of IIS and of JavaScript's escape()."""
    every = rng.random() < 0.4
    units = text.encode("utf-16-be", "surrogatepass")
    out = []
    for high, low in zip(units[::2], units[1::2], strict=True):
        code = high << 8 | low
        out.append(chr(code) if code < 128 and chr(code).isalnum() and not every else f"%u{code:04x}")
    return "".join(out)


def html_decimal(text: str, rng: random.Random) -> str:
    """Decimal character references, sometimes zero padded; without semicolon only where it stays readable."""
    width = rng.choice((1, 1, 4, 7))
    every = rng.random() < 0.5
    return "".join(f"&#{ord(char):0{width}d};" if every or not char.isalnum() else char for char in text)


def html_hex(text: str, rng: random.Random) -> str:
    """Hexadecimal character references."""
    form = rng.choice(("&#x{:x};", "&#X{:X};", "&#x{:06x};"))
    every = rng.random() < 0.5
    return "".join(form.format(ord(char)) if every or not char.isalnum() else char for char in text)


def html_unterminated(text: str, rng: random.Random) -> str:
    """Every character as a decimal reference without the semicolon (HTML, "decimal character reference" state)."""
    return "".join(f"&#{ord(char):07d}" for char in text)


def html_named(text: str, rng: random.Random) -> str:
    """Named references for what HTML gives special meaning."""
    return html.escape(text, quote=True)


def json_unicode(text: str, rng: random.Random) -> str:
    """\\uXXXX for what is not alphanumeric, or for all."""
    every = rng.random() < 0.4
    units = text.encode("utf-16-be", "surrogatepass")
    out = []
    for high, low in zip(units[::2], units[1::2], strict=True):
        code = high << 8 | low
        out.append(chr(code) if code < 128 and chr(code).isalnum() and not every else f"\\u{code:04x}")
    return "".join(out)


def hex_escape(text: str, rng: random.Random) -> str:
    """\\xXX for every byte that is not alphanumeric, or for all."""
    every = rng.random() < 0.4
    return "".join(
        chr(byte) if byte < 128 and chr(byte).isalnum() and not every else f"\\x{byte:02x}" for byte in _bytes(text)
    )


def octal_escape(text: str, rng: random.Random) -> str:
    """\\OOO for every byte."""
    return "".join(f"\\{byte:03o}" for byte in _bytes(text))


def overlong(text: str, rng: random.Random) -> str:
    """ASCII that is not alphanumeric as overlong two- or three-byte UTF-8, percent-encoded (RFC 3629 section 10)."""
    three = rng.random() < 0.3
    out = []
    for char in text:
        code = ord(char)
        if code >= 128:
            out.append(quote(char, errors="surrogatepass"))
        elif char.isalnum():
            out.append(char)
        elif three:
            out.append(f"%e0%{0x80 | code >> 6:02x}%{0x80 | code & 0x3F:02x}")
        else:
            out.append(f"%{0xC0 | code >> 6:02x}%{0x80 | code & 0x3F:02x}")
    return "".join(out)


def full_width(text: str, rng: random.Random) -> str:
    """Printable ASCII as its full-width forms, which compatibility normalisation (NFKC) folds back."""
    return "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in text)


def base64_standard(text: str, rng: random.Random) -> str:
    """Base64, RFC 4648 section 4."""
    return base64.b64encode(_bytes(text)).decode()


def base64_url(text: str, rng: random.Random) -> str:
    """URL-safe base64, RFC 4648 section 5, with or without padding."""
    coded = base64.urlsafe_b64encode(_bytes(text)).decode()
    return coded.rstrip("=") if rng.random() < 0.5 else coded


ENCODERS: dict[str, Encoder] = {
    "percent": percent, "percent_plus": percent_plus, "percent_all": percent_all, "percent_some": percent_some,
    "percent_twice": percent_twice, "percent_thrice": percent_thrice, "percent_u": percent_u,
    "html_decimal": html_decimal, "html_hex": html_hex, "html_unterminated": html_unterminated,
    "html_named": html_named, "json_unicode": json_unicode, "hex_escape": hex_escape, "octal_escape": octal_escape,
    "overlong": overlong, "full_width": full_width, "base64": base64_standard, "base64_url": base64_url,
}  # fmt: skip
"""Every encoder by name."""
UNDONE_BY_SERVERS = ("percent", "percent_plus", "percent_all", "percent_some", "percent_twice", "percent_u",
                     "json_unicode", "base64", "base64_url")  # fmt: skip
"""What applications decode before they use a value; the others are for what a browser or an interpreter reads."""


def encode(
    value: str, rng: random.Random, *, layers: int = 1, of: tuple[str, ...] = tuple(ENCODERS)
) -> tuple[str, tuple[str, ...]]:
    """Return `value` under `layers` random encoders out of `of`, and their names from the inside out."""
    names = []
    for _ in range(layers):
        name = rng.choice(of)
        value = ENCODERS[name](value, rng)
        names.append(name)
    return value, tuple(names)


# --- placing ---------------------------------------------------------------------------------------------------------

_BROWSER = "Mozilla/5.0 ({}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36"
_SYSTEMS = ("Windows NT 10.0; Win64; x64", "Macintosh; Intel Mac OS X 10_15_7", "X11; Linux x86_64",
            "Linux; Android 14; Pixel 8", "X11; Ubuntu; Linux x86_64")  # fmt: skip
_HEADER_NAMES = ("User-Agent", "Referer", "X-Forwarded-For", "X-Forwarded-Host", "Accept-Language", "X-Api-Version",
                 "Origin", "X-Requested-With", "True-Client-IP", "X-Real-IP", "Accept", "X-Request-Id", "From",
                 "Authorization", "X-Original-URL", "X-Client-Id", "Via", "Forwarded", "X-Custom")  # fmt: skip


_BREAKS_HEADERS = re.compile(r"[\r\n\x00]")


def place(value: str, rng: random.Random, location: str | None = None) -> dict[str, Any]:
    """Return a request record (method, url, headers, body) that carries `value` in one field.

    `location` is one of `LOCATIONS`; None chooses. Cookie values cannot hold CR, LF or NUL and the path no control
    characters: these are percent-encoded there. In other headers nobody would undo that, so such a value goes into a
    cookie instead; one with control characters that XML does not know goes into JSON.
    """
    location = location or rng.choice(LOCATIONS)
    if location == "header" and _BREAKS_HEADERS.search(value):
        location = "cookie"
    if location == "xml" and any(char < " " and char not in "\t\n\r" for char in value):
        location = "json"
    return _PLACERS[location](value, rng)


def usual_location(attack_class: str, rng: random.Random) -> str:
    """Return a location where payloads of `attack_class` are met."""
    return rng.choice(_USUAL.get(attack_class, LOCATIONS))


def _headers(rng: random.Random, **more: str) -> dict[str, str]:
    headers = {"Host": primitives.domain(rng), "User-Agent": _browser(rng),
               "Accept": rng.choice(("*/*", "application/json", "text/html,*/*;q=0.8"))}  # fmt: skip
    if rng.random() < 0.5:
        headers["Accept-Language"] = rng.choice(("en-US,en;q=0.9", "de-DE,de;q=0.8,en;q=0.5", "fr", "he-IL,he;q=0.9"))
    if rng.random() < 0.4:
        headers["Referer"] = primitives.url(rng)
    if rng.random() < 0.3:
        headers["Cookie"] = f"{primitives.ident(rng)}={primitives.alnum(rng)}; sid={primitives.hex_digits(rng)}"
    return {**headers, **{name.replace("_", "-"): text for name, text in more.items()}}


def _browser(rng: random.Random) -> str:
    return _BROWSER.format(rng.choice(_SYSTEMS), rng.randint(70, 140))


def _record(method: str, url: str, headers: dict[str, str], body: str | None = None) -> dict[str, Any]:
    return {"method": method, "url": url, "headers": headers, "body": body}


def _others(rng: random.Random) -> list[tuple[str, str]]:
    return [(primitives.parameter(rng), primitives.benign_value(rng)) for _ in range(rng.choice((0, 0, 1, 1, 2, 4)))]


def _pairs(value: str, rng: random.Random) -> str:
    """Return URL-encoded pairs with `value` at a random place."""
    pairs = _others(rng)
    pairs.insert(rng.randint(0, len(pairs)), (primitives.parameter(rng), value))
    how = rng.choice((quote, quote, quote_plus))
    return "&".join(f"{how(name, safe='')}={how(text, safe='', errors='surrogatepass')}" for name, text in pairs)


def _in_query(value: str, rng: random.Random) -> dict[str, Any]:
    url = f"{primitives.url_path(rng)}?{_pairs(value, rng)}"
    return _record(rng.choice(("GET", "GET", "GET", "POST")), url, _headers(rng))


def _in_path(value: str, rng: random.Random) -> dict[str, Any]:
    coded = quote(value, safe="/:@!$&'()*+,;=-._~", errors="surrogatepass")
    path = rng.choice(("/", primitives.url_path(rng).rstrip("/") + "/")) + coded.lstrip("/")
    if value.startswith(("//", "/\\")):
        path = coded  # two slashes are what names a host
    tail = rng.choice(("", "", "/", f"?{primitives.parameter(rng)}={primitives.integer(rng)}"))
    return _record("GET", path + tail, _headers(rng))


def _in_name(value: str, rng: random.Random) -> dict[str, Any]:
    url = f"{primitives.url_path(rng)}?{quote(value, safe='', errors='surrogatepass')}={primitives.integer(rng)}"
    return _record("GET", url, _headers(rng))


def _in_header(value: str, rng: random.Random) -> dict[str, Any]:
    headers = _headers(rng)
    headers[rng.choice(_HEADER_NAMES)] = value
    return _record("GET", primitives.url_path(rng), headers)


def _in_cookie(value: str, rng: random.Random) -> dict[str, Any]:
    plain = not any(char in value for char in ";\r\n\x00") and rng.random() < 0.3
    coded = value if plain else quote(value, safe="", errors="surrogatepass")
    cookies = [f"{primitives.ident(rng)}={primitives.alnum(rng)}" for _ in range(rng.randint(0, 4))]
    cookies.insert(rng.randint(0, len(cookies)), f"{primitives.ident(rng)}={coded}")
    return _record("GET", primitives.url_path(rng), _headers(rng, Cookie="; ".join(cookies)))


def _in_form(value: str, rng: random.Random) -> dict[str, Any]:
    headers = _headers(rng, Content_Type="application/x-www-form-urlencoded")
    return _record(rng.choice(("POST", "POST", "PUT")), primitives.url_path(rng), headers, _pairs(value, rng))


def _json_object(value: str, rng: random.Random) -> Any:
    if value[:1] in "{[" and rng.random() < 0.5:
        try:
            inner = json.loads(value)
        except ValueError:
            inner = value
    else:
        inner = value
    fields: dict[str, Any] = dict(_others(rng))
    fields[primitives.parameter(rng)] = inner
    body: Any = fields
    for _ in range(rng.choice((0, 0, 1, 2))):
        body = {primitives.ident(rng): [body] if rng.random() < 0.3 else body, "id": rng.randrange(10**6)}
    return body


def _in_json(value: str, rng: random.Random) -> dict[str, Any]:
    body = json.dumps(_json_object(value, rng), ensure_ascii=rng.random() < 0.5)
    headers = _headers(rng, Content_Type=rng.choice(("application/json", "application/json; charset=utf-8")))
    return _record(rng.choice(("POST", "POST", "PUT", "PATCH")), primitives.url_path(rng), headers, _text(body))


def _text(body: str) -> str:
    """A body is UTF-8 text: replace what UTF-8 cannot hold."""
    return body.encode("utf-8", "replace").decode()


def _in_multipart(value: str, rng: random.Random) -> dict[str, Any]:
    mark = "----WebKitFormBoundary" + primitives.alnum(rng)
    parts = [f'Content-Disposition: form-data; name="{name}"\r\n\r\n{text}' for name, text in _others(rng)]
    style = rng.random()
    name = primitives.parameter(rng)
    if style < 0.4:
        parts.append(f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}')
    elif style < 0.7 and not _BREAKS_HEADERS.search(value):
        quoted = value.replace("\\", "\\\\").replace('"', '\\"')
        parts.append(f'Content-Disposition: form-data; name="{name}"; filename="{quoted}"\r\n'
                     f"Content-Type: application/octet-stream\r\n\r\n{primitives.words(rng)}")  # fmt: skip
    else:
        parts.append(f'Content-Disposition: form-data; name="{name}"; filename="{primitives.slug(rng)}.txt"\r\n'
                     f"Content-Type: text/plain\r\n\r\n{value}")  # fmt: skip
    rng.shuffle(parts)
    body = "".join(f"--{mark}\r\n{part}\r\n" for part in parts) + f"--{mark}--\r\n"
    headers = _headers(rng, Content_Type=f"multipart/form-data; boundary={mark}")
    return _record("POST", primitives.url_path(rng), headers, _text(body))


def _in_xml(value: str, rng: random.Random) -> dict[str, Any]:
    if value.lstrip().startswith(("<?xml", "<!DOCTYPE")):
        return _whole_body(value, rng, "application/xml")
    name, root = primitives.parameter(rng), primitives.parameter(rng)
    style = rng.random()
    if style < 0.6 or "]]>" in value:
        inner = f"<{name}>{html.escape(value)}</{name}>"
    elif style < 0.8:
        inner = f"<{name}><![CDATA[{value}]]></{name}>"
    else:
        inner = f'<{name} {primitives.parameter(rng)}="{html.escape(value)}"/>'
    body = f'<?xml version="1.0" encoding="UTF-8"?><{root}><id>{primitives.integer(rng)}</id>{inner}</{root}>'
    return _whole_body(body, rng, rng.choice(("application/xml", "text/xml; charset=utf-8", "application/soap+xml")))


def _whole_body(body: str, rng: random.Random, content_type: str) -> dict[str, Any]:
    return _record("POST", primitives.url_path(rng), _headers(rng, Content_Type=content_type), _text(body))


def _in_body(value: str, rng: random.Random) -> dict[str, Any]:
    return _whole_body(value, rng, rng.choice(("text/plain", "text/plain;charset=UTF-8", "application/octet-stream")))


def _in_graphql(value: str, rng: random.Random) -> dict[str, Any]:
    name, field = primitives.ident(rng), primitives.ident(rng)
    if value.lstrip().startswith(("{__", "{ __", "query", "mutation", "fragment", "{")) and rng.random() < 0.6:
        body: Any = {"query": value, "variables": None}
    else:
        query = f"query Get($value: String!) {{ {field}({name}: $value) {{ id __typename }} }}"
        body = {"operationName": "Get", "query": query, "variables": {"value": value}}
    return _whole_body(json.dumps(body), rng, "application/json") | {"url": rng.choice(("/graphql", "/api/graphql"))}


def _in_form_json(value: str, rng: random.Random) -> dict[str, Any]:
    return _in_form(json.dumps(_json_object(value, rng)), rng)


def _in_base64(value: str, rng: random.Random) -> dict[str, Any]:
    return rng.choice((_in_query, _in_cookie, _in_form, _in_json))(base64_standard(value, rng), rng)


_PLACERS: dict[str, Callable[[str, random.Random], dict[str, Any]]] = {
    "query": _in_query, "path": _in_path, "name": _in_name, "header": _in_header, "cookie": _in_cookie,
    "form": _in_form, "json": _in_json, "multipart": _in_multipart, "xml": _in_xml, "graphql": _in_graphql,
    "body": _in_body, "form_json": _in_form_json, "base64": _in_base64,
}  # fmt: skip

LOCATIONS = tuple(_PLACERS)
"""Where `place` can put a value: the locations of a field, argument names, values nested in another encoding."""

_ANY = ("query", "query", "query", "form", "form", "json", "json", "cookie", "header", "multipart", "xml", "graphql",
        "form_json", "base64")  # fmt: skip
_USUAL: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("sqli", "xss", "cmdi", "codei", "ssti", "benign", "ldapi", "xpath", "ssi", "deser"), _ANY),
    "traversal": (*_ANY, "path", "path", "path"), "log4shell": (*_ANY, "header", "header", "path"),
    "shellshock": ("header", "header", "header", "cookie", "query", "form"), "crlf": ("query", "query", "form", "path"),
    "xxe": ("xml", "xml", "body", "multipart", "form", "json"), "upload": ("multipart",),
    "graphql": ("graphql", "graphql", "query", "json"), "protopollution": ("json", "json", "query", "name", "body"),
    "nosqli": ("json", "json", "query", "form", "form_json"), "ssrf": ("query", "query", "form", "json", "xml"),
    "redirect": ("query", "query", "form", "path", "cookie"),
}  # fmt: skip
