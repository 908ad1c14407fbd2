"""`vedette serve`: the service, until a signal ends it."""

from __future__ import annotations

from typing import Annotated

import typer

from vedette.cli.common import ConfigOption, InferenceConfigOption, ModelOption, ThresholdOption


def serve(
    host: Annotated[
        str | None, typer.Option("--host", metavar="ADDRESS", help="Address to listen on.", show_default="127.0.0.1")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", metavar="PORT", min=0, max=65535, help="TCP port; 0 takes a free one.", show_default="8000"
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", min=1, max=256, help="Service processes.", show_default="1")
    ] = None,
    model: ModelOption = None,
    threshold: ThresholdOption = None,
    config: ConfigOption = None,
    inference_config: InferenceConfigOption = None,
) -> None:
    """Run the service: POST /check, /check/batch, GET /metrics, /health, /ready.

    Model, vocabulary, settings and port are checked before it listens. SIGTERM or Ctrl-C stops it once the requests in
    flight are answered. Flags beat environment (VEDETTE_WAF_SERVICE__PORT=...) beats files; docs/configuration.md.
    """
    from vedette.server.run import start

    status = start(
        config=config,
        inference_config=inference_config,
        flags={
            "waf_service.host": host,
            "waf_service.port": port,
            "waf_service.workers": workers,
            "waf_service.model_path": model and str(model),
            "waf_service.threshold": threshold,
        },
    )
    raise typer.Exit(status)
