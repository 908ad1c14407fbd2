"""The synchronous service: the same verdicts as the asynchronous one, from any thread."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.inference.small_model import SmallRuntime, small_engine
from vedette.config import Settings
from vedette.errors import NotReady, RequestError
from vedette.http_request import HTTPRequest
from vedette.integration.waf_service import WAFService
from vedette.verdict import Action, Degraded

XSS = "<script>alert(1)</script>"


def service_over(runtime: SmallRuntime, **waf: object) -> WAFService:
    waf = {"event_log": {"enabled": False}, "threshold": 0.5, **waf}
    service = WAFService(settings=Settings.model_validate({"waf_service": waf}))
    service.swap(small_engine(runtime, **waf))
    return service


def test_verdicts() -> None:
    with service_over(SmallRuntime()) as service:
        benign = service.check_request(method="GET", path="/", query_params={"id": "1"}, headers={}, body=None)
        attack = service.check_request("POST", "/", body={"a": XSS}, client_ip="192.0.2.1")
        assert (benign.action, benign.is_anomaly) == (Action.ALLOW, False)
        assert (attack.action, attack.attack_class) == (Action.BLOCK, "xss")
        assert service.metrics.to_dict()["requests"]["total"] == 2


def test_a_batch_in_order_and_refused_whole() -> None:
    service = service_over(SmallRuntime())
    items = [{"method": "GET", "path": "/"}, HTTPRequest("GET", f"/?q={quote(XSS)}")]
    assert [verdict.is_anomaly for verdict in service.check_batch(items * 5)] == [False, True] * 5
    with pytest.raises(RequestError) as refusal:
        service.check_batch([*items, {"path": "/"}])
    assert refusal.value.field == "requests[2].method"


def test_many_threads_share_it() -> None:
    with service_over(SmallRuntime()) as service, ThreadPoolExecutor(8) as pool:
        paths = [f"/?q={quote(f'<b{i}>' if i % 2 else f'v;{i};w')}" for i in range(400)]
        verdicts = list(pool.map(lambda path: service.check_request("GET", path), paths))
        assert [verdict.is_anomaly for verdict in verdicts] == [bool(i % 2) for i in range(400)]
        assert service.metrics.to_dict()["requests"]["total"] == 400


def test_failures_are_verdicts() -> None:
    runtime = SmallRuntime()
    runtime.poison = runtime.ids_with("`")
    service = service_over(runtime, fail_mode="closed")
    verdict = service.check_request("GET", "/", query_params={"q": "`"})
    assert (verdict.degraded, verdict.action, verdict.anomaly_score) == (Degraded.MODEL_FAILED, Action.BLOCK, None)
    late = service.check_request("GET", "/", query_params={"q": "'never seen"}, deadline_s=1e-9)
    assert late.degraded is Degraded.TIMED_OUT


def test_events_and_close(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    service = service_over(SmallRuntime(), event_log={"enabled": True, "path": str(path)})
    with service:
        service.check_request("GET", "/", query_params={"q": XSS})
    assert json.loads(path.read_text())["class"] == "xss"
    with pytest.raises(NotReady):
        service.check_request("GET", "/")
    service.start()
    assert service.check_request("GET", "/").is_anomaly is False
    service.close()
