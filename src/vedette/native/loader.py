"""Inner loops in C, compiled when the package is installed (hatch_build.py) and called by ctypes.

    detector.c   the detector's forward pass   inference/runtime_native.py
    bpe.c        byte-pair encoding            tokenization/native_bpe.py

Each has a slower twin that does the same; where the library is missing, the twin does the work.
"""

from __future__ import annotations

import ctypes
import platform
import zlib
from functools import cache
from pathlib import Path

LIBRARY = Path(__file__).with_name("_native.so")


@cache
def native_library() -> ctypes.CDLL | str:
    """Return the library, or why there is none. Its functions let go of the GIL while they run."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return f"it is written for x86-64, not for {platform.machine()}"
    if not LIBRARY.is_file():
        return "it was not compiled when Vedette was installed"
    try:
        library = ctypes.CDLL(str(LIBRARY))
        library.vedette_sources.restype = ctypes.c_uint32
        sources = sorted(LIBRARY.parent.glob("*.c"))
        if library.vedette_sources() != zlib.crc32(b"".join(path.read_bytes() for path in sources)):
            return "it was compiled from another version of Vedette; install anew"
        return library if library.vedette_supported() else "the processor has no AVX2"
    except (OSError, AttributeError) as error:
        return str(error)
