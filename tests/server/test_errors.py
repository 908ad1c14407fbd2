"""One shape for every error, whatever text it was made from."""

from __future__ import annotations

import json

import pytest

from vedette.errors import (
    DeadlineExceeded,
    InferenceFailed,
    NotReady,
    Overloaded,
    PayloadTooLarge,
    RequestError,
    ServiceError,
)
from vedette.server.errors import CODES, ApiError, from_status, from_vedette


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (RequestError("is required", field="path"), 422, "invalid_request"),
        (PayloadTooLarge("too much"), 413, "payload_too_large"),
        (Overloaded("full", retry_after_s=2.1), 503, "overloaded"),
        (NotReady("draining"), 503, "not_ready"),
        (DeadlineExceeded("late"), 503, "timed_out"),
        (InferenceFailed("broken"), 503, "model_failed"),
        (ServiceError("odd"), 503, "model_failed"),
    ],
)
def test_errors_of_the_rooms_below(error, status, code):
    answer = from_vedette(error)
    assert (answer.status, answer.code) == (status, code)
    retry = dict(answer.headers()).get(b"retry-after")
    assert (retry is not None) == (status == 503)


@pytest.mark.parametrize(("seconds", "header"), [(0.0, b"1"), (0.4, b"1"), (1.0, b"1"), (1.001, b"2"), (2.1, b"3")])
def test_retry_after_is_rounded_up(seconds, header):
    assert dict(ApiError("rate_limited", "", retry_after_s=seconds).headers())[b"retry-after"] == header


@pytest.mark.parametrize("text", ["plain", "\ud800", "\udcff\x00", '"quoted"\n'])
def test_any_text_gives_json_of_the_one_shape(text):
    answer = json.loads(ApiError("invalid_request", text, field=text).body("an-id"))
    assert set(answer) == {"error"}
    assert set(answer["error"]) == {"code", "message", "field", "request_id"}
    assert answer["error"]["request_id"] == "an-id"


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "not_found"), (405, "method_not_allowed"), (400, "invalid_request"), (500, "internal_error")],
)
def test_answers_of_the_router(status, code):
    answer = from_status(status, [("Allow", "GET")])
    assert (answer.status, answer.code, answer.extra_headers) == (status, code, ((b"allow", b"GET"),))
    assert code in CODES
