#!/usr/bin/env python3
"""The service in a program of your own, without HTTP: one request, a batch, many at once, the limiter, the queue.

python examples/async_waf_example.py
"""

from __future__ import annotations

import asyncio
import time

from vedette import Verdict
from vedette.errors import DeadlineExceeded, Overloaded
from vedette.inference.async_waf_service import AsyncWAFService
from vedette.inference.queue_manager import RequestQueueManager
from vedette.inference.rate_limiter import PerIPRateLimiter

INJECTION = "1' UNION SELECT login, password FROM users-- -"


def heading(text: str) -> None:
    """Print a heading."""
    print(f"\n{text}\n{'-' * len(text)}")


def show(what: str, verdict: Verdict) -> None:
    """Print a verdict on one line, and its worst finding on the next."""
    score = "no score" if verdict.anomaly_score is None else f"score {verdict.anomaly_score:.3f}"
    print(f"{verdict.action.value:7} {score}  {what}")
    if verdict.findings:
        worst = verdict.findings[0]
        print(f"        {worst.attack_class} in {worst.location} {worst.name!r}: {worst.excerpt}")


async def single(service: AsyncWAFService) -> None:
    """Judge requests one by one."""
    heading("One request at a time")
    verdict = await service.check_request_async(
        method="GET", path="/api/users", query_params={"id": "123"}, headers={}, body=None
    )
    show("GET /api/users?id=123", verdict)
    verdict = await service.check_request_async(
        method="POST",
        path="/api/search",
        headers={"Content-Type": "application/json"},
        body={"filter": {"name": INJECTION}},
        client_ip="203.0.113.7",
    )
    show("POST /api/search with an injection deep in its JSON", verdict)


async def batch(service: AsyncWAFService) -> None:
    """Judge several requests in one call; the verdicts come in order."""
    heading("A batch")
    paths = ["/", "/search?q=O%27Brien+%26+Sons", "/../../../../etc/passwd", "/?q=%3Cscript%3Ealert(1)%3C/script%3E"]
    verdicts = await service.check_batch_async(
        [{"method": "GET", "path": path, "headers": {}, "body": None} for path in paths]
    )
    for path, verdict in zip(paths, verdicts, strict=True):
        show(f"GET {path}", verdict)


async def concurrent(service: AsyncWAFService) -> None:
    """Judge many requests at once: they share the model's batches, and the event loop stays free meanwhile."""
    heading("200 requests at once")
    started = time.perf_counter()
    verdicts = await asyncio.gather(
        *(
            service.check_request_async(
                method="GET", path="/items", query_params={"id": INJECTION if i % 10 == 0 else str(i)}
            )
            for i in range(200)
        )
    )
    blocked = sum(verdict.action == "block" for verdict in verdicts)
    print(f"{len(verdicts)} verdicts in {time.perf_counter() - started:.3f} s, {blocked} of them block")
    verdict = await service.check_request_async(method="GET", path="/slow?q=" + "select+" * 20_000, deadline_s=0.001)
    show(f"a large request with 1 ms of time (degraded: {verdict.degraded})", verdict)


def rate_limit() -> None:
    """Limit each client address to five requests a second; IPv6 clients are told apart by their /64."""
    heading("Rate limit of 5 a second per client")
    limiter = PerIPRateLimiter(5)
    for client in ("203.0.113.7", "2001:db8::1"):
        decisions = [limiter.hit(client) for _ in range(7)]
        answers = " ".join("ok" if decision.allowed else "429" for decision in decisions)
        print(f"{client:12} {answers}   retry after {decisions[-1].retry_after_s:.2f} s")


async def queue() -> None:
    """Put any blocking work behind the bounded queue that the service uses: every caller gets a result or a name."""
    heading("The queue by itself: room for 4, batches of 2")

    def process(items: list[int]) -> list[int]:
        time.sleep(0.1)  # blocking work, in a worker thread
        return [item * item for item in items]

    manager: RequestQueueManager[int, int] = RequestQueueManager(process, max_size=4, max_batch=2, max_workers=1)
    await manager.start()

    async def ask(item: int) -> str:
        try:
            return f"{item}² = {await manager.submit(item, deadline=time.monotonic() + 0.15)}"
        except Overloaded:
            return f"{item}: refused, the queue is full"
        except DeadlineExceeded:
            return f"{item}: too late"

    for answer in await asyncio.gather(*(ask(item) for item in range(9))):
        print(answer)
    stats = manager.stats()
    print(f"batches {stats.batches}, completed {stats.completed}, refused {stats.overloaded}, too late {stats.expired}")
    await manager.close()


async def main() -> None:
    """Run everything once."""
    async with AsyncWAFService() as service:
        await single(service)
        await batch(service)
        await concurrent(service)
    rate_limit()
    await queue()


if __name__ == "__main__":
    asyncio.run(main())
