"""Servers under measurement: pinned to a core of their own, waited for, and their CPU time read to the nanosecond."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ALL_CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
SERVER_CORES, CLIENT_CORES = (ALL_CORES[:1], ALL_CORES[1:]) if len(ALL_CORES) > 1 else (ALL_CORES, ALL_CORES)
_READY_S = 60.0

VEDETTE = (sys.executable, "-c", "from vedette.cli.app import main; main()")
"""The command line of the package that this program imports, whatever `vedette` is first on the path."""

QUIET = {
    "VEDETTE_INFERENCE__RATE_LIMITING__ENABLED": "false",
    "VEDETTE_WAF_SERVICE__EVENT_LOG__ENABLED": "false",
}
"""Settings under which the service is measured: no limit in the way of the load, no log of attacks."""


def pinning() -> str:
    """How the cores are shared out, for a report's conditions."""
    if SERVER_CORES == CLIENT_CORES:
        return "one core for everything: latencies say nothing"
    return f"service on core {SERVER_CORES[0]}, client on {', '.join(map(str, CLIENT_CORES))}"


def cpu_s(pid: int) -> float:
    """User and system seconds of a process and its living descendants, all their threads, ended ones too.

    Read from the processes' own CPU clocks (clock_getcpuclockid(3)), which count nanoseconds, not ticks.
    """
    return sum(time.clock_gettime((~one << 3) | 2) for one in _tree(pid))


def _tree(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += _tree(int(child))
    return found


def free_port() -> int:
    """A port on which nobody listens now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextlib.contextmanager
def server(
    command: Sequence[str], *, cores: Sequence[int], environment: Mapping[str, str] | None = None
) -> Iterator[int]:
    """Run `command` on `cores` and yield its process id; it is told to end afterwards. This process keeps its cores."""
    if sys.platform != "linux":
        raise SystemExit("servers are measured by Linux's clocks: this benchmark runs on Linux alone")
    own = os.sched_getaffinity(0) if ALL_CORES else set()
    if cores:
        os.sched_setaffinity(0, cores)  # inherited, so that no thread of the server starts elsewhere
    try:
        process = subprocess.Popen(
            command, env={**os.environ, **(environment or {})}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    finally:
        if cores:
            os.sched_setaffinity(0, own)
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def vedette_service(*flags: str, environment: Mapping[str, str] | None = None) -> Iterator[tuple[int, int]]:
    """Run `vedette serve` on the server's core, this process on the client's; yield process id and port."""
    port = free_port()
    command = [*VEDETTE, "serve", "--port", str(port), *flags]
    with server(command, cores=SERVER_CORES, environment={**QUIET, **(environment or {})}) as pid:
        if CLIENT_CORES:
            os.sched_setaffinity(0, CLIENT_CORES)
        try:
            wait_until_answered(port, "/ready", pid)
            yield pid, port
        finally:
            if ALL_CORES:
                os.sched_setaffinity(0, ALL_CORES)


def wait_until_answered(port: int, path: str, pid: int) -> None:
    """Wait until `GET path` gives 200; end the program where the server ends first or does not get there."""
    until = time.monotonic() + _READY_S
    while time.monotonic() < until:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            raise SystemExit("the server under measurement ended at its start")
        time.sleep(0.1)
    raise SystemExit(f"the server under measurement was not ready within {_READY_S:.0f} s")
