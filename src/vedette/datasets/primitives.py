"""Random material that grammars are filled with: numbers, words, names, hosts, paths, blobs.

Nothing here is a fixed marker: a model that sees the same host or number in every attack learns the marker and not the
attack. Hosts are random syllables under many top-level domains, documentation names (RFC 2606) and addresses.
"""

from __future__ import annotations

import base64
import random
import string
import uuid
from collections.abc import Callable

from vedette.datasets.words import (
    COLUMNS,
    COMPANIES,
    CONSONANTS,
    ENGLISH,
    FIRST_NAMES,
    LAST_NAMES,
    PARAMETERS,
    TABLES,
    TLDS,
    VOWELS,
)  # fmt: skip

_ALNUM = string.ascii_letters + string.digits


def integer(rng: random.Random) -> str:
    """A non-negative integer of 1 to 9 digits, small ones more often."""
    return str(rng.randrange(10 ** rng.choice((1, 1, 2, 3, 4, 4, 5, 6, 8, 9))))


def small(rng: random.Random) -> str:
    """An integer from 1 to 20."""
    return str(rng.randint(1, 20))


def digit(rng: random.Random) -> str:
    """One digit."""
    return rng.choice(string.digits)


def decimal(rng: random.Random) -> str:
    """A decimal number with a fraction."""
    return f"{rng.uniform(0, 10 ** rng.randint(0, 4)):.{rng.randint(1, 6)}f}"


def letters(rng: random.Random) -> str:
    """One to eight random lower-case letters."""
    return "".join(rng.choices(string.ascii_lowercase, k=rng.randint(1, 8)))


def letter(rng: random.Random) -> str:
    """One random lower-case letter."""
    return rng.choice(string.ascii_lowercase)


def alnum(rng: random.Random) -> str:
    """Four to twelve random letters and digits."""
    return "".join(rng.choices(_ALNUM, k=rng.randint(4, 12)))


def hex_digits(rng: random.Random) -> str:
    """Four to thirty-two hexadecimal digits."""
    return f"{rng.getrandbits(128):032x}"[: rng.choice((4, 6, 8, 12, 16, 20, 32))]


def pseudo_word(rng: random.Random) -> str:
    """A pronounceable word that is in no dictionary."""
    return "".join(rng.choice(CONSONANTS) + rng.choice(VOWELS) for _ in range(rng.randint(1, 4))) + rng.choice(
        ("", "", "n", "r", "s", "x", "t")
    )


def word(rng: random.Random) -> str:
    """A common English word."""
    return rng.choice(ENGLISH)


def words(rng: random.Random) -> str:
    """Two to nine common English words."""
    return " ".join(rng.choices(ENGLISH, k=rng.randint(2, 9)))


def sentence(rng: random.Random) -> str:
    """A made-up English sentence."""
    text = " ".join(rng.choices(ENGLISH, k=rng.randint(4, 16)))
    return text.capitalize() + rng.choice(".....!?")


def ident(rng: random.Random) -> str:
    """A programmer's identifier."""
    style = rng.randrange(6)
    first, second = rng.choice(ENGLISH), rng.choice(ENGLISH)
    if style == 0:
        return first
    if style == 1:
        return f"{first}_{second}"
    if style == 2:
        return first + second.capitalize()
    if style == 3:
        return letters(rng)
    if style == 4:
        return pseudo_word(rng)
    return f"{first}{rng.randrange(100)}"


def first_name(rng: random.Random) -> str:
    """A given name."""
    return rng.choice(FIRST_NAMES)


def last_name(rng: random.Random) -> str:
    """A family name."""
    return rng.choice(LAST_NAMES)


def user_name(rng: random.Random) -> str:
    """A login name."""
    style = rng.randrange(6)
    first, last = rng.choice(FIRST_NAMES).lower(), rng.choice(LAST_NAMES).lower()
    if style == 0:
        return rng.choice(("admin", "root", "administrator", "test", "guest", "user", "demo", "sa", "operator"))
    if style == 1:
        return f"{first}.{last}"
    if style == 2:
        return f"{first}{rng.randrange(1000)}"
    if style == 3:
        return f"{first[0]}{last}"
    return first if style == 4 else pseudo_word(rng)


def domain(rng: random.Random) -> str:
    """A host name: random syllables, company-like names, sub-domains, documentation names."""
    style = rng.random()
    if style < 0.06:
        return rng.choice(("example.com", "example.org", "example.net", "www.example.com", "test.example"))
    base = rng.choice(
        (pseudo_word, pseudo_word, letters, lambda r: r.choice(COMPANIES), lambda r: r.choice(ENGLISH),
         lambda r: r.choice(ENGLISH) + r.choice(("-", "")) + r.choice(ENGLISH))
    )(rng)  # fmt: skip
    name = f"{base}.{rng.choice(TLDS)}"
    if style < 0.3:
        return f"{rng.choice((pseudo_word, letters, alnum, lambda r: r.choice(PARAMETERS)))(rng).lower()}.{name}"
    if style < 0.4:
        return f"www.{name}"
    return name


