"""A curl command line to the request that curl would send.

Options are read as curl's getopt reads them (clusters such as ``-sXPOST``, long names); each either changes the
request, or is known to change nothing that a server sees, or is refused by name. Files are never read: an argument that
names one is refused. Paths are sent as typed (as with ``--path-as-is``), globs stay literal.
"""

from __future__ import annotations

import re
from base64 import b64encode
from urllib.parse import quote_from_bytes

from vedette.errors import MalformedInput, RequestError
from vedette.http_request import HTTPRequest, validate_headers, validate_method
from vedette.parsing.curl_options import (
    ACTING_FLAGS,
    BOUNDARY,
    FILES,
    FLAGS,
    OPTIONS,
    READ_OVER,
    SHORT,
    SHORT_FLAGS,
    CurlCommand,
    set_url,
)
from vedette.parsing.shell_words import split_cmd, split_posix
from vedette.parsing.url_parts import split_url
from vedette.parsing.wire_text import to_bytes, to_text

MAX_COMMAND_CHARS = 16 * 1024 * 1024
USER_AGENT = "curl/8.14.1"
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")


def parse_curl(command: str) -> HTTPRequest:
    """Return the request of a curl command line; raises `MalformedInput` naming the option at fault."""
    if len(command) > MAX_COMMAND_CHARS:
        raise MalformedInput(f"the command is longer than {MAX_COMMAND_CHARS} characters", field="command")
    words = split_cmd(command) if re.search(r"\^[\"\r\n]", command) else split_posix(command)
    while words and words[0] in ("$", "%", "sudo", "time"):
        words.pop(0)
    if not words or re.split(r"[/\\]", words[0].lower())[-1] not in ("curl", "curl.exe"):
        raise MalformedInput("the command is not curl", field="command")
    state = CurlCommand()
    try:
        _read_options(words[1:], state)
        return _request(state)
    except MalformedInput:
        raise
    except RequestError as error:
        raise MalformedInput(str(error), field=error.field) from None


def is_curl_command(text: str) -> bool:
    """Tell whether `text` looks like a curl command line."""
    return re.match(r"\s*(?:[$%]\s+)?(?:\S{0,200}[/\\])?curl(?:\.exe)?\s", text[:1024]) is not None


def _read_options(words: list[str], state: CurlCommand) -> None:
    i = 0
    while i < len(words):
        word = words[i]
        i += 1
        if word == "--":
            continue
        if not word.startswith("-") or word == "-":
            set_url(state, word)
            continue
        name, argument = (_long_name(word[2:]), None) if word.startswith("--") else _short_names(word, state)
        if not name or name in FLAGS:
            continue
        if name in ACTING_FLAGS:
            ACTING_FLAGS[name](state)
            continue
        if argument is None:
            if i >= len(words):
                raise MalformedInput(f"option {word[:64]} needs an argument", field=word[:64])
            argument = words[i]
            i += 1
        if name in FILES:
            raise MalformedInput(f"{FILES[name]} reads a file, which is not done here", field=FILES[name])
        if name in OPTIONS:
            OPTIONS[name](state, argument)


def _short_names(word: str, state: CurlCommand) -> tuple[str, str | None]:
    """Apply the flags of a cluster; return its last option and the argument glued to it, if any."""
    for k, letter in enumerate(word[1:], 1):
        name = SHORT.get(letter)
        if name in ACTING_FLAGS:
            ACTING_FLAGS[name](state)
        elif name is not None:
            return name, word[k + 1 :] or None
        elif letter not in SHORT_FLAGS:
            raise MalformedInput(f"option -{letter} is not supported", field=f"-{letter}")
    return "", None


def _long_name(name: str) -> str:
    if name in OPTIONS or name in ACTING_FLAGS or name in FLAGS or name in READ_OVER or name in FILES:
        return name
    if name.startswith("no-") and name.removeprefix("no-") in FLAGS:
        return ""
    raise MalformedInput(f"option --{name[:64]} is not supported", field=f"--{name[:64]}")


def _request(state: CurlCommand) -> HTTPRequest:
    if state.url is None:
        raise MalformedInput("the command has no URL", field="url")
    url = split_url(state.url if "://" in state.url[:40] else "http://" + state.url)
    if url is None or url.scheme not in ("http", "https") or not url.authority:
        raise MalformedInput("the URL is not an http or https address", field="url")
    if state.parts and state.data:
        raise MalformedInput("-F and -d cannot be used together", field="-F")
    if url.userinfo is not None and state.user is None:
        state.user = url.userinfo if ":" in url.userinfo else url.userinfo + ":"

    data = (b"" if state.json else b"&").join(state.data)  # curl joins several --json without a separator
    query = [*state.query, data] if state.get and state.data else state.query
    target = state.target or url.target
    if query:
        target += ("&" if "?" in target else "?") + to_text(b"&".join(query))
    if state.target is None and not target.isascii():
        target = _NOT_ASCII.sub(lambda run: quote_from_bytes(to_bytes(run[0])).lower(), target)  # as curl does
    body, content_type = _body(state, data)
    default_method = "HEAD" if state.head else "GET" if state.get or content_type is None else "POST"
    method = validate_method(state.method or default_method)
    headers = _headers(state, url.authority, body, content_type)
    return HTTPRequest(method, target, validate_headers(headers), body)


def _body(state: CurlCommand, data: bytes) -> tuple[bytes, str | None]:
    """Return body and media type; the type is None where the request has no body."""
    if state.parts:
        return b"".join(state.parts) + to_bytes(f"--{BOUNDARY}--\r\n"), f"multipart/form-data; boundary={BOUNDARY}"
    if not state.data or state.get:
        return b"", None
    return data, "application/json" if state.json else "application/x-www-form-urlencoded"


def _headers(state: CurlCommand, host: str, body: bytes, content_type: str | None) -> list[tuple[str, str]]:
    """Return the headers in the order in which curl 7.88 was seen to send them."""
    before = {"Host": host}
    if state.user is not None:
        before["Authorization"] = "Basic " + b64encode(to_bytes(state.user)).decode("ascii")
    before |= {"User-Agent": USER_AGENT}
    before |= {"Content-Type": "application/json", "Accept": "application/json"} if state.json else {"Accept": "*/*"}
    before |= state.defaults
    if state.cookies:
        before["Cookie"] = "; ".join(state.cookies)
    after = {} if content_type is None else {"Content-Length": str(len(body)), "Content-Type": content_type}
    given = {name.lower() for name, _ in state.headers} | state.removed
    if state.json:
        after.pop("Content-Type", None)
    return [
        *(pair for pair in before.items() if pair[0].lower() not in given),
        *state.headers,
        *(pair for pair in after.items() if pair[0].lower() not in given),
    ]
