"""`vedette bench`: what a request costs on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vedette.cli.common import (
    ConfigOption,
    InferenceConfigOption,
    JsonOption,
    ModelOption,
    console,
    print_json,
    settings_for,
)


def bench(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE", help="Requests to measure with.", show_default="made-up browsing traffic"),
    ] = None,
    requests: Annotated[int, typer.Option("--requests", metavar="N", min=1, help="Requests of each pass.")] = 2000,
    rounds: Annotated[int, typer.Option("--rounds", metavar="N", min=1, help="Repetitions; the median counts.")] = 5,
    concurrency: Annotated[
        int, typer.Option("--concurrency", metavar="N", min=1, help="Callers at once of the service.")
    ] = 200,
    model: ModelOption = None,
    config: ConfigOption = None,
    inference_config: InferenceConfigOption = None,
    json_output: JsonOption = False,
) -> None:
    """Measure CPU time per request, and throughput and latency under concurrent callers.

    Files are read as by vedette scan, to their end; requests are drawn from all of them. Prints machine, versions,
    parameters and spread. The programs in benchmarks/ measure the service over HTTP and each part alone.
    """
    from dataclasses import asdict

    from vedette.errors import MalformedInput
    from vedette.evaluation.cost import conditions, engine_cost, service_load
    from vedette.evaluation.traffic import browsing, drawn
    from vedette.inference.engine import load_engine

    settings = settings_for(config=config, inference_config=inference_config, model=model)
    if files:
        from vedette.cli.request_files import requests_of

        traffic = drawn(requests_of(files), 2 * requests)
    else:
        traffic = browsing(2 * requests)
    if not traffic:
        raise MalformedInput("the files hold no request that can be read")
    engine = load_engine(settings)
    about = conditions(engine, traffic, "from files" if files else "made-up browsing traffic")
    costs = engine_cost(engine, settings, traffic, rounds=rounds)
    load = service_load(settings, traffic[: costs[0].requests], concurrency=concurrency)
    if json_output:
        print_json({"conditions": about, "engine": [asdict(cost) for cost in costs], "service": asdict(load)})
    else:
        from vedette.cli.render_bench import render_bench

        render_bench(console(), about, costs, load)
