"""What the service promises when there is too much of everything: on real sockets, and nothing here measures speed.

What is asserted is the processor time of single callbacks, counts, order and outcomes.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import gc
import json
import re
import resource
import socket
import threading
import time
from urllib.parse import quote

import pytest

from tests.inference.small_model import SmallRuntime, small_engine
from tests.server.conftest import NO_LIMIT, Client, settings_of
from tests.server.live import running
from tests.server.test_gate import call, read_answer
from vedette.http_request import HTTPRequest
from vedette.inference import check_stage
from vedette.inference.async_waf_service import AsyncWAFService
from vedette.inference.worker import Worker
from vedette.server import protocol
from vedette.server.app import create_app

# No verdict is missed for want of time where a test is not about time.
PATIENT = {"timeout": 60.0, "max_wait": 60.0, "event_log": {"enabled": False}, "threshold": 0.5}
UNHURRIED = {"async": {"max_workers": 1, "timeout": 60.0}}
LARGE = check_stage.ON_LOOP_BYTES + 1


@contextlib.contextmanager
def small_service(runtime=None, inference=None, **waf):
    """A service over the small model: its client and its app."""
    runtime = runtime or SmallRuntime()
    settings = settings_of(
        {"waf_service": {**PATIENT, **waf}, "inference": {**NO_LIMIT["inference"], **UNHURRIED, **(inference or {})}}
    )
    service = AsyncWAFService(settings=settings)
    service.swap(small_engine(runtime, **{**PATIENT, **waf}))
    app = create_app(settings, service)
    with running(app, settings) as port:
        client = Client(port)
        client.routes = app.hot["/check"].__self__
        yield client, service


def wait_for(condition):
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come to pass")


def in_threads(calls):
    """Run all calls at once, each in a thread; return what they return, in order."""
    answers = [None] * len(calls)

    def run(index, call):
        answers[index] = call()

    threads = [threading.Thread(target=run, args=item) for item in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert None not in answers
    return answers


def outcome(answer):
    """The one word for what became of a call."""
    if answer.status == 200:
        return answer.json["degraded"] or "verdict"
    assert answer.error["code"] in ("overloaded", "not_ready", "rate_limited")
    assert int(answer.headers["retry-after"]) >= 1
    return answer.error["code"]


def attack(n):
    return "/?q=" + quote(f"'{n}<")


# -- the loop ------------------------------------------------------------------------------------------------------


def large_bodies():
    """What costs most to read, in every place where something might be done on the loop."""
    words = " ".join(f"it's {chr(97 + i % 26)}{chr(97 + i // 26 % 26)}{chr(97 + i // 676)} ;" for i in range(9000))
    form = [["Content-Type", "application/x-www-form-urlencoded"]]
    arguments = "&".join(f"a{i}=%27{i}<" for i in range(4000))
    leaves = {f"k{i}": f"'{i} ;<" for i in range(6000)}
    small = {"method": "GET", "path": "/?q=%27a;b", "headers": [["X-A", "it's <b> ;" * 30]]}
    yield "/check", {"method": "POST", "path": "/", "body": words[:130_000]}
    yield "/check", {"method": "POST", "path": "/", "headers": form, "body": arguments}
    yield "/check", {"method": "POST", "path": "/", "body": leaves}
    yield "/check", {"method": "POST", "path": "/", "body": "<" * 500_000}
    yield "/check", {"method": "POST", "path": "/?" + arguments[:7000], "body": None}
    yield "/check", {"method": "POST", "path": "/", "body": dict(list(leaves.items())[:450])}
    yield "/check", {"method": "GET", "path": "/", "headers": {"Cookie": arguments[:7000].replace("&", ";")}}
    yield "/check", {"method": "GET", "path": "/", "query_params": {f"a{i}": i for i in range(4000)}}
    yield "/check/batch", {"requests": [small] * 500}
    yield "/check/batch", {"requests": [{"method": "POST", "path": "/", "body": leaves}] * 8}


def test_no_callback_holds_the_loop_while_large_bodies_saturate_it(monkeypatch):
    """Processor time of the loop's thread, so that it counts neither other threads nor a busy machine."""
    spent = []
    loops = set()
    run = asyncio.events.Handle._run

    def timed(handle):
        before = time.thread_time()
        run(handle)
        spent.append((time.thread_time() - before, repr(handle)))
        loops.add(threading.get_ident())

    settings = settings_of({**NO_LIMIT, "waf_service": {**PATIENT, "threshold": None}})
    with running(create_app(settings), settings, loop="asyncio") as port:
        client = Client(port)
        client.check("/")
        bodies = [(path, json.dumps(body).encode()) for path, body in large_bodies()]
        gc.collect()
        gc.freeze()  # as a service does at its start: else what the tests have loaded is gone through, too
        try:
            monkeypatch.setattr(asyncio.events.Handle, "_run", timed)
            answers = in_threads([lambda path=path, body=body: client.post(path, body) for path, body in bodies * 2])
            monkeypatch.undo()
        finally:
            gc.unfreeze()
        text = client.get("/metrics").data.decode()
    assert {answer.status for answer in answers} == {200}
    assert len(loops) == 1
    assert len(spent) > 100
    assert max(spent)[0] < 0.05, max(spent)
    lag = re.search(r"^vedette_event_loop_lag_seconds_count (\d+)", text, re.M)
    assert lag is not None
    assert int(lag[1]) > 0


