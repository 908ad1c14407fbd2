"""Run an application on a real socket, in a thread, for as long as a test needs it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

from vedette.config import Settings
from vedette.server.run import Server, server_config


@contextlib.contextmanager
def running(app, settings=None):
    """Yield the port on which `app` is served by our own server configuration."""
    bound = socket.create_server(("127.0.0.1", 0))
    server = Server(server_config(settings or Settings(), app))
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