def public_ip(rng: random.Random) -> str:
    """An IPv4 address that is not private."""
    return f"{rng.choice((5, 23, 31, 45, 62, 78, 91, 103, 144, 185, 193, 198, 203, 212))}." + ".".join(
        str(rng.randrange(256)) for _ in range(3)
    )


def private_ip(rng: random.Random) -> str:
    """A loopback, private or link-local IPv4 address."""
    tail = f"{rng.randrange(256)}.{rng.randint(1, 254)}"
    return rng.choice(
        ("127.0.0.1", "127.0.0.1", "127.0.1.1", f"127.{rng.randrange(256)}.{tail}", f"10.{rng.randrange(256)}.{tail}",
         f"192.168.{tail}", f"172.{rng.randint(16, 31)}.{tail}", "169.254.169.254", "0.0.0.0")  # noqa: S104
    )  # fmt: skip


def host(rng: random.Random) -> str:
    """A host name, or sometimes an address, sometimes with a port."""
    name = public_ip(rng) if rng.random() < 0.2 else domain(rng)
    return f"{name}:{port(rng)}" if rng.random() < 0.12 else name


def port(rng: random.Random) -> str:
    """A TCP port."""
    return rng.choice(("80", "443", "8080", "8443", "8000", "4444", "1337", "9001", "53", "389", "1389",
                       str(rng.randint(1024, 65535))))  # fmt: skip


def slug(rng: random.Random) -> str:
    """A URL slug."""
    return "-".join(rng.choices(ENGLISH, k=rng.randint(1, 5)))


def url_path(rng: random.Random) -> str:
    """An absolute URL path of one to four harmless segments."""
    tails = ("", "", "/", ".html", ".php", ".jpg", ".js", ".json", ".aspx", ".png", f"/{rng.randrange(10**5)}")
    tail = rng.choice(tails)
    return "/" + "/".join(slug(rng) for _ in range(rng.randint(1, 3))) + tail


def url(rng: random.Random) -> str:
    """A harmless http(s) URL."""
    query = f"?{parameter(rng)}={rng.choice((integer, word, alnum, slug))(rng)}" if rng.random() < 0.3 else ""
    return f"{rng.choice(('https', 'https', 'http'))}://{domain(rng)}{url_path(rng)}{query}"


def email(rng: random.Random) -> str:
    """An e-mail address."""
    return f"{user_name(rng)}@{domain(rng)}"


def parameter(rng: random.Random) -> str:
    """A name as query parameters and form fields have."""
    return rng.choice(PARAMETERS) if rng.random() < 0.8 else ident(rng)


def table(rng: random.Random) -> str:
    """A table name."""
    return rng.choice(TABLES) if rng.random() < 0.8 else ident(rng)


def column(rng: random.Random) -> str:
    """A column name."""
    return rng.choice(COLUMNS) if rng.random() < 0.8 else ident(rng)


def benign_value(rng: random.Random) -> str:
    """A short everyday value, as stands before an injection."""
    return rng.choice((integer, integer, small, word, words, user_name, slug, alnum, email, ident, first_name))(rng)


def blob(rng: random.Random) -> str:
    """Base64 of random bytes."""
    return base64.b64encode(rng.randbytes(rng.randint(6, 60))).decode()


def uuid4(rng: random.Random) -> str:
    """A random UUID."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def date(rng: random.Random) -> str:
    """An ISO 8601 date."""
    return f"{rng.randint(1990, 2030)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"


def clock(rng: random.Random) -> str:
    """A time of day."""
    return f"{rng.randrange(24):02d}:{rng.randrange(60):02d}" + rng.choice(("", f":{rng.randrange(60):02d}"))


def company(rng: random.Random) -> str:
    """A made-up company name."""
    return rng.choice(COMPANIES).capitalize()


def seconds(rng: random.Random) -> str:
    """A delay in seconds."""
    return rng.choice(("5", "10", "3", "2", "15", "20", "7", "1", "30", str(rng.randint(1, 60))))


PRIMITIVES: dict[str, Callable[[random.Random], str]] = {
    "int": integer, "small": small, "digit": digit, "decimal": decimal, "letters": letters, "letter": letter,
    "alnum": alnum, "hexdigits": hex_digits, "pseudo": pseudo_word, "word": word, "words": words,
    "sentence": sentence, "ident": ident, "firstname": first_name, "lastname": last_name, "username": user_name,
    "domain": domain, "ip": public_ip, "privip": private_ip, "host": host, "port": port, "slug": slug,
    "urlpath": url_path, "url": url, "email": email, "param": parameter, "table": table, "column": column,
    "benign": benign_value, "blob": blob, "uuid": uuid4, "date": date, "clock": clock, "company": company,
    "secs": seconds,
}  # fmt: skip
"""Every primitive by the name that grammar files use."""
