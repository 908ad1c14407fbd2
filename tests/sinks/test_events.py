"""The event log: whole JSON lines, no secrets, no waiting, and no way for a disk to take the service down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from vedette.http_request import HTTPRequest
from vedette.sinks.events import EventLog
from vedette.verdict import Action, Finding, Verdict

REQUEST = HTTPRequest("GET", "/shop/item?password=hunter2&id=1'--", (("Cookie", "sid=topsecret"),), b"", "192.0.2.1")


def verdict(*, is_anomaly: bool | None = True, request_id: str = "r1", excerpt: str = "1'--") -> Verdict:
    finding = Finding(location="query", name="id", attack_class="sqli", score=0.97, span=(0, 4), excerpt=excerpt)
    return Verdict(
        request_id=request_id,
        action=Action.BLOCK if is_anomaly else Action.ALLOW,
        anomaly_score=0.97,
        is_anomaly=is_anomaly,
        threshold=0.5,
        attack_class="sqli" if is_anomaly else None,
        findings=(finding,) if is_anomaly else (),
        not_inspected=(),
        degraded=None,
        model_version="m1",
        processing_time_ms=1.0,
    )


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_one_line_with_everything_and_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(str(path))
    log.record(REQUEST, verdict())
    log.record(REQUEST, verdict(is_anomaly=False))
    log.record(REQUEST, verdict(is_anomaly=None))
    log.close()
    (event,) = lines(path)
    assert {"id": "r1", "client": "192.0.2.1", "method": "GET", "path": "/shop/item", "class": "sqli"}.items() <= (
        event.items()
    )
    assert event["score"] == 0.97
    assert str(event["time"]).endswith("Z")
    assert event["findings"]
    assert "hunter2" not in path.read_text()
    assert "topsecret" not in path.read_text()
    assert path.stat().st_mode & 0o007 == 0
    assert (log.written, log.dropped) == (1, 0)


def test_secrets_and_bytes_in_the_path(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(str(path))
    log.record(HTTPRequest("GET", "/x/4111111111111111/\udcff"), verdict())
    log.close()
    assert lines(path)[0]["path"] == "/x/[masked]/\ufffd"


def test_close_writes_everything_that_waits(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(str(path))
    for i in range(1000):
        log.record(REQUEST, verdict(request_id=str(i)))
    log.close()
    assert [line["id"] for line in lines(path)] == [str(i) for i in range(1000)]
    log.record(REQUEST, verdict())
    assert log.dropped == 1


def test_rotation_by_rename_and_by_removal(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(str(path))
    log.record(REQUEST, verdict(request_id="a"))
    until(lambda: log.written == 1)
    path.rename(tmp_path / "events.jsonl.1")
    log.record(REQUEST, verdict(request_id="b"))
    until(lambda: log.written == 2)
    path.unlink()
    log.record(REQUEST, verdict(request_id="c"))
    log.close()
    assert [line["id"] for line in lines(tmp_path / "events.jsonl.1")] == ["a"]
    assert [line["id"] for line in lines(path)] == ["c"]


def test_a_full_disk_costs_events_and_nothing_else() -> None:
    log = EventLog("/dev/full")
    for _ in range(5):
        log.record(REQUEST, verdict())
    log.close()
    assert (log.written, log.dropped) == (0, 5)


def test_a_missing_directory_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "later" / "events.jsonl"
    log = EventLog(str(path))
    log.record(REQUEST, verdict(request_id="lost"))
    until(lambda: log.dropped == 1)
    path.parent.mkdir()
    log.record(REQUEST, verdict(request_id="kept"))
    log.close()
    assert [line["id"] for line in lines(path)] == ["kept"]


def test_a_reader_that_hangs_never_makes_the_caller_wait(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    log = EventLog(str(fifo), max_backlog=8)  # opening a FIFO without a reader blocks the writer thread
    done = threading.Event()

    def caller() -> None:
        for _ in range(2000):
            log.record(REQUEST, verdict())
        done.set()

    threading.Thread(target=caller, daemon=True).start()
    assert done.wait(20)
    assert log.dropped >= 2000 - 8 - 256
    log.close(timeout_s=0.01)


def test_a_large_body_is_not_kept_in_the_backlog(tmp_path: Path) -> None:
    log = EventLog(str(tmp_path / "events.jsonl"))
    big = HTTPRequest("POST", "/" + "a" * 100_000, (), b"x" * 1_000_000)
    log.record(big, verdict())
    log.close()
    assert len((tmp_path / "events.jsonl").read_bytes()) < 4000


def test_standard_output_is_the_default_place() -> None:
    code = "from tests.sinks.test_events import *\nlog = EventLog()\nlog.record(REQUEST, verdict())\nlog.close()\n"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": f"{root / 'src'}:{root}"},
        timeout=60,
    )
    assert json.loads(done.stdout)["id"] == "r1"
