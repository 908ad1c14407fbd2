"""Logs that real servers write of hostile requests, read back byte for byte; and curl commands against curl itself.

Needs nginx, apache2 and curl; what is missing is skipped with its name, and in CI a failure.
"""

from __future__ import annotations

import random
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.parsing.cases_of import load_cases
from tests.system.programs import free_port, needs
from vedette.http_request import HTTPRequest
from vedette.ingestion.sources import RequestSource
from vedette.parsing.curl_command import parse_curl
from vedette.parsing.raw_message import parse_raw_message
from vedette.parsing.wire_text import to_bytes

pytestmark = pytest.mark.system

PARTS = '$msec $remote_addr $request_method $scheme://$host$request_uri $status "$http_user_agent" "$cookie_sid"'
OWN = '%a %{%Y-%m-%d %H:%M:%S %z}t "%r" %>s "%{User-Agent}i" "%{sid}C"'
NGINX = """daemon off; pid ROOT/pid; error_log ROOT/error.log; events {}
http {
  log_format main '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '
                  '"$http_referer" "$http_user_agent" "$http_x_forwarded_for"';
  log_format json escape=json '{"time":"$time_iso8601","remote_addr":"$remote_addr","request":"$request",'
                              '"status":$status,"http_user_agent":"$http_user_agent"}';
  log_format parts 'PARTS';
  access_log ROOT/combined.log combined; access_log ROOT/main.log main;
  access_log ROOT/json.log json; access_log ROOT/parts.log parts;
  server { listen 127.0.0.1:PORT; root ROOT; }
}"""
APACHE = r"""LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
ServerRoot ROOT
PidFile ROOT/pid
ServerName localhost
Listen 127.0.0.1:PORT
HttpProtocolOptions Unsafe
DocumentRoot ROOT
ErrorLog ROOT/error.log
LogFormat "%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-Agent}i\"" combined
LogFormat "OWN" own
CustomLog ROOT/combined.log combined
CustomLog ROOT/own.log own
"""
SERVERS = {
    "nginx": (
        NGINX,
        ["nginx", "-p", "ROOT", "-c"],
        {"combined": "auto", "main": "auto", "json": "auto", "parts": PARTS},
    ),
    "apache2": (APACHE, ["apache2", "-X", "-f"], {"combined": "auto", "own": OWN}),
}


@contextmanager
def running(name: str, root: Path) -> Iterator[int]:
    """Run a server that logs into `root`; yields its port."""
    config, command, _ = SERVERS[name]
    port = free_port()
    root.chmod(0o777)
    for parent in list(root.parents)[:3]:  # workers that give up root must still reach their files
        parent.chmod(parent.stat().st_mode | 0o011)
    text = config.replace("PORT", str(port)).replace("PARTS", PARTS).replace("OWN", OWN.replace('"', '\\"'))
    (root / "server.conf").write_text(text.replace("ROOT", str(root)))
    words = [word.replace("ROOT", str(root)) for word in command]
    process = subprocess.Popen([*words, str(root / "server.conf")], stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        else:
            pytest.fail(f"{name} does not listen")
        yield port
    finally:
        process.terminate()
        process.wait(20)


def hostile_requests() -> list[tuple[bytes, bytes]]:
    """Targets and user agents full of what logs escape."""
    signs = [b'"', b"\\", b"[", b"]", b"x", b"\xff", b"\xc3\xa9", b"\\x", b"n", b"{", b"}", b"'", b"-", b"%22"]
    draw = random.Random(3)
    return [
        (
            b"/r%d?" % i + b"".join(draw.choice(signs) for _ in range(8)),
            b"u" + b"".join(draw.choice([*signs, b" ", b"] ", b"\t"]) for _ in range(10)) + b"z",
        )
        for i in range(200)
    ]


def send(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(data)
        return b"".join(iter(lambda: connection.recv(4096), b""))


@pytest.mark.parametrize("name", SERVERS)
def test_what_a_server_logged_is_read_as_it_was_sent(name: str, tmp_path: Path) -> None:
    needs(name)
    requests = hostile_requests()
    with running(name, tmp_path) as port:
        for target, agent in requests:
            head = b"GET %s HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: %s\r\nConnection: close\r\n\r\n"
            assert send(port, head % (target, agent)).startswith(b"HTTP/1.1")
        send(port, b"\x16\x03\x01\x02\x00\r\n\r\n")
    for log, format in SERVERS[name][2].items():
        entries = {}
        for reading in RequestSource(tmp_path / f"{log}.log", format=format):
            if reading.entry is not None:
                assert reading.entry.time is not None
                assert reading.entry.request.client_ip == "127.0.0.1"
                request = reading.entry.request
                entries[to_bytes(request.target)] = to_bytes(request.header("User-Agent") or "")
        assert [entries.get(target) for target, _ in requests] == [agent for _, agent in requests], log


class Catcher:
    """Takes one request after the other and answers each with 200."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.caught: list[bytes] = []
        Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._server.accept()
            with connection:
                data = b""
                while not self._whole(data):
                    data += connection.recv(65536)
                self.caught.append(data)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    @staticmethod
    def _whole(data: bytes) -> bool:
        head, end, body = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        return bool(end) and len(body) >= int(length[1] if length else 0)


def comparable(request: HTTPRequest) -> tuple[str, str, bytes, list[tuple[str, str]]]:
    """Without what differs by version or by chance: curl's own name, the boundary of a form, and lengths with it."""
    boundary = re.compile(r"-{24}\w+")
    form = any("multipart" in value for _, value in request.headers)
    headers = [
        (name.lower(), boundary.sub("-", value))
        for name, value in request.headers
        if not value.startswith("curl/") and not (form and name.lower() == "content-length")
    ]
    return request.method, request.target, re.sub(rb"-{24}\w+", b"-", request.body), sorted(headers)


# Not for a POSIX shell, or split by it before curl sees them.
ELSEWHERE = ("cmd.exe quoting", "unquoted ampersand", "a pipe ends the command", "prompt and path")


@pytest.fixture(scope="module")
def catcher() -> Catcher:
    return Catcher()


@pytest.mark.parametrize(
    "case",
    [case for case in load_cases("curl_commands") if "error" not in case and case["name"] not in ELSEWHERE],
    ids=lambda case: case["name"],
)
def test_a_command_is_read_as_curl_reads_it(case: dict[str, Any], catcher: Catcher) -> None:
    needs("curl")
    command = case["command"].replace("https://shop", "http://shop").replace("\r\n", "\n")
    options = f'curl --noproxy "*" --path-as-is -g --connect-to ::127.0.0.1:{catcher.port} -s -m 20 '
    done = subprocess.run(["bash", "-c", command.replace("curl ", options, 1)], capture_output=True, check=False)
    assert catcher.caught, done.stderr
    assert comparable(parse_curl(command)) == comparable(parse_raw_message(catcher.caught.pop()))
