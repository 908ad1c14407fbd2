"""Disguised shell words mean what they meant: run by Bash, or matched as a pattern of file names."""

from __future__ import annotations

import html
import random
import shutil
import subprocess
from fnmatch import fnmatchcase

import pytest

from vedette.datasets import transforms


def _run(command: str) -> str:
    bash = shutil.which("bash")
    assert bash
    return subprocess.run([bash, "-c", command], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("name", ["cutw", "pieces", "vars", "braced"])
@pytest.mark.parametrize("command", ["printf x%sy done", "echo a b"])
def test_disguised_commands_run_alike(name: str, command: str) -> None:
    drawn = {transforms.TRANSFORMS[name](command, random.Random(seed)) for seed in range(25)}
    assert command not in drawn
    assert len(drawn) > 5 or name == "braced"
    for text in drawn:
        assert _run(text) == _run(command), text


def test_masked_paths_still_match() -> None:
    path = "/bin/cat"
    drawn = {transforms.masked(path, random.Random(seed)) for seed in range(40)}
    assert len(drawn) > 10
    for text in drawn:
        assert text.count("/") == 2
        assert fnmatchcase(path, text), text


def test_carets_and_blanks() -> None:
    rng = random.Random(0)
    assert transforms.caret_each("net user /all", rng) == "n^e^t u^s^e^r /all"
    assert transforms.braced("id", rng) == "{id,}"
    assert {transforms.joined("ls -l /", random.Random(seed)) for seed in range(40)} == {
        "ls+-l+/", "ls\t-l\t/", "ls%20-l%20/", "ls%09-l%09/", "ls  -l  /",
    }  # fmt: skip


@pytest.mark.parametrize("command", ["printf x%sy done", "cat /etc/hosts", "cat /etc/hosts /etc/hosts"])
def test_the_field_separator_stands_for_every_blank(command: str) -> None:
    drawn = {transforms.ifs(command, random.Random(seed)) for seed in range(40)}
    assert len(drawn) > 3
    for text in drawn:
        assert _run(text) == _run(command), text


def test_references_without_a_semicolon_end_before_the_next_sign() -> None:
    for seed in range(200):
        assert html.unescape(transforms.entities("alert(1);b(23)", random.Random(seed))) == "alert(1);b(23)"
