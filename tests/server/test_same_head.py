"""A head that was parsed once is recognised, and means what the parser would say; everything else is parsed."""

from __future__ import annotations

import json
import socket

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.server.conftest import NO_LIMIT, Client, settings_of
from tests.server.live import running
from tests.server.test_gate import read_answer
from tests.server.test_routes import EVIL, GOOD, LIMITED
from vedette.inference.check_stage import ON_LOOP_BYTES
from vedette.server import protocol
from vedette.server.app import create_app
from vedette.server.protocol import BoundedHttpProtocol
from vedette.server.same_head import MAX_BYTES, SameHead


class Parsed:
    """What httptools makes of bytes that are one request, whole."""

    def __init__(self, data: bytes) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.url = self.body = b""
        self.whole = 0
        httptools.HttpRequestParser(self).feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.whole += 1

    def kept(self, data: bytes) -> SameHead | None:
        return SameHead.of(data, self.url, self.headers, self.body)


def message(body: bytes, *lines: str, length: str | None = None) -> bytes:
    head = ["POST /check HTTP/1.1", "Host: a", *lines, f"Content-Length: {length or len(body)}", "X-Last: 1"]
    return "\r\n".join((*head, "", "")).encode() + body


def test_only_the_length_may_differ() -> None:
    first = message(b"{}")
    head = Parsed(first).kept(first)
    assert head is not None
    assert head.url == b"/check"
    assert head.headers[0] == (b"host", b"a")
    assert head.body_of(first) == b"{}"
    assert head.body_of(message(b"")) == b""
    assert head.body_of(message(b"x" * 12_345)) == b"x" * 12_345
    for other in (
        message(b"{}", "X-More: 1"),
        message(b"{}").replace(b"X-Last: 1", b"X-Last: 2"),
        message(b"{}").replace(b"POST", b"PUT "),
        message(b"{}")[:-1],
        message(b"{}") + b"G",
        message(b"{}", length="+2"),
        message(b"{}", length="0x2"),
        message(b"{}", length="2, 2"),
        message(b"x" * 100_000),
        b"",
    ):
        assert head.body_of(other) is None


