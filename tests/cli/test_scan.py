"""`vedette scan`: logs in, a summary out."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from vedette.cli.follow import FollowedLog
from vedette.cli.render_scan import render_summary, timeline, top_table
from vedette.sinks.scan_summary import Counted, ScanSummary, TimeBin, WorstFinding

pytestmark = pytest.mark.usefixtures("small_model")
Vedette = Callable[..., tuple[int, str, str]]

LINE = '192.0.2.{n} - - [12/Mar/2026:10:0{m}:01 +0000] "GET {target} HTTP/1.1" 200 512 "-" "Mozilla/5.0"\n'
LOG = (
    LINE.format(n=1, m=0, target="/index.html")
    + LINE.format(n=2, m=1, target="/item?id=1%27%27%20OR")
    + LINE.format(n=2, m=2, target="/item?id=2%27%27%20OR")
    + "garbage \x1b[2J\n"
    + LINE.format(n=3, m=5, target="/?q=%3Cb%3E%3Ci%3E")
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "access.log"
    path.write_text(LOG)
    return path


def test_the_summary(vedette: Vedette, log: Path) -> None:
    status, out, err = vedette("scan", str(log))
    assert (status, err) == (0, "")
    assert "3 anomalies in 4 requests (75.00%) from 2 clients" in out
    for piece in ("sqli", "xss", "192.0.2.2", "/item", "1'' OR", "lines that could not be read: 1", "2026-03-12"):
        assert piece in out
    assert "\x1b" not in out
    assert "garbage \\x1b[2J" in out


def test_json(vedette: Vedette, log: Path) -> None:
    summary = json.loads(vedette("scan", "--json", str(log))[1])
    assert (summary["requests"], summary["anomalies"], summary["unreadable_lines"]) == (4, 3, 1)
    assert summary["clients"][0]["key"] == "192.0.2.2"


def test_packed_files_together(vedette: Vedette, log: Path, tmp_path: Path) -> None:
    packed = tmp_path / "access.log.1.gz"
    packed.write_bytes(gzip.compress(LOG.encode()))
    assert "6 anomalies in 8 requests" in vedette("scan", str(log), str(packed))[1]


def test_html(vedette: Vedette, log: Path, tmp_path: Path) -> None:
    status, out, _ = vedette("scan", str(log), "--html", "report.html")
    assert status == 0
    assert "report: report.html" in out
    assert "192.0.2.2" in (tmp_path / "report.html").read_text()


def test_a_report_that_cannot_be_written_is_told_first(vedette: Vedette, log: Path) -> None:
    status, out, err = vedette("scan", str(log), "--html", "no/such/directory.html")
    assert (status, out) == (2, "")
    assert err == "vedette: no/such/directory.html: No such file or directory\n"


def test_exit_code(vedette: Vedette, log: Path) -> None:
    assert vedette("scan", "--exit-code", str(log))[0] == 1
    assert vedette("scan", "--exit-code", "--threshold", "1", str(log))[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.log",), "nowhere.log"),
        (("--format", "$nonsense{", "access.log"), "vedette: "),
        (("--follow", "access.log", "access.log"), "--follow takes one file"),
        (("--engine", "ray", "--follow", "access.log"), "--engine ray reads files that are whole"),
        (("--engine", "ray", "-"), "only a file can be read on other machines"),
        (("--engine", "ray", "--format", "$nonsense{", "access.log"), "vedette: "),
        (("--ray-address", "auto", "access.log"), "only --engine ray takes one"),
        (("--engine", "spark", "access.log"), "spark"),
        ((), "FILE"),
    ],
)
def test_bad_input(vedette: Vedette, log: Path, arguments: tuple[str, ...], message: str) -> None:
    status, _, err = vedette("scan", *arguments)
    assert status == 2
    assert message in err


def test_a_file_of_no_known_format_is_told(vedette: Vedette, tmp_path: Path) -> None:
    (tmp_path / "noise").write_text("nothing like a log\n" * 3)
    status, out, err = vedette("scan", "noise")
    assert status == 2
    assert "noise" in out + err


@pytest.mark.parametrize("command", ["scan", "evaluate"])
def test_without_ray_the_extra_is_named(
    vedette: Vedette, log: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not there, whoever installed it
    status, out, err = vedette(command, "--engine", "ray", str(log))
    assert (status, out, err) == (4, "", "vedette: --engine ray needs Ray: pip install 'vedette[ray]'\n")


def test_follow_ends_with_a_summary(vedette: Vedette, log: Path) -> None:
    def write_and_stop() -> None:
        time.sleep(0.5)
        with log.open("a") as file:
            file.write(LINE.format(n=9, m=7, target="/late?id=%27%27x"))
        time.sleep(1)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    writer = threading.Thread(target=write_and_stop)
    writer.start()
    status, out, _ = vedette("scan", "--follow", str(log))
    writer.join()
    assert status == 0
    assert "1 anomalies in 1 requests" in out
    assert out.count("/late") >= 2  # when it was seen, and in the summary
    assert signal.getsignal(signal.SIGINT) is before


def test_followed_log_has_no_size() -> None:
    assert FollowedLog(Path("x")).size is None


def summary(**changes: object) -> ScanSummary:
    values: dict[str, object] = {
        **dict.fromkeys(("lines", "requests", "anomalies", "attackers", "not_judged", "partly_inspected"), 0),
        **dict.fromkeys(("unreadable_lines", "other_lines", "elapsed_s", "requests_per_s", "threshold"), 0),
        **dict.fromkeys(("sources", "unreadable", "bins", "classes", "clients", "paths", "statuses", "worst"), ()),
        "model_version": "m",
        "first_time": None,
        "last_time": None,
        "bin_s": 60.0,
    }
    return ScanSummary(**(values | changes))  # type: ignore[arg-type]


def rendered(value: object) -> str:
    out = io.StringIO()
    console = Console(file=out, width=100, highlight=False)
    if isinstance(value, ScanSummary):
        render_summary(console, value)
    else:
        console.print(value)
    return out.getvalue()


def test_an_empty_scan() -> None:
    assert rendered(summary()).startswith("0 anomalies in 0 requests, 0 requests/s")


def test_what_was_not_read_is_said() -> None:
    text = rendered(summary(not_judged=2, partly_inspected=3))
    assert "2 requests got no verdict: the model failed" in text
    assert "3 requests were read only in part" in text


def test_counts_that_may_be_too_low_say_so() -> None:
    assert "5..7" in rendered(top_table("client", [Counted("192.0.2.1", 5, missed=2)]))


def test_timeline() -> None:
    bins = (TimeBin(0.0, 5, 1), TimeBin(120.0, 5, 8))
    assert timeline(summary(bins=bins), 10) == "▁ █"
    assert timeline(summary(bins=bins), 1) == "█"
    assert timeline(summary(), 10) == ""


def test_hostile_texts_of_a_log_are_shown_escaped() -> None:
    found = WorstFinding(
        source="a\x07.log",
        line=1,
        time=None,
        client="\x1b[31m",
        method="GET",
        host=None,
        path="/[red]\u202e",
        status=None,
        user_agent=None,
        score=1.0,
        attack_class="xss",
        location="query",
        name="\x9b",
        excerpt="\x1b<b>",
        mark=(0, 2),
        decoded_by=(),
    )
    text = rendered(summary(worst=(found,)))
    assert not set(text) & set("\x07\x1b\u202e\x9b")
    assert "/[red]\\u202e" in text
