"""nginx with ModSecurity and the OWASP Core Rule Set from Debian's packages, before a tiny application.

    client -> nginx, one worker on the core of the service under measurement -> application, nginx on the client's core

One nginx listens on two ports, with the rules and without. The application exists because ModSecurity reads bodies only
of requests that go further than a `return`. Where the settings differ from those of the packages, rules get cheaper:
neither audit log nor error log is written, response bodies are not inspected, bodies stay in memory.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.shared.process import CLIENT_CORES, SERVER_CORES, free_port, server, wait_until_answered

MODULE = Path("/usr/lib/nginx/modules/ngx_http_modsecurity_module.so")
SETTINGS = Path("/etc/nginx/modsecurity.conf")
RULES = Path("/usr/share/modsecurity-crs/rules")
SETUP = Path("/etc/modsecurity/crs/crs-setup.conf")
PACKAGES = ("nginx-core", "nginx-light", "libnginx-mod-http-modsecurity", "libmodsecurity3", "modsecurity-crs")

_MODSECURITY = f"""Include {SETTINGS}
SecRuleEngine On
SecAuditEngine Off
SecResponseBodyAccess Off
SecStatusEngine Off
Include {SETUP}
Include {RULES}/*.conf
"""
_HEAD = """daemon off;
pid PREFIX/pid;
worker_processes 1;
error_log /dev/null crit;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path PREFIX/body;
  proxy_temp_path PREFIX/proxy;
  fastcgi_temp_path PREFIX/fastcgi;
  uwsgi_temp_path PREFIX/uwsgi;
  scgi_temp_path PREFIX/scgi;
  keepalive_requests 10000000;
  client_max_body_size 16m;
  client_body_buffer_size 1m;
  large_client_header_buffers 8 64k;
"""
_APPLICATION = """  server { listen 127.0.0.1:APPLICATION; location / { return 200 "ok\\n"; } }
}
"""
_FRONT = """  upstream application { server 127.0.0.1:APPLICATION; keepalive 64; keepalive_requests 10000000; }
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  server {
    listen 127.0.0.1:GUARDED;
    modsecurity on;
    modsecurity_rules_file PREFIX/modsecurity.conf;
    location / { proxy_pass http://application; }
  }
  server { listen 127.0.0.1:ALONE; location / { proxy_pass http://application; } }
}
"""


class Nginx(NamedTuple):
    """Process id of the nginx under measurement, its port with the rules and its port without."""

    pid: int
    guarded: int
    alone: int


def what_is_missing() -> str | None:
    """What of nginx, ModSecurity and the rules is not installed; None where all is."""
    missing = [str(path) for path in (MODULE, SETTINGS, SETUP, RULES) if not path.exists()]
    if program() is None:
        missing.insert(0, "nginx")
    return ", ".join(missing) or None


def program() -> str | None:
    """Where nginx is; it lies in a folder that is not on everybody's path."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


def versions() -> dict[str, str]:
    """Debian's versions of what is installed."""
    found = {}
    for package in PACKAGES:
        asked = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True, check=False
        )
        if asked.returncode == 0 and asked.stdout:
            found[package] = asked.stdout
    return found


@contextlib.contextmanager
def nginx_with_rules() -> Iterator[Nginx]:
    """Run the application and the nginx before it; yield where the latter is reached."""
    names = {"APPLICATION": free_port(), "GUARDED": free_port(), "ALONE": free_port()}
    with tempfile.TemporaryDirectory(prefix="vedette-nginx-") as folder, contextlib.ExitStack() as running:
        home = Path(folder)
        (home / "application").mkdir()
        (home / "front").mkdir()
        if os.geteuid() == 0:  # a worker that gave up root must still reach its folders
            for path in (home, home / "application", home / "front"):
                path.chmod(0o777)
        modules = f"load_module {MODULE};\n"
        application = _start(running, home / "application", _HEAD + _APPLICATION, names, CLIENT_CORES)
        wait_until_answered(names["APPLICATION"], "/", application)
        (home / "front" / "modsecurity.conf").write_text(_MODSECURITY)
        front = _start(running, home / "front", modules + _HEAD + _FRONT, names, SERVER_CORES)
        wait_until_answered(names["ALONE"], "/", front)
        yield Nginx(front, names["GUARDED"], names["ALONE"])


def _start(running: contextlib.ExitStack, home: Path, text: str, ports: dict[str, int], cores: list[int]) -> int:
    for name, port in ports.items():
        text = text.replace(name, str(port))
    config = home / "nginx.conf"
    config.write_text(text.replace("PREFIX", str(home)))
    command = [program() or "nginx", "-p", str(home), "-e", "/dev/null", "-c", str(config)]
    tried = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    if tried.returncode:
        raise SystemExit(f"nginx does not take its configuration: {tried.stderr}{tried.stdout}")
    return running.enter_context(server(command, cores=cores))
