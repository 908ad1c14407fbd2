"""The asynchronous service: right answers together, within the deadline, whatever fails."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.inference.small_model import SmallRuntime, small_engine
from vedette.config import Settings
from vedette.errors import ConfigError, NotReady, Overloaded, RequestError
from vedette.http_request import HTTPRequest
from vedette.inference.async_waf_service import AsyncWAFService
from vedette.inference.check_stage import ON_LOOP_BYTES
from vedette.inference.prepared import Slice
from vedette.verdict import Action, Degraded

XSS = "<script>alert(1)</script>"


def service_over(
    runtime: SmallRuntime, *, inference: dict[str, object] | None = None, **waf: object
) -> AsyncWAFService:
    waf = {"event_log": {"enabled": False}, "threshold": 0.5, "drain_timeout": 5.0, "timeout": 30.0, **waf}
    settings = Settings.model_validate(
        {"waf_service": waf, "inference": {"async": {"max_workers": 1, "timeout": 30.0}, **(inference or {})}}
    )
    service = AsyncWAFService(settings=settings)
    service.swap(small_engine(runtime, **waf))
    return service


async def until(condition) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def test_the_first_call_starts_the_service() -> None:
    service = service_over(SmallRuntime())
    assert not service.ready
    verdict = await service.check_request_async(
        method="GET", path="/api/users", query_params={"id": "123"}, headers={}, body=None
    )
    assert service.ready
    assert (verdict.is_anomaly, verdict.action, verdict.model_version) == (False, Action.ALLOW, "small-1")
    await service.close()
    assert not service.ready


async def test_attacks_are_found_wherever_the_arguments_put_them() -> None:
    async with service_over(SmallRuntime()) as service:
        checks = [
            service.check_request_async("GET", "/a", query_params={"id": XSS}),
            service.check_request_async("GET", f"/a?id={quote(XSS)}"),
            service.check_request_async("GET", "/a", query_params=f"id={quote(XSS)}"),
            service.check_request_async("GET", "/a", headers={"X-A": XSS}),
            service.check_request_async("POST", "/a", body={"a": [{"b": XSS}]}),
            service.check_request_async("POST", "/a", body=json.dumps({"a": XSS})),
            service.check_request_async("POST", "/a", body=f"q={quote(XSS)}"),
        ]
        verdicts = await asyncio.gather(*checks)
    assert all(verdict.is_anomaly and verdict.attack_class == "xss" for verdict in verdicts)


async def test_many_at_once_get_their_own_answers_in_few_runs() -> None:
    runtime = SmallRuntime()
    async with service_over(runtime) as service:
        queries = [f"q={quote(f'<b{i}>' if i % 2 else f'a;{i};b')}" for i in range(300)]
        verdicts = await asyncio.gather(*(service.check_request_async("GET", f"/?{query}") for query in queries))
        assert [verdict.is_anomaly for verdict in verdicts] == [bool(i % 2) for i in range(300)]
        assert len({verdict.request_id for verdict in verdicts}) == 300
        stats = service.queue_stats()
        assert stats is not None
        assert stats.batches < stats.batched_items
        seen = service.metrics.to_dict()
    assert seen["requests"]["by_outcome"] == {"allow": 150, "block": 150}
    assert seen["anomalies"]["by_class"] == {"xss": 150}
    assert seen["processing_time_ms"]["p99"] is not None
    assert seen["batch_size"]["max"] > 1
    assert seen["score_memory"]["misses"] == stats.batched_items


async def test_a_batch_answers_in_order_and_takes_every_shape_of_item() -> None:
    async with service_over(SmallRuntime()) as service:
        items = [
            {"method": "GET", "path": "/", "headers": {}, "body": None},
            {"method": "GET", "path": "/", "query_params": {"q": XSS}},
            HTTPRequest("GET", f"/?q={quote(XSS)}"),
            {"method": "POST", "path": "/", "body": "x" * (ON_LOOP_BYTES + 1)},
        ]
        verdicts = await service.check_batch_async(items * 40)
        assert [verdict.is_anomaly for verdict in verdicts] == [False, True, True, False] * 40
        assert await service.check_batch_async([]) == []


async def test_one_invalid_item_refuses_the_batch_by_name() -> None:
    async with service_over(SmallRuntime()) as service:
        with pytest.raises(RequestError) as refusal:
            await service.check_batch_async([{"method": "GET", "path": "/"}, {"method": "GET"}])
        assert refusal.value.field == "requests[1].path"
        with pytest.raises(RequestError) as refusal:
            await service.check_batch_async([{"method": "GET", "path": "/", "deadline_s": -1}])
        assert refusal.value.field == "requests[0].deadline_s"


async def test_a_batch_larger_than_the_queue_is_answered_whole() -> None:
    async with service_over(SmallRuntime(), inference={"queue": {"max_size": 128}}) as service:
        items = [{"method": "GET", "path": f"/?q=%27{i}"} for i in range(500)]
        verdicts = await service.check_batch_async(items)
    assert all(verdict.is_anomaly for verdict in verdicts)


async def test_a_request_without_pending_windows_needs_no_queue() -> None:
    runtime = SmallRuntime()
    async with service_over(runtime) as service:
        await service.check_request_async("GET", "/?q=plain")
        stats = service.queue_stats()
        assert stats is not None
        assert stats.submitted == 0


@pytest.mark.parametrize(("fail_mode", "action"), [("open", Action.ALLOW), ("closed", Action.BLOCK)])
async def test_a_missed_deadline_is_a_verdict(fail_mode: str, action: Action) -> None:
    runtime = SmallRuntime()
    runtime.gate.clear()
    async with service_over(runtime, fail_mode=fail_mode) as service:
        verdict = await service.check_request_async("GET", "/?q=%27x", deadline_s=0.02)
        assert (verdict.anomaly_score, verdict.is_anomaly) == (None, None)
        assert (verdict.degraded, verdict.action) == (Degraded.TIMED_OUT, action)
        assert verdict.not_inspected[0].reason == "deadline"
        assert service.metrics.to_dict()["degraded"] == {"timed_out": 1}
        runtime.gate.set()
        assert (await service.check_request_async("GET", "/?q=%27y")).is_anomaly


async def test_the_services_own_timeouts_hold_without_a_callers_deadline() -> None:
    for change in ({"timeout": 0.02}, {"inference": {"async": {"max_workers": 1, "timeout": 0.02}}}):
        runtime = SmallRuntime()
        runtime.gate.clear()
        async with service_over(runtime, **change) as service:
            verdict = await service.check_request_async("GET", "/?q=%27x", deadline_s=60)
            assert verdict.degraded is Degraded.TIMED_OUT
            runtime.gate.set()


async def test_expired_and_cancelled_work_never_reaches_the_model() -> None:
    runtime = SmallRuntime()
    runtime.gate.clear()
    async with service_over(runtime) as service:
        blocker = asyncio.create_task(service.check_request_async("GET", "/?q=%27blocker"))
        await until(runtime.entered.is_set)
        late = await service.check_request_async("GET", "/?q=%27late", deadline_s=0.01)
        gone = asyncio.create_task(service.check_request_async("GET", "/?q=%27gone"))
        await asyncio.sleep(0.001)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        runtime.gate.set()
        assert (await blocker).is_anomaly
        assert late.degraded is Degraded.TIMED_OUT
        assert (await service.check_request_async("GET", "/?q=%27after")).is_anomaly
    assert runtime.rows == 2


async def test_a_full_queue_refuses_at_once_and_recovers() -> None:
    runtime = SmallRuntime()
    runtime.gate.clear()
    async with service_over(runtime, inference={"queue": {"max_size": 2}, "async": {"max_workers": 1}}) as service:
        first = asyncio.create_task(service.check_request_async("GET", "/?q=%27a"))
        await until(runtime.entered.is_set)
        waiting = [asyncio.create_task(service.check_request_async("GET", f"/?q=%27{i}")) for i in range(2)]
        await asyncio.sleep(0.001)
        with pytest.raises(Overloaded):
            await service.check_request_async("GET", "/?q=%27d")
        with pytest.raises(Overloaded):
            await service.check_batch_async([{"method": "GET", "path": "/?q=%27e"}])
        mixed = await service.check_batch_async([{"method": "GET", "path": "/"}, {"method": "GET", "path": "/?q=%27f"}])
        assert [verdict.degraded for verdict in mixed] == [None, Degraded.OVERLOADED]
        runtime.gate.set()
        assert all(verdict.is_anomaly for verdict in await asyncio.gather(first, *waiting))
        assert (await service.check_request_async("GET", "/?q=%27g")).is_anomaly
        assert service.metrics.to_dict()["requests"]["by_outcome"]["overloaded"] == 1


async def test_one_poisonous_request_fails_alone() -> None:
    runtime = SmallRuntime()
    runtime.poison = runtime.ids_with("`")
    async with service_over(runtime) as service:
        texts = ["'a", "`b", "'c", "'d"]
        verdicts = await asyncio.gather(
            *(service.check_request_async("GET", "/", query_params={"q": text}) for text in texts)
        )
    assert [verdict.degraded for verdict in verdicts] == [None, Degraded.MODEL_FAILED, None, None]
    assert [verdict.is_anomaly for verdict in verdicts] == [True, None, True, True]


async def test_a_large_body_is_parsed_off_the_loop_and_judged_the_same() -> None:
    body = f"pad={'A' * 100_000}&id={quote(XSS)}"
    async with service_over(SmallRuntime()) as service:
        verdict = await service.check_request_async(
            "POST", "/", headers={"Content-Type": "application/x-www-form-urlencoded"}, body=body
        )
    assert verdict.is_anomaly
    assert verdict.findings[0].name == "id"


async def test_a_heavy_request_leaves_room_for_others_between_its_slices() -> None:
    runtime = SmallRuntime()
    words = " ".join(f"it's {chr(97 + i % 26)}{chr(97 + i // 26 % 26)}{chr(97 + i // 676)} ;" for i in range(9000))
    async with service_over(runtime, timeout=60, inference={"async": {"max_workers": 1, "timeout": 60}}) as service:
        heavy = asyncio.create_task(service.check_request_async("POST", "/", body=f"q={quote(words)}"))
        await until(lambda: runtime.rows > 0)
        assert (await service.check_request_async("GET", "/?q=%27x")).is_anomaly
        assert not heavy.done()
        assert (await heavy).is_anomaly


async def test_a_heavy_request_is_cut_at_its_deadline_and_says_what_was_left() -> None:
    runtime = SmallRuntime()
    runtime.weights[:] = 0
    engine = small_engine(runtime)
    seen: list[Slice] = []
    infer = engine.infer

    def watched(batch: list[Slice]) -> None:
        seen.extend(batch)
        infer(batch)

    def let_time_run_out() -> None:
        for piece in seen:
            piece.until = 0.0

    engine.infer = watched  # type: ignore[assignment,method-assign]
    runtime.after_run = let_time_run_out
    words = " ".join(f"it's {chr(97 + i % 26)}{chr(97 + i // 26 % 26)}{chr(97 + i // 676)} ;" for i in range(9000))
    async with service_over(runtime, timeout=60, inference={"async": {"max_workers": 1, "timeout": 60}}) as service:
        service.swap(engine)
        verdict = await service.check_request_async("POST", "/", body=f"q={quote(words)}")
    assert verdict.degraded is Degraded.PARTIALLY_INSPECTED
    assert verdict.is_anomaly is False
    assert {item.reason for item in verdict.not_inspected} == {"deadline"}
    assert len(runtime.shapes) == len(seen)  # one run of each slice, and none after its time


async def test_close_finishes_what_is_under_way_and_refuses_what_comes() -> None:
    runtime = SmallRuntime()
    runtime.gate.clear()
    service = service_over(runtime)
    await service.start()
    waiting = [asyncio.create_task(service.check_request_async("GET", f"/?q=%27{i}")) for i in range(5)]
    await until(runtime.entered.is_set)
    closing = asyncio.create_task(service.close())
    await asyncio.sleep(0)
    with pytest.raises(NotReady):
        await service.check_request_async("GET", "/")
    runtime.gate.set()
    await closing
    assert all(verdict.is_anomaly for verdict in await asyncio.gather(*waiting))
    with pytest.raises(NotReady):
        await service.check_request_async("GET", "/")
    await service.close()


async def test_close_with_a_stuck_model_ends_with_named_failures() -> None:
    runtime = SmallRuntime()
    runtime.gate.clear()
    service = service_over(runtime, drain_timeout=0.05)
    await service.start()
    stuck = asyncio.create_task(service.check_request_async("GET", "/?q=%27"))
    await until(runtime.entered.is_set)
    await service.close()
    with pytest.raises(NotReady):
        await stuck
    runtime.gate.set()


async def test_a_closed_service_can_be_started_again() -> None:
    service = service_over(SmallRuntime())
    await service.start()
    await service.start()
    await service.close()
    await service.start()
    assert (await service.check_request_async("GET", "/?q=%27")).is_anomaly
    await service.close()


async def test_a_swapped_model_answers_the_next_request_and_not_those_under_way() -> None:
    old, new = SmallRuntime(), SmallRuntime()
    old.gate.clear()
    async with service_over(old) as service:
        under_way = asyncio.create_task(service.check_request_async("GET", "/?q=%27"))
        await until(old.entered.is_set)
        engine = small_engine(new)
        engine.model_version = "small-2"
        assert service.swap(engine) is not None
        later = asyncio.create_task(service.check_request_async("GET", "/?q=%27"))
        await asyncio.sleep(0.001)
        old.gate.set()
        assert (await under_way).model_version == "small-1"
        assert (await later).model_version == service.model_version == "small-2"


async def test_anomalies_are_logged_without_secrets(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    service = service_over(SmallRuntime(), event_log={"enabled": True, "path": str(path)})
    async with service:
        await service.check_request_async("GET", "/?q=plain")
        await service.check_request_async(
            "GET", "/shop", query_params={"q": XSS}, headers={"Cookie": f"sid=topsecret{XSS}"}, client_ip="192.0.2.9"
        )
    (line,) = path.read_text().splitlines()
    event = json.loads(line)
    assert (event["client"], event["path"], event["class"]) == ("192.0.2.9", "/shop", "xss")
    assert "topsecret" not in line


@pytest.mark.parametrize("deadline_s", [0, -1, float("nan"), "soon"])
async def test_bad_deadlines_are_refused(deadline_s: float) -> None:
    async with service_over(SmallRuntime()) as service:
        with pytest.raises(RequestError):
            await service.check_request_async("GET", "/", deadline_s=deadline_s)


@pytest.mark.parametrize(
    ("bad", "key"),
    [
        ({"threshold": 2.0}, "waf_service.threshold"),
        ({"timeout": 0}, "waf_service.timeout"),
        ({"max_workers": 0}, "inference.async.max_workers"),
        ({"batch_size": 0}, "inference.async.batch_size"),
        ({"device": "abacus"}, "inference.device"),
    ],
)
def test_bad_arguments_are_refused_by_name(bad: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        AsyncWAFService(**bad)  # type: ignore[arg-type]
    assert refusal.value.key == key


def test_arguments_override_settings() -> None:
    base = Settings.model_validate({"waf_service": {"timeout": 0.5, "mode": "monitor"}, "inference": {"device": "cpu"}})
    merged = AsyncWAFService(settings=base, timeout=2.0, batch_size=7, threshold=0.25).settings
    assert (merged.waf_service.timeout, merged.inference.async_.timeout) == (2.0, 2.0)
    assert (merged.inference.async_.batch_size, merged.waf_service.threshold) == (7, 0.25)
    assert (merged.waf_service.mode, merged.inference.device) == ("monitor", "cpu")


async def test_a_missing_model_is_told_at_the_start(tmp_path: Path) -> None:
    from vedette.errors import BundleError

    with pytest.raises(BundleError):
        await AsyncWAFService(model_path=tmp_path / "nothing.onnx").start()
