#!/usr/bin/env python3
"""What does one `POST /check` cost the service, in CPU time, everything included?

    python benchmarks/http_check.py [FILE...] [--requests 2000] [--passes 4] [--json]

Starts `vedette serve` on a free port, sends each request once a pass over keep-alive connections, and divides the user
and system time of the service's processes by the requests. The first pass meets an empty score memory; in the later
ones each request is sent again. Requests are drawn from FILEs (anything that `vedette scan` reads), else made up.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
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
    parser.add_argument("--passes", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    bodies = [payload(request) for request in draw(options.files, options.requests, options.seed)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    service = start(port)
    try:
        costs, statuses = [], {}
        for _ in range(options.passes):
            before = cpu_s(service.pid)
            statuses = send(port, bodies)
            costs.append((cpu_s(service.pid) - before) / len(bodies) * 1e6)
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait(30)
    later = costs[1:] or costs
    report = {
        "machine": f"{processor()}, {os.cpu_count()} cores",
        "requests": len(bodies),
        "statuses": statuses,
        "first_pass_us": round(costs[0]),
        "later_passes_us": round(statistics.median(later)),
        "later_passes_spread_us": [round(min(later)), round(max(later))],
    }
    if options.json:
        print(json.dumps(report))
        return
    print("\n".join(f"{name:24} {value}" for name, value in report.items()))


if __name__ == "__main__":
    main()
