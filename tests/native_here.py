"""Whether the loops in C are written for this machine. Where they are, they must have been compiled."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from vedette.inference.runtime import VARIANTS

_CPU = Path("/proc/cpuinfo")
HAS_NATIVE = platform.machine().lower() in ("x86_64", "amd64") and (not _CPU.exists() or " avx2" in _CPU.read_text())
WAYS = [variant for variant in VARIANTS if HAS_NATIVE or variant.backend != "native"]
NATIVE_ONLY = pytest.mark.skipif(not HAS_NATIVE, reason="the loops in C are not for this machine")
