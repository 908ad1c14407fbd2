"""`vedette scan`: the attacks in access logs, HAR archives and JSON Lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vedette.cli.common import (
    ConfigOption,
    EngineKind,
    EngineOption,
    Exit,
    InferenceConfigOption,
    JsonOption,
    ModelOption,
    RayAddressOption,
    ThresholdOption,
    console,
    on_ray,
    print_json,
    settings_for,
)

if TYPE_CHECKING:
    from vedette.inference.scan import ScanProgress


def scan(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="Logs, HAR or JSON Lines, packed or not; - is standard input.")
    ],
    log_format: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="auto, combined, common, vhost_combined, json, caddy, alb, s3, w3c, cloudfront, har, jsonl, "
            "or a log_format or LogFormat string.",
        ),
    ] = "auto",
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a report as one HTML page.")
    ] = None,
    top: Annotated[int, typer.Option("--top", metavar="N", min=1, help="Length of the lists.")] = 10,
    client_header: Annotated[
        str | None,
        typer.Option("--client-header", metavar="NAME", help="Logged header whose last address is the client."),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Keep reading one growing log, across rotation; Ctrl-C ends it.")
    ] = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 1 if there is an anomaly.")] = False,
    engine: EngineOption = EngineKind.LOCAL,
    ray_address: RayAddressOption = None,
    model: ModelOption = None,
    threshold: ThresholdOption = None,
    config: ConfigOption = None,
    inference_config: InferenceConfigOption = None,
    json_output: JsonOption = False,
) -> None:
    """Judge every request in logs and sum up: attackers, classes, paths, the worst findings.

    The format is recognised; memory stays bounded whatever the size. Lines that cannot be read are counted and shown.
    With --engine ray, large plain files are read in parts on all nodes; the result is the same.
    """
    from vedette.inference.engine import load_engine
    from vedette.inference.scan import ScanOptions
    from vedette.inference.scan import scan as scan_sources
    from vedette.ingestion.sources import RequestSource

    if follow and len(files) != 1:
        raise typer.BadParameter("--follow takes one file", param_hint="FILE")
    with_ray = on_ray(engine, ray_address)
    if with_ray and follow:
        raise typer.BadParameter("--engine ray reads files that are whole", param_hint="--follow")
    if html is not None:
        html.open("a").close()  # a report that cannot be written is told before the reading, not after
    settings = settings_for(config=config, inference_config=inference_config, model=model, threshold=threshold)
    options = ScanOptions(top=top, client_header=client_header)
    if with_ray:
        from vedette.inference.scan_ray import scan_on_ray
        from vedette.ingestion.parts import cut

        parts = cut(files, format=log_format)
        with progress_bar([part.size for part in parts]) as report:
            judge = load_engine(settings)
            summary = scan_on_ray(settings, judge, parts, options, address=ray_address, on_progress=report)
    elif follow:
        from vedette.cli.follow import FollowedLog
        from vedette.cli.render_scan import anomaly_line

        log, out = FollowedLog(files[0], log_format), console(stderr=json_output)
        summary = scan_sources(
            load_engine(settings), [log], options, on_anomaly=lambda found: out.print(anomaly_line(found))
        )
    else:
        sources = [RequestSource(path, format=log_format) for path in files]
        judge = load_engine(settings)
        with progress_bar([source.size for source in sources]) as report:
            summary = scan_sources(judge, sources, options, on_progress=report)
    if html is not None:
        from vedette.sinks.report import render_html

        html.write_text(render_html(summary), encoding="utf-8")
    if json_output:
        print_json(summary.to_dict())
    else:
        from vedette.cli.render_scan import render_summary

        render_summary(console(), summary)
        if html is not None:
            typer.echo(f"report: {html}")
    if not any(source.problem is None for source in summary.sources):
        raise typer.Exit(Exit.BAD_INPUT)
    raise typer.Exit(Exit.ANOMALY if exit_code and summary.anomalies else Exit.OK)


@contextmanager
def progress_bar(sizes: Sequence[int | None]) -> Iterator[Callable[[ScanProgress], None]]:
    """Show a bar over the bytes of all sources, whose sizes are given, on standard error and only at a terminal."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    out = console(stderr=True)
    total = sum(size or 0 for size in sizes) if None not in sizes else None
    ended, current, position = 0, "", 0
    columns = (BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=out, disable=not out.is_terminal, transient=True) as bar:
        task = bar.add_task("reading", total=total)

        def report(now: ScanProgress) -> None:
            nonlocal ended, current, position
            if now.source != current:
                ended, current = ended + position, now.source
            position = now.position
            text = f"{now.requests:,} requests, {now.anomalies:,} anomalies"
            if now.unreadable:
                text += f", {now.unreadable:,} unreadable"
            bar.update(task, completed=ended + position, description=text)

        yield report
