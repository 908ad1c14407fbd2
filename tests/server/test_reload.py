"""The model is exchanged under load, by every road, without a failed request; what is broken is refused."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import shutil
import signal
import tempfile
import threading
import time
import weakref
from functools import cache
from pathlib import Path

import pytest

from tests.server.conftest import Client, settings_of
from tests.server.live import running
from tests.tiny_bundle import tiny_bundle
from vedette.bundle import MANIFEST, VOCABULARY, WEIGHTS, default_bundle_path, load_bundle
from vedette.config import Settings
from vedette.errors import BundleError, ConfigError, VedetteError
from vedette.inference.async_waf_service import AsyncWAFService
from vedette.server import reload as reload_module
from vedette.server.app import create_app
from vedette.server.reload import Reloader, watch

TOKEN = "a-token-of-some-length"
QUIET = {
    "VEDETTE_WAF_SERVICE__EVENT_LOG__ENABLED": "false",
    "VEDETTE_INFERENCE__RATE_LIMITING__ENABLED": "false",
    "VEDETTE_WAF_SERVICE__ADMIN_TOKEN": TOKEN,
    # no verdict may be missed for want of time: what is asserted is who answered
    "VEDETTE_WAF_SERVICE__TIMEOUT": "60",
    "VEDETTE_INFERENCE__ASYNC__TIMEOUT": "60",
}


def first():
    return tiny_bundle()


@cache
def second():
    """The same under another name, and so of another version."""
    path = Path(tempfile.mkdtemp(prefix="vedette-test-")) / "other"
    shutil.copytree(first().path, path)
    manifest = json.loads((path / MANIFEST).read_text())
    manifest["name"], manifest["version"] = "other", first().version.replace("tiny-", "other-")
    (path / MANIFEST).write_text(json.dumps(manifest))
    return load_bundle(path)


def put(bundle, where):
    """Give `where` the files of `bundle`, one by one, the manifest first as `cp` does it."""
    where.mkdir(exist_ok=True)
    for name in (MANIFEST, VOCABULARY, *WEIGHTS):
        shutil.copyfile(bundle.path / name, where / name)


def replace(bundle, where):
    """Put a whole directory in the place of another, by two renames."""
    fresh, old = where.with_name("fresh"), where.with_name("old")
    shutil.copytree(bundle.path, fresh)
    where.rename(old)
    fresh.rename(where)
    shutil.rmtree(old)


class Hammer:
    """Callers that send checks without a pause, and keep status and model version of every answer in order."""

    def __init__(self, port, callers=4):
        self.port = port
        self.answers = []
        self.errors = []
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self._call, args=(n,)) for n in range(callers)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        self.wait_for(lambda: len(self.answers) > 50)
        return self

    def __exit__(self, *_):
        self.ending.set()
        for thread in self.threads:
            thread.join(60)

    def _call(self, number):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        count = 0
        while not self.ending.is_set():
            count += 1
            large = "y" * 20_000 if count % 50 == 0 else ""
            body = json.dumps({"method": "POST", "path": f"/?q=%27{number}<{count}>", "body": f"'{count} ;{large}"})
            try:
                connection.request("POST", "/check", body)
                answer = connection.getresponse()
                verdict = json.loads(answer.read())
                self.answers.append((answer.status, verdict.get("degraded"), verdict.get("model_version")))
            except OSError as error:
                self.errors.append(error)
                return

    def wait_for(self, condition):
        for _ in range(1200):
            if condition() or self.errors:
                return
            time.sleep(0.05)
        raise AssertionError(self.answers[-1:])

    def wait_until_all_say(self, version, count=60):
        def said():
            latest = self.answers[-count:]
            return len(latest) == count and {answer[2] for answer in latest} == {version}

        self.wait_for(said)

    @property
    def versions(self):
        return {version for _, _, version in self.answers}

    @property
    def outcomes(self):
        return {(status, degraded) for status, degraded, _ in self.answers}


def port_of(service):
    service.get("/ready")
    return int(service.url.rpartition(":")[2])


def admin(port, token=TOKEN):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return Client(port).call("POST", "/admin/reload", b"", **headers)


def reloads(port):
    """Outcome -> count, from the metrics."""
    text = Client(port).get("/metrics").data.decode()
    lines = [line for line in text.splitlines() if line.startswith("vedette_model_reloads_total{")]
    return {line.split('"')[1]: float(line.split()[-1]) for line in lines}


# -- a real process ------------------------------------------------------------------------------------------------


def by_hangup(service, bundle, model):
    replace(bundle, model)
    service.process.send_signal(signal.SIGHUP)


def by_admin_call(service, bundle, model):
    replace(bundle, model)
    answer = admin(port_of(service))
    assert (answer.status, answer.json) == (200, {"model_version": bundle.version, "changed": True})


def by_rename(service, bundle, model):
    replace(bundle, model)


def by_copy(service, bundle, model):
    put(bundle, model)


def by_link(service, bundle, model):
    model.with_name("next").symlink_to(bundle.path, target_is_directory=True)
    model.with_name("next").rename(model)


@pytest.mark.parametrize(
    ("swap", "watching"),
    [(by_hangup, False), (by_admin_call, False), (by_rename, True), (by_copy, True), (by_link, True)],
)
def test_a_swap_under_load_fails_no_request(started, tmp_path, swap, watching):
    model = tmp_path / "model"
    if swap is by_link:
        model.symlink_to(first().path, target_is_directory=True)
    else:
        put(first(), model)
    service = started("--model", str(model), **QUIET, VEDETTE_WAF_SERVICE__WATCH_MODEL=str(watching).lower())
    with Hammer(port_of(service)) as hammer:
        assert hammer.versions == {first().version}
        swap(service, second(), model)
        hammer.wait_until_all_say(second().version)
        if swap in (by_hangup, by_admin_call):
            swap(service, first(), model)
            hammer.wait_until_all_say(first().version)
    assert hammer.errors == []
    assert hammer.outcomes == {(200, None)}
    assert hammer.versions == {first().version, second().version}
    assert reloads(port_of(service))["swapped"] == (2 if swap in (by_hangup, by_admin_call) else 1)
    assert service.stop() == 0
    assert sum('"model swapped"' in line for line in service.lines) >= 1
    assert not any("Traceback" in line for line in service.lines)


def test_a_broken_bundle_is_refused_and_the_old_one_serves_on(started, tmp_path):
    model = tmp_path / "model"
    put(first(), model)
    service = started("--model", str(model), **QUIET)
    port = port_of(service)
    with Hammer(port) as hammer:
        for break_it, reason in (
            (lambda: (model / VOCABULARY).write_text("{}"), VOCABULARY),
            (lambda: (model / VOCABULARY).unlink(), "is missing"),
            (lambda: (model / MANIFEST).write_text("nonsense"), "is not a bundle manifest"),
            (lambda: shutil.rmtree(model), "model"),
        ):
            break_it()
            answer = admin(port)
            assert (answer.status, answer.error["code"]) == (409, "model_refused")
            assert reason in answer.error["message"]
        service.process.send_signal(signal.SIGHUP)
        hammer.wait_for(lambda: reloads(port).get("refused") == 5)
        put(second(), model)
        assert hammer.versions == {first().version}
        assert admin(port).json["changed"] is True
        hammer.wait_until_all_say(second().version)
    assert hammer.errors == []
    assert hammer.outcomes == {(200, None)}
    assert reloads(port) == {"refused": 5.0, "swapped": 1.0, "unchanged": 0.0}
    assert service.stop() == 0
    assert sum('"model refused"' in line for line in service.lines) == 5


@pytest.mark.parametrize("road", ["hangup", "admin"])
def test_every_worker_swaps_and_none_is_restarted(started, tmp_path, road):
    model = tmp_path / "model"
    put(first(), model)
    service = started("--model", str(model), "--workers", "2", **QUIET)
    port = port_of(service)
    wait_for_workers(service.process.pid, 2)
    with Hammer(port, callers=8) as hammer:
        before = children(service.process.pid)
        replace(second(), model)
        if road == "hangup":
            service.process.send_signal(signal.SIGHUP)
        else:
            assert admin(port).json["model_version"] == second().version
        hammer.wait_until_all_say(second().version, count=200)
        assert children(service.process.pid) == before
    assert hammer.errors == []
    assert hammer.outcomes == {(200, None)}
    assert hammer.versions == {first().version, second().version}
    assert service.stop() == 0
    assert sum('"model swapped"' in line for line in service.lines) == 2


def test_a_hangup_does_not_end_a_worker_that_is_still_starting(started, tmp_path):
    model = tmp_path / "model"
    put(first(), model)
    service = started("--model", str(model), "--workers", "2", **QUIET)
    for _ in range(40):  # from before the workers exist until they serve
        service.process.send_signal(signal.SIGHUP)
        time.sleep(0.05)
    assert service.get("/ready")[0] == 200
    wait_for_workers(service.process.pid, 2)
    assert service.post("/check", {"method": "GET", "path": "/"})[1]["model_version"] == first().version
    assert service.stop() == 0
    assert not any("died" in line for line in service.lines)


def children(pid):
    """Process ids of the children, in order: workers keep theirs unless they are restarted."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sorted(int(child) for task in tasks for child in (task / "children").read_text().split())


