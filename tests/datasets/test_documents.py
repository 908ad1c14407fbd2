from __future__ import annotations

import random

from vedette.datasets.documents import document_type, graphql_document


def test_draws_are_seeded_and_various():
    one, two = random.Random(3), random.Random(3)
    drawn = [graphql_document(one) for _ in range(500)]
    assert drawn == [graphql_document(two) for _ in range(500)]
    assert len(set(drawn)) > 490


def test_graphql_documents_are_balanced():
    rng = random.Random(4)
    for _ in range(300):
        text = graphql_document(rng)
        assert text.count("{") == text.count("}") > 0
        assert "__schema" not in text


def test_document_types_declare_no_entity():
    rng = random.Random(5)
    for _ in range(300):
        text = document_type(rng)
        assert text.upper().startswith("<!DOCTYPE")
        assert "ENTITY" not in text
        assert "[" not in text
