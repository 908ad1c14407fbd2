"""What a verdict looks like, without colours: everything must be readable in plain text."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from vedette.cli.render_verdict import BAR_CELLS, bar, marked, render_verdict
from vedette.verdict import Action, Degraded, Finding, NotInspected, Verdict

EXCERPT = "1' UNION SELECT password FROM users--"
FINDING = Finding(
    location="query",
    name="id",
    attack_class="sqli",
    score=0.9987,
    span=(1, 22),
    excerpt=EXCERPT,
    decoded_by=("percent", "plus"),
)


def verdict(**changes: object) -> Verdict:
    values: dict[str, object] = {
        "request_id": "r-1",
        "action": Action.BLOCK,
        "anomaly_score": 0.9987,
        "is_anomaly": True,
        "threshold": 0.5,
        "attack_class": "sqli",
        "findings": (FINDING,),
        "not_inspected": (),
        "degraded": None,
        "model_version": "m-1",
        "processing_time_ms": 1.26,
    }
    return Verdict(**(values | changes))  # type: ignore[arg-type]


def rendered(given: Verdict, spans: dict[int, str] | None = None, width: int = 100) -> str:
    out = io.StringIO()
    render_verdict(Console(file=out, width=width, highlight=False), given, spans)
    return out.getvalue()


def test_an_anomaly() -> None:
    lines = rendered(verdict(), {0: "' UNION SELECT passwo"}).splitlines()
    assert lines[0] == ' BLOCK   sqli  in query "id"'
    assert lines[1].startswith("score  ████")
    assert lines[1].endswith("0.999   threshold 0.500")
    assert lines[3] == '1. query "id"  sqli 0.999   decoded by percent, plus'
    assert lines[4:6] == ["   " + EXCERPT, "    " + "~" * 21]
    assert lines[-1] == "model m-1 · 1.3 ms · request r-1"


def test_a_harmless_request() -> None:
    clean = verdict(action=Action.ALLOW, anomaly_score=0.01, is_anomaly=False, attack_class=None, findings=())
    assert " ALLOW   no attack found" in rendered(clean)


def test_no_verdict_and_parts_not_inspected_are_said() -> None:
    parts = (NotInspected(location="body", name="", reason="max_body_bytes"),)
    late = verdict(
        action=Action.ALLOW,
        anomaly_score=None,
        is_anomaly=None,
        attack_class=None,
        findings=(),
        not_inspected=parts,
        degraded=Degraded.TIMED_OUT,
    )
    text = rendered(late)
    assert "no verdict was reached  degraded: timed_out" in text
    assert "score  none" in text
    assert "not inspected: body (max_body_bytes)" in text


@pytest.mark.parametrize(("score", "cells"), [(0, 0), (0.5, 20), (1, 40), (2, 40), (-1, 0)])
def test_bar(score: float, cells: int) -> None:
    assert bar(score) == "█" * cells + "·" * (BAR_CELLS - cells)


def test_bar_has_one_width() -> None:
    assert {len(bar(n / 1000)) for n in range(1001)} == {BAR_CELLS}


def test_what_an_attacker_sent_cannot_steer_the_terminal_or_the_markup() -> None:
    hostile = Finding(
        location="query",
        name="\x1b]0;x\x07[red]",
        attack_class="xss",
        score=1,
        span=(0, 1),
        excerpt="\x1b[2J[bold]\n\u202e",
    )
    text = rendered(verdict(findings=(hostile,)), {0: "\x1b"})
    assert "\x1b" not in text
    assert "\\x1b]0;x\\x07[red]" in text
    assert "\\x1b[2J[bold]\\n\\u202e" in text
    assert "~~~~" in text


def test_a_long_excerpt_is_wrapped_with_its_marks() -> None:
    lines = [line.plain for line in marked("a" * 25 + "日本語" + "b" * 10, "日本語", width=20)]
    assert lines == ["a" * 20, "a" * 5 + "日本語" + "b" * 9, " " * 5 + "~" * 6, "b"]


def test_an_excerpt_without_its_span_is_shown_unmarked() -> None:
    assert [line.plain for line in marked("[masked]", "secret", width=40)] == ["[masked]"]
    assert [line.plain for line in marked("", "", width=40)] == [""]
