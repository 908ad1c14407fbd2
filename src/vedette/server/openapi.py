"""The OpenAPI document: FastAPI's own for the plain endpoints, plus the checks, whose schemas msgspec generates.

The check endpoints are raw ASGI, so FastAPI does not know their shapes. Generating the schemas from the same Structs
that decode the traffic keeps document and behaviour together; docs/openapi.json is compared with it in a test.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from vedette._version import __version__
from vedette.server.schemas import (
    BatchCheckRequest,
    BatchCheckResponse,
    CheckRequest,
    CheckResponse,
    ErrorResponse,
    HealthResponse,
    ReloadResponse,
)

ADMIN = "admin_token"
_REF = "#/components/schemas/{name}"

# RFC 9110 section 5.6.2, 5.5; RFC 4648 section 4
_TCHARS = "^[!#$%&'*+\\-.^_`|~0-9A-Za-z]{1,256}$"
_HEADER_VALUE = "^[^\\r\\n\\u0000]*$"
_BASE64 = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"

HARMLESS = {
    "method": "GET",
    "path": "/api/users",
    "query_params": {"id": "123"},
    "headers": {"Host": "shop.example", "User-Agent": "Mozilla/5.0 (X11; Linux x86_64)"},
    "body": None,
}
HOSTILE = {
    "method": "GET",
    "path": "/api/users?id=1%27%20UNION%20SELECT%20login%2C%20password%20FROM%20users--%20-",
    "headers": [["Host", "shop.example"], ["Cookie", "theme=dark"]],
    "client_ip": "203.0.113.7",
}
HARMLESS_VERDICT = {
    "request_id": "6f1c2a9e4b7d4c0f8a35d1e27b90c6aa",
    "action": "allow",
    "anomaly_score": 0.0131,
    "is_anomaly": False,
    "threshold": 0.5,
    "attack_class": None,
    "findings": [],
    "not_inspected": [],
    "degraded": None,
    "model_version": "1.0.0",
    "processing_time_ms": 0.42,
}
HOSTILE_VERDICT = {
    "request_id": "0d6fd5a1c3f94b1d9a7e5c2b8f604e11",
    "action": "block",
    "anomaly_score": 0.9987,
    "is_anomaly": True,
    "threshold": 0.5,
    "attack_class": "sqli",
    "findings": [
        {
            "location": "query",
            "name": "id",
            "attack_class": "sqli",
            "score": 0.9987,
            "span": [1, 47],
            "excerpt": "1' UNION SELECT login, password FROM users-- -",
            "decoded_by": ["percent"],
        }
    ],
    "not_inspected": [],
    "degraded": None,
    "model_version": "1.0.0",
    "processing_time_ms": 1.9,
}

_ERRORS = {
    400: "The bytes are not JSON, or not UTF-8.",
    408: "The request came too slowly.",
    413: "The HTTP body is larger than `waf_service.max_request_bytes`.",
    415: "The HTTP body has a content coding.",
    422: "A field is missing, unknown or of the wrong type; `field` names it.",
    429: "Rate limit; come back after `Retry-After` seconds.",
    500: "A defect of the service.",
    503: "The queue is full, or the service starts or drains; come back after `Retry-After` seconds.",
}

_ADMIN_ERRORS = {
    401: "The token is missing or wrong.",
    404: "Switched off: no `waf_service.admin_token` is set.",
    409: "The new bundle is refused; the message says why. The model in service stays.",
}


def build_openapi(app: FastAPI) -> dict[str, Any]:
    """Return the document, the same on every call."""
    document = get_openapi(
        title=app.title, version=__version__, summary=app.summary, description=app.description, routes=app.routes
    )
    document.setdefault("components", {})["schemas"] = _schemas()
    document["components"]["securitySchemes"] = {ADMIN: {"type": "http", "scheme": "bearer"}}
    paths = document["paths"]
    paths["/check"] = {"post": _check_operation()}
    paths["/check/batch"] = {"post": _batch_operation()}
    document["paths"] = dict(sorted(paths.items()))
    return document


def schema_of(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the reference to a schema of the document."""
    name = "CheckResponse" if struct is CheckResponse else struct.__name__
    return {"$ref": _REF.format(name=name)}


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the documentation of error answers."""
    return {status: _error(status) for status in statuses}


def _schemas() -> dict[str, Any]:
    structs = (
        CheckRequest, BatchCheckRequest, CheckResponse, BatchCheckResponse, ErrorResponse, HealthResponse,
        ReloadResponse,
    )  # fmt: skip
    _, schemas = msgspec.json.schema_components(structs, ref_template=_REF)
    # `CheckResponse` is the verdict itself; the document calls it by the name that API users know.
    schemas["CheckResponse"] = {**schemas.pop("Verdict"), "title": "CheckResponse"}
    _sharpen(schemas["CheckRequest"])
    text = json.dumps(dict(sorted(schemas.items())))
    renamed: dict[str, Any] = json.loads(text.replace(_REF.format(name="Verdict"), _REF.format(name="CheckResponse")))
    return renamed


def _sharpen(check: dict[str, Any]) -> None:
    """Say in the schema of `CheckRequest` what is checked after decoding, so that generated clients know it."""
    properties = check["properties"]
    properties["method"]["pattern"] = _TCHARS
    properties["headers"]["anyOf"] = [
        {
            "type": "object",
            "propertyNames": {"pattern": _TCHARS},
            "additionalProperties": {"type": "string", "pattern": _HEADER_VALUE},
        },
        {
            "type": "array",
            "items": {
                "type": "array",
                "prefixItems": [{"type": "string", "pattern": _TCHARS}, {"type": "string", "pattern": _HEADER_VALUE}],
                "items": False,
                "minItems": 2,
                "maxItems": 2,
            },
        },
        {"type": "null"},
    ]
    properties["body_base64"]["anyOf"] = [{"type": "string", "pattern": _BASE64}, {"type": "null"}]
    properties["client_ip"]["anyOf"] = [
        {"type": "string", "format": "ipv4"},
        {"type": "string", "format": "ipv6"},
        {"type": "null"},
    ]
    given = {"not": {"type": "null"}}
    check["not"] = {"required": ["body", "body_base64"], "properties": {"body": given, "body_base64": given}}


def _check_operation() -> dict[str, Any]:
    return {
        "tags": ["checks"],
        "operationId": "check",
        "summary": "Judge one request",
        "description": "Answers with a verdict also where no reading was possible in time: see `degraded`.",
        "requestBody": _body(
            CheckRequest,
            {
                "harmless": {"summary": "A harmless request", "value": HARMLESS},
                "hostile": {"summary": "SQL injection in the query", "value": HOSTILE},
            },
        ),
        "responses": {
            "200": _answer(
                "The verdict.",
                CheckResponse,
                {
                    "harmless": {"summary": "Let through", "value": HARMLESS_VERDICT},
                    "hostile": {"summary": "Blocked, with the reason", "value": HOSTILE_VERDICT},
                },
            ),
            **{str(status): _error(status) for status in _ERRORS},
        },
    }


def _batch_operation() -> dict[str, Any]:
    results = {"results": [HARMLESS_VERDICT, HOSTILE_VERDICT], "processing_time_ms": 2.1}
    return {
        "tags": ["checks"],
        "operationId": "check_batch",
        "summary": "Judge many requests",
        "description": "Verdicts come in the order of the requests. One invalid item refuses the batch whole and is "
        "named (`requests[3].path`). A batch counts its length in the rate limits.",
        "requestBody": _body(
            BatchCheckRequest, {"two": {"summary": "One of each", "value": {"requests": [HARMLESS, HOSTILE]}}}
        ),
        "responses": {
            "200": _answer("The verdicts.", BatchCheckResponse, {"two": {"summary": "Two verdicts", "value": results}}),
            **{str(status): _error(status) for status in _ERRORS},
        },
    }


def _body(struct: type[msgspec.Struct], examples: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema_of(struct), "examples": examples}}}


def _answer(description: str, struct: type[msgspec.Struct], examples: dict[str, Any]) -> dict[str, Any]:
    content = {"schema": schema_of(struct), "examples": examples}
    return {"description": description, "content": {"application/json": content}}


def _error(status: int) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": (_ERRORS | _ADMIN_ERRORS)[status],
        "content": {"application/json": {"schema": schema_of(ErrorResponse)}},
    }
    if status in (429, 503):
        answer["headers"] = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}, "description": "Seconds."}}
    return answer
