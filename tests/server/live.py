"""Run an application on a real socket, in a thread or as the process that users start."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

from vedette.config import Settings
from vedette.server.run import Server, server_config

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "start_async_waf_service.py"


@contextlib.contextmanager
def running(app, settings=None, loop=None):
    """Yield the port on which `app` is served by our own server configuration; `loop` names another event loop."""
    bound = socket.create_server(("127.0.0.1", 0))
    server = Server(server_config(settings or Settings(), app))
    server.config.loop = loop or server.config.loop
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    server.capture_signals = contextlib.nullcontext  # signals belong to the main thread
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise RuntimeError("the server did not start")
            time.sleep(0.01)
        yield bound.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(30)


def exchange(port, data, *, then_close=True, timeout=30):
    """Send raw bytes and return everything that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as conn:
        conn.sendall(data)
        received = b""
        while chunk := conn.recv(65536):
            received += chunk
        return received


def environment(**more):
    """The environment without settings of the machine that runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VEDETTE_")}
    return {**kept, "PYTHONPATH": str(ROOT / "src"), **more}


class Process:
    """A service on a free port; its standard error is read as it comes."""

    def __init__(self, *arguments, cwd, **variables):
        command = [sys.executable, str(SCRIPT), "--port", "0", *arguments]
        self.process = subprocess.Popen(
            command, cwd=cwd, env=environment(**variables), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.lines = []
        self.ready = threading.Event()
        self.reader = threading.Thread(target=self._read)
        self.reader.start()
        assert self.ready.wait(120), self.lines
        address = next(line for line in self.lines if line.startswith("address: "))
        self.url = address.split()[1]

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line.rstrip())
            if line.startswith("workers: "):
                self.ready.set()
        self.ready.set()

    def get(self, path):
        for _ in range(300):  # the socket listens; the first answer may take until a worker has its model
            try:
                with urllib.request.urlopen(self.url + path, timeout=60) as answer:
                    return answer.status, answer.read()
            except ConnectionError:
                time.sleep(0.05)
        raise AssertionError(self.lines)

    def post(self, path, body):
        with urllib.request.urlopen(self.url + path, json.dumps(body).encode(), timeout=60) as answer:
            return answer.status, json.loads(answer.read())

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        status = self.process.wait(60)
        self.reader.join(60)
        self.process.stdout.close()
        self.process.stderr.close()
        return status

    def workers(self):
        """The process ids of the workers; the tracker of multiprocessing is none."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == self.process.pid and b"spawn_main" in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
        return sorted(found)

    def metrics(self):
        """The metrics of whichever worker answers, as JSON."""
        request = urllib.request.Request(self.url + "/metrics", headers={"Accept": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def end(self):
        """Leave nothing behind, however the test went."""
        if self.process.poll() is not None:
            return
        workers = self.workers()
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            for pid in (self.process.pid, *workers):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait(60)
