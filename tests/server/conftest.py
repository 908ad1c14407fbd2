"""One running service for the tests that only ask it things."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import NamedTuple

import pytest

from tests.server.live import Process, running
from vedette.config import Settings
from vedette.server.app import create_app

NO_LIMIT = {"inference": {"rate_limiting": {"enabled": False}}}


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    data: bytes

    @property
    def json(self):
        return json.loads(self.data)

    @property
    def error(self):
        """The error detail; fails where the answer has not the one shape."""
        assert set(self.json) == {"error"}
        detail = self.json["error"]
        assert set(detail) == {"code", "message", "field", "request_id"}
        assert detail["code"]
        assert detail["message"]
        assert detail["request_id"]
        return detail


class Client:
    """Calls one service; bodies that are not bytes are sent as JSON."""

    def __init__(self, port):
        self.port = port

    def call(self, method, path, body=None, **headers):
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, names, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return Answer(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read())
        except urllib.error.HTTPError as answer:
            return Answer(answer.code, {k.lower(): v for k, v in answer.headers.items()}, answer.read())

    def get(self, path, **headers):
        return self.call("GET", path, **headers)

    def post(self, path, body, **headers):
        return self.call("POST", path, body, **headers)

    def check(self, path="/", method="GET", **fields):
        return self.post("/check", {"method": method, "path": path, **fields})


def settings_of(tree):
    """Settings of a tree, without an event log on standard output."""
    return Settings.model_validate(
        {**tree, "waf_service": {"event_log": {"enabled": False}, **tree.get("waf_service", {})}}
    )


@pytest.fixture(scope="package")
def client():
    settings = settings_of(NO_LIMIT)
    with running(create_app(settings), settings) as port:
        yield Client(port)


@pytest.fixture
def serving():
    """Start a service of its own with a tree of settings, and return a client for it."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def start(tree, service=None):
            settings = settings_of(tree)
            return Client(stack.enter_context(running(create_app(settings, service), settings)))

        yield start


@pytest.fixture
def started(tmp_path):
    """Start services and make sure that none outlives its test."""
    running = []

    def start(*arguments, **variables):
        running.append(Process(*arguments, cwd=tmp_path, **variables))
        return running[-1]

    yield start
    for service in running:
        service.end()
