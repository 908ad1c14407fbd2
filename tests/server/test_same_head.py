"""A head that was parsed once is recognised, and means what the parser would say; everything else is parsed."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from itertools import pairwise

import httptools
import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from tests.server.test_gate import read_answer
from tests.server.test_routes import EVIL, GOOD, LIMITED
from vedette.inference.check_stage import ON_LOOP_BYTES
from vedette.server import protocol
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
    """Read alone, these bytes are no request."""
    asked = message(json.dumps(GOOD).encode())
    begun, end = asked[:-2], asked[-2:] + asked
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        in_two(client, connection, begun, end)
        for _ in range(2):
            assert b'"action":"allow"' in read_answer(connection)[1]
        status, answer = ask(connection, end)
        assert (status, answer["error"]["code"]) == (400, "invalid_http")


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


# -- against the parser alone --------------------------------------------------------------------------------------


class Wire(asyncio.Transport):
    """Takes what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += b"" if self.closed else data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("192.0.2.1", 5) if name in ("peername", "sockname") else default


class Told:
    """An application that tells what it was asked, at once or, of an uneven length, as ASGI."""

    def __init__(self) -> None:
        self.at_once = {b"/check": self.answer}

    def answer(self, headers, client, body, waited_s):
        kept = [pair for pair in headers if pair[0] != b"content-length"]
        return self.later if len(body) % 2 else json.dumps([str(kept), str(body)]).encode()

    async def later(self, scope, receive, send):
        await self(scope, receive, send)

    async def __call__(self, scope, receive, send):
        body, more = b"", True
        while more:
            event = await receive()
            body, more = body + event.get("body", b""), event.get("more_body", False)
        text = json.dumps([scope["method"], scope["path"], str(scope["headers"]), str(body)]).encode()
        headers = [(b"content-length", str(len(text)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": text})


async def answers(pieces: list[bytes], *, heads: int) -> tuple[bytes, bool]:
    """What is written, and whether the connection is closed, where so many heads are kept."""
    config = uvicorn.Config(Told(), loop="asyncio", ws="none", lifespan="off", log_config=None, interface="asgi3")
    config.load()
    config.loaded_app = config.app
    connection, wire = BoundedHttpProtocol(config, ServerState(), {}), Wire()
    connection.connection_made(wire)
    connection._heads_left = heads
    for piece in pieces:
        if not wire.closed:
            connection.data_received(piece)
        for _ in range(6):
            await asyncio.sleep(0)
    connection.connection_lost(None)
    return re.sub(rb'"request_id":"\w+"', b"", wire.written), wire.closed


PLAIN = [b"", b"{}", b"abc", b"POST /check HTTP/1.1\r\n\r\n", b"\r\n\r\n", b"x\r\nContent-Length: 2\r\n\r\n{}"]
MESSAGES = st.one_of(
    st.builds(message, st.sampled_from(PLAIN)),
    st.builds(message, st.sampled_from(PLAIN), st.sampled_from(["A: b", "Connection: close", "Expect: 100-continue"])),
    st.builds(message, st.sampled_from(PLAIN), st.sampled_from(["Upgrade: h2c\r\nConnection: upgrade"])),
    st.builds(lambda body, length: message(body, length=length), st.sampled_from(PLAIN), st.sampled_from("02345")),
    st.sampled_from([b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n", b"\r\n", b"\r\n\r\n", b"POST /other HTTP/1.1\r\n"]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(MESSAGES, min_size=2, max_size=8), st.lists(st.integers(0, 600), max_size=4), st.booleans())
def test_whatever_comes_is_answered_as_if_all_were_parsed(sent: list[bytes], cuts: list[int], as_sent: bool) -> None:
    pieces = list(sent)
    if not as_sent:
        data = b"".join(sent)
        ends = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
        pieces = [data[start:end] for start, end in pairwise(ends) if start < end]
    pieces += pieces[-1:]  # what came last comes again
    told = asyncio.run(answers(pieces, heads=16))
    assert told == asyncio.run(answers(pieces, heads=0))
