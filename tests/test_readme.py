"""The README's commands are real: each is run, or at least parsed, and its Python runs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts import generate_docs
from vedette.cli.app import run

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()
BLOCKS = "\n".join(re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL))
COMMANDS = re.findall(r"^\$ (.+)$", BLOCKS, re.MULTILINE) + re.findall(r"`((?:vedette|make) [^`]+)`", TEXT)
CHECKS = [command for command in COMMANDS if command.startswith("vedette check")]


@pytest.mark.parametrize("command", CHECKS)
def test_checks_give_a_verdict(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = run(shlex.split(command)[1:])
    out = capsys.readouterr().out
    assert status == (0 if "Neil" in command else 1), out
    assert ("ALLOW" if "Neil" in command else "BLOCK") in out


def test_the_picture_is_what_is_printed() -> None:
    assert generate_docs.without_digits(TEXT) == generate_docs.without_digits(generate_docs.readme()), "run `make docs`"


@pytest.mark.parametrize("command", sorted({shlex.split(line)[1] for line in COMMANDS if line.startswith("vedette ")}))
def test_commands_exist(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "--help"]) == 0
    capsys.readouterr()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"make ([a-z-]+)", TEXT))))
def test_make_targets_exist(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#:]+)\)", TEXT))))
def test_links_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


def test_the_tree_is_the_tree() -> None:
    rooms = {path.name for path in (ROOT / "src" / "vedette").iterdir() if path.is_dir() and path.name != "__pycache__"}
    named = set(re.findall(r"^  ([a-z]+)/", TEXT, re.MULTILINE))
    assert named - rooms == set()
    assert rooms - named == set()


def test_the_python_runs(tmp_path: Path) -> None:
    code = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert code is not None
    done = subprocess.run([sys.executable, "-c", code[1]], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stderr == ""
    assert done.stdout.split()[0] == "block"


def test_the_curl_call_is_json() -> None:
    import json

    bodies = [shlex.split(line)[-1] for line in COMMANDS if line.startswith("curl")]
    parse: Callable[[str], object] = json.loads
    assert all(isinstance(parse(body), dict) for body in bodies)
