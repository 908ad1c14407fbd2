"""Scan, evaluate and serve on a real Ray, held against what one process does.

`make test-system` runs them in an environment of their own (.venv-ray). One cluster of two cores serves most of them.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from vedette.config import Settings
from vedette.errors import ConfigError, MalformedInput
from vedette.evaluation.evaluate import evaluate
from vedette.evaluation.evaluate_ray import evaluate_on_ray
from vedette.evaluation.records import read_records
from vedette.inference.engine import Engine, load_engine
from vedette.inference.on_ray import in_order, ray_cluster, spread
from vedette.inference.scan import ScanProgress, scan
from vedette.inference.scan_ray import scan_on_ray
from vedette.ingestion.parts import cut
from vedette.ingestion.sources import RequestSource

HAS_RAY = importlib.util.find_spec("ray") is not None  # imported later: it reads the environment when it is
pytestmark = [pytest.mark.system, pytest.mark.skipif(not HAS_RAY, reason="needs vedette[ray]: make test-system")]

ROOT = Path(__file__).parents[2]
SETTINGS = Settings()
ATTACKS = ("1' UNION SELECT login,password FROM users-- -", "<script>alert(1)</script>", "../../../../etc/passwd")
LIMIT_S = START_S = 240  # nothing takes half a minute on an idle machine
VEDETTE = str(Path(sys.executable).parent / "vedette")
TOKEN = "0123456789abcdef" * 4


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Start a Ray cluster of its own; yield its address."""
    port, place = free_port(), tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # Ray's socket paths must be short
    given = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": "src"}
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--port={port}"]
    ray += ["--num-cpus=2", "--include-dashboard=false", f"--temp-dir={place}", "--object-store-memory=100000000"]
    with open(f"{place}/log", "wb") as log:
        head = subprocess.Popen(ray, stdout=log, stderr=log, start_new_session=True, cwd=ROOT)
    try:
        until = time.monotonic() + START_S
        while b"Ray runtime started" not in Path(f"{place}/log").read_bytes():
            assert head.poll() is None, Path(f"{place}/log").read_text()
            assert time.monotonic() < until, Path(f"{place}/log").read_text()
            time.sleep(0.2)
        yield f"127.0.0.1:{port}"
    finally:
        end(head)
        shutil.rmtree(place, ignore_errors=True)
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def end(process: subprocess.Popen[Any]) -> None:
    """End a process and the group that it leads."""
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)


