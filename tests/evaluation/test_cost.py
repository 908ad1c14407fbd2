"""What `vedette bench` counts: which requests a round meets, and that no figure is made up."""

from __future__ import annotations

from tests.inference.small_model import SmallRuntime, small_bundle
from vedette.config import Settings
from vedette.evaluation.cost import engine_cost
from vedette.http_request import HTTPRequest
from vedette.inference.engine import Engine

REQUESTS = [HTTPRequest("GET", f"/?q={'%27' * (number % 2)}{number}") for number in range(9)]


def test_halves_are_cold_and_fresh_and_the_second_comes_again() -> None:
    settings = Settings()
    costs = engine_cost(Engine(small_bundle(), SmallRuntime(), settings), settings, REQUESTS, rounds=3, batch=2)
    assert [cost.name for cost in costs] == ["cold", "fresh", "warm", "batch"]
    assert [cost.requests for cost in costs] == [5, 4, 4, 4]
    assert [cost.anomalies for cost in costs] == [2, 2, 2, 2]
    for cost in costs:
        assert cost.rounds == 3
        assert 0 < cost.lowest_us <= cost.cpu_us <= cost.highest_us
    for cost in costs[:3]:
        assert cost.p50_us is not None
        assert cost.p99_us is not None
        assert cost.max_us is not None
        assert 0 < cost.p50_us <= cost.p99_us <= cost.max_us
    assert costs[3].p50_us is None


def test_one_request_is_never_fresh() -> None:
    settings = Settings()
    engine = Engine(small_bundle(), SmallRuntime(), settings)
    costs = engine_cost(engine, settings, REQUESTS[:1], rounds=1)
    assert [cost.name for cost in costs] == ["cold", "warm"]
