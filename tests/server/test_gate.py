"""The gate: a burst passes, a flood is refused to measure, and a refusal is a whole answer."""

from __future__ import annotations

import json
import socket
import threading
from functools import partial

import pytest

from tests.server.conftest import NO_LIMIT, Client, settings_of
from tests.server.live import running
from vedette.server.app import create_app
from vedette.server.gate import ALWAYS, Gate

TARGET = b"/check"


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Loop:
    """An event loop that reads calls in `read_s` each, refuses in `shed_s` and serves in `serve_s`, on a clock; each in
    a task of its own, or `in_line`."""

    def __init__(self, max_wait_s, *, read_s=0.00005, shed_s=0.00004, serve_s=0.0004, in_line=False):
        self.in_line = in_line
        self.longest_s = 0.0  # turn
        self.clock = Clock()
        self.refused = 0
        self.soon = []
        self.gate = Gate(max_wait_s, [TARGET], self._count, clock=self.clock, call_soon=self.soon.append)
        self.read_s, self.shed_s, self.serve_s = read_s, shed_s, serve_s
        self.waits = []  # from arrival to first turn, of the calls that were served
        self.guesses = []

    def _count(self):
        self.refused += 1

    def turn(self, arrivals):
        began = self.clock.now
        for arrived in arrivals:
            self.clock.now += self.read_s
            if self.gate.refuses(TARGET):
                self.clock.now += self.shed_s
            else:
                answer = partial(self.serve, arrived, self.gate.entered())
                if self.in_line:
                    self.gate.serve_later(answer)
                else:
                    self.soon.append(answer)
        self.run_soon()
        self.longest_s = max(self.longest_s, self.clock.now - began)

    def serve(self, arrived, since):
        waited = self.gate.started(since)
        if self.gate.too_late(TARGET, waited):
            self.clock.now += 2 * self.shed_s
            return
        self.waits.append(self.clock.now - arrived)
        self.guesses.append(waited)
        self.clock.now += self.serve_s

    def run_soon(self):
        soon, self.soon[:] = list(self.soon), []
        for call in soon:
            call()

    def flood(self, per_s, seconds):
        """Offer calls at an even pace; each turn reads what came since the one before began."""
        end, due = self.clock.now + seconds, self.clock.now
        while self.clock.now < end:
            arrivals = []
            while due <= self.clock.now:
                arrivals.append(due)
                due += 1 / per_s
            if arrivals or self.soon:
                self.turn(arrivals)
            else:
                self.clock.now = due


IN_LINE = pytest.mark.parametrize("in_line", [False, True], ids=["tasks", "in line"])


@IN_LINE
def test_a_burst_after_silence_passes_whole(*, in_line):
    loop = Loop(0.5, in_line=in_line)
    loop.flood(1000, 1)
    loop.turn([loop.clock.now] * 200)  # a turn of some length
    while loop.soon:
        loop.run_soon()
    loop.clock.now += 0.01
    loop.turn([loop.clock.now] * 1000)
    assert loop.refused == 0


@IN_LINE
def test_what_can_be_served_is_never_refused(*, in_line):
    loop = Loop(0.5, in_line=in_line)
    loop.flood(2000, 5)  # 90 % of what the loop can do
    assert loop.refused == 0


@IN_LINE
@pytest.mark.parametrize("times", [1.5, 3, 6])
def test_a_flood_is_refused_to_measure_and_the_rest_comes_in_time(times, *, in_line):
    loop = Loop(0.5, in_line=in_line)
    loop.flood(1000, 2)
    loop.waits.clear()
    capacity = 1 / (loop.read_s + loop.serve_s)
    loop.flood(times * capacity, 20)
    assert max(loop.waits) <= 0.5 + 0.05
    left = 1 - times * capacity * (loop.read_s + loop.shed_s)  # of the time, once all are read and refused
    assert len(loop.waits) / 20 > 0.7 * left * capacity
    served = len(loop.waits)
    loop.flood(0.5 * capacity, 1)
    loop.waits.clear()
    refused = loop.refused
    loop.flood(0.5 * capacity, 5)  # and then it is over
    assert loop.refused == refused
    assert max(loop.waits) < 0.01
    assert served


def test_no_turn_is_long_where_calls_wait_in_line():
    loop = Loop(0.5, in_line=True)
    loop.flood(6000, 5)
    assert loop.refused
    assert loop.longest_s < 0.08
    tasks = Loop(0.5)
    tasks.flood(6000, 5)
    assert tasks.longest_s > 0.1