def vedette(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a person does."""
    return subprocess.run(
        [VEDETTE, *arguments],
        capture_output=True, text=True, timeout=LIMIT_S, check=False, env={**os.environ, **environ},
    )  # fmt: skip


def write_log(path: Path, lines: int, seed: int) -> Path:
    rng = random.Random(seed)
    with open(path, "w") as file:
        for n in range(lines):
            value = rng.choice(ATTACKS) if rng.random() < 0.05 else f"shoes {rng.randrange(50)}"
            text = (
                f"192.0.2.{rng.randrange(250)} - - [12/Mar/2026:{n % 24:02d}:{rng.randrange(60):02d}:01 +0000] "
                f'"GET /p/{rng.randrange(20)}?q={quote(value)} HTTP/1.1" {rng.choice([200, 404])} 512 "-" "ua"\n'
            )
            file.write(rng.choice([text] * 60 + ["garbage\n", "\n"]))
    return path


def write_records(path: Path, records: int) -> Path:
    rng = random.Random(records)
    labels = [("benign", None), ("attack", "sqli"), ("attack", "probe"), ("ambiguous", None)]
    with open(path, "w") as file:
        for n in range(records):
            label, attack_class = rng.choice(labels)
            value = rng.choice(ATTACKS) if label == "attack" else f"shoes {rng.randrange(50)}"
            record = {"id": str(n), "label": label, "class": attack_class, "method": "GET", "headers": {}, "body": None}
            file.write(json.dumps({**record, "url": f"/?q={quote(value)}", "site": f"site {n % 3}"}) + "\n")
    return path


def test_a_scan_in_parts_is_the_scan(cluster: str, tmp_path: Path) -> None:
    log = write_log(tmp_path / "access.log", 3000, 1)
    packed = tmp_path / "access.log.1.gz"
    packed.write_bytes(gzip.compress(log.read_bytes()))
    (tmp_path / "cut.gz").write_bytes(packed.read_bytes()[:9000])
    (tmp_path / "noise").write_text("nothing like a log\n")
    files = [log, packed, tmp_path / "cut.gz", tmp_path / "noise", log]
    engine, heard = load_engine(SETTINGS), list[ScanProgress]()
    parts = cut(files, part_bytes=40_000)
    assert len(parts) > 12
    spread_out = scan_on_ray(SETTINGS, engine, parts, address=cluster, on_progress=heard.append).to_dict()
    alone = scan(load_engine(SETTINGS), [RequestSource(path) for path in files]).to_dict()
    for clock in ("elapsed_s", "requests_per_s"):
        del spread_out[clock], alone[clock]
    assert alone["anomalies"] > 300
    assert alone["unreadable_lines"] > 50
    assert spread_out == alone
    assert len(heard) == len(parts)
    assert heard[-1].position == heard[-1].size == sum(path.stat().st_size for path in files)
    assert heard[-1].requests == alone["requests"]


def test_an_evaluation_in_parts_is_the_evaluation(cluster: str, tmp_path: Path) -> None:
    records = write_records(tmp_path / "records.jsonl", 1500)
    packed = tmp_path / "records.jsonl.gz"
    packed.write_bytes(gzip.compress(records.read_bytes()))
    engine = load_engine(SETTINGS)
    parts = cut([records, packed], format="jsonl", part_bytes=40_000)
    assert len(parts) > 4
    spread_out = evaluate_on_ray(SETTINGS, engine, parts, address=cluster).details()
    alone = evaluate(read_records([records, packed]), load_engine(SETTINGS)).details()
    assert spread_out.pop("cpu_us_per_request") > 0
    del alone["cpu_us_per_request"]
    assert alone["tpr"] > 0.9
    assert spread_out == alone


def test_an_actor_keeps_its_engine(cluster: str) -> None:
    def who(engine: Engine, item: int) -> tuple[int, int, int]:
        time.sleep(0.05)
        return item, os.getpid(), id(engine)

    version = load_engine(SETTINGS).model_version
    with ray_cluster(cluster):
        answers = list(in_order(spread(SETTINGS, version, range(60), who)))
    assert [item for item, _, _ in answers] == list(range(60))
    engines = {(pid, engine) for _, pid, engine in answers}
    assert len({pid for pid, _ in engines}) == len(engines) <= 2
    assert os.getpid() not in {pid for pid, _ in engines}


def test_a_node_with_another_model_is_told(cluster: str) -> None:
    with ray_cluster(cluster), pytest.raises(ConfigError, match=r"has the model vedette-.*, here it is other"):
        list(spread(SETTINGS, "other", [1], lambda engine, item: item))


def test_a_file_that_a_node_does_not_see_is_told(cluster: str, tmp_path: Path) -> None:
    log = write_log(tmp_path / "access.log", 10, 1)
    parts = cut([log])
    log.unlink()
    with pytest.raises(MalformedInput, match=r"access\.log: No such file .*on node .*every node has to see the files"):
        scan_on_ray(SETTINGS, load_engine(SETTINGS), parts, address=cluster)
    with pytest.raises(MalformedInput, match="on node"):
        evaluate_on_ray(SETTINGS, load_engine(SETTINGS), parts, address=cluster)


def test_a_bad_record_ends_it_by_line(cluster: str, tmp_path: Path) -> None:
    records = write_records(tmp_path / "records.jsonl", 300)
    lines = records.read_text().splitlines()
    records.write_text("\n".join([*lines[:200], "{]", *lines[200:]]))
    parts = cut([records], format="jsonl", part_bytes=5000)
    assert len(parts) > 4
    with pytest.raises(MalformedInput) as error:
        evaluate_on_ray(SETTINGS, load_engine(SETTINGS), parts, address=cluster)
    assert str(error.value) == f"{records}:201: not valid JSON"


def test_the_command_line(cluster: str, tmp_path: Path) -> None:
    log = write_log(tmp_path / "access.log", 200, 2)
    done = vedette("scan", "--json", "--engine", "ray", "--ray-address", cluster, str(log))
    assert (done.returncode, done.stderr) == (0, "")
    alone = json.loads(vedette("scan", "--json", str(log)).stdout)
    found = json.loads(done.stdout)
    assert {**found, "elapsed_s": 0, "requests_per_s": 0} == {**alone, "elapsed_s": 0, "requests_per_s": 0}
    records = write_records(tmp_path / "records.jsonl", 100)
    done = vedette("evaluate", "--json", "--engine", "ray", str(records), RAY_ADDRESS=cluster)
    assert (done.returncode, done.stderr) == (0, "")
    alone = json.loads(vedette("evaluate", "--json", str(records)).stdout)
    assert {**json.loads(done.stdout), "cpu_us_per_request": 0} == {**alone, "cpu_us_per_request": 0}


def test_no_cluster_there(tmp_path: Path) -> None:
    log = write_log(tmp_path / "access.log", 10, 1)
    done = vedette("scan", "--engine", "ray", "--ray-address", f"127.0.0.1:{free_port()}", str(log))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("vedette: --ray-address: no Ray cluster at 127.0.0.1:")


def test_a_ray_of_its_own_ends_with_ctrl_c(tmp_path: Path) -> None:
    log = write_log(tmp_path / "access.log", 200_000, 3)
    command = [VEDETTE, "scan", "--engine", "ray", str(log)]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, env=environ
    )
    try:
        until = time.monotonic() + START_S
        while not workers(running.pid):
            assert running.poll() is None
            assert time.monotonic() < until
            time.sleep(0.2)
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does
        out, err = running.communicate(timeout=60)
    finally:
        if running.poll() is None:
            end(running)
    assert (running.returncode, out, err) == (130, b"", b"")
    until = time.monotonic() + 30
    while workers(running.pid):
        assert time.monotonic() < until, "Ray was left behind"
        time.sleep(0.2)


def workers(leader: int) -> list[str]:
    """Return the Ray workers in the session of process `leader`."""
    listed = subprocess.run(["ps", "-s", str(leader), "-o", "args="], capture_output=True, text=True, check=False)
    return [line for line in listed.stdout.splitlines() if line.startswith("ray::MapWorker")]


@pytest.fixture(scope="module")
def serve(cluster: str) -> Iterator[str]:
    """Serve by deploy/ray_serve.py on the cluster; yield the URL."""
    port = free_port()
    environ = {**os.environ, "RAY_ADDRESS": cluster, "VEDETTE_INFERENCE__RATE_LIMITING__ENABLED": "false"}
    with tempfile.TemporaryFile() as log:
        command = [sys.executable, "deploy/ray_serve.py", str(port)]
        served = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=environ, cwd=ROOT)
        url = f"http://127.0.0.1:{port}"
        try:
            until = time.monotonic() + START_S
            while True:
                assert served.poll() is None
                assert time.monotonic() < until, "Ray Serve did not start"
                try:
                    if call(f"{url}/ready")[0] == 200:
                        break
                except (OSError, ValueError):  # nobody listens; Ray's proxy does, but knows of no application yet
                    pass
                time.sleep(0.3)
            yield url
        finally:
            end(served)


def call(url: str, body: Any = None) -> tuple[int, Any]:
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def request(value: str) -> dict[str, Any]:
    return {"method": "GET", "path": f"/?q={quote(value)}", "headers": {}, "body": None}


def test_ray_serve_keeps_the_contract(serve: str) -> None:
    status, ready = call(f"{serve}/ready")
    assert (status, ready["status"]) == (200, "ready")
    assert call(f"{serve}/health")[0] == 200
    status, verdict = call(f"{serve}/check", request(ATTACKS[1]))
    assert (status, verdict["action"], verdict["attack_class"]) == (200, "block", "xss")
    assert verdict["model_version"] == ready["model_version"]
    status, verdict = call(f"{serve}/check", request("shoes"))
    assert (status, verdict["action"], verdict["is_anomaly"]) == (200, "allow", False)
    batch = {"requests": [request("shoes"), request(ATTACKS[0])] * 20}
    status, answer = call(f"{serve}/check/batch", batch)
    assert status == 200
    assert [item["is_anomaly"] for item in answer["results"]] == [False, True] * 20
    for path, body, expected in (
        ("/nope", None, 404),
        ("/check", None, 405),
        ("/check", b"{", 400),
        ("/check", {"method": "GET"}, 422),
        ("/check", b" " * (17 * 1024 * 1024), 413),
    ):
        status, answer = call(f"{serve}{path}", body)
        assert (status, set(answer["error"])) == (expected, {"code", "message", "field", "request_id"})
    assert "/check/batch" in call(f"{serve}/openapi.json")[1]["paths"]


def test_ray_serve_answers_many_at_once(serve: str) -> None:
    with ThreadPoolExecutor(64) as pool:
        answers = list(
            pool.map(lambda n: call(f"{serve}/check", request(ATTACKS[0] if n % 2 else f"a{n}")), range(200))
        )
    assert [(status, answer["is_anomaly"]) for status, answer in answers] == [(200, bool(n % 2)) for n in range(200)]
