"""pyproject.toml tells the truth: imported is what is declared, declared is what is imported, all of it is pinned."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OFFLINE = ("training", "evaluation", "datasets")
TORCH_ONLY = {"torch", "onnx", "onnxscript", "matplotlib", "sklearn", "scipy"}
EXTRAS = {"ray"}  # each an extra of its own name
# Never imported by name: uvicorn loads the first two itself, of the third only its files are read.
LOADED_BY_OTHERS = {"httptools", "uvloop", "fastapi-swagger"}


def name_of(requirement: str) -> str:
    """Return the normalised project name of a requirement line."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match is not None
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def imported(directory: Path) -> set[str]:
    """Return the top-level names of third-party modules that the files below `directory` import."""
    names: set[str] = set()
    for path in directory.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.split(".")[0])
    return {name for name in names if name not in sys.stdlib_module_names | {"vedette", "scripts", "tests"}}


def distributions(names: set[str]) -> set[str]:
    """Return the distributions that provide the top-level modules `names`."""
    owners = metadata.packages_distributions()
    special = {"backports": ["backports.zstd"], "compression": [], "starlette": ["fastapi"], "yaml": ["PyYAML"]}
    return {name_of(owner) for name in names for owner in special.get(name, owners.get(name, [name]))[:1]}


def test_what_serving_imports_is_what_is_declared() -> None:
    declared = {name_of(line) for line in PROJECT["dependencies"]}
    used = distributions(imported(ROOT / "src" / "vedette") - TORCH_ONLY - EXTRAS)
    assert used - declared == set(), "imported but not declared"
    assert declared - used - LOADED_BY_OTHERS == set(), "declared but not imported"


def test_what_training_imports_is_in_its_extra() -> None:
    declared = {name_of(line) for line in PROJECT["optional-dependencies"]["train"]}
    used = distributions(imported(ROOT / "src" / "vedette") & TORCH_ONLY)
    assert used - declared == set()


def test_torch_is_pinned_exactly() -> None:
    assert "torch==2.13.0" in PROJECT["optional-dependencies"]["train"]


@pytest.mark.parametrize("extra", ["serving", "train", "ray", "dev"])
def test_every_requirement_is_bounded_and_pinned(extra: str) -> None:
    lines = PROJECT["dependencies"] if extra == "serving" else PROJECT["optional-dependencies"][extra]
    pins = {name_of(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    names = {name_of(line): line for line in lines}
    assert {name for name in names if name not in pins | {"vedette"}} == set()
    assert [
        line for line in names.values() if not re.search(r"[<>=]", line.partition(";")[0]) and "[" not in line
    ] == []


def test_pins_are_exact_and_name_no_local_build() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[0-9][\w.]*", line)] == []


def test_the_shipped_data_lie_inside_the_package() -> None:
    for name in ("models/default/manifest.json", "models/default/model.int8.onnx", "sinks/report.css", "py.typed"):
        assert (ROOT / "src" / "vedette" / name).is_file()


def test_the_shipped_bundle_is_small() -> None:
    files = list((ROOT / "src" / "vedette" / "models" / "default").iterdir())
    assert sum(path.stat().st_size for path in files) <= 8 * 1024 * 1024