# -- deadlines -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fail_mode", "action"), [("open", "allow"), ("closed", "block")])
def test_far_beyond_capacity_every_call_has_one_outcome_and_none_hangs(fail_mode, action):
    runtime = SmallRuntime()
    runtime.after_run = lambda: time.sleep(0.02)  # a model that takes its time
    stage = {"async": {"max_workers": 1, "batch_size": 4, "timeout": 60.0}, "queue": {"max_size": 40}}
    with small_service(runtime, stage, fail_mode=fail_mode) as (client, service):

        def ask(n):
            return client.check(attack(n), deadline_ms=150) if n % 2 else client.check(attack(n), deadline_ms=60_000)

        answers = in_threads([lambda n=n: ask(n) for n in range(200)])
        seen = collections.Counter(map(outcome, answers))
        assert sum(seen.values()) == 200
        assert set(seen) <= {"verdict", "timed_out", "overloaded"}
        assert seen["verdict"] > 0
        assert seen["timed_out"] + seen["overloaded"] > 0
        for answer in answers:
            if outcome(answer) == "timed_out":
                assert (answer.json["is_anomaly"], answer.json["anomaly_score"]) == (None, None)
                assert answer.json["action"] == action
            elif answer.status == 200:
                assert answer.json["action"] == "block"
        adds_up(client, service, 200, seen)


def test_what_expired_in_the_queue_never_reaches_the_model():
    runtime = SmallRuntime()
    runtime.gate.clear()
    with small_service(runtime) as (client, service):
        blocking = threading.Thread(target=client.check, args=(attack("x"),))
        blocking.start()
        wait_for(runtime.entered.is_set)
        late = in_threads([lambda n=n: client.check(attack(n), deadline_ms=50) for n in range(40)])
        assert {outcome(answer) for answer in late} == {"timed_out"}
        runtime.gate.set()
        blocking.join(30)
        assert outcome(client.check(attack("after"))) == "verdict"
        assert runtime.rows == 2
        assert service.queue_stats().expired == 40


async def test_what_was_due_before_its_turn_is_not_even_prepared():
    """The deadline counts from when the call came, not from when the loop got round to it."""
    runtime = SmallRuntime()
    engine = small_engine(runtime, **PATIENT)
    prepared = []
    prepare = engine.prepare

    def watched(*args, **more):
        prepared.append(args)
        return prepare(*args, **more)

    engine.prepare = watched
    service = AsyncWAFService(settings=settings_of({"waf_service": PATIENT, "inference": UNHURRIED}))
    service.swap(engine)
    async with service:
        request = HTTPRequest("GET", attack(1))
        late = await service.check(request, deadline_s=0.5, waited_s=0.6)
        assert (late.degraded, late.action, prepared) == ("timed_out", "allow", [])
        (late,) = await service.check_many([request], deadlines_s=[0.5], waited_s=0.6)
        assert (late.degraded, prepared) == ("timed_out", [])
        assert (await service.check(request, deadline_s=60.0, waited_s=0.6)).is_anomaly


