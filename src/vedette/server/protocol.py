"""uvicorn's HTTP/1.1 protocol with the bounds that a service on a hostile network needs.

uvicorn waits for a request head without limit of size or time. Here each of these has a bound and a named end:

    head larger than 64 KiB                 431 headers_too_large
    request slower than 16 KiB a second     408 request_timeout   (after a grace of 10 s; nothing sent at all: closed)
    bytes that are no HTTP                  400 invalid_http
    answer not taken for 30 s               connection dropped
    more than 16,384 connections            503 overloaded
    more calls than can be answered in time 503 overloaded        (see `gate`; the connection stays)

A slow client costs one idle socket and a timer that looks at it every few seconds, never a thread or a place in the
queue; a client that closes its sending side is closed. Requests pay three assignments for all this.

It also has shorter ways for the hot endpoints. A whole POST of at most 64 KiB to a path in the application's `at_once`
is handed to a plain function and answered in the callback that read it, or, where this turn of the loop has answered
enough, in line (see `gate`): no scope, no cycle, no task, no timer; and no parsing where it has the head of the request
before it (see `same_head`). Only if that function has to wait (or to refuse) does the request become one of ASGI, whose
application says the rest. And the ASGI extension ``vedette.answer`` writes a whole JSON answer to the socket at once,
where two ASGI messages become two system calls. Under any other server the endpoints use messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from weakref import ReferenceType, ref

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from vedette.server.body import may_still_be_sending
from vedette.server.endpoint import FULL, WAITED, request_id_of, too_many_calls
from vedette.server.errors import ApiError, new_request_id
from vedette.server.gate import ALWAYS, Gate
from vedette.server.same_head import SameHead

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

MAX_HEAD_BYTES = 64 * 1024  # nginx takes 4 x 8 KiB, Node 16 KiB; the target is inside the JSON here, so this is ample
MIN_BYTES_PER_S = 16 * 1024  # a 16-MiB body may take 17 minutes; a byte a second ends with the grace
GRACE_S = 10.0
STALLED_ANSWER_S = 30.0
LINGER_S = 2.0
MAX_CONNECTIONS = 16_384
_LOOK_EVERY_S = 2.5
_HEADS_TRIED = 16  # of one connection are kept one after another; then it is no client that repeats itself


ANSWER = "vedette.answer"
_LAST = b"\r\nconnection: close\r\n\r\n"
MAX_AT_ONCE_BYTES = 64 * 1024
_Answer = bytes | Callable[[Any, Any, Any], Awaitable[None]]
AtOnce = Callable[[Sequence[tuple[bytes, bytes]], tuple[str, int] | None, bytes, float], _Answer]
"""Headers, the peer's address, a whole body and the seconds for which it has waited -> the JSON of a 200, or the ASGI
application that answers instead. A Content-Length among the headers may be of an earlier request. Raises nothing."""
_heads: tuple[list[tuple[bytes, bytes]] | None, bytes] = None, b""  # what all heads of a second begin with
_JSON_HEAD = b"content-type: application/json\r\ncontent-length: "


class _Deferred(NamedTuple):
    """A call that waits in line, and since when."""

    handler: AtOnce
    since: float


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start watching the connection, or refuse it where there are too many."""
        super().connection_made(transport)
        self._at_once: dict[bytes, AtOnce] = getattr(self.app, "at_once", {})
        self._handler: AtOnce | None = None  # of the request that is being read, where it goes the short way
        self._later = False  # whether it is answered in the next turn,
        self._deferred: _Deferred | None = None  # and the call once it was read
        self._body = b""
        self._same_head: SameHead | None = None
        self._heads_left = _HEADS_TRIED
        self._said: _Answer | None = None  # by the handler, of the request that the parser reads only for ASGI
        self._answered_at: float | None = None  # since when the connection is idle, after a short answer
        self._last = False
        self._begun = False  # whether the application that starts has only to say the rest
        self._gate: Gate | None = getattr(self.app, "gate", None)
        self._shed: list[bytes] = []  # answers to calls that the gate refused
        self._rested_s = 0.0  # for how long nothing was read because of that
        self._refused = False
        self._in_head = True
        self._received = 0  # bytes of the request that is being read
        # In the bytes that came last: a request began, one that went the short way ended, one ended, and another began
        # behind it.
        self._began_here = self._ended_short = self._ended_here = self._begins_behind = False
        self._reading_since: float | None = self.loop.time()
        self._stalled_since: float | None = None
        self._watch = self.loop.call_later(_LOOK_EVERY_S, self._look)
        if len(self.connections) > MAX_CONNECTIONS:
            self._refuse(ApiError("overloaded", "too many connections", retry_after_s=1))
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching."""
        self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count, parse, and refuse a head that does not end."""
        if self._refused or (self._same_head is not None and self._answered_unparsed(data, self._same_head)):
            return
        self._began_here = self._ended_short = self._ended_here = self._begins_behind = False
        super().data_received(data)
        self._said = None
        self._keep_head(data)
        # After the parsing, which starts the count anew with each request. Of one that begins behind another, what the
        # parser has given of its head counts.
        self._received += self._head_bytes() if self._begins_behind and self._in_head else len(data)
        if self._in_head and self._received > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(ApiError("headers_too_large", f"the head may have at most {MAX_HEAD_BYTES} bytes"))

    def _answered_unparsed(self, data: bytes, head: SameHead) -> bool:
        """Whether `data` was one more request with `head`, and has been answered.

        If not, the parser is to read it; what the handler said of it already, if it was asked, stands in `_said`.
        """
        if self._reading_since is not None or self._deferred is not None or self._last:
            return False
        body = head.body_of(data)
        if body is None or len(body) > MAX_AT_ONCE_BYTES or not self._is_its_turn() or self.transport.is_closing():
            return False
        handler, gate = self._at_once.get(head.url), self._gate
        if handler is None or (gate is not None and not gate.has_room_in_this_turn()):
            return False
        self._unset_keepalive_if_required()
        said = handler(head.headers, self.client, body, 0.0 if gate is None else gate.held_up_s())
        if isinstance(said, bytes):
            self._write(said)
            return True
        self._said = said
        return False

    def _keep_head(self, data: bytes) -> None:
        """Keep the head of the request that came as `data`, if it was one, whole, that the short way answers."""
        is_one = self._began_here and self._ended_short and not self._begins_behind and self._reading_since is None
        if self._heads_left and is_one:
            self._heads_left -= 1
            self._same_head = SameHead.of(data, self.url, self.headers, self._body) or self._same_head

    def _head_bytes(self) -> int:
        """Bytes of the head that the parser has given."""
        return len(self.url) + sum([len(name) + len(value) for name, value in self.headers])

    def on_message_begin(self) -> None:
        """Start the clock of a request."""
        if self._deferred is not None:
            self._queue_deferred()
        self._begins_behind = self._ended_here
        self._began_here = self._in_head = True
        self._received = 0
        self._answered_at = None
        self._reading_since = self.loop.time()
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
        """End the head; the application starts at the next turn of the loop, unless the short way is open."""
        if self.parser.should_upgrade() and _states_a_body(self.headers):  # which the parser would take for a request
            self._refuse(ApiError("invalid_http", "a request with a body cannot ask for another protocol"))
            return
        self._in_head = False
        gate, handler = self._gate, self._at_once.get(self.url)
        if self._said is not None and handler is not None:
            self._handler, self._body, self._later = handler, b"", False
            return
        if handler is not None and not self._may_be_short():
            handler = None
        self._later = gate is not None and (handler is None or not gate.has_room_in_this_turn())
        full = False
        if gate is not None and self._later and gate.waiting >= ALWAYS:
            full = gate.refuses(self.url)
            if full and self._is_simple():
                self._shed_call(gate)
                return
        if handler is None or full:
            self._start(full=full)
            return
        self._handler = handler
        self._body = b""

    def _may_be_short(self) -> bool:
        """Whether the request is a plain POST of a small body, and it is its turn to be answered."""
        if (
            not self._is_its_turn()
            or self.expect_100_continue
            or self.parser.get_method() != b"POST"
            or self.parser.get_http_version() != "1.1"
            or self.parser.should_upgrade()
        ):
            return False
        length = -1
        for name, value in self.headers:
            if name == b"content-length":
                length = int(value)  # the parser lets only digits through
            elif name in (b"transfer-encoding", b"content-encoding"):
                return False
        return 0 <= length <= MAX_AT_ONCE_BYTES

    def _is_its_turn(self) -> bool:
        """Whether nothing is due before a request that comes now."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return not (
            self._shed  # this one is not refused, and answers keep their order
            or self._rested_s  # it may have waited
            or (cycle is not None and not cycle.response_complete)
            or self.flow.write_paused
        )

    def _start(self, *, full: bool = False) -> None:
        """Go the way of ASGI, with what uvicorn prepares when a request begins."""
        if self._shed:  # this one is not refused, or not so, and answers keep their order
            self.write_shed()
        extensions: dict[str, Any] = {FULL: full}
        self.scope = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": cast("Any", self.scheme),
            "root_path": self.root_path,
            "headers": self.headers,
            "state": self.app_state.copy(),
            "extensions": extensions,
        }  # type: ignore[typeddict-item]
        super().on_headers_complete()
        # A strong reference would close a circle, and each answered call would stay until the collector comes.
        extensions[ANSWER] = partial(_answer_at_once, ref(self.cycle))

    def on_body(self, body: bytes) -> None:
        """Keep the body of a request that goes the short way; there is a bound on its length."""
        if self._handler is None:
            super().on_body(body)
        else:
            self._body = self._body + body if self._body else body

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Let the gate see when the call begins to wait for its first turn, and when it has it."""
        gate, rested_s = self._gate, self._rested_s
        if gate is None or self._begun:
            super()._start_asgi_task(cycle, app)
            return
        self._rested_s = 0.0

        async def begin(scope: Any, receive: Any, send: Any) -> None:
            extensions, waited_s = scope["extensions"], gate.started(since) + rested_s
            extensions[WAITED] = waited_s
            extensions[FULL] = extensions[FULL] or gate.too_late(scope["raw_path"], waited_s)
            await app(scope, receive, send)

        since = gate.entered()
        super()._start_asgi_task(cycle, begin)

    def _is_simple(self) -> bool:
        """Whether the call can be refused right here: nothing is due before it, its body is small, and it stays."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if (cycle is not None and not cycle.response_complete) or self.pipeline or self.expect_100_continue:
            return False
        return self.parser.should_keep_alive() and not may_still_be_sending(self.headers)

    def _shed_call(self, gate: Gate) -> None:
        """Have the call answered 503 without a task of its own; the parser reads on over its body.

        Not at once, but when the loop has read from all connections: the event loop would go on reading for as long
        as refused clients ask anew (libuv asks the kernel up to 48 times in one turn), and nobody would be served.
        """
        request_id = (request_id_of(self.headers) or new_request_id()).encode()
        if not self._shed:
            gate.shed(self, self.loop)
        self._shed += (_SHED_HEAD, str(_SHED_BYTES + len(request_id)).encode(), b"\r\n")
        for name, value in self.server_state.default_headers:
            self._shed += (name, b": ", value, b"\r\n")
        self._shed += (b"\r\n", _SHED_BODY[0], request_id, _SHED_BODY[1])
        self.cycle = _ANSWERED  # type: ignore[assignment]

    def write_shed(self) -> None:
        """Send the refusals that wait."""
        if self._shed:
            answers, self._shed = self._shed, []
            if not self.transport.is_closing():
                self.transport.write(b"".join(answers))
                self.on_response_complete()

    def rest(self) -> None:
        """Read no more: what still comes waits in the kernel, and costs nothing."""
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def wake(self, rested_s: float) -> None:
        """Read again; what is read next may have waited all the time."""
        if not self.transport.is_closing():
            self._rested_s = rested_s
            self.transport.resume_reading()

    def on_message_complete(self) -> None:
        """Stop the clock: the whole request is here."""
        self._ended_here = True
        self._reading_since = None
        if self._refused:
            return
        handler = self._handler
        if handler is None:
            super().on_message_complete()
            return
        self._handler = None
        self._ended_short = True
        if self.transport.is_closing():
            return
        self._last |= not self.parser.should_keep_alive()
        if self._later and self._gate is not None:
            self._deferred = call = _Deferred(handler, self._gate.entered())
            self._gate.serve_later(partial(self._answer_deferred, call))
        else:
            self._answer(handler, 0.0 if self._gate is None else self._gate.held_up_s())

    def _answer_deferred(self, call: _Deferred) -> None:
        """Answer a request that was read in a turn that had answered enough, if it is still to be answered here."""
        gate = self._gate
        if gate is None:
            return
        waited_s = gate.started(call.since)
        if self._deferred is not call:
            return
        self._deferred = None
        if self.transport.is_closing():
            return
        if gate.too_late(self.url, waited_s):
            self._answer_by(self.app, full=True)
        else:
            self._answer(call.handler, waited_s)

    def _queue_deferred(self) -> None:
        """Leave a request that waits in line to the application, as another one is read behind it: a pipeline has one
        answer a turn."""
        if self._deferred is not None and self._gate is not None:
            self._rested_s = self._gate.waited_s(self._deferred.since)  # which is part of its deadline there too
        self._deferred = None
        if self.transport.is_closing():
            return
        self._start()
        self.cycle.keep_alive = not self._last
        if self._body:
            super().on_body(self._body)
        super().on_message_complete()

    def _answer_by(self, app: Any, *, full: bool = False) -> None:
        """Have an ASGI application answer a request that was read the short way."""
        own, self.app, self._begun = self.app, app, True
        try:
            self._start(full=full)
        finally:
            self.app, self._begun = own, False
        self.cycle.keep_alive = not self._last
        super().on_message_complete()

    def _answer(self, handler: AtOnce, waited_s: float) -> None:
        """Answer a request that was read the short way."""
        answer, self._said = self._said or handler(self.headers, self.client, self._body, waited_s), None
        if isinstance(answer, bytes):
            self._write(answer)
        else:
            self._answer_by(answer)

    def _write(self, answer: bytes) -> None:
        """Send a 200 with the JSON `answer`."""
        keep_alive = not self._last
        self.transport.write(_head(self.server_state.default_headers, answer, keep_alive=keep_alive) + answer)
        self.server_state.total_requests += 1
        self._answered_at = self.loop.time()
        if not keep_alive:
            self.transport.close()

    def shutdown(self) -> None:
        """End the connection once what waits to be sent is, and a request that is read the short way has its answer."""
        self.write_shed()
        if self._handler is None and self._deferred is None:
            super().shutdown()
        else:
            self._last = True

    def pause_writing(self) -> None:
        """Note since when the client takes nothing."""
        self._stalled_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Forget it."""
        self._stalled_since = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are no HTTP in the shape of every other error."""
        self._refuse(ApiError("invalid_http", "the bytes received are not a valid HTTP/1.1 request"))

    def _look(self) -> None:
        if self._refused:
            return
        now = self.loop.time()
        self._watch = self.loop.call_later(_LOOK_EVERY_S, self._look)
        if self._answered_at is not None and now - self._answered_at > self.timeout_keep_alive:
            self.transport.close()
        elif self._stalled_since is not None and now - self._stalled_since > STALLED_ANSWER_S:
            self.transport.abort()
        elif self._reading_since is not None:
            allowed = GRACE_S + self._received / MIN_BYTES_PER_S
            if now - self._reading_since > allowed:
                self._drop_slow()

    def _drop_slow(self) -> None:
        if self._received == 0:
            self.transport.close()
        else:
            self._refuse(ApiError("request_timeout", "the request came too slowly"))

    def _refuse(self, error: ApiError) -> None:
        """End the connection, with an answer of our own unless another request's answer is due or under way.

        The client may still be sending. Closing at once would reset the connection and could lose the answer, so only
        our side is closed, and what still comes is thrown away for `LINGER_S` seconds.
        """
        if self._refused:
            return
        self._refused = True
        if self._is_turn_of_request_being_read():
            body = error.body(new_request_id())
            headers = [*self.server_state.default_headers, *error.headers()]
            headers += [(b"content-length", str(len(body)).encode()), (b"connection", b"close")]
            lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
            self.transport.write(STATUS_LINE[error.status] + lines + b"\r\n" + body)
            if self.transport.can_write_eof():
                self.transport.write_eof()
                self.loop.call_later(LINGER_S, self.transport.close)
                return
        self.transport.close()

    def _is_turn_of_request_being_read(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)  # of the latest request whose head is complete
        if cycle is None:
            return True
        if self._in_head or self._handler is not None:
            return cycle.response_complete
        return not cycle.response_started and not self.pipeline


def _states_a_body(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    return any(name == b"transfer-encoding" or (name == b"content-length" and value != b"0") for name, value in headers)


_SHED_BODY = too_many_calls().body("|").split(b"|")  # around the request's id
_SHED_BYTES = sum(map(len, _SHED_BODY))
_SHED_HEAD = STATUS_LINE[503] + b"content-type: application/json\r\nretry-after: 1\r\ncontent-length: "


class _Answered:
    """Stands for a call that was answered without a cycle of its own."""

    response_started = response_complete = True
    disconnected = keep_alive = True
    message_event = asyncio.Event()


_ANSWERED = _Answered()


def _answer_at_once(call: ReferenceType[RequestResponseCycle], body: bytes) -> bool:
    """Send 200 with a JSON `body` in one write. Returns False, having done nothing, where messages are needed."""
    cycle = call()
    if cycle is None:
        return False
    if cycle.disconnected or cycle.response_started or cycle.flow.write_paused or cycle.scope["method"] == "HEAD":
        return False
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    cycle.transport.write(_head(cycle.default_headers, body, keep_alive=cycle.keep_alive) + body)
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True


def _head(default_headers: list[tuple[bytes, bytes]], body: bytes, *, keep_alive: bool) -> bytes:
    """Return the head of a 200 with a JSON `body`."""
    global _heads
    known, head = _heads
    if known is not default_headers:  # uvicorn makes new ones once a second, with the date
        lines = [name + b": " + value + b"\r\n" for name, value in default_headers]
        head = b"".join((STATUS_LINE[200], *lines, _JSON_HEAD))
        _heads = default_headers, head
    return head + str(len(body)).encode() + (b"\r\n\r\n" if keep_alive else _LAST)
