"""Forwarding headers are believed as far as listed proxies vouch for them, and no further."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.errors import ConfigError, RequestError
from vedette.server.client_address import ClientAddresses, parse_address, validate_address

CASES = json.loads((Path(__file__).parent / "data" / "client_address.json").read_text())
ADDRESSES = ClientAddresses(["127.0.0.0/8", "::1", "10.0.0.0/8"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_caller(case):
    headers = [(name.encode(), value.encode()) for name, value in case["headers"]]
    assert ADDRESSES.caller(case["peer"], headers) == case["caller"]


@given(
    peer=st.sampled_from(["127.0.0.1", "::1", "203.0.113.9"]),
    name=st.sampled_from([b"x-forwarded-for", b"forwarded"]),
    value=st.binary(max_size=200),
)
@settings(max_examples=300, deadline=None)
def test_any_header_gives_an_address(peer, name, value):
    assert parse_address(ADDRESSES.caller(peer, [(name, value)])) is not None


def test_endless_lists_are_cut():
    hops = b"10.0.0.1, " * 200_000 + b"10.0.0.1"
    started = time.process_time()
    for name, value in ((b"x-forwarded-for", hops), (b"forwarded", hops.replace(b"10", b"for=10"))):
        assert ADDRESSES.caller("127.0.0.1", [(name, value)]) == "10.0.0.1"
    assert time.process_time() - started < 1  # CPU seconds for 4 MB; the walk itself reads 64 hops


@pytest.mark.parametrize("entry", ["nonsense", "10.0.0.0/64", "", "example.test"])
def test_a_bad_network_is_refused_by_name(entry):
    with pytest.raises(ConfigError, match="trusted_proxies") as caught:
        ClientAddresses([entry])
    assert caught.value.key == "waf_service.trusted_proxies"


@pytest.mark.parametrize("text", ["", "7", "1.2.3", "1.2.3.4.5", "::g", "1.2.3.4 ", "x" * 100, "1.2.3.4\x00"])
def test_a_stated_address_must_be_one(text):
    with pytest.raises(RequestError) as caught:
        validate_address(text, field="client_ip")
    assert caught.value.field == "client_ip"
