"""The load generator: wrk with `replay.lua`, which sends prepared requests once each and times every answer.

wrk itself runs by time and reports quantiles "corrected" for what it thinks it did not send; here each of its threads
holds one connection, so that the script can pair each answer with its request and note its latency and status.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

SCRIPT = Path(__file__).with_name("replay.lua")
_POLL_S = 0.01


class Answer(NamedTuple):
    """What came back: microseconds from sending to the whole answer, status (0: none), whether its body says block."""

    latency_us: float
    status: int
    blocked: bool


def require_wrk() -> None:
    """End the program where wrk is missing."""
    if shutil.which("wrk") is None:
        raise SystemExit("this benchmark sends its requests with wrk: scripts/bench_deps.sh installs it")


def replay(port: int, messages: Sequence[bytes], *, connections: int = 4, timeout_s: float = 300.0) -> list[Answer]:
    """Send each of `messages`, whole HTTP/1.1 requests, once to `port`; return their answers in order.

    Message i goes over connection i modulo `connections`; each connection sends its next one when it has an answer.
    """
    require_wrk()
    connections = max(1, min(connections, len(messages)))
    shares = [messages[number::connections] for number in range(connections)]
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as folder:
        base = Path(folder) / "share"
        for number, share in enumerate(shares):
            with Path(f"{base}.{number}").open("wb") as file:
                for message in share:
                    file.write(b"%d\n" % len(message) + message)
        done = [Path(f"{base}.{number}.answers") for number in range(connections)]
        _run(port, base, done, timeout_s)
        answers = [[_answer(line) for line in path.read_text().splitlines()] for path in done]
    merged = [answers[index % connections][index // connections] for index in range(len(messages))]
    if not any(answer.status for answer in merged):
        raise SystemExit(f"nothing answers on port {port}")
    return merged


def _run(port: int, base: Path, done: Sequence[Path], timeout_s: float) -> None:
    """Run wrk until all of `done` are there."""
    count = str(len(done))
    command = ["wrk", "-t", count, "-c", count, "-d", f"{int(timeout_s) + 60}s", "--timeout", "60s", "-s", str(SCRIPT)]
    wrk = subprocess.Popen(
        [*command, f"http://127.0.0.1:{port}/", "--", str(base)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
    )
    until = time.monotonic() + timeout_s
    try:
        while not all(path.exists() for path in done):
            if wrk.poll() is not None:
                raise SystemExit(f"wrk ended early: {wrk.stdout.read() if wrk.stdout else ''}")
            if time.monotonic() > until:
                raise SystemExit(f"wrk was not done within {timeout_s:.0f} s")
            time.sleep(_POLL_S)
    finally:
        wrk.send_signal(signal.SIGINT)  # it sleeps for its duration, whatever its threads do
        try:
            wrk.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            wrk.kill()
            wrk.communicate()


def _answer(line: str) -> Answer:
    latency, status, blocked = line.split()
    return Answer(float(latency), int(status), blocked == "1")


def statuses(answers: Sequence[Answer]) -> dict[str, int]:
    """How often each status came; "none" where a connection ended without an answer."""
    counts = Counter(answer.status for answer in answers)
    return {str(status) if status else "none": count for status, count in sorted(counts.items())}
