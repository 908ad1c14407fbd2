"""Reads the case tables beside the tests and compares a request with the keys that a case names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vedette.errors import MalformedInput
from vedette.http_request import HTTPRequest
from vedette.parsing.wire_text import to_bytes

CASES = Path(__file__).parent / "cases"


def load_cases(name: str) -> list[dict[str, Any]]:
    """Return the rows of tests/parsing/cases/`name`.json."""
    rows: list[dict[str, Any]] = json.loads((CASES / f"{name}.json").read_text(encoding="utf-8"))
    return rows


def outcome(parse: Callable[..., Any], *arguments: object) -> Any:
    """Return what `parse` returns, or the `MalformedInput` that it raises; anything else escapes."""
    try:
        return parse(*arguments)
    except MalformedInput as error:
        return error


def assert_request(request: HTTPRequest, case: dict[str, Any]) -> None:
    """Compare what `case` says about method, target, headers, body and client."""
    got = {
        "method": request.method,
        "target": request.target,
        "headers": [list(pair) for pair in request.headers],
        "body": request.body,
        "client": request.client_ip,
    }
    want = {key: case[key] for key in got if key in case}
    if "body" in want:
        want["body"] = to_bytes(want["body"])
    assert {key: got[key] for key in want} == want
