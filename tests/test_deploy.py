"""deploy/ tells the truth: settings, routes, files and times in it are those of the service."""

from __future__ import annotations

import ast
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from vedette.config import Settings
from vedette.config_keys import keys
from vedette.config_loader import load_settings
from vedette.server.app import create_app

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
CONTAINERFILE = (DEPLOY / "Containerfile").read_text()
MANIFEST = {item["kind"]: item for item in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())}
POD = MANIFEST["Deployment"]["spec"]["template"]["spec"]
CONTAINER = POD["containers"][0]
PROBES = [CONTAINER[name] for name in ("startupProbe", "readinessProbe", "livenessProbe")]
DRAIN_S = Settings().waf_service.drain_timeout
PAGES = [*DEPLOY.iterdir(), ROOT / "docs" / "deployment.md"]


def instructions(name: str) -> list[str]:
    """Return the arguments of every `name` instruction of the Containerfile, continued lines joined."""
    return re.findall(rf"^{name} (.*)$", CONTAINERFILE.replace("\\\n", ""), re.MULTILINE)


def routes() -> set[str]:
    """Return the paths that the application answers to GET."""
    app = create_app(Settings())
    return {str(getattr(route, "path", "")) for route in app.routes} | set(app.openapi()["paths"])


@pytest.mark.parametrize("page", [page for page in PAGES if page.is_file()], ids=lambda page: page.name)
def test_every_variable_is_a_setting(page: Path) -> None:
    known = {key.env for key in keys()}
    assert set(re.findall(r"VEDETTE_[A-Z_]*[A-Z]", page.read_text())) - known == set()


def test_the_manifest_holds_what_a_service_needs() -> None:
    assert set(MANIFEST) == {"ConfigMap", "Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler"}
    labels = MANIFEST["Deployment"]["spec"]["template"]["metadata"]["labels"]
    for selector in (
        MANIFEST["Deployment"]["spec"]["selector"]["matchLabels"],
        MANIFEST["Service"]["spec"]["selector"],
        MANIFEST["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    target = MANIFEST["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", MANIFEST["Deployment"]["metadata"]["name"])
    assert "replicas" not in MANIFEST["Deployment"]["spec"]


def test_its_settings_load(tmp_path: Path) -> None:
    files = {}
    for name, text in MANIFEST["ConfigMap"]["data"].items():
        files[name] = tmp_path / name
        files[name].write_text(text)
    settings = load_settings(files["config.yaml"], files["inference.yaml"], {}, {})
    assert settings.inference.async_.max_workers == 2
    assert settings.waf_service.drain_timeout == DRAIN_S


def test_its_files_lie_where_the_service_looks() -> None:
    (workdir,) = [path for path in instructions("WORKDIR") if path.startswith("/etc")]
    mounted = {mount["mountPath"]: mount["name"] for mount in CONTAINER["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in POD["volumes"]}
    config = volumes[mounted[f"{workdir}/config"]]["configMap"]["name"]
    assert config == MANIFEST["ConfigMap"]["metadata"]["name"]
    assert set(MANIFEST["ConfigMap"]["data"]) == {path.name for path in (ROOT / "config").iterdir()}


def test_probes_ask_real_routes_at_the_port() -> None:
    assert [probe["httpGet"]["path"] for probe in PROBES] == ["/health", "/ready", "/health"]
    assert {probe["httpGet"]["path"] for probe in PROBES} <= routes()
    (port,) = CONTAINER["ports"]
    assert {probe["httpGet"]["port"] for probe in PROBES} == {port["name"]}
    assert port["containerPort"] == Settings().waf_service.port
    assert MANIFEST["Service"]["spec"]["ports"][0]["targetPort"] == port["name"]
    annotations = MANIFEST["Deployment"]["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] in routes()
    assert annotations["prometheus.io/port"] == str(port["containerPort"])


def test_a_pod_that_leaves_has_time_for_what_is_in_flight() -> None:
    command, seconds = CONTAINER["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep"
    assert POD["terminationGracePeriodSeconds"] > float(seconds) + DRAIN_S
    readiness = CONTAINER["readinessProbe"]
    assert readiness["timeoutSeconds"] >= Settings().waf_service.timeout
    assert MANIFEST["Deployment"]["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_a_pod_may_do_nothing_but_serve() -> None:
    security: dict[str, Any] = CONTAINER["securityContext"]
    assert security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["automountServiceAccountToken"] is False
    (user,) = instructions("USER")
    assert user == f"{POD['securityContext']['runAsUser']}:{POD['securityContext']['runAsGroup']}"


def test_the_image_is_made_of_what_is_there() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for line in instructions("COPY"):
        sources = [word for word in shlex.split(line) if not word.startswith("--")][:-1]
        if "--from=build" in line:
            continue
        assert [name for name in sources if not (ROOT / name).exists() or f"!{name}" not in ignored] == []
    assert len(instructions("FROM")) == 2
    assert {line.split()[0] for line in instructions("FROM")} == {"docker.io/library/python:3.11-slim"}


def test_the_image_serves_and_says_how_it_is() -> None:
    (entry,), (command,) = instructions("ENTRYPOINT"), instructions("CMD")
    assert [*json.loads(entry), *json.loads(command)] == ["vedette", "serve", "--host", "0.0.0.0"]
    assert CONTAINER["args"] == json.loads(command)
    (health,) = instructions("HEALTHCHECK")
    python, flag, code = json.loads(health.partition(" CMD ")[2])
    assert (python, flag) == ("python", "-c")
    ast.parse(code)
    (path,) = re.findall(r"\{port\}(/\w+)", code)
    assert path in routes()


def test_ray_serve_lets_calls_in_flight_finish() -> None:
    tree = ast.parse((DEPLOY / "ray_serve.py").read_text())
    given = {word.arg: word.value for node in ast.walk(tree) if isinstance(node, ast.Call) for word in node.keywords}
    assert ast.literal_eval(given["graceful_shutdown_timeout_s"]) > DRAIN_S
