"""Requests to measure with: made-up browsing traffic, generated attacks, and how they are drawn and mixed.

The made-up traffic needs nothing from outside. Its shape follows what was measured on 66,490 recorded requests of 146
sites: one in six carries a body (1 kB at the median, 44 kB at the last hundredth), four in nine have cookies (400
bytes, 4 kB), a third are trackers' calls with long queries; headers come again, some values of each request are new.
It is still tamer than what people's browsers send. Seeded: the same seed gives the same requests everywhere.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Sequence
from urllib.parse import quote, quote_plus, urlencode

from vedette.evaluation.traffic_bodies import (
    beacon,
    form,
    hex_digits,
    json_item,
    page_url,
    recording,
    sensor,
    title,
    upload,
    uuid,
    words,
)
from vedette.http_request import HTTPRequest

_SITES = 40
_VISITS = 25  # requests of one visitor, on average
_COOKIES = 0.6  # of the visitors
_MAX_COOKIE_BYTES = 3500
_AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:{0}.0) Gecko/20100101 Firefox/{0}.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E{}",
)
_LANGUAGES = ("en-US,en;q=0.5", "de-DE,de;q=0.9,en;q=0.6", "fr-FR,fr;q=0.8", "he-IL,he;q=0.9,en-US;q=0.8,en;q=0.7")
_ASSETS = (("script", "js"), ("style", "css"), ("image", "webp"), ("image", "png"), ("font", "woff2"))
_TRACKERS = ("stats.tracker.example", "px.ads.example", "rum.vendor.example", "sync.exchange.example")

Pairs = tuple[tuple[str, str], ...]


def browsing(count: int, *, seed: int = 7) -> list[HTTPRequest]:
    """Return `count` harmless requests of some visitors to some sites, in random order."""
    rng = random.Random(seed)
    sites = [f"{rng.choice(('www', 'shop', 'm', 'app'))}.site{number}.example" for number in range(_SITES)]
    visitors = [_Visitor(rng, rng.choice(sites)) for _ in range(max(1, count // _VISITS))]
    kinds, weights = zip(*_KINDS, strict=True)
    return [rng.choices(kinds, weights)[0](rng, rng.choice(visitors)) for _ in range(count)]


def made_up_attacks(count: int, *, seed: int = 7) -> list[HTTPRequest]:
    """Return `count` generated attacks of all classes in turn, one in three disguised."""
    from vedette.datasets.generate import generate_records

    return [
        HTTPRequest(
            record["method"],
            record["url"],
            tuple(record["headers"].items()),
            (record["body"] or "").encode("utf-8", "surrogatepass"),
        )
        for record in generate_records(count, seed, attack_share=1.0)
    ]


def drawn(requests: Iterable[HTTPRequest], count: int, *, seed: int = 7) -> list[HTTPRequest]:
    """Return `count` of `requests`, or all if they are fewer, each with the same chance, in random order."""
    rng = random.Random(seed)
    kept: list[HTTPRequest] = []
    for seen, request in enumerate(requests, start=1):
        if len(kept) < count:
            kept.append(request)
        elif (place := rng.randrange(seen)) < count:
            kept[place] = request
    rng.shuffle(kept)
    return kept


def mixed(
    harmless: Sequence[HTTPRequest], attacks: Sequence[HTTPRequest], *, seed: int = 7
) -> tuple[list[HTTPRequest], frozenset[int]]:
    """Return both in random order, and the places of the attacks.

    An attack gets the headers of a harmless request beside its own, so that it comes from a browser with cookies.
    """
    rng = random.Random(seed)
    dressed = [_dressed(attack, rng.choice(harmless)) if harmless else attack for attack in attacks]
    order = rng.sample(range(len(harmless) + len(dressed)), len(harmless) + len(dressed))
    everything = [*harmless, *dressed]
    hostile = frozenset(place for place, index in enumerate(order) if index >= len(harmless))
    return [everything[index] for index in order], hostile


def _dressed(attack: HTTPRequest, browser: HTTPRequest) -> HTTPRequest:
    own = {name.lower() for name, _ in attack.headers}
    lent = [pair for pair in browser.headers if pair[0].lower() not in own and pair[0].lower()[:8] != "content-"]
    return HTTPRequest(attack.method, attack.target, (*lent, *attack.headers), attack.body)


class _Visitor:
    """A browser on a site: what it sends each time."""

    def __init__(self, rng: random.Random, host: str) -> None:
        self.host = host
        self.steady: Pairs = (
            ("Connection", "keep-alive"),
            ("User-Agent", rng.choice(_AGENTS).format(rng.randrange(120, 145))),
            ("Accept-Encoding", "gzip, deflate, br, zstd"),
            ("Accept-Language", rng.choice(_LANGUAGES)),
            ("sec-ch-ua", f'"Chromium";v="{rng.randrange(120, 145)}", "Not=A?Brand";v="8"'),
            ("sec-ch-ua-mobile", "?0"),
            ("sec-ch-ua-platform", rng.choice(('"Linux"', '"Windows"', '"macOS"'))),
        )
        self.session = hex_digits(rng, 32)
        self.cookies = _cookies(rng, self) if rng.random() < _COOKIES else ""

    def headers(self, rng: random.Random, kind: str, host: str = "") -> Pairs:
        """The headers of one request: of a page, a script, an image, or a call by script ("empty")."""
        page = f"https://{self.host}/"
        accept = {"document": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "empty": "*/*"}
        varying: list[tuple[str, str]] = [
            ("Host", host or self.host),
            ("Accept", accept.get(kind, "image/avif,image/webp,*/*;q=0.8")),
            ("Sec-Fetch-Site", "cross-site" if host else "same-origin"),
            ("Sec-Fetch-Mode", {"document": "navigate", "empty": "cors"}.get(kind, "no-cors")),
            ("Sec-Fetch-Dest", kind),
            ("Referer", page if host or rng.random() < 0.4 else page_url(rng, self.host)),
        ]
        if kind == "empty":
            varying.append(("Origin", page[:-1]))
        cookies = self.cookies if not host else f"uid={self.session}" if rng.random() < 0.3 else ""
        if cookies and (host or kind != "image" or rng.random() < 0.5):
            varying.append(("Cookie", cookies))
        return (*varying, *self.steady)


def _cookies(rng: random.Random, visitor: _Visitor) -> str:
    stamp = rng.randrange(1_600_000_000, 1_790_000_000)
    pool: list[tuple[str, str]] = [
        ("sid", visitor.session),
        ("_ga", f"GA1.2.{rng.randrange(10**9)}.{stamp}"),
        ("_gid", f"GA1.2.{rng.randrange(10**9)}.{stamp}"),
        ("_fbp", f"fb.1.{stamp}123.{rng.randrange(10**9)}"),
        ("theme", rng.choice(("light", "dark"))),
        ("prefs", quote(json.dumps({"currency": rng.choice(("EUR", "USD")), "perPage": rng.choice((24, 48))}))),
        ("seen", "|".join(str(rng.randrange(10_000)) for _ in range(rng.randrange(1, 30)))),
        ("cart", quote_plus(json.dumps([{"sku": f"SH-{rng.randrange(10_000)}", "n": 1} for _ in range(3)]))),
        ("consent", f"isIABGlobal=false&datestamp={quote_plus(title(rng))}&version=6.33.0&groups=C01%3A1%2CC02%3A0"),
        ("bm_sv", f"{hex_digits(rng, 32).upper()}~{sensor(rng, 90)}~1"),
        ("jwt", ".".join((sensor(rng, 36), sensor(rng, 200), sensor(rng, 43)))),
        ("first", quote(f"src={visitor.host}|||mdm=organic|||trm={words(rng, 2)}|||ep={page_url(rng, visitor.host)}")),
        ("_state", sensor(rng, rng.choice((40, 300, 1200)))),
        ("ab", ",".join(f"{words(rng, 1)}:{rng.choice('abc')}" for _ in range(rng.randrange(1, 12)))),
        ("last", quote(f"{title(rng)} - {rng.randrange(24)}:{rng.randrange(60):02}")),
    ]
    chosen = rng.sample(pool, rng.randrange(1, len(pool) + 1))
    return "; ".join(f"{name}={value}" for name, value in chosen)[:_MAX_COOKIE_BYTES]


# -- kinds of requests -----------------------------------------------------------------------------------------------


def _asset(rng: random.Random, visitor: _Visitor) -> HTTPRequest:
    kind, suffix = rng.choice(_ASSETS)
    name = rng.choice((f"{words(rng, 1)}.{hex_digits(rng, 8)}", words(rng, 2).replace(" ", "-"), hex_digits(rng, 20)))
    query = rng.choice(("", "", f"?v={rng.randrange(1, 400)}", f"?w={rng.randrange(1, 9)}00&h=400&q=75&fit=crop"))
    target = f"/{rng.choice(('static', 'assets/img', '_next/chunks', 'media/catalog'))}/{name}.{suffix}{query}"
    return HTTPRequest("GET", target, visitor.headers(rng, kind))


def _page(rng: random.Random, visitor: _Visitor) -> HTTPRequest:
    target = page_url(rng, visitor.host).partition(visitor.host)[2]
    return HTTPRequest("GET", target, (*visitor.headers(rng, "document"), ("Upgrade-Insecure-Requests", "1")))


def _call(rng: random.Random, visitor: _Visitor) -> HTTPRequest:
    query = {
        "ids": ",".join(str(rng.randrange(10**6)) for _ in range(rng.randrange(1, 9))),
        "locale": rng.choice(("en_US", "de-DE")),
        "fields": "id,name,price,images(url,alt)",
        "filter": f"{words(rng, 1)}:{words(rng, 1)}",
        "request": uuid(rng),
        "_": str(rng.randrange(10**12, 2 * 10**12)),
    }
    chosen = rng.sample(sorted(query), rng.randrange(1, len(query)))
    path = f"/api/v{rng.randrange(1, 4)}/{words(rng, 1)}/{rng.choice((uuid(rng), str(rng.randrange(10**6))))}"
    return HTTPRequest(
        "GET", f"{path}?{urlencode({name: query[name] for name in chosen})}", visitor.headers(rng, "empty")
    )


def _tracker(rng: random.Random, visitor: _Visitor) -> HTTPRequest:
    host = rng.choice(_TRACKERS)
    known = {
        "v": "2", "tid": f"G-{hex_digits(rng, 10).upper()}", "cid": f"{rng.randrange(10**9)}.{rng.randrange(10**9)}",
        "_p": str(rng.randrange(10**9)), "ul": "en-us", "sr": "1920x1080", "dl": page_url(rng, visitor.host),
        "dr": f"https://{visitor.host}/", "dt": f"{title(rng)} | {visitor.host}", "sid": str(rng.randrange(10**10)),
        "en": rng.choice(("page_view", "scroll", "buy")), "ep.list": words(rng, 3), "epn.value": f"{rng.random():.3f}",
        "gdpr_consent": sensor(rng, 120), "z": str(rng.randrange(10**9)), "uid": visitor.session,
        "cb": uuid(rng), "evt": json.dumps({"type": "view", "items": [words(rng, 2), rng.randrange(10**5)]}),
    }  # fmt: skip
    chosen = rng.sample(sorted(known), rng.randrange(2, len(known)))
    path = rng.choice(("/g/collect", "/pixel", "/i/adsct", "/b/ss/main/10"))
    target = f"{path}?{urlencode({name: known[name] for name in chosen})}"
    return HTTPRequest("GET", target, visitor.headers(rng, rng.choice(("image", "empty")), host))


def _poster(
    path: str, content_type: str, body: Callable[[random.Random, str], bytes], *, host: str = ""
) -> Callable[[random.Random, _Visitor], HTTPRequest]:
    def post(rng: random.Random, visitor: _Visitor) -> HTTPRequest:
        content = body(rng, visitor.host)
        headers = (*visitor.headers(rng, "empty", host), ("Content-Type", content_type))
        return HTTPRequest("POST", path, (*headers, ("Content-Length", str(len(content)))), content)

    return post


_FORM, _JSON, _TEXT = "application/x-www-form-urlencoded; charset=UTF-8", "application/json", "text/plain;charset=UTF-8"
_KINDS: tuple[tuple[Callable[[random.Random, _Visitor], HTTPRequest], float], ...] = (
    (_asset, 32),
    (_page, 6),
    (_call, 12),
    (_tracker, 33),
    (_poster("/api/v2/events", _JSON, json_item), 4),
    (_poster("/cart/update", _FORM, form), 3.5),
    (_poster("/collect", _TEXT, beacon, host="rum.vendor.example"), 5),
    (_poster("/v1/sensor", _TEXT, lambda rng, _: sensor(rng, rng.choice((800, 2500, 6000))).encode()), 1.5),
    (_poster("/rec/bundle", _TEXT, recording, host="replay.vendor.example"), 0.6),
    (_poster("/profile/photo", "multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxk", upload), 0.3),
)
