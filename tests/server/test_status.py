"""Health, readiness and metrics, and the documentation page that needs nobody else."""

from __future__ import annotations

import re

import httpx
import pytest

from vedette import __version__
from vedette.config import Settings
from vedette.server.app import create_app
from vedette.server.status import prefers_json


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_state(client, path):
    answer = client.get(path)
    assert answer.status == 200
    assert answer.json["version"] == __version__
    assert answer.json["model_version"] == client.check("/").json["model_version"]


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics"])
def test_head_is_answered_like_get(client, path):
    answer = client.call("HEAD", path)
    assert (answer.status, answer.data) == (200, b"")


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics", "/docs", "/openapi.json"])
def test_other_verbs_are_405(client, path):
    answer = client.call("POST", path, b"")
    assert (answer.status, answer.error["code"]) == (405, "method_not_allowed")
    assert "GET" in answer.headers["allow"]


async def test_ready_is_503_before_the_start_and_health_is_not():
    transport = httpx.ASGITransport(create_app(Settings()))  # which does not run the lifespan
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.get("/ready")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_ready")
        assert int(answer.headers["retry-after"]) >= 1
        assert (await client.get("/health")).status_code == 200


def test_metrics_as_text(client):
    client.check("/")
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    text = answer.data.decode()
    for name in (
        "vedette_requests_total", "vedette_anomalies_total", "vedette_degraded_total", "vedette_request_seconds",
        "vedette_queue_wait_seconds", "vedette_batch_size", "vedette_score_memory_hits_total",
        "vedette_event_loop_lag_seconds",
    ):  # fmt: skip
        assert f"# TYPE {name.removesuffix('_total')}" in text
    assert re.search(r"^vedette_event_loop_lag_seconds_count [1-9]", text, re.M)


def test_metrics_as_json(client):
    answer = client.get("/metrics", Accept="application/json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json


@pytest.mark.parametrize(
    ("accept", "json"),
    [
        ("application/json", True),
        ("", False),
        ("*/*", False),
        ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", False),
        ("text/plain;q=0.5, application/json", True),
        ("application/json;q=0.2, text/plain;q=0.9", False),
        ("application/json;q=x, text/plain;q=0", False),
        ("APPLICATION/JSON ; charset=utf-8", True),
        ("application/json;q=0", False),
    ],
)
def test_prefers_json(accept, json):
    assert prefers_json(accept) is json


def test_documentation_page_loads_nothing_from_elsewhere(client):
    page = client.get("/docs")
    assert page.status == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    links = re.findall(r'(?:src|href)="([^"]+)"', page.data.decode())
    assert len(links) == 4
    for link in links:
        assert not re.match(r"[a-z]+:|//|/", link)
        assert client.get(f"/{link}").status == 200
