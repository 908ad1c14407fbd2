"""Slow, endless and senseless clients meet a bound and a named end, on a real socket."""

from __future__ import annotations

import json
import socket

import pytest

from tests.server.live import exchange, running
from vedette.server import protocol


async def echo(scope, receive, send):
    """Answer with the length of the body, once it is here."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message["body"]), message["more_body"]
    body = str(size).encode()
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]}
    )
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def port():
    with running(echo) as port:
        yield port


def split(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.lower(), body


def code(answer):
    return json.loads(split(answer)[2])["error"]["code"]


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"\x00" * 100,
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
    ],
)
def test_bytes_that_are_no_http(port, garbage):
    answer = exchange(port, garbage)
    status, head, _ = split(answer)
    assert (status, code(answer)) == (400, "invalid_http")
    assert b"connection: close" in head
    assert b"content-type: application/json" in head


def test_an_endless_head(port):
    answer = exchange(port, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X-A: " + b"a" * 400_000)
    assert (split(answer)[0], code(answer)) == (431, "headers_too_large")


def test_a_long_head_within_the_bound_passes(port):
    answer = exchange(port, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-A: " + b"a" * 60_000 + b"\r\n\r\n")
    assert split(answer)[0] == 200


@pytest.fixture
def hurried(monkeypatch):
    """The same bounds with a shorter clock."""
    monkeypatch.setattr(protocol, "GRACE_S", 0.3)
    monkeypatch.setattr(protocol, "_LOOK_EVERY_S", 0.05)


@pytest.mark.parametrize(
    "start",
    [b"GET / HT", b"POST / HTTP/1.1\r\nHost: a\r\n", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc"],
)
def test_a_request_that_never_ends(port, hurried, start):
    answer = exchange(port, start)
    assert (split(answer)[0], code(answer)) == (408, "request_timeout")


def test_a_connection_that_says_nothing_is_closed(port, hurried):
    assert exchange(port, b"") == b""


def test_a_request_that_never_ends_after_an_answered_one(port, hurried):
    answer = exchange(port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT")
    assert answer.startswith(b"HTTP/1.1 200")
    assert b'"request_timeout"' in answer


def test_a_half_closed_client_is_closed(port):
    with socket.create_connection(("127.0.0.1", port), timeout=30) as conn:
        conn.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")
        conn.shutdown(socket.SHUT_WR)
        assert conn.recv(1000) == b""


def test_keep_alive_and_pipelining(port):
    one = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
    last = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab"
    answers = exchange(port, one * 50 + last)
    assert answers.count(b"HTTP/1.1 200") == 51
    assert answers.endswith(b"\r\n\r\n2")


def test_too_many_connections(port, monkeypatch):
    monkeypatch.setattr(protocol, "MAX_CONNECTIONS", 0)
    answer = exchange(port, b"")
    assert (split(answer)[0], code(answer)) == (503, "overloaded")
    assert b"retry-after: 1" in split(answer)[1]


def test_many_requests_in_one_read_and_the_beginning_of_another(port):
    request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
    count = 3 * protocol.MAX_HEAD_BYTES // len(request)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as conn:
        conn.sendall(request * count + request[:30])
        received = b""
        while received.count(b"HTTP/1.1 200 OK") < count:
            chunk = conn.recv(65536)
            assert chunk, received[-200:]
            received += chunk
        conn.sendall(request[30:])
        while received.count(b"HTTP/1.1 200 OK") < count + 1:
            chunk = conn.recv(65536)
            assert chunk, received[-200:]
            received += chunk


@pytest.mark.parametrize("line", [b"Content-Length: 36", b"Transfer-Encoding: chunked"])
def test_a_body_behind_an_upgrade_is_no_request(port, line):
    """The parser ends the message with its head there, and would take the body for the next request."""
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: abcd\r\n\r\n"
    head = b"POST /a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n" + line + b"\r\n\r\n"
    answer = exchange(port, head + smuggled)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert code(answer) == "invalid_http"


def test_an_upgrade_without_a_body_is_answered_as_if_not_asked_for(port):
    answer = exchange(
        port, b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 200")