def test_what_waits_in_line_makes_nobody_older_who_comes_later():
    loop = Loop(0.5, in_line=True)
    loop.flood(1000, 1)
    loop.turn([loop.clock.now] * 1000)
    for _ in range(7):  # in which nobody comes
        loop.turn([])
    assert len(loop.gate._line) > 100
    loop.waits.clear()
    loop.guesses.clear()
    came = loop.clock.now
    loop.turn([came])
    while loop.soon:
        last, answered = loop.clock.now, len(loop.waits)
        loop.turn([])
    assert loop.guesses[-1] == pytest.approx(loop.clock.now - loop.serve_s - came, abs=0.04)
    assert answered <= len(loop.waits)
    assert loop.gate.held_up_s() <= loop.clock.now - last + 0.001


def test_who_fails_in_line_holds_up_nobody():
    loop = Loop(0.5, in_line=True)
    for fails in (True, False):
        answer = partial(loop.serve, loop.clock.now, loop.gate.entered())
        loop.gate.serve_later(_fail if fails else answer)
    with pytest.raises(ZeroDivisionError):
        loop.run_soon()
    loop.run_soon()
    assert len(loop.waits) == 1


def _fail():
    raise ZeroDivisionError


@IN_LINE
def test_a_call_never_waited_much_longer_than_is_said(*, in_line):
    loop = Loop(0.5, in_line=in_line)
    loop.flood(6000, 5)
    assert all(guess >= wait - 0.02 for guess, wait in zip(loop.guesses, loop.waits, strict=True))


def test_a_pace_that_is_not_kept_is_seen_when_the_turn_comes():
    loop = Loop(0.5)
    loop.flood(2000, 2)
    loop.serve_s = 0.01  # all of a sudden, say because others took the processor
    loop.turn([loop.clock.now] * 1000)
    assert max(loop.waits) <= 0.5 + 0.01
    assert loop.refused > 900


def test_a_few_are_always_let_in():
    loop = Loop(0.5, serve_s=10.0)
    loop.turn([loop.clock.now])
    for _ in range(ALWAYS):
        assert not loop.gate.refuses(TARGET)
        loop.gate.entered()


def test_only_what_may_be_refused_is():
    loop = Loop(0.000001)
    loop.turn([loop.clock.now] * 100)
    loop.gate.waiting = 1000
    assert loop.gate.refuses(TARGET)
    assert not loop.gate.refuses(b"/health")
    assert not loop.gate.too_late(b"/health", 60.0)


class Connection:
    def __init__(self, loop):
        self.loop, self.log = loop, []

    def write_shed(self):
        self.loop.clock.now += self.loop.shed_s
        self.log.append("shed")

    def rest(self):
        self.log.append("rest")

    def wake(self, rested_s):
        self.log.append(rested_s)


class Later:
    """Takes calls, and runs them when it is told."""

    def __init__(self):
        self.soon, self.later = [], []

    def call_soon(self, call, *args):
        self.soon.append((call, args))

    def call_later(self, delay_s, call, *args):
        self.later.append((delay_s, call, args))


@pytest.mark.parametrize(("count", "rests"), [(1000, True), (10, False)])
def test_refused_connections_rest_for_twice_as_long_as_they_cost(count, rests):
    loop, later = Loop(0.5), Later()
    connections = [Connection(loop) for _ in range(count)]
    since = loop.gate.entered()
    for connection in connections:
        loop.clock.now += loop.read_s
        loop.gate.shed(connection, later)
    loop.gate.started(since)
    loop.clock.now += 5.0  # serving others is none of their cost
    ((call, args),) = later.soon
    call(*args)
    assert all(connection.log[0] == "shed" for connection in connections)
    if not rests:
        assert later.later == []
        return
    ((delay_s, wake, args),) = later.later
    assert delay_s == pytest.approx(2 * count * (loop.read_s + loop.shed_s))
    wake(*args)
    assert all(connection.log == ["shed", "rest", delay_s] for connection in connections)


# -- on a real socket ----------------------------------------------------------------------------------------------


@pytest.fixture
def shut():
    """A service whose gate believes that a thousand calls wait, a second each; it lets nothing in."""
    settings = settings_of(NO_LIMIT)
    app = create_app(settings)
    with running(app, settings) as port:
        app.gate.waiting = 1000
        app.gate._pace_s = 1.0
        yield Client(port), app


