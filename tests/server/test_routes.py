"""POST /check and POST /check/batch on a real socket with the real model: verdicts, refusals, no harm from either."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import socket
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.server.conftest import NO_LIMIT, settings_of
from tests.server.live import exchange
from vedette.config import Settings
from vedette.errors import Overloaded
from vedette.inference.async_waf_service import AsyncWAFService
from vedette.server.app import create_app, share_of_limits

BAD = json.loads((Path(__file__).parent / "data" / "bad_requests.json").read_text())
KEYS = {
    "request_id", "action", "anomaly_score", "is_anomaly", "threshold", "attack_class", "findings", "degraded",
    "not_inspected", "model_version", "processing_time_ms",
}  # fmt: skip
SQLI = "1' UNION SELECT login, password FROM users-- -"
GOOD = {"method": "GET", "path": "/a", "headers": {}, "body": None}
EVIL = {"method": "GET", "path": f"/a?id={quote(SQLI)}"}


def test_a_harmless_request_is_let_through(client):
    answer = client.check("/api/users", query_params={"id": "123"}, headers={}, body=None)
    assert (answer.status, set(answer.json)) == (200, KEYS)
    assert (answer.json["action"], answer.json["is_anomaly"]) == ("allow", False)
    assert answer.headers["content-type"] == "application/json"


def test_a_hostile_request_is_blocked_with_the_reason(client):
    verdict = client.check("/api/users", query_params={"id": SQLI}).json
    assert (verdict["action"], verdict["is_anomaly"], verdict["attack_class"]) == ("block", True, "sqli")
    assert verdict["findings"][0]["name"] == "id"
    assert 0 <= verdict["threshold"] <= verdict["anomaly_score"] <= 1


@pytest.mark.parametrize("case", BAD, ids=lambda case: case["case"])
def test_bad_request(client, case):
    answer = client.post("/check", case["json"].encode())
    assert (answer.status, answer.error["code"], answer.error["field"]) == (case["status"], case["code"], case["field"])


@pytest.mark.parametrize(
    "fields",
    [
        {"method": "POST", "headers": {"Content-Type": "application/json"}, "body": "[" * 100_000},
        {"path": "/?" + "&".join(f"a{i}=1" for i in range(100_000))},
        {"path": "/%zz?a=%&b=%u12"},
        {"path": "/a\x00b?c=\x00"},
        {"path": ""},
        {"path": "*", "method": "OPTIONS"},
        {"headers": [["X-A", "1"]] * 2_000},
        {"headers": {"Cookie": "a=1;" * 20_000}},
        {"body": {"a": [None, True, 1.5]}, "method": "POST"},
        {"query_params": {"a": [1, None, True, "x"], "": ""}},
        {"query_params": ""},
        {"body": "a=1&b=\u0000", "method": "POST"},
    ],
    ids=lambda fields: str(fields)[:40],
)
def test_hostile_shapes_get_a_verdict(client, fields):
    answer = client.check(**fields)
    assert (answer.status, set(answer.json)) == (200, KEYS)
    assert client.check("/alive").json["is_anomaly"] is False


def test_deep_json_body_is_a_named_error(client):
    body = b'{"method": "POST", "path": "/", "body": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert client.post("/check", body).error["code"] in ("invalid_json", "invalid_request")


def test_the_callers_request_id_is_kept(client):
    answer = client.post("/check", GOOD, X_Request_Id="trace-4711.a:b_c")
    assert answer.json["request_id"] == "trace-4711.a:b_c"
    assert client.post("/check", b"{", X_Request_Id="trace-1").error["request_id"] == "trace-1"


@pytest.mark.parametrize("given", ["a b", "x" * 129, "<script>", '"', "a/b", ""])
def test_a_senseless_request_id_is_replaced(client, given):
    request_id = client.post("/check", GOOD, X_Request_Id=given).json["request_id"]
    assert request_id
    assert request_id != given


def test_a_batch_answers_in_order(client):
    answer = client.post("/check/batch", {"requests": [GOOD, EVIL] * 10})
    assert [verdict["is_anomaly"] for verdict in answer.json["results"]] == [False, True] * 10
    assert answer.json["processing_time_ms"] > 0


def test_an_empty_batch_has_an_empty_answer(client):
    assert client.post("/check/batch", {"requests": []}).json["results"] == []


def test_a_large_batch(client):
    results = client.post("/check/batch", {"requests": [{**GOOD, "path": f"/{i}"} for i in range(1024)]}).json[
        "results"
    ]
    assert len(results) == 1024
    assert len({verdict["request_id"] for verdict in results}) == 1024


@pytest.mark.parametrize("count", [1025, 60_000])
def test_a_batch_over_the_maximum(client, count):
    answer = client.post("/check/batch", {"requests": [GOOD] * count})
    assert (answer.status, answer.error["code"], answer.error["field"]) == (422, "invalid_request", "requests")


def test_a_batch_with_one_invalid_item_is_refused_whole(client):
    answer = client.post("/check/batch", {"requests": [GOOD, GOOD, GOOD, {"method": "GET"}]})
    assert (answer.status, answer.error["field"]) == (422, "requests[3].path")


def test_a_batch_with_a_hostile_item_gets_its_verdicts(client):
    deep = {"method": "POST", "path": "/", "headers": {"Content-Type": "application/json"}, "body": "[" * 100_000}
    answer = client.post("/check/batch", {"requests": [GOOD, deep, GOOD]})
    assert (answer.status, len(answer.json["results"])) == (200, 3)


def test_200_callers_at_once(client):
    with concurrent.futures.ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(lambda i: client.post("/check", EVIL if i % 2 else GOOD), range(400)))
    assert [answer.status for answer in answers] == [200] * 400
    assert [answer.json["is_anomaly"] for answer in answers] == [bool(i % 2) for i in range(400)]
    assert len({answer.json["request_id"] for answer in answers}) == 400


def test_large_bodies_and_small_ones_read_alike(client):
    for padding in (10, 100_000, 1_000_000):
        body = "pad=" + "A" * padding + "&id=" + quote(SQLI)
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        assert client.check("/", "POST", headers=headers, body=body).status == 200


@pytest.mark.parametrize(("fail_mode", "action"), [("open", "allow"), ("closed", "block")])
def test_a_missed_deadline_is_a_verdict(serving, fail_mode, action):
    client = serving({"waf_service": {"fail_mode": fail_mode}, **NO_LIMIT})
    verdict = client.check("/?q=" + "select+" * 20_000, deadline_ms=1).json
    assert (verdict["degraded"], verdict["action"]) == ("timed_out", action)
    assert verdict["anomaly_score"] is verdict["is_anomaly"] is None


@pytest.fixture
def small(serving):
    return serving({"waf_service": {"max_request_bytes": 4096}, "inference": {"rate_limiting": {"enabled": False}}})


def test_too_large_by_its_announced_length(small):
    answer = small.post("/check", b"x" * 4097)
    assert (answer.status, answer.error["code"]) == (413, "payload_too_large")
    assert small.check("/").status == 200


def test_too_large_is_answered_while_the_client_still_sends(small):
    """A client that writes 30 MB before it reads gets the answer all the same, and nothing of it is kept."""
    answer = small.post("/check", b"x" * 30_000_000)
    assert (answer.status, answer.error["code"]) == (413, "payload_too_large")
    assert answer.headers["connection"] == "close"


def test_too_large_in_chunks_without_a_length(small):
    conn = http.client.HTTPConnection("127.0.0.1", small.port, timeout=60)
    conn.request("POST", "/check", iter([b"x" * 1000] * 20_000), encode_chunked=True)
    answer = conn.getresponse()
    assert (answer.status, json.loads(answer.read())["error"]["code"]) == (413, "payload_too_large")
    conn.close()


def test_as_large_as_allowed(small):
    frame = len(b'{"method": "POST", "path": "/", "body": ""}')
    body = b'{"method": "POST", "path": "/", "body": "' + b"x" * (4096 - frame) + b'"}'
    assert small.post("/check", body).status == 200
    assert small.post("/check", body + b" ").status == 413


def test_a_waiting_client_is_told_not_to_send(small):
    with socket.create_connection(("127.0.0.1", small.port), timeout=60) as conn:
        conn.sendall(b"POST /check HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\nExpect: 100-continue\r\n\r\n")
        assert conn.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_a_client_that_leaves_in_the_middle_harms_nobody(client):
    for start in (b"", b'{"method": '):
        with socket.create_connection(("127.0.0.1", client.port)) as conn:
            conn.sendall(b"POST /check HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n" + start)
    assert client.check("/").status == 200


def test_a_content_coding_is_refused(client):
    answer = client.post("/check", GOOD, Content_Encoding="gzip")
    assert (answer.status, answer.error["code"]) == (415, "unsupported_encoding")


@pytest.mark.parametrize("path", ["/check", "/check/batch"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_a_wrong_verb(client, path, method):
    answer = client.call(method, path)
    assert (answer.status, answer.error["code"], answer.headers["allow"]) == (405, "method_not_allowed", "POST")


@pytest.mark.parametrize("path", ["/nope", "/check/", "/check/x", "/Check", "/docs/nope", "/docs/../../etc/passwd"])
def test_an_unknown_path(client, path):
    answer = client.get(path)
    assert (answer.status, answer.error["code"]) == (404, "not_found")


LIMITED = {"inference": {"rate_limiting": {"per_ip": 5, "max_requests_per_second": 1000}}}


def test_an_empty_batch_is_answered_under_limits_too(serving):
    assert serving(LIMITED).post("/check/batch", {"requests": []}).json["results"] == []


def refused(answer):
    if answer.status != 429:
        return False
    assert answer.error["code"] == "rate_limited"
    assert 1 <= int(answer.headers["retry-after"]) <= 2
    return True


def test_the_rate_limit_counts_each_check(serving):
    client = serving(LIMITED)
    answers = [client.post("/check", GOOD) for _ in range(40)]
    assert {answer.status for answer in answers} == {200, 429}
    assert [answer.status for answer in answers[:5]] == [200] * 5
    assert any(refused(answer) for answer in answers)
    assert client.get("/health").status == 200


def test_the_rate_limit_counts_the_length_of_a_batch(serving):
    client = serving(LIMITED)
    assert client.post("/check/batch", {"requests": [GOOD] * 5}).status == 200
    assert refused(client.post("/check", GOOD))


def test_a_batch_that_can_never_pass_says_so(serving):
    answer = serving(LIMITED).post("/check/batch", {"requests": [GOOD] * 7})
    assert (answer.status, answer.error["field"]) == (422, "requests")
    assert "5 requests a second" in answer.error["message"]


def test_the_rate_limit_tells_clients_of_a_listed_proxy_apart(serving):
    client = serving(LIMITED)
    for host in range(1, 20):
        assert client.post("/check", GOOD, X_Forwarded_For=f"198.51.100.{host}").status == 200


def test_a_client_cannot_choose_its_own_bucket(serving):
    client = serving({**LIMITED, "waf_service": {"trusted_proxies": []}})
    answers = [client.post("/check", GOOD, X_Forwarded_For=f"198.51.100.{host}") for host in range(1, 40)]
    assert any(refused(answer) for answer in answers)


class FullService(AsyncWAFService):
    """A service whose queue is full."""

    def check_at_once(self, *args, **kwargs):
        raise Overloaded("the queue is full", retry_after_s=2.5)


class BrokenService(AsyncWAFService):
    """A service with a defect."""

    def check_at_once(self, *args, **kwargs):
        raise ZeroDivisionError("secret detail")


def test_a_full_queue_is_503_with_retry_after(serving):
    answer = serving({}, FullService(settings=Settings())).post("/check", GOOD)
    assert (answer.status, answer.error["code"], answer.headers["retry-after"]) == (503, "overloaded", "3")


def test_a_defect_is_500_without_details(serving):
    answer = serving({}, BrokenService(settings=Settings())).post("/check", GOOD)
    assert (answer.status, answer.error["code"]) == (500, "internal_error")
    assert b"secret" not in answer.data


def post_bytes(body, *lines, version="1.1"):
    head = "".join(f"{line}\r\n" for line in (f"POST /check HTTP/{version}", "Host: a", *lines))
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize(("version", "lines"), [("1.1", ["Connection: close"]), ("1.0", [])])
def test_the_connection_ends_where_the_client_asks_for_it(client, version, lines):
    answer = exchange(client.port, post_bytes(json.dumps(GOOD).encode(), *lines, version=version))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\ndate: ")
    assert b"\r\nconnection: close" in head
    assert json.loads(body)["action"] == "allow"


def test_pipelined_checks_are_answered_in_order(client):
    good, evil = (post_bytes(json.dumps(item).encode()) for item in (GOOD, EVIL))
    last = post_bytes(json.dumps(GOOD).encode(), "Connection: close")
    answers = exchange(client.port, good + evil + good + evil + last)
    found = [part.split(b",")[0] for part in answers.split(b'"is_anomaly":')[1:]]
    assert found == [b"false", b"true", b"false", b"true", b"false"]


async def test_the_app_works_below_a_prefix_of_another_and_on_any_server():
    outer = Starlette(routes=[Mount("/waf", create_app(settings_of(NO_LIMIT)))])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(outer), base_url="http://test") as client:
        answer = await client.post("/waf/check", json=EVIL)
        assert (answer.status_code, answer.json()["action"]) == (200, "block")
        assert answer.headers["content-type"] == "application/json"
        assert (await client.get("/waf/check")).status_code == 405
        assert (await client.post("/waf/check/batch", json={"requests": [GOOD]})).status_code == 200


def test_refusals_are_counted(serving):
    client = serving({"waf_service": {"max_request_bytes": 4096}, **LIMITED})
    client.post("/check", b"{")
    client.post("/check", b"x" * 5000)
    for _ in range(20):
        client.post("/check", GOOD)
    counts = client.get("/metrics", Accept="application/json").json["requests"]["by_outcome"]
    assert counts["invalid"] == 1
    assert counts["too_large"] == 1
    assert counts["rate_limited"] >= 1
    assert counts["allow"] + counts["rate_limited"] == 20


def test_workers_without_a_store_share_the_limit():
    settings = settings_of({"waf_service": {"workers": 4}})
    limits = share_of_limits(settings)
    assert (limits.per_ip, limits.max_requests_per_second) == (1250, 2500)
    assert share_of_limits(settings_of({})) == Settings().inference.rate_limiting