async def test_answers_are_made_ready_earlier_while_the_loop_is_late():
    runtime = SmallRuntime()
    runtime.gate.clear()
    service = AsyncWAFService(settings=settings_of({"waf_service": PATIENT, "inference": UNHURRIED}))
    service.swap(small_engine(runtime, **PATIENT))
    async with service:
        stage = service._stage
        request = HTTPRequest("GET", attack(1))

        def seconds_left(deadline_s):
            begun = stage.begin(service._engine, request, deadline_s, None)
            check_stage.abandon(begun)
            return begun.deadline - begun.started_at

        assert seconds_left(1.0) == pytest.approx(0.975)
        assert seconds_left(0.1) == pytest.approx(0.09)
        service.observe_loop_lag(0.1)
        assert seconds_left(1.0) == pytest.approx(0.7)  # three turns: to notice it, to tell it, and a longer one
        assert seconds_left(0.1) == pytest.approx(0.05)
        waiting = asyncio.create_task(service.check(request, deadline_s=0.7))
        while not service.queue_stats().in_flight_batches:
            await asyncio.sleep(0.001)
        for _ in range(3):  # what is known already makes nothing that waits late
            service.observe_loop_lag(0.1)
            assert not waiting.done()
        service.observe_loop_lag(0.4)
        assert (await waiting).degraded == "timed_out"
        assert (await waiting).processing_time_ms < 600
        for _ in range(40):
            service.observe_loop_lag(0.0)
        assert seconds_left(1.0) == pytest.approx(0.975)
        runtime.gate.set()


def test_overload_ends_cleanly():
    runtime = SmallRuntime()
    runtime.gate.clear()
    with small_service(runtime, {"queue": {"max_size": 10}}) as (client, service):
        burst = threading.Thread(target=lambda: answers.extend(in_threads(calls)))
        answers = []
        calls = [lambda n=n: client.check(attack(n)) for n in range(120)]
        burst.start()
        wait_for(lambda: service.queue_stats().overloaded > 50)
        runtime.gate.set()
        burst.join(60)
        seen = collections.Counter(map(outcome, answers))
        assert seen["overloaded"] > 50
        assert seen["verdict"] >= 10
        adds_up(client, service, 120, seen)
        assert outcome(client.check(attack("after"))) == "verdict"


