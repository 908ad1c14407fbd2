"""The floors of the house: imports go down only, the serving path stays free of training, and importing is cheap."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src"

FLOORS = {
    6: {"cli"},
    5: {"server", "learning"},
    4: {"integration", "training"},
    3: {"inference", "evaluation"},
    2: {"sinks", "bundle", "datasets"},
    1: {"parsing", "tokenization", "model", "ingestion"},
    0: {"errors", "http_request", "verdict", "config", "config_keys", "config_loader", "native", "_version"},
}
SIDEWAYS = {
    "tokenization": {"parsing"},  # it reads the fields that parsing makes
    "ingestion": {"parsing"},
    "evaluation": {"inference"},  # judges through the very engine that serves
    **dict.fromkeys(FLOORS[0], FLOORS[0]),
}
FLOOR_OF = {room: floor for floor, rooms in FLOORS.items() for room in rooms}

SERVING = {"server", "integration", "inference", "sinks", "bundle", "parsing", "tokenization", "model", *FLOORS[0]}
OFFLINE = {"ingestion", "datasets", "training", "evaluation"}
PURE = {"parsing": (), "tokenization": (), "model": ("anomaly_detector",)}  # rooms without I/O; modules excepted
HEAVY = ("torch", "onnx", "onnxscript", "matplotlib", "sklearn", "scipy", "ray")
RAY = "vedette.inference.on_ray"


def modules() -> list[str]:
    """Return the dotted name of every module of the package."""
    return sorted(
        ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__")
        for path in (SRC / "vedette").rglob("*.py")
    )


def imports(module: str, *, lazy: bool = True) -> Iterator[str]:
    """Yield what `module` imports, at its top and (with `lazy`) inside functions; type-checking blocks left out."""
    path = SRC.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    todo: list[ast.AST] = [ast.parse(file.read_text())]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        is_typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if not is_typing and (lazy or not is_function):
            todo += ast.iter_child_nodes(node)


def room(name: str) -> str:
    """Return the room of a dotted name, e.g. ``inference``; "" is the package's own face."""
    parts = name.split(".")
    if len(parts) < 2:
        return ""
    return "bundle" if parts[1].startswith("bundle_") else parts[1]


def test_every_room_has_a_floor() -> None:
    rooms = {room(name) for name in modules()} - {""}
    assert rooms - FLOOR_OF.keys() == set()


@pytest.mark.parametrize("module", [name for name in modules() if room(name)])
def test_imports_go_down_only(module: str) -> None:
    here = room(module)
    others = {room(name) for name in imports(module) if name.startswith("vedette.")} & FLOOR_OF.keys() - {here}
    allowed = {name for name, floor in FLOOR_OF.items() if floor < FLOOR_OF[here]} | SIDEWAYS.get(here, set())
    assert others - allowed == set()


@pytest.mark.parametrize("module", [name for name in modules() if room(name) in SERVING])
def test_serving_knows_nothing_of_training(module: str) -> None:
    assert [name for name in imports(module) if name.startswith("vedette.") and room(name) in OFFLINE] == []


@pytest.mark.parametrize("module", [name for name in modules() if room(name) in PURE])
def test_the_core_is_pure(module: str) -> None:
    if module.rsplit(".", 1)[1] not in PURE[room(module)]:
        foreign = {name.split(".")[0] for name in imports(module)}
        assert foreign & {"asyncio", "fastapi", "starlette", "torch", "uvicorn", "socket"} == set()


@pytest.mark.parametrize("path", sorted((SRC / "vedette").rglob("*/__init__.py")), ids=lambda p: p.parent.name)
def test_inner_packages_have_empty_faces(path: Path) -> None:
    assert path.parent == SRC / "vedette" or path.read_text() == ""


def test_the_face_of_the_package_is_sorted_and_whole() -> None:
    import vedette

    assert list(vedette.__all__) == sorted(vedette.__all__)
    assert [name for name in vedette.__all__ if not hasattr(vedette, name)] == []


def loaded_by(statement: str) -> set[str]:
    """Return the modules that a fresh interpreter holds after `statement`."""
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=SRC)
    return set(json.loads(done.stdout.splitlines()[-1]))


def server_modules() -> str:
    """Return an import statement for everything that a serving process loads."""
    return "\n".join(f"import {name}" for name in modules() if room(name) in ("server", "sinks"))


def test_importing_the_server_is_cheap() -> None:
    loaded = loaded_by(server_modules())
    assert sorted(loaded & set(HEAVY)) == []
    assert sorted(name for name in loaded if name.startswith("vedette.") and room(name) in OFFLINE) == []


def test_ray_is_known_in_one_place_that_serving_does_not_come_by() -> None:
    assert [name for name in modules() if any(one.split(".")[0] == "ray" for one in imports(name))] == [RAY]
    users = {name for name in modules() if any(one.startswith(RAY) for one in imports(name))}
    assert users == {"vedette.inference.scan_ray", "vedette.evaluation.evaluate_ray"}
    assert {RAY, *users} & loaded_by(server_modules()) == set()


def test_importing_the_command_line_is_cheap() -> None:
    loaded = loaded_by("import vedette.cli.app")
    slow = {*HEAVY, "onnxruntime", "numpy", "fastapi", "tokenizers", "uvicorn", "redis"}
    assert sorted(loaded & slow) == []


def test_importing_the_package_is_cheap() -> None:
    loaded = loaded_by("import vedette")
    assert sorted(loaded & {*HEAVY, "numpy", "pydantic", "asyncio", "fastapi"}) == []
