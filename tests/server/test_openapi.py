"""The stored document is the one that the service serves, and what it shows as examples is true."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema_rs
import msgspec
import pytest

from vedette.config import Settings
from vedette.server.app import create_app
from vedette.server.reading import read_batch, read_check
from vedette.server.schemas import BatchCheckRequest, BatchCheckResponse, CheckRequest, CheckResponse

STORED = Path(__file__).parents[2] / "docs" / "openapi.json"
OPERATIONS = {
    ("/check", "post"), ("/check/batch", "post"), ("/health", "get"), ("/ready", "get"), ("/metrics", "get"),
    ("/admin/reload", "post"),
}  # fmt: skip


@pytest.fixture(scope="module")
def document():
    return create_app(Settings()).openapi()


def test_stored_document_is_current(document):
    assert json.loads(STORED.read_text()) == document, "run `make docs`"


def test_every_operation_is_documented(document):
    assert {(path, method) for path, methods in document["paths"].items() for method in methods} == OPERATIONS


def test_every_reference_leads_somewhere(document):
    text = json.dumps(document)
    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= set(document["components"]["schemas"])


def examples(document, path, part):
    operation = document["paths"][path]["post"]
    content = (operation["requestBody"] if part == "request" else operation["responses"]["200"])["content"]
    return [example["value"] for example in content["application/json"]["examples"].values()]


@pytest.mark.parametrize(
    ("path", "part", "struct"),
    [
        ("/check", "request", CheckRequest),
        ("/check", "answer", CheckResponse),
        ("/check/batch", "request", BatchCheckRequest),
        ("/check/batch", "answer", BatchCheckResponse),
    ],
)
def test_examples_fit_their_schema_and_their_struct(document, path, part, struct):
    schema = {"$ref": f"#/components/schemas/{struct.__name__.replace('Verdict', 'CheckResponse')}"}
    validator = jsonschema_rs.Draft202012Validator({**schema, "components": document["components"]})
    found = examples(document, path, part)
    assert found
    for example in found:
        validator.validate(example)
        msgspec.json.decode(json.dumps(example), type=struct)


def test_examples_are_accepted(document):
    for example in examples(document, "/check", "request"):
        read_check(json.dumps(example).encode(), "127.0.0.1", believed=True)
    for example in examples(document, "/check/batch", "request"):
        read_batch(json.dumps(example).encode(), "127.0.0.1", believed=True, max_batch=10)
