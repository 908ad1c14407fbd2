#!/usr/bin/env python3
"""What does one `POST /check` cost the service, in CPU time, everything included?

    python benchmarks/http_check.py [FILE...] [--requests 2000] [--passes 6] [--json]

Starts `vedette serve` on a free port, sends requests over keep-alive connections in passes, and divides the user and
system time of the service's processes by the requests. Every request is drawn from FILEs (anything that `vedette scan`
reads; else made up) and sent once: the first pass meets an empty memory ("cold"), the later ones bring requests never
sent before, of the same sites ("fresh"). A last pass sends the last requests once more ("repeated").
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import random
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path

from vedette.cli.request_files import requests_of
from vedette.evaluation.cost import processor
from vedette.evaluation.traffic import browsing
from vedette.http_request import HTTPRequest

CONNECTIONS = 4


def payload(request: HTTPRequest) -> bytes:
    """The JSON body of `POST /check` for `request`."""
    check: dict[str, object] = {
        "method": request.method,
        "path": request.target,
        "headers": [list(pair) for pair in request.headers],
    }
    if request.body:
        check["body_base64"] = b64encode(request.body).decode()
    return json.dumps(check).encode()


def cpu_s(pid: int) -> float:
    """User and system seconds of a process and of its children that are still alive."""
    ticks = 0
    for one in (pid, *children(pid)):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """Process ids of the direct children of `pid`."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return found


def send(port: int, bodies: Sequence[bytes]) -> dict[int, int]:
    """Send every body once over a few connections; return how often each status came."""
    statuses: dict[int, int] = {}
    lock = threading.Lock()

    def client(share: Sequence[bytes]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for body in share:
            connection.request("POST", "/check", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            response.read()
            with lock:
                statuses[response.status] = statuses.get(response.status, 0) + 1
        connection.close()

    threads = [threading.Thread(target=client, args=(bodies[i::CONNECTIONS],)) for i in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def start(port: int) -> subprocess.Popen[bytes]:
    """Start the service without rate limits and event log, and wait until it is ready."""
    environment = {
        **os.environ,
        "VEDETTE_INFERENCE__RATE_LIMITING__ENABLED": "false",
        "VEDETTE_WAF_SERVICE__EVENT_LOG__ENABLED": "false",
    }
    command = [str(Path(sys.executable).with_name("vedette")), "serve", "--port", str(port)]
    service = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    cores = cores_apart()
    if cores:
        os.sched_setaffinity(service.pid, cores[:1])
        os.sched_setaffinity(0, cores[1:])
    for _ in range(600):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/ready")
            if connection.getresponse().status == 200:
                return service
        except OSError:
            pass
        if service.poll() is not None:
            raise SystemExit(f"the service ended with status {service.returncode}")
        time.sleep(0.1)
    raise SystemExit("the service did not become ready")


def cores_apart() -> list[int]:
    """The cores that may be used, the service's first; none where they cannot be told apart."""
    if not hasattr(os, "sched_setaffinity"):
        return []
    cores = sorted(os.sched_getaffinity(0))
    return cores if len(cores) > 1 else []


def draw(files: Sequence[str], count: int, seed: int) -> list[HTTPRequest]:
    """`count` requests drawn evenly from all of `files`, or made up."""
    if not files:
        return browsing(count)
    rng = random.Random(seed)
    kept: list[HTTPRequest] = []
    for seen, request in enumerate(requests_of(map(Path, files)), start=1):
        if len(kept) < count:
            kept.append(request)
        elif (place := rng.randrange(seen)) < count:
            kept[place] = request
    rng.shuffle(kept)
    return kept


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", metavar="FILE")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--passes", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    bodies = [payload(request) for request in draw(options.files, options.requests * options.passes, options.seed)]
    size = len(bodies) // options.passes
    passes = [bodies[start : start + size] for start in range(0, size * options.passes, size)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    service = start(port)
    try:
        costs: list[float] = []
        statuses: dict[int, int] = {}
        for part in [*passes, passes[-1]]:
            before = cpu_s(service.pid)
            for status, count in send(port, part).items():
                statuses[status] = statuses.get(status, 0) + count
            costs.append((cpu_s(service.pid) - before) / size * 1e6)
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait(30)
    fresh = costs[1:-1] or costs[:1]
    report = {
        "machine": f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "requests": f"{options.passes} passes of {size}",
        "statuses": statuses,
        "cold_us": round(costs[0]),
        "fresh_us": round(statistics.median(fresh)),
        "fresh_spread_us": [round(min(fresh)), round(max(fresh))],
        "repeated_us": round(costs[-1]),
    }
    if options.json:
        print(json.dumps(report))
        return
    print("\n".join(f"{name:16} {value}" for name, value in report.items()))


if __name__ == "__main__":
    main()
