"""The core: fields judged by their worst window, with the span, the mask, the bounds and the failures."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from tests.inference.small_model import SmallRuntime, small_engine
from tests.native_here import HAS_NATIVE
from vedette.config import Settings
from vedette.errors import InferenceFailed
from vedette.http_request import HTTPRequest
from vedette.inference.engine import load_engine, new_request_id
from vedette.inference.rows import Reading
from vedette.inference.runtime import ModelOutput
from vedette.verdict import Action, Degraded, Verdict

XSS = "<script>alert(1)</script>"
FORM = (("Content-Type", "application/x-www-form-urlencoded"),)


def get(query: str, *headers: tuple[str, str]) -> HTTPRequest:
    return HTTPRequest("GET", f"/search?{query}", headers)


def test_a_harmless_request_is_allowed_without_a_model_run() -> None:
    runtime = SmallRuntime()
    verdict = small_engine(runtime).check(get("id=123"))
    assert (verdict.action, verdict.is_anomaly, verdict.anomaly_score) == (Action.ALLOW, False, 0.0)
    assert verdict.degraded is None
    assert runtime.shapes == []


def test_an_attack_is_found_named_located_and_shown() -> None:
    verdict = small_engine().check(get(f"page=2&q=hello+there+{quote(XSS)}"))
    assert (verdict.action, verdict.is_anomaly, verdict.attack_class) == (Action.BLOCK, True, "xss")
    finding = verdict.findings[0]
    assert (finding.location, finding.name, finding.attack_class) == ("query", "q", "xss")
    assert finding.score == verdict.anomaly_score >= verdict.threshold
    value = f"hello there {XSS}"
    shown = value[finding.span[0] : finding.span[1]]
    assert shown.startswith("<")
    assert "hello" not in shown
    assert shown in finding.excerpt


def test_findings_are_one_for_each_field_worst_first_and_bounded() -> None:
    engine = small_engine(max_findings=2)
    verdict = engine.check(get(f"a=x'y&b={quote(XSS)}&b=1&c={quote(XSS + XSS)}"))
    assert [finding.name for finding in verdict.findings] == ["c", "b"]
    scores = [finding.score for finding in verdict.findings]
    assert scores == sorted(scores, reverse=True)
    assert verdict.anomaly_score == scores[0]


def test_harmless_fields_never_lower_the_score() -> None:
    engine = small_engine()
    alone = engine.check(get(f"q={quote(XSS)}")).anomaly_score
    many = "&".join(f"a{i}=value{i}" for i in range(200))
    assert engine.check(get(f"{many}&q={quote(XSS)}")).anomaly_score == alone


def test_monitor_mode_reports_and_does_not_block() -> None:
    assert small_engine(mode="monitor").check(get(f"q={quote(XSS)}")).action is Action.MONITOR


def test_a_value_seen_before_is_not_run_again() -> None:
    runtime = SmallRuntime()
    engine = small_engine(runtime)
    first = engine.check(get(f"q={quote(XSS)}"))
    runs = len(runtime.shapes)
    second = engine.check(get(f"q={quote(XSS)}"))
    assert len(runtime.shapes) == runs
    assert second.findings == first.findings
    assert second.request_id != first.request_id
    assert engine.memory.stats().hits >= 1


def test_what_the_model_reads_alike_is_remembered_alike_with_its_own_span() -> None:
    engine = small_engine()
    short, long = "order 10000000 <b", "order 10000000000000000000 <b"
    one, other = (engine.check(get(f"q={quote(text)}")).findings[0] for text in (short, long))
    assert one.score == other.score
    assert short[slice(*one.span)] == long[slice(*other.span)]


def test_equal_values_within_a_request_run_once() -> None:
    runtime = SmallRuntime()
    small_engine(runtime).check(get("&".join(f"q={quote(XSS)}" for _ in range(50))))
    assert runtime.rows == 1


def test_one_batch_runs_the_windows_of_many_requests_together() -> None:
    runtime = SmallRuntime()
    engine = small_engine(runtime)
    prepared = [engine.prepare(get(f"q={quote(f'<b{i}>')}")) for i in range(20)]
    engine.infer([piece for item in prepared for piece in item.slices(10_000)])
    assert len(runtime.shapes) == 1
    assert all(engine.judge(item).is_anomaly for item in prepared)


def test_rows_are_padded_to_few_shapes() -> None:
    runtime = SmallRuntime()
    engine = small_engine(runtime)
    for length in range(1, 60):
        engine.check(get(f"q={quote('<a ' * length)}"))
    assert {width % 16 for _, width in runtime.shapes} == {0}
    assert max(width for _, width in runtime.shapes) <= 64


@pytest.mark.parametrize("padding", ["lorem ipsum ", "A", "x=1; "])
def test_an_attack_behind_100_kb_of_padding_is_seen(padding: str) -> None:
    body = ("q=" + quote(padding * (100_000 // len(padding)) + XSS)).encode()
    verdict = small_engine().check(HTTPRequest("POST", "/", FORM, body))
    assert verdict.is_anomaly
    value = padding * (100_000 // len(padding)) + XSS
    assert value[slice(*verdict.findings[0].span)].startswith("<")


def test_secrets_are_masked_in_excerpts() -> None:
    verdict = small_engine().check(
        HTTPRequest("POST", "/", (*FORM, ("Cookie", f"sid=topsecret{XSS}"), ("Authorization", f"Bearer abc'{XSS}")),
                    f"password=hunter2{XSS}&q=token%3Dabcdef123+{quote(XSS)}".encode())
    )  # fmt: skip
    assert {finding.location for finding in verdict.findings} == {"cookie", "header", "form"}
    text = repr(verdict.findings)
    for secret in ("topsecret", "hunter2", "abc'", "abcdef123"):
        assert secret not in text
    assert any(XSS in finding.excerpt for finding in verdict.findings if finding.name == "q")


def test_bytes_that_are_no_text_come_back_printable() -> None:
    verdict = small_engine().check(HTTPRequest("POST", "/", FORM, b"q=\xff\xfe<script>&\xff%80'=1"))
    assert verdict.is_anomaly
    repr(verdict.to_dict()).encode()


def test_a_bound_hit_in_parsing_is_partial_never_clean() -> None:
    request = get("&".join(f"a{i}=1" for i in range(100)))
    limits = {"max_fields": 10}
    verdict = small_engine(inspection=limits).check(request)
    assert verdict.degraded is Degraded.PARTIALLY_INSPECTED
    assert (verdict.action, verdict.is_anomaly) == (Action.ALLOW, False)
    assert verdict.not_inspected
    assert small_engine(inspection=limits, on_partial="block").check(request).action is Action.BLOCK


def test_windows_beyond_the_bound_are_named_and_the_most_suspicious_are_read() -> None:
    runtime = SmallRuntime()
    engine = small_engine(runtime, inspection={"max_windows": 5})
    mild = "&".join(f"a{i}=it%27x+number+{chr(97 + i)}+and+{chr(98 + i)}" for i in range(20))
    verdict = engine.check(get(f"{mild}&z={quote('<<<>>>')}"))
    assert runtime.rows == 5
    assert verdict.degraded is Degraded.PARTIALLY_INSPECTED
    assert {item.reason for item in verdict.not_inspected} == {"max_windows"}
    assert verdict.findings[0].name == "z"


def test_the_list_of_what_was_not_read_is_bounded() -> None:
    engine = small_engine(inspection={"max_windows": 1})
    verdict = engine.check(get("&".join(f"a{i}=%27{chr(0x4E00 + i)}" for i in range(1000))))
    assert 200 < len(verdict.not_inspected) < 300
    assert "more" in verdict.not_inspected[-1].name


def test_a_deadline_cuts_between_runs_and_the_rest_is_named() -> None:
    runtime = SmallRuntime()
    engine = small_engine(runtime)
    words = " ".join(f"it'x{i}" for i in range(4000))
    request = HTTPRequest("POST", "/", FORM, f"q={quote(words)}".encode())
    prepared = engine.prepare(request)
    pieces = list(prepared.slices(10**9, until=time.monotonic() + 3600))

    def expire() -> None:
        pieces[0].until = 0.0

    runtime.after_run = expire
    runtime.weights[:] = 0
    engine.infer(pieces)
    assert len(runtime.shapes) == 1
    verdict = engine.judge(prepared)
    assert verdict.degraded is Degraded.PARTIALLY_INSPECTED
    assert verdict.is_anomaly is False
    assert {item.reason for item in verdict.not_inspected} == {"deadline"}


def test_work_that_expired_or_was_abandoned_never_reaches_the_model() -> None:
    runtime = SmallRuntime()
    engine = small_engine(runtime)
    late = engine.prepare(get("q=%27a"))
    engine.infer(list(late.slices(100, until=time.monotonic() - 1)))
    gone = engine.prepare(get("q=%27b"))
    gone.abandoned = True
    engine.infer(list(gone.slices(100)))
    assert runtime.shapes == []
    verdict = engine.judge(late)
    assert verdict.degraded is Degraded.TIMED_OUT
    assert (verdict.anomaly_score, verdict.is_anomaly, verdict.action) == (None, None, Action.ALLOW)


def test_fail_closed_blocks_what_could_not_be_judged() -> None:
    engine = small_engine(fail_mode="closed")
    prepared = engine.prepare(get("q=%27a"))
    assert engine.judge(prepared, Degraded.TIMED_OUT).action is Action.BLOCK
    assert engine.judge(prepared, Degraded.MODEL_FAILED).degraded is Degraded.MODEL_FAILED


def test_an_attack_that_was_read_counts_though_the_rest_was_not() -> None:
    engine = small_engine()
    engine.check(get(f"q={quote(XSS)}"))  # remembered from here on
    prepared = engine.prepare(get(f"q={quote(XSS)}&other=%27never+read"))
    verdict = engine.judge(prepared, Degraded.MODEL_FAILED)
    assert verdict.is_anomaly
    assert verdict.action is Action.BLOCK
    assert verdict.degraded is Degraded.PARTIALLY_INSPECTED


def test_a_failing_model_is_never_a_benign_score() -> None:
    runtime = SmallRuntime()
    runtime.poison = runtime.ids_with("`")
    verdict = small_engine(runtime).check(get("q=%60x"))
    assert verdict.degraded is Degraded.MODEL_FAILED
    assert (verdict.anomaly_score, verdict.is_anomaly) == (None, None)


@pytest.mark.parametrize(
    "output",
    [
        ModelOutput(np.full((1, 23), np.nan, np.float32), np.zeros((1, 16), np.float32)),
        ModelOutput(np.zeros((2, 23), np.float32), np.zeros((2, 16), np.float32)),
        ModelOutput(np.zeros((0, 23), np.float32), np.zeros((0, 16), np.float32)),
        ModelOutput(np.zeros((1, 2), np.float32), np.zeros((1, 16), np.float32)),
    ],
)
def test_output_that_is_no_score_is_a_failure(output: ModelOutput) -> None:
    runtime = SmallRuntime()
    runtime.broken_output = output
    engine = small_engine(runtime)
    prepared = engine.prepare(get("q=%27"))
    with pytest.raises(InferenceFailed):
        engine.infer(list(prepared.slices(100)))
    assert engine.memory.stats().entries == 0


def test_slices_share_out_every_pending_window_once() -> None:
    engine = small_engine()
    prepared = engine.prepare(get("&".join(f"a{i}=%27{chr(97 + i)}{'y' * (i % 7)}" for i in range(26))))
    pieces = list(prepared.slices(30))
    assert len(pieces) > 3
    assert [slot for piece in pieces for slot in piece.slots] == prepared.pending
    engine.infer(pieces)
    assert None not in prepared.answers


def test_the_budget_of_false_alarms_sets_the_threshold() -> None:
    strict = small_engine(threshold=None, false_positive_budget=100.0).threshold
    loose = small_engine(threshold=None, false_positive_budget=10_000.0).threshold
    assert strict > loose
    assert small_engine(threshold=0.9).threshold == 0.9


def test_request_ids_are_unique_and_sort_by_time() -> None:
    first = new_request_id()
    time.sleep(0.005)
    many = [new_request_id() for _ in range(1000)]
    assert len(set(many)) == 1000
    assert first < min(many)
    assert len(first) == 32


def test_a_given_request_id_stays() -> None:
    assert small_engine().check(get("a=1"), request_id="mine").request_id == "mine"


@pytest.mark.parametrize("step", ["take", "settle"])
@pytest.mark.parametrize("backend", ["runs", "reads"])
def test_a_verdict_in_the_middle_of_an_answer_misses_nothing(
    monkeypatch: pytest.MonkeyPatch, step: str, backend: str
) -> None:
    """The time may run out while a thread hands in its answers, between any two steps."""
    if backend == "reads" and not HAS_NATIVE:
        pytest.skip("the loops in C are not for this machine")
    engine = small_engine(fail_mode="closed") if backend == "runs" else load_engine(Settings())
    attack = "<script>alert('<<<')</script>" if backend == "runs" else "1' UNION SELECT login, password FROM users-- -"
    prepared = engine.prepare(HTTPRequest("GET", "/?q=" + quote(attack)))
    verdicts: list[Verdict] = []
    original = getattr(Reading, step)

    def in_between(self: Reading, *args: Any) -> Any:
        verdicts.append(engine.judge(prepared, Degraded.TIMED_OUT))
        result = original(self, *args)
        verdicts.append(engine.judge(prepared, Degraded.TIMED_OUT))
        return result

    monkeypatch.setattr(Reading, step, in_between)
    engine.infer(list(prepared.slices(4096)))
    assert len(verdicts) >= 2
    assert engine.judge(prepared).is_anomaly
    for verdict in verdicts:
        assert verdict.is_anomaly or verdict.degraded is Degraded.TIMED_OUT


def test_an_answer_that_comes_while_a_verdict_is_made_is_in_it_or_told_as_missing() -> None:
    engine = small_engine(fail_mode="closed")
    prepared = engine.prepare(HTTPRequest("GET", "/?q=" + quote("<script>alert('<<<')</script>")))

    class Answers(list[Any]):
        """Answers that a thread hands in once they have been read."""

        def __iter__(self) -> Any:
            yield from list(super().__iter__())
            engine.infer(list(prepared.slices(4096)))

    prepared.answers = Answers(prepared.answers)
    verdict = engine.judge(prepared, Degraded.TIMED_OUT)
    assert verdict.is_anomaly or verdict.degraded is Degraded.TIMED_OUT
    assert verdict.action is Action.BLOCK


def test_as_many_names_are_found_as_a_verdict_lists() -> None:
    engine = small_engine(max_findings=2)
    long = quote("<script>alert('<<<')</script>" * 400)
    request = HTTPRequest("GET", "/?" + "&".join([f"q={long}{number}" for number in range(4)] + [f"r={long}"]))
    assert {finding.name for finding in engine.check(request).findings} == {"q", "r"}


def test_a_field_that_is_surely_an_attack_is_not_read_to_its_end() -> None:
    runtime = SmallRuntime()
    engine = small_engine(runtime)
    request = HTTPRequest(
        "POST", "/", (("Content-Type", "text/plain"),), b"<script>alert('<<<')</script> it's; " * 3000
    )
    verdict = engine.check(request)
    assert verdict.is_anomaly
    assert (verdict.degraded, verdict.not_inspected) == (None, ())
    assert sum(rows * width for rows, width in runtime.shapes) < 40_000
