"""URLs cut into host and raw target."""

from __future__ import annotations

import pytest

from vedette.parsing.url_parts import UrlParts, split_url, strip_port


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://shop.example", UrlParts("http", None, "shop.example", "/")),
        ("HTTPS://shop.example:8443/a%20b?x=/?#top", UrlParts("https", None, "shop.example:8443", "/a%20b?x=/?")),
        ("http://shop.example?x=1", UrlParts("http", None, "shop.example", "/?x=1")),
        ("http://jane:p@w@[2001:db8::1]:80/", UrlParts("http", "jane:p@w", "[2001:db8::1]:80", "/")),
        ("http://shop.example\\@evil.example/", UrlParts("http", None, "shop.example", "/\\@evil.example/")),
        ("http://", UrlParts("http", None, "", "/")),
        ("/path?u=http://x/", None),
        ("*", None),
        ("shop.example/x", None),
    ],
)
def test_a_url_is_cut_without_decoding(url: str, parts: UrlParts | None) -> None:
    assert split_url(url) == parts


@pytest.mark.parametrize(
    ("address", "bare"),
    [
        ("192.0.2.1:443", "192.0.2.1"),
        ("192.0.2.1", "192.0.2.1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("", ""),
    ],
)
def test_a_port_is_cut_from_an_address(address: str, bare: str) -> None:
    assert strip_port(address) == bare
