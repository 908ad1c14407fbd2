"""The library in C is taken only where it is what it should be."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.native_here import NATIVE_ONLY
from vedette.native import loader

pytestmark = NATIVE_ONLY


def test_a_library_compiled_from_other_sources_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(loader.LIBRARY.parent, tmp_path / "native")
    monkeypatch.setattr(loader, "LIBRARY", tmp_path / "native" / loader.LIBRARY.name)
    assert not isinstance(loader.native_library.__wrapped__(), str)
    with (tmp_path / "native" / "bpe.c").open("a") as source:
        source.write("/* changed */\n")
    assert "from another version" in str(loader.native_library.__wrapped__())


def test_what_is_no_library_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "LIBRARY", tmp_path / "_native.so")
    assert loader.native_library.__wrapped__() == "it was not compiled when Vedette was installed"
    (tmp_path / "_native.so").write_bytes(b"not ELF")
    assert str(tmp_path) in str(loader.native_library.__wrapped__())
    monkeypatch.setattr(loader.platform, "machine", lambda: "riscv64")
    assert "riscv64" in str(loader.native_library.__wrapped__())
