"""The requests of a benchmark: drawn from files or made up, with attacks among them, and as bytes for the wire."""

from __future__ import annotations

import argparse
import json
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path

from vedette.cli.request_files import requests_of
from vedette.evaluation.traffic import browsing, drawn, made_up_attacks, mixed
from vedette.http_request import HTTPRequest

_JSON = b"Content-Type: application/json\r\n"
# Set by the client itself for what it sends, or meant for one hop only (RFC 9110 section 7.6.1).
_OWN = frozenset("host connection content-length transfer-encoding expect upgrade keep-alive te trailer".split())


def load(options: argparse.Namespace, count: int) -> tuple[list[HTTPRequest], frozenset[int]]:
    """Return up to `count` requests in random order, none twice, and which of them are attacks.

    Harmless ones come evenly from all of `options.files`, attacks from all of `options.attacks`; else made up.
    """
    hostile = round(count * options.attack_share)
    if options.files:
        harmless = drawn(requests_of(map(Path, options.files)), count - hostile, seed=options.seed)
        hostile = min(hostile, round(len(harmless) * options.attack_share / (1 - options.attack_share)))
    else:
        harmless = browsing(count - hostile, seed=options.seed)
    if options.attacks:
        attacks = drawn(requests_of(map(Path, options.attacks)), hostile, seed=options.seed)
    else:
        attacks = made_up_attacks(hostile, seed=options.seed)
    return mixed(harmless, attacks, seed=options.seed)


def source_of(options: argparse.Namespace) -> str:
    """Say where the requests came from."""
    harmless = "from files" if options.files else "made up"
    attacks = "from files" if options.attacks else "generated"
    return f"harmless ones {harmless}, {options.attack_share:.0%} attacks {attacks}"


def passes_of(requests: Sequence[HTTPRequest], passes: int) -> list[Sequence[HTTPRequest]]:
    """Cut `requests` into as many equal parts."""
    size = len(requests) // passes
    if not size:
        raise SystemExit(f"{len(requests)} requests are too few for {passes} passes")
    return [requests[start : start + size] for start in range(0, size * passes, size)]


def check_object(request: HTTPRequest) -> dict[str, object]:
    """The object that `POST /check` takes for `request`."""
    check: dict[str, object] = {
        "method": request.method,
        "path": request.target,
        "headers": [list(pair) for pair in request.headers],
    }
    if request.body:
        check["body_base64"] = b64encode(request.body).decode()
    return check


def check_message(request: HTTPRequest) -> bytes:
    """`request` as a whole `POST /check` on the wire."""
    return post("/check", check_object(request))


def batch_message(requests: Sequence[HTTPRequest]) -> bytes:
    """`requests` as one `POST /check/batch` on the wire."""
    return post("/check/batch", {"requests": [check_object(request) for request in requests]})


def post(path: str, value: object) -> bytes:
    """A whole `POST` of a JSON value."""
    body = json.dumps(value, separators=(",", ":")).encode()
    return b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\n%sContent-Length: %d\r\n\r\n%s" % (
        path.encode(),
        _JSON,
        len(body),
        body,
    )


def plain_message(request: HTTPRequest) -> bytes:
    """`request` itself on the wire, as its client sent it but for what concerns one hop."""
    head = [f"{request.method} {request.target} HTTP/1.1", f"Host: {request.header('Host') or 'localhost'}"]
    head += [f"{name}: {value}" for name, value in request.headers if name.lower() not in _OWN and name[:1] != ":"]
    if request.body or request.method in ("POST", "PUT", "PATCH"):
        head.append(f"Content-Length: {len(request.body)}")
    return "\r\n".join([*head, "", ""]).encode("utf-8", "surrogateescape") + request.body
