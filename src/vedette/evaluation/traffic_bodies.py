"""What made-up requests carry: words, identifiers, page addresses, and the bodies that pages post."""

from __future__ import annotations

import base64
import json
import random
from urllib.parse import quote_plus, urlencode

_WORDS = (
    "spring linen shirt blue cotton winter jacket sale running shoes wool scarf garden chair oak table lamp desk paper "
    "coffee beans dark roast tea green cup plate knife steel pan lid bread flour rice olive oil sea salt pepper lemon "
    "travel hotel beach flight booking room guide review news market report weather music video player season episode "
    "user profile order status delivery address payment method gift card summer outlet brand size color new best help"
).split()
_TAGS = ("div", "span", "a", "li", "button", "img", "section", "p")
_BOUNDARY = "----WebKitFormBoundary7MA4YWxk"


def words(rng: random.Random, count: int) -> str:
    """Return so many plain words."""
    return " ".join(rng.choices(_WORDS, k=count))


def title(rng: random.Random) -> str:
    """Return a page's title, with the signs that titles have."""
    core = words(rng, rng.randrange(2, 6)).title()
    pair = f"{words(rng, 1).title()} & {core}"
    return rng.choice((core, core, core, pair, f"Women's {core}", f"{core} ({rng.randrange(9)}+)"))


def hex_digits(rng: random.Random, count: int) -> str:
    """Return so many hexadecimal digits."""
    return f"{rng.getrandbits(4 * count):0{count}x}"


def uuid(rng: random.Random) -> str:
    """Return a random UUID."""
    digits = hex_digits(rng, 32)
    return "-".join((digits[:8], digits[8:12], "4" + digits[13:16], "a" + digits[17:20], digits[20:]))


def sensor(rng: random.Random, count: int) -> str:
    """Return about `count` characters of something encrypted, in base64 for URLs."""
    return base64.urlsafe_b64encode(rng.randbytes(count * 3 // 4)).decode()


def page_url(rng: random.Random, host: str) -> str:
    """Return the address of a page of `host`, with a query more often than not."""
    path = rng.choice(
        (
            "/",
            f"/{words(rng, 1)}/{words(rng, 2).replace(' ', '-')}-p{rng.randrange(10**6)}.html",
            f"/c/{words(rng, 1)}/",
        )
    )
    query = {
        "q": words(rng, 2),
        "page": str(rng.randrange(1, 20)),
        "sort": rng.choice(("price", "-price", "new")),
        "utm_source": "newsletter",
        "utm_campaign": f"{words(rng, 1)}_{words(rng, 1)}-{rng.randrange(2020, 2027)}",
        "gclid": sensor(rng, 64),
        "range": f"{rng.randrange(9)}-{rng.randrange(10, 999)}",
    }
    chosen = rng.sample(sorted(query), rng.choice((0, 0, 1, 2, 3)))
    return f"https://{host}{path}" + (f"?{urlencode({name: query[name] for name in chosen})}" if chosen else "")


def json_item(rng: random.Random, host: str) -> bytes:
    """Return a call of a page's own API: an object with a list of items."""
    items = [
        {
            "id": rng.randrange(10**6), "sku": f"SH-{rng.randrange(10**5)}", "name": title(rng),
            "price": round(rng.uniform(1, 500), 2), "options": {"size": rng.choice("SML"), "note": words(rng, 4)},
            "url": page_url(rng, host),
        }
        for _ in range(rng.choice((1, 1, 2, 4, 12)))
    ]  # fmt: skip
    return json.dumps({"event": "view", "session": uuid(rng), "ts": rng.randrange(10**12), "items": items}).encode()


def form(rng: random.Random, host: str) -> bytes:
    """Return a form with a few fields, some of them free text."""
    fields = {
        "name": f"{words(rng, 1).title()} O'{words(rng, 1).title()}",
        "email": f"{words(rng, 1)}.{words(rng, 1)}@{host}",
        "message": ", ".join(words(rng, rng.randrange(3, 12)) for _ in range(rng.randrange(1, 6))) + "; thanks!",
        "csrf_token": hex_digits(rng, 40),
        "qty[0]": str(rng.randrange(9)),
        "redirect": page_url(rng, host),
        "data": json.dumps({"step": rng.randrange(5), "fields": [words(rng, 1), words(rng, 1)]}),
    }
    chosen = rng.sample(sorted(fields), rng.randrange(2, len(fields)))
    return urlencode({name: fields[name] for name in chosen}, quote_via=quote_plus).encode()


def beacon(rng: random.Random, host: str) -> bytes:
    """Return what a performance monitor sends: timings of many resources, as JSON called text."""
    entries = [
        {"n": page_url(rng, host), "t": rng.choice(("script", "img", "xmlhttprequest")), "s": rng.randrange(9000),
         "d": [round(rng.uniform(0, 900), 1) for _ in range(6)]}
        for _ in range(rng.choice((2, 4, 8, 20, 60)))
    ]  # fmt: skip
    return json.dumps({"page": page_url(rng, host), "title": title(rng), "id": uuid(rng), "entries": entries}).encode()


def recording(rng: random.Random, host: str) -> bytes:
    """Return what a session recorder sends: pieces of the page and what the visitor did, 5 to 150 kB."""
    events: list[dict[str, object]] = []
    for number in range(rng.choice((40, 80, 160, 600))):
        tag, name = rng.choice(_TAGS), words(rng, 1)
        style = f'class="{name} {words(rng, 1)}--active" style="width: {rng.randrange(999)}px"'
        piece = f"<{tag} {style}>{title(rng)}</{tag}>"
        css = f"#{name} > .{words(rng, 1)}:hover{{color:#{hex_digits(rng, 6)};background:url({page_url(rng, host)})}}"
        content = rng.choice((piece, piece, css, title(rng), f"{rng.randrange(1920)},{rng.randrange(1080)}"))
        events.append({"type": rng.randrange(6), "at": number * 17, "node": rng.randrange(5000), "data": content})
    return json.dumps({"session": uuid(rng), "seq": rng.randrange(90), "events": events}).encode()


def upload(rng: random.Random, host: str) -> bytes:
    """Return a form with a small picture."""
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="'
    picture = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + rng.randbytes(rng.choice((3000, 20_000)))
    return b"".join(
        (
            f'{head}caption"\r\n\r\n{title(rng)} on {host}\r\n'.encode(),
            f'{head}file"; filename="IMG_{rng.randrange(9999)}.png"\r\nContent-Type: image/png\r\n\r\n'.encode(),
            picture,
            f"\r\n--{_BOUNDARY}--\r\n".encode(),
        )
    )
