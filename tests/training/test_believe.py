"""Labels that are not believed: each rule by an example that it drops and a neighbour that it keeps."""

from __future__ import annotations

from typing import Any

import pytest

from vedette.training.believe import disbelief

CSIC = {"source": "CSIC 2010 anomalous", "class": "sqli"}
VALUE = {"kind": "value"}


def case(text: str, **record: Any) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    record = {"source": "somebody/x", **record}
    if record.get("kind") == "value":
        record["value"] = text
    return record, [("query text", text.lower())]


@pytest.mark.parametrize(
    ("dropped", "kept", "why"),
    [
        (case("o'connor", **CSIC), case("o' or 1=1", **CSIC), "no injection in it"),
        (
            case("https://example.com/a", **VALUE, **{"class": "redirect"}),
            case("https:/\\example.com/a", **VALUE, **{"class": "redirect"}),
            "plain outside address",
        ),
        (
            case("https://example.com/a", **VALUE, **{"class": "ssrf"}),
            case("http://metadata.internal/a", **VALUE, **{"class": "ssrf"}),
            "plain outside address",
        ),
        (
            case("/web.config.bak", **{"class": "traversal"}),
            case("/../web.config", **{"class": "traversal"}),
            "probe for a file",
        ),
        (
            case("{{self.x(", **{**VALUE, "source": "vladko312/SSTImap", "class": "ssti"}),
            case("{{self.x()}}", **{**VALUE, "source": "vladko312/SSTImap", "class": "ssti"}),
            "fragment of a payload",
        ),
        (
            case("<!DOCTYPE foo [", **VALUE, **{"class": "xxe"}),
            case('<!DOCTYPE foo [<!ENTITY x SYSTEM "file:///etc/hosts">]>', **VALUE, **{"class": "xxe"}),
            "fragment of a payload",
        ),
        (
            case("{cmd}; id", **VALUE, **{"class": "cmdi"}),
            case("{ id; }", **VALUE, **{"class": "cmdi"}),
            "placeholder instead of a payload",
        ),
        (
            case("query { viewer { login name } }", **VALUE, **{"class": "graphql"}),
            case("{a{b{c{d{e{f{g{id}}}}}}}}", **VALUE, **{"class": "graphql"}),
            "plain GraphQL",
        ),
        (
            case("{__typename}", **VALUE, **{"class": "graphql"}),
            case("{__schema{types{name}}}", **VALUE, **{"class": "graphql"}),
            "plain GraphQL",
        ),
        (
            case("# CVE-2020-12345 \u2014 a server may run code", **VALUE, **{"class": "codei"}),
            case("; id # CVE-2020-12345", **VALUE, **{"class": "cmdi"}),
            "prose about an attack",
        ),
    ],
)
def test_rules(dropped: tuple[Any, Any], kept: tuple[Any, Any], why: str) -> None:
    assert disbelief(*dropped) == why
    assert disbelief(*kept) is None
