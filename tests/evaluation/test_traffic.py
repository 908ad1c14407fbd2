"""Made-up traffic: the same for the same seed, of the shape that it promises, and drawn evenly."""

from __future__ import annotations

from collections import Counter

from vedette.evaluation.traffic import browsing, drawn, made_up_attacks, mixed
from vedette.http_request import HTTPRequest, validate_headers, validate_method


def test_the_same_seed_gives_the_same_requests() -> None:
    assert browsing(50, seed=3) == browsing(50, seed=3)
    assert browsing(50, seed=3) != browsing(50, seed=4)
    assert made_up_attacks(30, seed=3) == made_up_attacks(30, seed=3)


def test_its_shape_is_that_of_recorded_requests() -> None:
    requests = browsing(4000)
    bodies = sorted(len(request.body) for request in requests if request.body)
    cookies = sorted(len(request.header("Cookie") or "") for request in requests if request.header("Cookie"))
    assert 0.1 < len(bodies) / len(requests) < 0.2
    assert bodies[-1] > 60_000
    assert 0.35 < len(cookies) / len(requests) < 0.55
    assert cookies[-1] > 2000
    assert len({request.header("Host") for request in requests}) > 30
    assert {request.method for request in requests} == {"GET", "POST"}


def test_requests_are_such_as_a_server_takes() -> None:
    for request in browsing(300) + made_up_attacks(100):
        validate_method(request.method)
        validate_headers(request.headers)
        assert request.target.startswith("/")
        assert " " not in request.target
    lengths = [(request.header("Content-Length"), len(request.body)) for request in browsing(300) if request.body]
    assert all(int(told or -1) == length for told, length in lengths)


def test_every_request_has_the_same_chance_to_be_drawn() -> None:
    all_of_them = [HTTPRequest("GET", f"/{number}") for number in range(10)]
    assert sorted(request.target for request in drawn(all_of_them, 20)) == [f"/{number}" for number in range(10)]
    counts = Counter(request.target for seed in range(2000) for request in drawn(all_of_them, 3, seed=seed))
    assert all(500 < counts[f"/{number}"] < 700 for number in range(10))


def test_attacks_come_from_browsers() -> None:
    browser = HTTPRequest("GET", "/", (("Host", "a.example"), ("Cookie", "sid=1"), ("Content-Type", "text/plain")))
    attack = HTTPRequest("POST", "/?q=%3Cscript%3E", (("Host", "b.example"),), b"x")
    requests, hostile = mixed([browser] * 9, [attack])
    (place,) = hostile
    assert requests[place].headers == (("Cookie", "sid=1"), ("Host", "b.example"))
    assert (requests[place].target, requests[place].body) == (attack.target, attack.body)
    assert len(requests) == 10
