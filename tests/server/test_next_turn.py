"""Checks that a turn of the loop has no room for wait in line, and are answered as they would have been at once."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import time

import pytest

from tests.server.conftest import NO_LIMIT, Client, settings_of
from tests.server.live import exchange, running
from tests.server.test_gate import read_answer
from tests.server.test_routes import EVIL, GOOD, LIMITED, post_bytes, refused
from vedette.inference.check_stage import ON_LOOP_BYTES
from vedette.server import protocol
from vedette.server.app import create_app
from vedette.server.gate import Gate


@pytest.fixture(scope="module")
def no_room():
    """No turn has room; a call that is deferred is counted."""
    deferred = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Gate, "has_room_in_this_turn", lambda gate: False)
        entered = Gate.entered
        patch.setattr(Gate, "entered", lambda gate: (deferred.append(gate), entered(gate))[1])
        yield deferred


@pytest.fixture(scope="module")
def client(no_room):
    settings = settings_of(NO_LIMIT)
    with running(create_app(settings), settings) as port:
        yield Client(port)


def test_verdicts_are_the_same_without_a_task(client, no_room, monkeypatch):
    monkeypatch.setattr(protocol.BoundedHttpProtocol, "_start", None)  # which every request of ASGI begins with
    before = len(no_room)
    assert client.post("/check", GOOD).json["action"] == "allow"
    assert client.post("/check", EVIL).json["attack_class"] == "sqli"
    assert len(no_room) == before + 2


def test_what_has_to_wait_or_is_wrong_is_told_by_the_application(client):
    large = {"method": "POST", "path": "/", "body": "<script>alert(1)</script> " * (ON_LOOP_BYTES // 20)}
    assert client.post("/check", large).json["action"] == "block"
    assert client.post("/check", b"{").status == 400
    assert client.post("/check", {"method": "GET"}).error["field"] == "path"
    assert client.post("/check", GOOD).status == 200


def test_answered_calls_leave_nothing_to_the_collector(client):
    """A circle would keep each until a full collection, which may be ten minutes and many megabytes later."""
    body = json.dumps({"method": "POST", "path": "/", "body": "harmless words " * (ON_LOOP_BYTES // 10)}).encode()
    gc.collect()
    gc.disable()
    try:
        answers = exchange(client.port, post_bytes(body) * 20 + post_bytes(body, "Connection: close"))
        alive = sum(isinstance(each, protocol.RequestResponseCycle) for each in gc.get_objects())
    finally:
        gc.enable()
    assert answers.count(b'"action":"allow"') == 21
    assert alive < 10


def test_pipelined_checks_are_answered_in_order(client):
    good, evil, bad = (post_bytes(body) for body in (json.dumps(GOOD).encode(), json.dumps(EVIL).encode(), b"{"))
    health = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
    last = post_bytes(json.dumps(GOOD).encode(), "Connection: close")
    answers = exchange(client.port, good + evil + health + good + bad + evil + last)
    kinds = {b'"is_anomaly":true': "evil", b'"is_anomaly":false': "good", b'"status":': "health", b'"error":': "bad"}
    found = [kind for part in answers.split(b"HTTP/1.1 ")[1:] for sign, kind in kinds.items() if sign in part]
    assert found == ["good", "evil", "health", "good", "bad", "evil", "good"]
    assert b"connection: close" in answers.rpartition(b"HTTP/1.1 ")[2]


def test_a_pipeline_has_one_answer_a_turn(client, no_room, monkeypatch):
    started = []
    start = protocol.BoundedHttpProtocol._start
    monkeypatch.setattr(
        protocol.BoundedHttpProtocol, "_start", lambda self, **more: (started.append(self), start(self, **more))[1]
    )
    message = post_bytes(json.dumps(EVIL).encode())
    last = post_bytes(json.dumps(GOOD).encode(), "Connection: close")
    answers = exchange(client.port, message * 30 + last)
    assert answers.count(b'"is_anomaly":true') == 30
    assert answers.rstrip().endswith(b"}")
    assert len(started) >= 30  # those are the application's, whose tasks take turns
    assert no_room[-1].waiting == 0


def test_a_client_that_is_gone_takes_no_place_with_it(client, no_room):
    before = len(no_room)
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", client.port)) as connection:
            connection.sendall(post_bytes(json.dumps(GOOD).encode()))
    assert client.post("/check", GOOD).status == 200
    deadline = time.monotonic() + 10
    while no_room[-1].waiting or len(no_room) == before:
        assert time.monotonic() < deadline, no_room[-1].waiting
        time.sleep(0.01)


@pytest.fixture
def line(monkeypatch):
    """Calls that wait in line, each of which is answered when it is called."""
    held = []

    def hold(gate, answer):
        loop = asyncio.get_running_loop()
        held.append(lambda: loop.call_soon_threadsafe(answer))
        loop.call_soon(gate._has_read)

    monkeypatch.setattr(Gate, "serve_later", hold)
    return held


def wait_for_line(line, count):
    until = time.monotonic() + 10
    while len(line) < count:
        assert time.monotonic() < until
        time.sleep(0.005)


def test_what_is_left_behind_in_line_answers_no_later_request(client, line):
    good, evil = (post_bytes(json.dumps(body).encode()) for body in (GOOD, {**EVIL, "deadline_ms": 300}))
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as connection:
        connection.sendall(good + good)  # a pipeline is the application's, but its first call stood in line
        assert [b'"allow"' in read_answer(connection)[1] for _ in range(2)] == [True, True]
        time.sleep(0.4)
        connection.sendall(evil)
        wait_for_line(line, 2)
        line[0]()
        time.sleep(0.05)
        line[1]()
        assert b'"action":"block"' in read_answer(connection)[1]


def test_what_a_call_waited_in_line_counts_where_it_goes_from_there(client, line):
    good, evil = (post_bytes(json.dumps(body).encode()) for body in (GOOD, {**EVIL, "deadline_ms": 300}))
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as connection:
        connection.sendall(evil)
        wait_for_line(line, 1)
        time.sleep(0.4)
        connection.sendall(good)
        assert b'"degraded":"timed_out"' in read_answer(connection)[1]
        assert b'"degraded":null' in read_answer(connection)[1]
        line[0]()


def test_a_check_that_has_waited_too_long_is_refused(client, monkeypatch):
    monkeypatch.setattr(Gate, "started", lambda gate, since, started=Gate.started: started(gate, since) + 100.0)
    answer = client.post("/check", GOOD)
    assert (answer.status, answer.error["code"], answer.headers["retry-after"]) == (503, "overloaded", "1")
    monkeypatch.undo()
    assert client.post("/check", GOOD).status == 200


def test_the_rate_limit_counts_it(no_room):
    settings = settings_of(LIMITED)
    with running(create_app(settings), settings) as port:
        answers = [Client(port).post("/check", GOOD) for _ in range(40)]
    assert {answer.status for answer in answers} == {200, 429}
    assert any(refused(answer) for answer in answers)
