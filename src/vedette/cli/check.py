"""`vedette check`: the verdict on one request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vedette.cli.common import (
    ConfigOption,
    Exit,
    InferenceConfigOption,
    JsonOption,
    ModelOption,
    ThresholdOption,
    console,
    print_json,
    settings_for,
)

if TYPE_CHECKING:
    from vedette.config import Settings
    from vedette.http_request import HTTPRequest
    from vedette.verdict import Verdict


def check(
    request: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="REQUEST",
            help="A URL, a file with a raw HTTP message, - for standard input, or a curl command line.",
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option("--method", "-X", metavar="METHOD", help="Method.", show_default="GET, POST with a body"),
    ] = None,
    url: Annotated[str | None, typer.Option("--url", metavar="URL", help="URL or path.")] = None,
    header: Annotated[
        list[str] | None,
        typer.Option("--header", "-H", metavar="HEADER", help="Header as NAME: VALUE; may be repeated."),
    ] = None,
    data: Annotated[str | None, typer.Option("--data", "-d", metavar="BODY", help="Body, or @FILE.")] = None,
    client_ip: Annotated[str | None, typer.Option("--client-ip", metavar="IP", help="Address of the client.")] = None,
    model: ModelOption = None,
    threshold: ThresholdOption = None,
    config: ConfigOption = None,
    inference_config: InferenceConfigOption = None,
    json_output: JsonOption = False,
) -> None:
    """Judge one request and say why.

    Exits with 1 if it is an anomaly.

        vedette check "http://shop.example/?id=1' OR 1=1--"

        vedette check --url /login -d 'user=admin&password=x'

        vedette check "curl -H 'X-Id: 1' https://shop.example/"

        vedette check -- curl -d 'q=<script>' https://shop.example/
    """
    from vedette.cli.request_input import RequestFlags, read_request

    flags = RequestFlags(method, url, tuple(header or ()), data, client_ip)
    target = read_request(request or (), flags)
    settings = settings_for(config=config, inference_config=inference_config, model=model, threshold=threshold)
    verdict = judge(settings, target)
    if json_output:
        print_json(verdict.to_dict())
    else:
        from vedette.cli.render_verdict import render_verdict

        render_verdict(console(), verdict, span_texts(settings, target, verdict))
    if verdict.is_anomaly is None:
        raise typer.Exit(Exit.NO_RESULT)
    raise typer.Exit(Exit.ANOMALY if verdict.is_anomaly else Exit.OK)


def judge(settings: Settings, request: HTTPRequest) -> Verdict:
    """Return the verdict of the configured model."""
    from vedette.inference.engine import load_engine

    return load_engine(settings).check(request)


def span_texts(settings: Settings, request: HTTPRequest, verdict: Verdict) -> dict[int, str]:
    """Return {number of a finding: text of its span}, by taking the request apart once more."""
    from vedette.parsing.pipeline import ParsingPipeline

    fields = ParsingPipeline(settings.waf_service.inspection).parse(request).fields
    texts: dict[int, str] = {}
    for number, finding in enumerate(verdict.findings):
        start, end = finding.span
        for field in fields:
            same = (field.location, field.name, field.decoded_by) == (
                finding.location,
                finding.name,
                finding.decoded_by,
            )
            if same and field.value[start:end] and field.value[start:end] in finding.excerpt:
                texts[number] = field.value[start:end]
                break
    return texts
