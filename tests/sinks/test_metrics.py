"""Metrics: the promised names, in both shapes, and true."""

from __future__ import annotations

import json

import pytest
from prometheus_client.parser import text_string_to_metric_families

from vedette.inference.score_memory import MemoryStats
from vedette.sinks.metrics import RING, Metrics
from vedette.verdict import Action, Degraded, Verdict


def verdict(
    *, action: Action = Action.ALLOW, attack_class: str | None = None, degraded: Degraded | None = None, ms: float = 1.0
) -> Verdict:
    return Verdict(
        request_id="r",
        action=action,
        anomaly_score=0.1,
        is_anomaly=attack_class is not None,
        threshold=0.5,
        attack_class=attack_class,
        findings=(),
        not_inspected=(),
        degraded=degraded,
        model_version="m",
        processing_time_ms=ms,
    )


def samples(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    families = text_string_to_metric_families(metrics.prometheus().decode())
    return {(s.name, tuple(s.labels.values())): s.value for family in families for s in family.samples}


@pytest.fixture
def metrics() -> Metrics:
    found = Metrics()
    for i in range(1, 101):
        found.record(verdict(ms=float(i)))
    found.record(verdict(action=Action.BLOCK, attack_class="sqli"))
    found.record(verdict(degraded=Degraded.TIMED_OUT))
    found.refused("overloaded", 3)
    found.limited(allowed=False, weight=7)
    found.on_queue_size(5)
    found.on_batch(2, 300, [0.001, 0.003])
    found.observe_event_loop_lag(0.002)
    found.watch_memory(lambda: MemoryStats(30, 10, 1, 4, 1680, 9999))
    found.watch_events(lambda: 2)
    found.set_model_version("m-1")
    return found


def test_prometheus_names_and_values(metrics: Metrics) -> None:
    seen = samples(metrics)
    assert seen["vedette_requests_total", ("allow",)] == 101
    assert seen["vedette_requests_total", ("block",)] == 1
    assert seen["vedette_requests_total", ("overloaded",)] == 3
    assert seen["vedette_anomalies_total", ("sqli",)] == 1
    assert seen["vedette_degraded_total", ("timed_out",)] == 1
    assert seen["vedette_request_seconds_count", ()] == 102
    assert seen["vedette_queue_wait_seconds_count", ()] == 2
    assert seen["vedette_batch_size_sum", ()] == 2
    assert seen["vedette_queue_size", ()] == 5
    assert seen["vedette_score_memory_hits_total", ()] == 30
    assert seen["vedette_score_memory_misses_total", ()] == 10
    assert seen["vedette_score_memory_bytes", ()] == 1680
    assert seen["vedette_event_loop_lag_seconds_count", ()] == 1
    assert seen["vedette_rate_limit_decisions_total", ("refused",)] == 7
    assert seen["vedette_events_dropped", ()] == 2
    assert any(name == "vedette_build_info" and "m-1" in labels for name, labels in seen)


def test_every_name_is_ours(metrics: Metrics) -> None:
    assert all(name.startswith("vedette_") for name, _ in samples(metrics))


def test_snapshot_says_the_same_in_json(metrics: Metrics) -> None:
    seen = json.loads(json.dumps(metrics.to_dict()))
    assert seen["requests"]["total"] == 102
    assert seen["requests"]["by_outcome"] == {"allow": 101, "block": 1, "overloaded": 3}
    assert seen["requests"]["per_second"] > 0
    assert seen["anomalies"] == {"total": 1, "by_class": {"sqli": 1}}
    assert seen["degraded"] == {"timed_out": 1}
    assert seen["processing_time_ms"]["p50"] == pytest.approx(50, abs=2)
    assert seen["processing_time_ms"]["p99"] == pytest.approx(99, abs=2)
    assert seen["processing_time_ms"]["max"] == pytest.approx(100)
    assert seen["queue"]["size"] == 5
    assert seen["queue"]["wait_ms"]["max"] == pytest.approx(3)
    assert seen["batch_size"]["max"] == 2
    assert seen["score_memory"]["hit_rate"] == 0.75
    assert seen["rate_limit"] == {"refused": 7}
    assert seen["events_dropped"] == 2


def test_an_idle_service_has_no_quantiles() -> None:
    seen = Metrics().to_dict()
    assert seen["processing_time_ms"] == {"p50": None, "p95": None, "p99": None, "max": None, "mean": None}
    assert seen["score_memory"]["hit_rate"] is None


def test_quantiles_follow_the_recent_and_stay_bounded() -> None:
    metrics = Metrics()
    for _ in range(RING):
        metrics.record(verdict(ms=1000.0))
    for _ in range(RING):
        metrics.record(verdict(ms=2.0))
    assert metrics.to_dict()["processing_time_ms"]["max"] == pytest.approx(2.0)


def test_two_services_do_not_add_up() -> None:
    first, second = Metrics(), Metrics()
    first.record(verdict())
    assert second.to_dict()["requests"]["total"] == 0


def test_a_new_memory_takes_the_place_of_the_old_and_no_counter_falls() -> None:
    metrics = Metrics()
    first, second = [MemoryStats(10, 0, 0, 7, 700, 9999)], [MemoryStats(2, 0, 0, 1, 100, 9999)]
    metrics.watch_memory(lambda: first[0])
    assert samples(metrics)["vedette_score_memory_hits_total", ()] == 10
    first[0] = MemoryStats(15, 0, 0, 7, 700, 9999)
    metrics.watch_memory(lambda: second[0])
    assert samples(metrics)["vedette_score_memory_hits_total", ()] == 15
    second[0] = MemoryStats(5, 0, 0, 2, 200, 9999)
    seen = samples(metrics)
    assert seen["vedette_score_memory_hits_total", ()] == 18
    assert seen["vedette_score_memory_bytes", ()] == 200


def test_an_unknown_label_counts_as_other() -> None:
    metrics = Metrics()
    assert ("vedette_requests_total", ("other",)) not in samples(metrics)
    metrics.refused("never heard of", 2)
    metrics.record(verdict(attack_class="unheard"))
    metrics.store_failed("odd")
    seen = samples(metrics)
    assert seen["vedette_requests_total", ("other",)] == 2
    assert seen["vedette_anomalies_total", ("other",)] == 1
    assert seen["vedette_rate_limit_store_failures_total", ("other",)] == 1


def test_buckets_are_those_of_prometheus() -> None:
    """Bounds belong to the bucket below; counts add up; values beyond the last bound count in +Inf."""
    metrics = Metrics()
    for ms in (0.1, 1.0, 1.1, 9999.0):
        metrics.record(verdict(ms=ms))
    seen = samples(metrics)
    name = "vedette_request_seconds_bucket"
    assert [seen[name, (le,)] for le in ("0.0001", "0.0005", "0.001", "0.0025", "2.5", "+Inf")] == [1, 1, 2, 3, 3, 4]
    assert seen["vedette_request_seconds_sum", ()] == pytest.approx(10.0012)


def test_a_process_tells_of_itself() -> None:
    seen = samples(Metrics())
    assert seen["vedette_workers", ()] == 1
    assert seen["vedette_process_cpu_seconds_total", ()] > 0
    assert seen["vedette_process_resident_memory_bytes", ()] > 1e6