def test_a_large_call_that_would_wait_too_long_is_refused_by_its_head():
    runtime = SmallRuntime()
    with small_service(runtime) as (client, _):
        backlog, answers = client.routes._backlog, []

        def check(n, repeats=LARGE):
            return outcome(client.post("/check", {"method": "POST", "path": "/", "body": f"it's{n} " * repeats}))

        check(0)  # which tells the pace
        runtime.gate.clear()
        held = threading.Thread(target=lambda: answers.extend(in_threads([lambda n=n: check(n) for n in (6, 7)])))
        held.start()
        wait_for(lambda: backlog.calls == 2)
        backlog._max_wait_s = backlog.wait_s(LARGE) / 2
        assert backlog.wait_s(LARGE) > 0
        for path in (b"/check", b"/check/batch"):
            with socket.create_connection(("127.0.0.1", client.port), timeout=30) as conn:
                conn.sendall(b"POST " + path + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
                head, body = read_answer(conn)
                assert head.startswith(b"HTTP/1.1 503 ")
                assert b"retry-after: 1" in head
                assert json.loads(body)["error"]["code"] == "overloaded"
        assert check(8, repeats=3000) == "overloaded"  # what came whole with its head, too
        assert outcome(client.check("/?q=word")) == "verdict"
        runtime.gate.set()
        held.join(60)
        assert answers == ["verdict"] * 2
        assert check(9) == "verdict"
        assert client.get("/metrics", Accept="application/json").json["requests"]["by_outcome"]["overloaded"] == 3


def adds_up(client, service, sent, seen):
    """Every call is in exactly one counter, and nothing is left anywhere."""
    told = client.get("/metrics", Accept="application/json").json
    by_outcome = told["requests"]["by_outcome"]
    assert sum(by_outcome.values()) == sent == sum(seen.values())
    assert by_outcome.get("overloaded", 0) == seen["overloaded"]
    assert told["degraded"].get("timed_out", 0) == seen["timed_out"]
    stats = service.queue_stats()
    assert (stats.size, told["queue"]["size"]) == (0, 0)
    wait_for(lambda: service.queue_stats().in_flight_batches == 0)
    ended = stats.completed + stats.expired + stats.cancelled + stats.failed
    assert stats.submitted == ended


# -- connections ---------------------------------------------------------------------------------------------------


def test_a_thousand_connections_are_all_served(started):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2000:
        pytest.skip("the system allows too few open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2000), hard))
    try:
        service = started(
            VEDETTE_INFERENCE__RATE_LIMITING__ENABLED="false",
            VEDETTE_WAF_SERVICE__TIMEOUT="60",
            VEDETTE_INFERENCE__ASYNC__TIMEOUT="60",
        )
        port = int(service.url.rpartition(":")[2])
        service.get("/ready")
        statuses = asyncio.run(keep_alive_callers(port, 1000, rounds=3))
        assert statuses == collections.Counter({200: 3000})
        assert service.post("/check", {"method": "GET", "path": "/"})[1]["degraded"] is None
        assert service.stop() == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def keep_alive_callers(port, count, rounds):
    """Statuses of `rounds` checks over each of `count` connections that are all open at once."""
    statuses = collections.Counter()
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]

    async def call(number):
        reader, writer = opened[number]
        for turn in range(rounds):
            body = json.dumps({"method": "GET", "path": f"/?q={number}'{turn}<"}).encode()
            writer.write(b"POST /check HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]))
            statuses[int(head.split()[1])] += 1

    async with asyncio.timeout(120):
        await asyncio.gather(*map(call, range(count)))
    for _, writer in opened:
        writer.close()
    return statuses


def test_slow_and_half_closed_clients_cost_no_worker_and_are_dropped(monkeypatch):
    monkeypatch.setattr(protocol, "GRACE_S", 1.5)
    monkeypatch.setattr(protocol, "_LOOK_EVERY_S", 0.1)
    ends = []
    begun = threading.Semaphore(0)

    def trickle(port, pieces, half_closed):
        with socket.create_connection(("127.0.0.1", port), timeout=60) as conn:
            conn.sendall(pieces[0])
            begun.release()
            if half_closed:
                conn.shutdown(socket.SHUT_WR)
            else:
                with contextlib.suppress(OSError):
                    for byte in pieces[1]:
                        conn.sendall(bytes([byte]))
                        time.sleep(0.2)
            answer = b""
            with contextlib.suppress(OSError):
                while chunk := conn.recv(65536):
                    answer += chunk
            ends.append(answer[:12])

    head = b"POST /check HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
    slow = (head, b'{"method": "GET", "path": "/slow"' + b" " * 200)
    slow_head = (b"POST /check HT", b"TP/1.1\r\nHost: a\r\nX-A: " + b"a" * 200)
    with small_service() as (client, service):
        threads = [
            threading.Thread(target=trickle, args=(client.port, pieces, half_closed))
            for pieces, half_closed in ((slow, False), (slow_head, False), (slow, True), (slow_head, True))
            for _ in range(25)
        ]
        for thread in threads:
            thread.start()
        for _ in threads:
            assert begun.acquire(timeout=60)
        assert {outcome(client.check(attack(n))) for n in range(20)} == {"verdict"}
        assert service.queue_stats().submitted == 20  # and nothing of the slow ones
        for thread in threads:
            thread.join(60)
        assert len(ends) == 100
        assert set(ends) <= {b"", b"HTTP/1.1 408"}
        assert ends.count(b"HTTP/1.1 408") >= 40
        assert service.queue_stats().submitted == 20
        assert outcome(client.check(attack("after"))) == "verdict"


def test_more_large_bodies_than_can_wait_are_refused(monkeypatch):
    """The thread that decodes them is held up; the bound is the number that wait for it."""
    from vedette.server import routes

    monkeypatch.setattr(routes, "DECODING", 3)
    held = threading.Event()
    read = routes.read_check

    def slow(*args, **more):
        assert held.wait(60)
        return read(*args, **more)

    with small_service() as (client, _):
        monkeypatch.setattr(routes, "read_check", slow)
        body = json.dumps({"method": "POST", "path": "/", "body": "x" * 100_000}).encode()
        waiting = []
        three = threading.Thread(target=lambda: waiting.extend(in_threads([lambda: client.post("/check", body)] * 3)))
        three.start()
        wait_for(lambda: client.routes._decoding == 3)
        with socket.create_connection(("127.0.0.1", client.port), timeout=30) as conn:
            conn.sendall(call(body=body))
            head, _ = read_answer(conn)
            assert head.startswith(b"HTTP/1.1 503")
            assert b"connection: close" not in head  # all of it was read: the connection is as good as before
            conn.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
            assert read_answer(conn)[0].startswith(b"HTTP/1.1 200")
        held.set()
        three.join(60)
        assert {outcome(answer) for answer in waiting} == {"verdict"}
        by_outcome = client.get("/metrics", Accept="application/json").json["requests"]["by_outcome"]
        assert by_outcome["overloaded"] == 1


# -- workers -------------------------------------------------------------------------------------------------------


class Fails:
    """Lets one call of `call` end in `how`, and the later ones pass."""

    def __init__(self, call, how):
        self.call, self.how, self.left = call, how, 1

    def __call__(self, *args, **more):
        if self.left:
            self.left -= 1
            return self.how()
        return self.call(*args, **more)


def leave():
    raise SystemExit("the thread was told to go")


def test_a_model_that_asks_its_thread_to_end_is_a_named_failure():
    runtime = SmallRuntime()
    runtime.run = Fails(runtime.run, leave)
    with small_service(runtime) as (client, service):
        answers = in_threads([lambda n=n: client.check(attack(n)) for n in range(4)])
        assert {outcome(answer) for answer in answers} <= {"model_failed", "verdict"}
        assert outcome(client.check(attack("after"))) == "verdict"
        assert service.queue_stats().workers == 1


@pytest.mark.parametrize("body", [None, "x" * LARGE], ids=["model", "parse"])
def test_a_dead_worker_is_noticed_and_replaced(monkeypatch, body):
    """The thread is gone, whatever took it: the model's, or the one that parses large requests."""
    with small_service() as (client, service):
        lost = Fails(Worker._outcomes, leave)
        monkeypatch.setattr(Worker, "_outcomes", lambda worker, entries: lost(worker, entries))
        monkeypatch.setattr(threading, "excepthook", lambda _: None)
        assert outcome(client.check(attack(1), method="POST", body=body)) == "model_failed"
        assert outcome(client.check(attack(2), method="POST", body=body)) == "verdict"
        assert service.queue_stats().workers == 1
        assert client.get("/ready").status == 200


@pytest.mark.parametrize("where", ["model", "parse"])
@pytest.mark.parametrize(("fail_mode", "action"), [("open", "allow"), ("closed", "block")])
def test_a_stuck_worker_is_given_up_and_replaced(monkeypatch, where, fail_mode, action):
    monkeypatch.setattr(check_stage, "STUCK_AFTER_S", 0.5)
    release = threading.Event()
    runtime = SmallRuntime()
    body = None

    def hang():
        assert release.wait(60)
        raise RuntimeError("came back far too late")

    if where == "model":
        runtime.run = Fails(runtime.run, hang)
    else:
        body = "x" * LARGE
    with small_service(runtime, fail_mode=fail_mode) as (client, service):
        if where == "parse":
            service._engine.prepare = Fails(service._engine.prepare, hang)
        stuck = client.check(attack(1), method="POST", body=body)
        assert outcome(stuck) == "model_failed"
        assert (stuck.json["is_anomaly"], stuck.json["action"]) == (None, action)
        assert outcome(client.check(attack(2), method="POST", body=body)) == "verdict"
        assert client.get("/ready").status == 200
        stats = service.queue_stats()
        assert (stats.workers, stats.stuck_workers) == (1, int(where == "model"))
        release.set()
        wait_for(lambda: service.queue_stats().stuck_workers == 0)
        assert outcome(client.check(attack(3), method="POST", body=body)) == "verdict"


def test_a_worker_that_hangs_holds_nobody_up_beyond_the_deadline():
    runtime = SmallRuntime()
    runtime.gate.clear()
    with small_service(runtime) as (client, _):
        answers = in_threads([lambda n=n: client.check(attack(n), deadline_ms=200) for n in range(10)])
        assert {outcome(answer) for answer in answers} == {"timed_out"}
        assert outcome(client.check("/plain")) == "verdict"  # which needs no model
        runtime.gate.set()
