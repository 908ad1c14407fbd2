"""Build hook: compiles the inner loops in C (src/vedette/native) when Vedette is installed.

Takes the compiler that the machine has (`CC`, cc, gcc or clang), else the one in the `ziglang` wheel, which pip then
fetches for the build alone. Where compiling fails the installation goes on without: Vedette then runs its model by
onnxruntime; so it does with `CC=/bin/false`. No Python headers are needed, as the library is called by ctypes.
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
import zlib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = Path("src/vedette/native")
SOURCES = ("detector.c", "bpe.c")
LIBRARY = "_native.so"
# Nothing that lets a compiler reorder sums: what builds differ by is the rounding of fused products.
FLAGS = "-O3 -std=gnu11 -mavx2 -mfma -fPIC -shared -fno-math-errno -fno-trapping-math -ffp-contract=fast".split()
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
            compile_to(built, [folder / name for name in SOURCES])
            if version == "editable":
                beside = folder / f".{LIBRARY}.{os.getpid()}"
                shutil.copy(built, beside)
                beside.replace(folder / LIBRARY)  # a running service keeps the file that it has open
        except (OSError, ValueError, subprocess.SubprocessError) as error:
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


def compile_to(library: Path, sources: list[Path]) -> None:
    """Compile `sources`; the library knows their checksum, by which a stale one is told (native/loader.py)."""
    checksum = zlib.crc32(b"".join(path.read_bytes() for path in sorted(sources)))
    command = compiler() or [sys.executable, "-m", "ziglang", "cc", "-fno-sanitize=undefined"]
    subprocess.run(  # noqa: S603 - the compiler of whoever installs
        [*command, *FLAGS, f"-DSOURCES={checksum}u", "-o", str(library), *map(str, sources), "-lm"],
        check=True, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S,
    )  # fmt: skip