def wait_for_workers(pid, count):
    """Wait until so many children handle SIGHUP, which they do once they serve."""
    for _ in range(600):
        masks = [Path(f"/proc/{child}/status").read_text() for child in children(pid)]
        if sum(handles(status, signal.SIGHUP) for status in masks) == count:
            return
        time.sleep(0.1)
    raise AssertionError(masks)


def handles(status, number):
    masks = dict(line.split(":\t") for line in status.splitlines() if line.startswith(("SigCgt", "SigBlk")))
    bit = 1 << (number - 1)
    return bool(int(masks["SigCgt"], 16) & bit) and not int(masks["SigBlk"], 16) & bit


# -- the admin call ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded():
    settings = settings_of({"waf_service": {"admin_token": TOKEN}})
    with running(create_app(settings), settings) as port:
        yield port


@pytest.mark.parametrize("given", [None, "", "wrong", TOKEN[:-1], TOKEN + "x", "tökén"])
def test_the_call_needs_the_token(guarded, given):
    answer = admin(guarded, given)
    assert (answer.status, answer.error["code"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert TOKEN not in answer.data.decode()


def test_the_same_model_is_not_swapped(guarded):
    answer = admin(guarded)
    assert answer.status == 200
    assert answer.json == {"model_version": Client(guarded).check("/").json["model_version"], "changed": False}


def test_without_a_token_the_call_does_not_exist(client):
    answer = client.call("POST", "/admin/reload", b"", Authorization="Bearer None")
    assert (answer.status, answer.error["code"]) == (404, "not_found")


def test_a_token_never_shows(tmp_path):
    assert TOKEN not in repr(settings_of({"waf_service": {"admin_token": TOKEN}}))
    from vedette.config_loader import load_settings

    with pytest.raises(ConfigError) as refusal:
        load_settings(environ={"VEDETTE_WAF_SERVICE__ADMIN_TOKEN": "short-secret"})
    assert "waf_service.admin_token" in str(refusal.value)
    assert "short-secret" not in str(refusal.value)


# -- the service in process ------------------------------------------------------------------------------------------


def over(model, **waf):
    return AsyncWAFService(
        settings=Settings.model_validate(
            {"waf_service": {"model_path": str(model), "event_log": {"enabled": False}, **waf}}
        )
    )


async def test_the_threshold_follows_the_model(tmp_path):
    model = tmp_path / "model"
    put(first(), model)
    async with over(model, false_positive_budget=300) as service:
        before = service.threshold
        replace(load_bundle(default_bundle_path()), model)
        assert await service.reload() is True
        assert service.threshold != before
        assert (await service.check_request_async("GET", "/")).threshold == service.threshold


async def test_two_reloads_at_once_follow_one_another(tmp_path):
    model = tmp_path / "model"
    put(first(), model)
    async with over(model) as service:
        replace(second(), model)
        assert sorted(await asyncio.gather(*(service.reload() for _ in range(5)))) == [False] * 4 + [True]


async def test_a_backend_that_fails_is_a_named_refusal(tmp_path, monkeypatch):
    from vedette.inference import async_waf_service

    def broken(settings):
        raise RuntimeError("no such operator")

    async with over(first().path) as service:
        reloader = Reloader(service)
        monkeypatch.setattr(async_waf_service, "load_engine", broken)
        with pytest.raises(VedetteError, match="no such operator"):
            await reloader.reload("test")
        assert (await service.check_request_async("GET", "/?q=%27")).model_version == first().version


async def test_an_engine_goes_without_the_garbage_collector(tmp_path):
    """So it goes although it was frozen at the start."""
    import gc

    model = tmp_path / "model"
    put(first(), model)
    async with over(model) as service:
        await service.check_request_async("GET", "/?q=%27")
        gone = weakref.ref(service._engine), weakref.ref(service._engine.memory)
        gc.collect()
        gc.freeze()
        gc.disable()
        try:
            replace(second(), model)
            await service.reload()
            await service.check_request_async("GET", "/?q=%27")
            assert [ref() for ref in gone] == [None, None]
        finally:
            gc.enable()
            gc.unfreeze()


def test_memory_does_not_grow_with_swaps(started, tmp_path):
    model = tmp_path / "model"
    put(first(), model)
    service = started("--model", str(model), **QUIET)
    port = port_of(service)
    grown = []
    for round_ in range(26):
        replace(first() if round_ % 2 else second(), model)
        assert admin(port).json["changed"] is True
        for n in range(20):
            service.post("/check", {"method": "GET", "path": f"/?q=%27{round_}<{n}>"})
        grown.append(resident(service.process.pid))
    assert grown[-1] - grown[5] < 4 * 2**20, grown
    assert service.stop() == 0


def resident(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# -- watching --------------------------------------------------------------------------------------------------------


async def test_a_bundle_that_is_still_being_written_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(reload_module, "LOOK_EVERY_S", 0.02)
    model = tmp_path / "model"
    put(first(), model)
    calls = []

    async def changed():
        calls.append(1)

    watching = asyncio.create_task(watch(model, changed))
    while not calls:
        await asyncio.sleep(0.01)
    writing = asyncio.get_running_loop().time() + 0.5
    size = 0
    with (model / WEIGHTS[0]).open("ab", buffering=0) as file:
        looks = count_looks(monkeypatch)
        while asyncio.get_running_loop().time() < writing or len(looks) < 10:
            # grow the file before each look, so that no two of them are the same
            if len(looks) > size:
                size = len(looks)
                file.write(b"x")
            await asyncio.sleep(0)
    assert len(calls) == 1
    while len(calls) == 1:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    assert len(calls) == 2
    watching.cancel()


def count_looks(monkeypatch):
    """A list that gets longer with each look at the directory, after it."""
    looks = []
    look = reload_module._state_of

    def counted(bundle):
        state = look(bundle)
        looks.append(state)
        return state

    monkeypatch.setattr(reload_module, "_state_of", counted)
    return looks


@pytest.mark.parametrize("path", [None, "nowhere", str(Path(__file__))])
def test_only_a_directory_can_be_watched(path):
    with pytest.raises(ConfigError, match=r"waf_service\.watch_model"):
        create_app(settings_of({"waf_service": {"watch_model": True, "model_path": path}}))


async def test_a_missing_bundle_is_an_error_that_names_it(tmp_path):
    model = tmp_path / "model"
    put(first(), model)
    async with over(model) as service:
        shutil.rmtree(model)
        with pytest.raises(BundleError):
            await service.reload()
