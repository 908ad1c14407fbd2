"""The running service against its own OpenAPI document: generated calls, answers held to the stated shapes."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

# Not the pytest integration of schemathesis: its 4.32 does not run under pytest 9.2.


@pytest.mark.parametrize(("path", "method"), [("/check", "POST"), ("/check/batch", "POST"), ("/health", "GET")])
def test_generated_calls(client, path, method):
    document = schemathesis.openapi.from_url(f"http://127.0.0.1:{client.port}/openapi.json")
    operation = document[path][method]

    @given(case=operation.as_strategy())
    @settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def call(case):
        case.call_and_validate()

    call()


@pytest.mark.parametrize("path", ["/check", "/check/batch"])
def test_generated_nonsense(client, path):
    document = schemathesis.openapi.from_url(f"http://127.0.0.1:{client.port}/openapi.json")
    operation = document[path]["POST"]

    @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE))
    @settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def call(case):
        case.call_and_validate()

    call()
