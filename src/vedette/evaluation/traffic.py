"""Made-up browsing traffic for measurements, written here so that a benchmark needs nothing from outside.

The shape follows what was measured on 75,000 recorded browsing requests: 29 fields at the median, most values seen
before (headers of one browser, the session's cookies), a few new ones in each request. Seeded: the same seed gives the
same requests everywhere.
"""

from __future__ import annotations

import json
import random
from urllib.parse import quote_plus

from vedette.http_request import HTTPRequest

_WORDS = (
    "spring linen shirt blue cotton winter jacket sale running shoes wool scarf garden chair oak table lamp desk paper "
    "coffee beans dark roast tea green cup plate knife steel pan lid bread flour rice olive oil sea salt pepper lemon"
).split()
_PATHS = ("/", "/search", "/p/{n}", "/category/{w}", "/cart", "/api/v1/items/{n}", "/static/{h}.js", "/img/{h}.webp")
_AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
)


def browsing(count: int, *, seed: int = 7) -> list[HTTPRequest]:
    """Return `count` harmless requests of some visitors to one shop."""
    rng = random.Random(seed)
    visitors = [_visitor(rng) for _ in range(max(1, count // 20))]
    return [_request(rng, rng.choice(visitors)) for _ in range(count)]


def _visitor(rng: random.Random) -> tuple[tuple[str, str], ...]:
    """Return the headers that a browser sends each time."""
    cookies = {
        "sid": f"{rng.getrandbits(128):032x}",
        "_ga": f"GA1.2.{rng.randrange(10**9)}.{rng.randrange(1_600_000_000, 1_790_000_000)}",
        "consent": "analytics=1&ads=0",
        "theme": rng.choice(("light", "dark")),
        "prefs": quote_plus(json.dumps({"currency": rng.choice(("EUR", "USD")), "perPage": rng.choice((24, 48))})),
        "seen": "|".join(str(rng.randrange(10_000)) for _ in range(6)),
        "cart": quote_plus(json.dumps([{"sku": f"SH-{rng.randrange(10_000)}", "n": 1} for _ in range(3)])),
        "ab": "checkout:b,search:a,nav:c",
        "jwt": ".".join(f"{rng.getrandbits(bits):x}" for bits in (144, 600, 256)),
        "_fbp": f"fb.1.{rng.randrange(10**12, 2 * 10**12)}.{rng.randrange(10**9)}",
    }
    return (
        ("Host", "shop.example"),
        ("User-Agent", rng.choice(_AGENTS)),
        ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
        ("Accept-Language", rng.choice(("en-US,en;q=0.5", "de-DE,de;q=0.9,en;q=0.6", "fr-FR,fr;q=0.8"))),
        ("Accept-Encoding", "gzip, deflate, br, zstd"),
        ("Sec-Fetch-Site", "same-origin"),
        ("Sec-Fetch-Mode", "navigate"),
        ("Sec-Fetch-Dest", "document"),
        ("Sec-CH-UA", '"Chromium";v="138", "Not=A?Brand";v="8"'),
        ("Sec-CH-UA-Platform", '"Linux"'),
        ("Sec-CH-UA-Mobile", "?0"),
        ("Upgrade-Insecure-Requests", "1"),
        ("DNT", "1"),
        ("Priority", "u=0, i"),
        ("Connection", "keep-alive"),
        ("Cookie", "; ".join(f"{name}={value}" for name, value in cookies.items())),
    )


def _request(rng: random.Random, visitor: tuple[tuple[str, str], ...]) -> HTTPRequest:
    path = rng.choice(_PATHS).format(n=rng.randrange(50_000), w=rng.choice(_WORDS), h=f"{rng.getrandbits(32):08x}")
    phrase = " ".join(rng.sample(_WORDS, rng.randrange(1, 4)))
    query = {
        "q": phrase,
        "page": str(rng.randrange(1, 9)),
        "sort": rng.choice(("price", "-price", "new")),
        "utm_source": "newsletter",
        "t": str(rng.randrange(10**12, 2 * 10**12)),
    }
    chosen = rng.sample(sorted(query), rng.randrange(len(query)))
    target = path + ("?" + "&".join(f"{name}={quote_plus(query[name])}" for name in chosen) if chosen else "")
    headers = (*visitor, ("Referer", f"https://shop.example/search?q={quote_plus(phrase)}"))
    if rng.random() > 0.12:
        return HTTPRequest("GET", target, headers)
    body = json.dumps({"item": rng.randrange(50_000), "quantity": rng.randrange(1, 5), "note": phrase, "gift": False})
    return HTTPRequest("POST", target, (*headers, ("Content-Type", "application/json")), body.encode())
