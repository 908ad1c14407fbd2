"""Whether the loops in C are written for this machine. Where they are, they must have been compiled."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from vedette.inference.runtime import VARIANTS

_CPU = Path("/proc/cpuinfo")
_FLAGS = _CPU.read_text() if _CPU.exists() else " avx2 "
HAS_NATIVE = platform.machine().lower() in ("x86_64", "amd64") and " avx2" in _FLAGS
HAS_VNNI = HAS_NATIVE and all(f" {flag}" in _FLAGS for flag in ("avx512f", "avx512bw", "avx512vl", "avx512_vnni"))
WAYS = [variant for variant in VARIANTS if HAS_NATIVE or variant.backend != "native"]
VNNI_ONLY = pytest.mark.skipif(not HAS_VNNI, reason="the processor has no AVX-512 VNNI")
NATIVE_ONLY = pytest.mark.skipif(not HAS_NATIVE, reason="the loops in C are not for this machine")
