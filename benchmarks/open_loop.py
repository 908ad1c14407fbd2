#!/usr/bin/env python3
"""A client that sends requests when they are due, whether or not earlier ones are answered; for the other benchmarks.

    python -m benchmarks.open_loop < PLAN.json > ANSWERS.json

The plan holds `port`, `payloads` (bodies of POST /check), `phases` ([name, requests a second, seconds]; a rate of null
sends as fast as answers come, over `connections`), and `wait_s` after which an answer counts as missing. Requests are
due at random times (a Poisson process), and an answer's time counts from when its request was due, so what a slow
service does to the client is not left out of the figures. For each phase and outcome it prints the times, and how late
the client itself was.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Any, cast

import uvloop

TICK_S = 0.0005
HEAD = b"POST /check HTTP/1.1\r\nHost: vedette\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request under way."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.transport: asyncio.Transport | None = None
        self.phase = ""
        self.due = 0.0
        self.busy = False
        self.received = bytearray()
        self.whole = 0  # bytes of the answer, once its head is known
        self.closes = False  # whether it is the last over this connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.client.free.append(self)

    def send(self, data: bytes, due: float, phase: str) -> None:
        assert self.transport is not None
        self.busy, self.due, self.phase, self.whole = True, due, phase, 0
        self.received.clear()
        self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        self.received += data
        if not self.whole:
            end = self.received.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self.received[:end]).lower()
            self.closes = b"\r\nconnection: close" in head
            self.whole = end + 4 + int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
        if len(self.received) >= self.whole:
            self.busy = False
            self.client.answered(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self.client.free:
            self.client.free.remove(self)
        if self.busy:
            self.busy = False
            self.client.note(self, "connection lost")
        self.client.open -= 1


class Client:
    """All connections, and what came back."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.port: int = plan["port"]
        self.payloads = [HEAD % (len(body), body) for body in (text.encode() for text in plan["payloads"])]
        self.most: int = plan["connections"]
        self.wait_s: float = plan["wait_s"]
        self.rng = random.Random(plan.get("seed", 1))
        self.free: deque[Connection] = deque()  # in turn, so that none is idle for long
        self.open = 0
        self.again: set[asyncio.Future[None]] = set()  # connections that take the place of those that were closed
        self.sent = 0
        self.closed_loop = False
        # phase -> outcome -> [when it was due, seconds into the phase; seconds until the answer]
        self.times: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
        self.late: dict[str, list[float]] = defaultdict(list)
        self.started: dict[str, float] = {}
        self.at: dict[str, float] = {}

    def note(self, connection: Connection, outcome: str) -> None:
        phase = connection.phase
        taken = time.perf_counter() - connection.due
        self.times[phase][outcome].append((round(connection.due - self.started[phase], 4), round(taken, 5)))

    def answered(self, connection: Connection) -> None:
        self.note(connection, outcome_of(bytes(connection.received)))
        if connection.transport is None or connection.transport.is_closing():
            return
        if connection.closes:
            connection.transport.close()
            again = asyncio.ensure_future(self.connect_one())
            self.again.add(again)
            again.add_done_callback(self.again.discard)
            return
        if self.closed_loop:
            connection.send(self.next(), time.perf_counter(), connection.phase)
        else:
            self.free.append(connection)

    def next(self) -> bytes:
        self.sent += 1
        return self.payloads[self.sent % len(self.payloads)]

    async def connect_one(self) -> None:
        self.open += 1
        try:
            await asyncio.get_running_loop().create_connection(lambda: Connection(self), "127.0.0.1", self.port)
        except OSError:
            self.open -= 1
            raise

    async def connect(self, count: int) -> None:
        while self.open < count:
            await self.connect_one()
        # An answer over the last one means that the service has taken all of them.
        self.started[""] = time.perf_counter()
        last = self.free.pop()
        last.send(self.next(), time.perf_counter(), "")
        while last.busy:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        self.times.clear()

    async def run(self, name: str, rate: float | None, seconds: float) -> None:
        self.started[name] = now = time.perf_counter()
        self.at[name] = time.time()
        end = now + seconds
        if rate is None:
            self.closed_loop = True
            while self.free:
                self.free.popleft().send(self.next(), time.perf_counter(), name)
            await asyncio.sleep(seconds)
            self.closed_loop = False
            return
        due = now
        while due < end:
            now = time.perf_counter()
            while due <= now and due < end:
                if self.free:
                    self.late[name].append(now - due)
                    self.free.popleft().send(self.next(), due, name)
                else:
                    self.times[name]["not sent"].append((round(due - self.started[name], 4), 0.0))
                due += self.rng.expovariate(rate)
            await asyncio.sleep(TICK_S)

    async def settle(self) -> None:
        """Wait for the last answers."""
        until = time.perf_counter() + self.wait_s
        while len(self.free) < self.open and time.perf_counter() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def outcome_of(answer: bytes) -> str:
    status = int(answer[9:12])
    if status != 200:
        return f"{status}" if b"\r\nretry-after:" in answer[:400].lower() else f"{status} without Retry-After"
    reason = answer.rpartition(b'"degraded":')[2].split(b",")[0].strip(b'"').decode()
    return "ok" if reason == "null" else f"degraded {reason}"


async def main() -> dict[str, Any]:
    plan = json.load(sys.stdin)
    client = Client(plan)
    await client.connect(client.most)
    phases: Sequence[tuple[str, float | None, float]] = plan["phases"]
    for name, rate, seconds in phases:
        await client.run(name, rate, seconds)
        if rate is None:
            await client.settle()
        # an open loop goes on at once: what the last phase left behind is the next one's business
    await client.settle()
    for connection in [*client.free]:
        if connection.transport is not None:
            connection.transport.close()
    missing = client.open - len(client.free)
    late = {name: sorted(values)[int(0.99 * (len(values) - 1))] for name, values in client.late.items() if values}
    return {"phases": client.times, "at": client.at, "missing": missing, "client_late_p99_s": late}


if __name__ == "__main__":
    json.dump(uvloop.run(main()), sys.stdout)
