"""Reports: a hostile log stays text, the page loads and runs nothing, and numbers come through."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.sinks.report import render_html, render_json, shown
from vedette.sinks.report_chart import duration, timeline
from vedette.sinks.scan_summary import Counted, ScannedSource, ScanSummary, TimeBin, Unreadable, WorstFinding

HOSTILE = "</title></style><script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u202e\x00\x1b[31m\udcff&lt;"
ALLOWED_TAGS = set(
    "html head meta title style body main header h1 h2 p section div span strong small svg text line rect table thead "
    "tbody tr th td code br article pre mark dl dt dd".split()
)
ALLOWED_ATTRIBUTES = set(
    "lang charset http-equiv content name class viewbox role aria-label aria-hidden x y x1 x2 y1 y2 width height rx "
    "text-anchor preserveaspectratio".split()
)


def summary(text: str, **changes: object) -> ScanSummary:
    """A summary with `text` in every place that a log can write to."""
    counted = (Counted(text, 7, 2, 0.99, ("xss",)), Counted("b", 3))
    found = WorstFinding(
        source=text, line=3, time=1.7e9, client=text, method=text, host=text, path=text, status=200, user_agent=text,
        score=0.98, attack_class="xss", location="query", name=text, excerpt=text, mark=(2, min(9, len(text))),
        decoded_by=("percent",), seen=4,
    )  # fmt: skip
    plain = ScanSummary(
        sources=(ScannedSource(text, text, 10, 9, text),),
        model_version="m-1", threshold=0.5, lines=10, requests=9, anomalies=7, attackers=2, not_judged=1,
        partly_inspected=1, unreadable_lines=1, other_lines=0, elapsed_s=1.5,
        unreadable=(Unreadable(text, 1, (text,)),),
        requests_per_s=6.0, first_time=1.7e9, last_time=1.7e9 + 600, bin_s=60.0,
        bins=(TimeBin(1.7e9, 5, 4), TimeBin(1.7e9 + 600, 4, 3)),
        classes=counted, clients=counted, paths=counted, statuses=counted, worst=(found,),
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


class Reader(HTMLParser):
    """Collects the tags, the attributes and the text of a page as a browser sees them."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def test_nothing_from_a_log_becomes_markup() -> None:
    page = Reader(render_html(summary(HOSTILE), title=HOSTILE))
    assert page.tags <= ALLOWED_TAGS
    assert page.attributes <= ALLOWED_ATTRIBUTES
    assert page.text.count("<script>alert(1)</script>") >= 10
    assert "\\u202e\\x00\\x1b[31m" in page.text


@settings(max_examples=150, deadline=None)
@given(
    text=st.lists(
        st.sampled_from(["<", ">", '"', "'", "&", "script", "--", "]]>", "\\", "{", "\u2028"])
        | st.characters(codec=None, exclude_categories=()),
        max_size=20,
    ).map("".join)
)
def test_any_text_stays_text(text: str) -> None:
    page = render_html(summary(text))
    page.encode("utf-8")
    reader = Reader(page)
    assert reader.tags <= ALLOWED_TAGS
    assert reader.attributes <= ALLOWED_ATTRIBUTES


def test_the_page_forbids_itself_scripts_and_loads() -> None:
    page = render_html(summary("x"))
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert policy is not None
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy[1] == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    assert not re.search(r"https?://", page)
    assert "prefers-color-scheme: dark" in style[1]


def test_json_holds_the_summary() -> None:
    text = render_json(summary(HOSTILE))
    assert text.isascii()
    assert json.loads(text) == summary(HOSTILE).to_dict()


def test_an_empty_scan_has_a_report() -> None:
    empty = summary("x", requests=0, anomalies=0, attackers=0, bins=(), classes=(), clients=(), paths=(), statuses=(),
                    worst=(), unreadable=(), first_time=None, last_time=None)  # fmt: skip
    page = render_html(empty)
    assert "No attack was found." in page
    assert "<svg" not in page


def test_a_wrong_clock_does_not_squeeze_the_timeline() -> None:
    bins = (TimeBin(0.0, 1, 0), *(TimeBin(1.7e9 + 60 * i, 100, 1) for i in range(300)))
    line = timeline(bins, 60.0)
    assert line is not None
    assert (line.start, line.outside) == (1.7e9, 1)
    assert (sum(line.requests), sum(line.anomalies)) == (30_000, 300)
    assert len(line.requests) <= 120


def test_durations_read_well() -> None:
    assert [duration(seconds) for seconds in (60.0, 5400.0, 7200.0, 86_400.0, 172_800.0, 0.5)] == [
        "1 min", "90 min", "2 h", "day", "2 days", "0.5 s",
    ]  # fmt: skip


def test_shown_keeps_plain_text_of_any_script() -> None:
    assert shown("größe 日本 emoji 🙂") == "größe 日本 emoji 🙂"