def call(path=b"/check", body=b'{"method":"GET","path":"/"}', headers=b""):
    length = str(len(body)).encode()
    return b"POST " + path + b" HTTP/1.1\r\nHost: a\r\n" + headers + b"Content-Length: " + length + b"\r\n\r\n" + body


def test_a_refusal_is_a_whole_answer_and_the_connection_stays(shut):
    client, app = shut
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as conn:
        for n in range(3):
            conn.sendall(call(headers=b"X-Request-Id: id-%d\r\n" % n))
            head, body = read_answer(conn)
            assert head.startswith(b"HTTP/1.1 503")
            assert b"\r\nretry-after: 1\r\n" in head + b"\r\n"
            assert b"\r\ndate: " in head
            error = json.loads(body)["error"]
            assert (error["code"], error["field"], error["request_id"]) == ("overloaded", None, f"id-{n}")
        app.gate.waiting = 0
        conn.sendall(call())
        assert read_answer(conn)[0].startswith(b"HTTP/1.1 200")
    assert b'vedette_requests_total{outcome="overloaded"} 3.0' in client.get("/metrics").data


def test_pipelined_calls_are_refused_in_order(shut):
    client, _ = shut
    last = call(headers=b"Connection: close\r\nX-Request-Id: last\r\n")
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as conn:
        conn.sendall(b"".join(call(headers=b"X-Request-Id: id-%d\r\n" % n) for n in range(20)) + last)
        answers = [read_answer(conn) for _ in range(21)]
        assert conn.recv(1) == b""
    assert all(head.startswith(b"HTTP/1.1 503") for head, _ in answers)
    ids = [json.loads(body)["error"]["request_id"] for _, body in answers]
    assert ids == [*(f"id-{n}" for n in range(20)), "last"]
    assert b'vedette_requests_total{outcome="overloaded"} 21.0' in client.get("/metrics").data


def test_a_call_that_may_not_be_refused_waits_for_the_refusals_before_it(shut):
    client, _ = shut
    health = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as conn:
        conn.sendall(call() + health + call() + health)
        heads = [read_answer(conn)[0] for _ in range(4)]
    assert [head[9:12] for head in heads] == [b"503", b"200", b"503", b"200"]


def test_a_large_body_and_a_waiting_client_are_refused_as_ever(shut):
    client, _ = shut
    large = client.post("/check", b"x" * 1_000_000)
    assert (large.status, large.error["code"], large.headers["retry-after"]) == (503, "overloaded", "1")
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as conn:
        conn.sendall(call(body=b"", headers=b"Expect: 100-continue\r\n"))
        assert read_answer(conn)[0].startswith(b"HTTP/1.1 503")


def test_health_and_metrics_are_answered_under_any_flood(shut):
    client, _ = shut
    assert [client.get(path).status for path in ("/health", "/ready", "/metrics")] == [200, 200, 200]
    assert client.post("/check/batch", {"requests": []}).status == 503


def test_a_connection_that_rests_is_read_again(shut):
    """And what was sent meanwhile has waited: its answer is due earlier."""
    client, app = shut
    has_read = app.gate._has_read
    app.gate._has_read = lambda: (has_read(), setattr(app.gate, "_read_s", 0.2))  # as if reading had taken that long
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as conn:
        conn.sendall(call())
        assert read_answer(conn)[0].startswith(b"HTTP/1.1 503")
        app.gate.waiting = 0
        del app.gate._has_read
        late = call(body=b'{"method":"GET","path":"/","deadline_ms":300}')
        conn.sendall(late + call())
        assert b'"degraded":"timed_out"' in read_answer(conn)[1]
        assert b'"degraded":null' in read_answer(conn)[1]
        conn.sendall(call())
        assert b'"degraded":null' in read_answer(conn)[1]


def test_a_call_that_goes_away_leaves_nothing_behind(shut):
    client, app = shut

    def leave():
        with socket.create_connection(("127.0.0.1", client.port), timeout=30) as conn:
            conn.sendall(call() * 3 + b"POST /check HTTP/1.1\r\n")

    threads = [threading.Thread(target=leave) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert client.get("/health").status == 200
    app.gate.waiting -= 1000
    assert app.gate.waiting in (0, 1)
    assert client.check("/").status == 200


def read_answer(conn):
    """Head and body of one answer, not a byte more."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = conn.recv(1)
        assert byte, head
        head += byte
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    body = b""
    while len(body) < length:
        body += conn.recv(length - len(body))
    return head.lower().replace(b"http/1.1", b"HTTP/1.1"), body
