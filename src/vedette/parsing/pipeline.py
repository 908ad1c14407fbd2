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
from vedette.parsing.field import Field, FieldCollector, KnownPieces, ParsedRequest
from vedette.parsing.forms import read_cookies, read_pairs
from vedette.parsing.native_reading import native
from vedette.parsing.shapes import VARYING
from vedette.parsing.values import is_plain_pair, read_name, read_path, read_value

__all__ = ["Field", "ParsedRequest", "ParsingPipeline"]

Pair = tuple[str, str]
_METHOD = re.compile(r"[A-Za-z][A-Za-z\-]{0,31}\Z")  # every method of the IANA registry looks like this


class ParsingPipeline:
    """Takes requests apart. Holds no state between requests and is safe to use from many threads."""

    def __init__(self, limits: InspectionSettings | None = None) -> None:
        self.limits = limits or InspectionSettings()

    def parse(self, request: HTTPRequest, known: KnownPieces | None = None) -> ParsedRequest:
        """Return the fields of `request`, decoded, and the parts that a bound left unread.

        Headers, cookies, arguments, JSON strings and the path are left out where they are `known`.
        """
        out = FieldCollector(self.limits, known)
        if not _METHOD.match(request.method):
            read_value(out, "header", ":method", request.method)  # named as in HTTP/2 (RFC 9113 section 8.3.1)
        path, _, query = request.target.partition(
            "?"
        )  # a fragment, which browsers never send, stays in what it follows
        out.read_piece("path", "path", path, read_path)
        if query:
            read_pairs(out, "query", query)
        steady, varying = _parted(out, request.headers)
        if steady:
            out.read_group(steady, partial(_read_headers, steady))
        for name, value in varying:
            if name.lower() == "cookie":
                read_cookies(out, value)
            else:
                _read_header_source(out, name, value)
        if request.body:
            read_body(out, request)
        return ParsedRequest(out.fields, out.not_inspected, out.pieces, out.known_score)


def _parted(out: FieldCollector, headers: tuple[tuple[str, str], ...]) -> tuple[list[Pair], list[Pair]]:
    """Part the headers that usually come again together, none where nothing has to be read of them, from the others."""
    if native is not None and out.inert is not None:
        known, steady, varying = native.headers(out.inert, headers)
        return [] if out.is_passed_over(known) else steady, varying
    steady, varying = [], []
    for pair in headers:
        (varying if pair[0].lower() in VARYING else steady).append(pair)
    return steady, varying


def _read_headers(pairs: list[tuple[str, str]], out: FieldCollector) -> None:
    for name, value in pairs:
        _read_header_source(out, name, value)


def _read_header_source(out: FieldCollector, name: str, value: str) -> None:
    if not (is_plain_pair(name, value) and out.passes_over()):
        out.read_piece("header", name, value, _read_header)


def _read_header(out: FieldCollector, name: str, raw: str) -> None:
    read_name(out, "header", name)
    read_value(out, "header", name, raw)
