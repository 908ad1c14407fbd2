"""Vedette on Ray Serve: the same application, in replicas that Ray places and scales.

    serve run deploy.ray_serve:app        or        python deploy/ray_serve.py [PORT]

Each replica is what one `vedette serve` is: `create_app` over an `AsyncWAFService`, with its bounded queue, its batches
by token budget and its deadlines. So there is no `@serve.batch` here: its batches count requests, while the cost lies
in the windows of text that the model reads, and three requests in four need no model at all. Ray's proxy speaks HTTP
and hands the call on as ASGI.

Settings come from the environment and from files in the working directory, as for `vedette serve`; host, port and
workers are Ray's business. Replicas share no rate limits unless Redis keeps them.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from fastapi import FastAPI
from ray import serve

from vedette.config_loader import load_settings
from vedette.server.app import create_app
from vedette.server.log_setup import configure_logging

# Calls in flight per replica. Beyond the target another replica is asked for; beyond the maximum the proxy holds calls
# back, and beyond what may wait it refuses them with 503. The service's own queue (1,024) stays the inner bound.
TARGET_CALLS, MAX_CALLS, MAX_WAITING = 16, 256, 1024


def application() -> FastAPI:
    """Return the application of one replica; called there, since an event loop and a model cannot be sent."""
    configure_logging(terminal=False)
    return create_app(load_settings(None, None, os.environ, {"waf_service.workers": 1}))


@serve.deployment(
    name="vedette",
    ray_actor_options={"num_cpus": 1},
    max_ongoing_requests=MAX_CALLS,
    max_queued_requests=MAX_WAITING,
    autoscaling_config={
        "min_replicas": 1,
        "max_replicas": 8,
        "target_ongoing_requests": TARGET_CALLS,
        "upscale_delay_s": 5,
        "downscale_delay_s": 300,
    },
    graceful_shutdown_timeout_s=20,  # longer than waf_service.drain_timeout
    logging_config={"enable_access_log": False},  # a line for each call; GET /metrics counts them
)
@serve.ingress(application)
class Vedette:
    """One replica."""


app = Vedette.bind()


def main() -> None:
    """Serve on 127.0.0.1 until Ctrl-C."""
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    with suppress(KeyboardInterrupt):
        serve.run(app, name="vedette", route_prefix="/", blocking=True)


if __name__ == "__main__":
    main()
