"""Build hook: compiles the inner loops in C (src/vedette/native) when Vedette is installed.

The regular expressions of the screen and of the parsers become C as well (native/regex_to_c.py).

Takes the compiler that the machine has (`CC`, cc, gcc or clang), else the one in the `ziglang` wheel, which pip then
fetches for the build alone. Where compiling fails the installation goes on without: Vedette then runs its model by
onnxruntime; so it does with `CC=/bin/false`. No Python headers are needed: the library
is called by ctypes and through Python's stable ABI (native/python_abi.h).
"""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import types
import zlib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = Path("src/vedette/native")
SOURCES = ("detector.c", "bpe.c")
MODULE = "module.c"
LIBRARY = "_native.so"
# Nothing that lets a compiler reorder sums: what builds differ by is the rounding of fused products.
FLAGS = "-O3 -std=gnu11 -mavx2 -mfma -fPIC -fno-math-errno -fno-trapping-math -ffp-contract=fast".split()
# Thousands of small functions: better optimised, they take half a minute to compile and run no faster.
MODULE_FLAGS = "-O1 -foptimize-sibling-calls".split()
TIMEOUT_S = 300


def is_wanted() -> bool:
    """Whether there is a library for this machine."""
    return os.name == "posix" and platform.machine().lower() in ("x86_64", "amd64")


def compiler() -> list[str] | None:
    """Return the command of the machine's C compiler, None if it has none."""
    if os.environ.get("CC"):
        with contextlib.suppress(ValueError):  # quotes that do not close: then it is the name of a program
            return shlex.split(os.environ["CC"])
        return [os.environ["CC"]]
    found = next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)
    return None if found is None else [found]


class NativeBuildHook(BuildHookInterface[Any]):
    """Compiles `SOURCES`: in place for an editable install, else into the wheel alone."""

    def dependencies(self) -> list[str]:
        """What pip has to fetch for the build."""
        return ["ziglang>=0.14,<1"] if self.target_name == "wheel" and is_wanted() and compiler() is None else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile."""
        if self.target_name != "wheel" or not is_wanted():
            return
        folder = Path(self.root) / FOLDER
        self.scratch = tempfile.mkdtemp(prefix="vedette-build-")
        built = Path(self.scratch) / LIBRARY
        try:
            compile_to(built, folder)
            if version == "editable":
                beside = folder / f".{LIBRARY}.{os.getpid()}"
                shutil.copy(built, beside)
                beside.replace(folder / LIBRARY)  # a running service keeps the file that it has open
        except (OSError, ValueError, ImportError, subprocess.SubprocessError) as error:
            if version == "editable":
                with contextlib.suppress(OSError):
                    (folder / LIBRARY).unlink(missing_ok=True)
            said = getattr(error, "stderr", None) or ""
            self.app.display_warning(f"The native backend was not compiled; onnxruntime will be used. {error}\n{said}")
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
        if version != "editable":
            build_data["force_include"][str(built)] = f"vedette/native/{LIBRARY}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was compiled."""
        if hasattr(self, "scratch"):
            shutil.rmtree(self.scratch, ignore_errors=True)


def compile_to(library: Path, folder: Path) -> None:
    """Compile what is in `folder`; the library knows its checksum, by which a stale one is told (native/loader.py)."""
    sources = sorted([*folder.glob("*.c"), *folder.glob("*.h")])
    checksum = zlib.crc32(b"".join(path.read_bytes() for path in sources))
    command = compiler() or [sys.executable, "-m", "ziglang", "cc", "-fno-sanitize=undefined"]
    scratch = library.parent
    (scratch / "patterns.h").write_text(_patterns(folder.parent))
    names = [str(folder / name) for name in SOURCES]
    module = str(scratch / "module.o")
    undefined = ["-Wl,-undefined,dynamic_lookup"] if sys.platform == "darwin" else []  # Python is found on loading
    for more in (
        [*MODULE_FLAGS, f"-I{scratch}", "-c", "-o", module, str(folder / MODULE)],
        [f"-DSOURCES={checksum}u", "-shared", *undefined, "-o", str(library), *names, module, "-lm"],
    ):
        subprocess.run(  # noqa: S603 - the compiler of whoever installs
            [*command, *FLAGS, *more], check=True, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S
        )


def _patterns(package: Path) -> str:
    """Return patterns.h. Its modules import `re` and no more, so they are there before Vedette's dependencies are."""
    stub = types.ModuleType("vedette")
    stub.__path__ = [str(package)]
    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "vedette"}
    sys.modules["vedette"] = stub
    try:
        from vedette.native.regex_to_c import patterns_h
        from vedette.parsing.native_reading import RULES as READING
        from vedette.tokenization.native_screen import RULES as SCREEN

        return patterns_h([SCREEN, READING])
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "vedette"]:
            del sys.modules[name]
        sys.modules.update(kept)