@pytest.mark.parametrize(
    "data",
    [
        message(b"{}", f"X-Long: {'a' * MAX_BYTES}"),
        message(b"x" * 100_000),
        b"POST /check HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_heads_that_are_not_kept(data: bytes) -> None:
    assert Parsed(data).kept(data) is None


def test_two_requests_in_one_are_not_kept() -> None:
    data = message(b"{}")
    assert SameHead.of(data + data, b"/check", [], b"{}") is None


@given(
    st.sampled_from(["Content-Length", "content-length", "CONTENT-LENGTH"]),
    st.sampled_from(["", " ", "  ", "\t"]),
    st.sampled_from(["", " "]),
    st.binary(max_size=40),
    st.one_of(st.binary(max_size=40), st.sampled_from([b"POST /check HTTP/1.1\r\n\r\n", b"\r\n", b"0", b"\r\n\r\n"])),
    st.sampled_from(["", "0", "00"]),
)
def test_a_kept_head_reads_as_the_parser_reads(
    name: str, before: str, behind: str, first: bytes, second: bytes, zeros: str
) -> None:
    def one(body: bytes, zeros: str = "") -> bytes:
        head = f"POST /check HTTP/1.1\r\nA: b\r\n{name}:{before}{zeros}{len(body)}{behind}\r\nC: d\r\n\r\n"
        return head.encode() + body

    head = Parsed(one(first)).kept(one(first))
    assert head is not None
    data = one(second, zeros)
    body = head.body_of(data)
    assert body is not None
    parsed = Parsed(data)
    assert (parsed.whole, parsed.body, parsed.url) == (1, body, head.url)
    assert [pair for pair in parsed.headers if pair[0] != b"content-length"] == [
        pair for pair in head.headers if pair[0] != b"content-length"
    ]


# -- on a connection -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client():
    settings = settings_of(NO_LIMIT)
    with running(create_app(settings), settings) as port:
        yield Client(port)


@pytest.fixture
def parsed(monkeypatch):
    """The requests that were parsed."""
    begun = []
    begin = BoundedHttpProtocol.on_message_begin
    monkeypatch.setattr(BoundedHttpProtocol, "on_message_begin", lambda self: (begun.append(self), begin(self))[1])
    return begun


def ask(connection: socket.socket, data: bytes) -> tuple[int, dict]:
    connection.sendall(data)
    head, body = read_answer(connection)
    return int(head.split()[1]), json.loads(body)


def test_one_head_is_parsed_once(client, parsed):
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as connection:
        for number in range(10):
            asked = EVIL if number % 3 == 1 else {**GOOD, "path": "/" + "a" * number}
            status, verdict = ask(connection, message(json.dumps(asked).encode()))
            assert (status, verdict["action"]) == (200, "block" if asked is EVIL else "allow")
        assert len(parsed) == 1
        assert ask(connection, message(json.dumps(GOOD).encode(), "X-Request-Id: mine"))[1]["request_id"] == "mine"
        assert ask(connection, b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")[0] == 200
        assert ask(connection, message(json.dumps(GOOD).encode(), "X-Request-Id: mine"))[1]["request_id"] == "mine"
        assert len(parsed) == 3


def test_what_has_to_wait_or_is_wrong_is_parsed_and_asked_once(client, parsed):
    large = {"method": "POST", "path": "/", "body": "<script>alert(1)</script> " * (ON_LOOP_BYTES // 20)}
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as connection:
        assert ask(connection, message(json.dumps(GOOD).encode()))[0] == 200
        assert ask(connection, message(json.dumps(large).encode()))[1]["action"] == "block"
        status, answer = ask(connection, message(b"{"))
        assert (status, answer["error"]["code"]) == (400, "invalid_json")
        assert ask(connection, message(json.dumps(EVIL).encode()))[1]["action"] == "block"
        assert len(parsed) == 3


def test_a_refused_call_counts_once(serving):
    port = serving(LIMITED).port
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        statuses = [ask(connection, message(json.dumps(GOOD).encode()))[0] for _ in range(8)]
    assert statuses[:5] == [200] * 5
    assert 429 in statuses[5:]


def test_a_head_in_two_pieces_is_parsed(client, parsed):
    data = message(json.dumps(GOOD).encode())
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert ask(connection, data)[0] == 200
        connection.sendall(data[:50])
        assert client.get("/health").status == 200  # by when the piece is there
        assert ask(connection, data[50:])[0] == 200
        assert ask(connection, data)[0] == 200
        assert len(parsed) == 3  # /health among them


def test_heads_that_never_come_again_are_soon_not_kept(client, monkeypatch):
    kept = []
    of = SameHead.of
    monkeypatch.setattr(protocol.SameHead, "of", lambda *told: (kept.append(told), of(*told))[1])
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as connection:
        for number in range(2 * protocol._HEADS_TRIED):
            assert ask(connection, message(json.dumps(GOOD).encode(), f"X-Number: {number}"))[0] == 200
    assert len(kept) == protocol._HEADS_TRIED


def test_an_idle_end_after_another_answer_does_not_cut_this_one(client, monkeypatch):
    """The timer that uvicorn sets behind an answer of ASGI must not close a connection that is used."""
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as connection:
        assert ask(connection, message(json.dumps(GOOD).encode()))[0] == 200
        assert ask(connection, b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")[0] == 200
        cancelled = []
        unset = BoundedHttpProtocol._unset_keepalive_if_required

        def seen(self):
            cancelled.append(self.timeout_keep_alive_task)
            unset(self)

        monkeypatch.setattr(BoundedHttpProtocol, "_unset_keepalive_if_required", seen)
        assert ask(connection, message(json.dumps(GOOD).encode()))[0] == 200
        assert cancelled[0] is not None


def in_two(client, connection, first: bytes, second: bytes) -> None:
    """Send both, the second once the first was read."""
    connection.sendall(first)
    for _ in range(3):
        assert client.get("/health").status == 200
    connection.sendall(second)


def test_the_end_of_a_body_and_a_request_behind_it_are_no_head(client):
    """Read alone, these bytes are one request to another path."""
    end = b"POST /check/batch HTTP/1.1\r\nX-Junk: "
    behind = message(json.dumps(GOOD).encode())
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        in_two(client, connection, message(b"", length=str(len(end))), end + behind)
        assert read_answer(connection)[0].split()[1] == b"400"
        assert b'"action":"allow"' in read_answer(connection)[1]
        status, answer = ask(connection, end + behind)
        assert (status, answer["error"]["field"]) == (422, "method")


def test_a_body_that_looks_like_a_head_is_none(client):
    """It is followed by as many empty lines as make it as long as a request would be."""
    look = b"no HTTP at all\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n"
    look = look if len(look) % 2 == 0 else b"n" + look
    body = look + b"x"
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        in_two(client, connection, message(b"", length=str(len(body))), body + b"\r\n" * (len(look) // 2))
        assert read_answer(connection)[0].split()[1] == b"400"  # the body is no JSON
        status, answer = ask(connection, look + b"{}")
        assert (status, answer["error"]["code"]) == (400, "invalid_http")


def test_a_request_of_which_the_beginning_came_behind_another_is_parsed(client, parsed):
    first, second = (message(json.dumps({**GOOD, "path": path}).encode()) for path in ("/one", "/two"))
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        in_two(client, connection, first + second[:40], second[40:])
        for _ in range(2):
            assert b'"action":"allow"' in read_answer(connection)[1]
        assert ask(connection, first)[1]["action"] == "allow"
        assert ask(connection, second)[1]["action"] == "allow"
