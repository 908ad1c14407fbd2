"""A request in, its fields out: the one way in which training, evaluation, scanning and serving read a request.

    target  -> path, query arguments          headers -> header values, cookies
    body    -> inflate -> charset -> form | JSON | multipart | XML | GraphQL | text -> fields
    value   -> decode (bounded passes) -> nested JSON, base64, tokens -> fields

Cost: linear in the bytes of the request; passes, depth, fields and inflation are bounded by `InspectionSettings`, and
what lies beyond a bound is listed in `not_inspected`. No content raises.
"""

from __future__ import annotations

import re
from functools import partial

from vedette.config import InspectionSettings
from vedette.http_request import HTTPRequest
from vedette.parsing.bodies import read_body
from vedette.parsing.field import Field, FieldCollector, KnownSources, ParsedRequest
from vedette.parsing.forms import read_cookies, read_pairs
from vedette.parsing.values import is_plain_pair, read_name, read_path, read_value

__all__ = ["Field", "ParsedRequest", "ParsingPipeline"]

_METHOD = re.compile(r"[A-Za-z][A-Za-z\-]{0,31}\Z")  # every method of the IANA registry looks like this

# Headers that differ from one request of a client to its next; the others come again together.
_VARYING = frozenset(
    "cookie referer content-length authorization range if-none-match if-modified-since if-range if-match date "
    "x-request-id x-correlation-id x-amzn-trace-id traceparent tracestate x-b3-traceid x-b3-spanid idempotency-key "
    "x-forwarded-for x-real-ip forwarded true-client-ip cf-connecting-ip cf-ray x-csrf-token x-xsrf-token".split()
)


class ParsingPipeline:
    """Takes requests apart. Holds no state between requests and is safe to use from many threads."""

    def __init__(self, limits: InspectionSettings | None = None) -> None:
        self.limits = limits or InspectionSettings()

    def parse(self, request: HTTPRequest, known: KnownSources | None = None) -> ParsedRequest:
        """Return the fields of `request`, decoded, and the parts that a bound left unread.

        Headers, cookies, arguments, JSON strings and the path are left out where they are `known`.
        """
        out = FieldCollector(self.limits, known)
        if not _METHOD.match(request.method):
            read_value(out, "header", ":method", request.method)  # named as in HTTP/2 (RFC 9113 section 8.3.1)
        path, _, query = request.target.partition(
            "?"
        )  # a fragment, which browsers never send, stays in what it follows
        out.read_source("path", "path", path, read_path)
        if query:
            read_pairs(out, "query", query)
        steady: list[tuple[str, str]] = []
        varying: list[tuple[str, str]] = []
        for pair in request.headers:
            (varying if pair[0].lower() in _VARYING else steady).append(pair)
        if steady:
            out.read_group(steady, partial(_read_headers, steady))
        for name, value in varying:
            if name.lower() == "cookie":
                read_cookies(out, value)
            else:
                _read_header_source(out, name, value)
        if request.body:
            read_body(out, request)
        return ParsedRequest(out.fields, out.not_inspected, out.sources, out.known_score)


def _read_headers(pairs: list[tuple[str, str]], out: FieldCollector) -> None:
    for name, value in pairs:
        _read_header_source(out, name, value)


def _read_header_source(out: FieldCollector, name: str, value: str) -> None:
    if not (is_plain_pair(name, value) and out.passes_over()):
        out.read_source("header", name, value, _read_header)


def _read_header(out: FieldCollector, name: str, raw: str) -> None:
    read_name(out, "header", name)
    read_value(out, "header", name, raw)
