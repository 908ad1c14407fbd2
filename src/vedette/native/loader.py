"""Inner loops in C, compiled into one library when the package is installed (hatch_build.py).

    detector.c   the detector's forward pass   inference/runtime_native.py    called by ctypes
    bpe.c        byte-pair encoding            tokenization/native_bpe.py     called by ctypes
    module.c     the screen, the text view     tokenization/native_screen.py  a module of Python
                 pairs, escapes, JSON          parsing/native_reading.py      the same module
                 texts to answers by both      inference/text_reader.py       the same module

Each has a slower twin that does the same; where the library is missing, the twin does the work. The module keeps to
Python's stable ABI, so one build serves every Python from 3.11 on.
"""

from __future__ import annotations

import ctypes
import importlib.util
import platform
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol, cast

from vedette.native.rules import Rules

LIBRARY = Path(__file__).with_name("_native.so")


class NativeModule(Protocol):
    """The functions in C that stand in for those of their names. None for an answer means that only the twin knows."""

    def rules(self) -> list[int]:
        """Return the checksums of the `Rules` that it was compiled from."""

    def inert_memory(self, max_bytes: int, /) -> object:
        """Return an empty set of pieces of requests that need not be read; see native/inert.h."""

    def inert(self, memory: object, location: str, name: str, raw: str, /) -> tuple[int, float] | None:
        """Return how many values a piece has that need not be read, as the set or a look at it tells, and its score;
        else None."""

    def inert_group(self, memory: object, pieces: list[tuple[str, str]], /) -> tuple[int, float] | None:
        """Return how many values pieces have that are in the set together, and their score; else None."""

    def remember_inert(self, memory: object, location: str, name: str, raw: str, values: int, score: float, /) -> bool:
        """Put a piece into the set. Returns False if it is too long."""

    def remember_inert_group(self, memory: object, pieces: list[tuple[str, str]], values: int, score: float, /) -> bool:
        """Put pieces that come together into the set."""

    def headers(
        self, memory: object, pairs: tuple[tuple[str, str], ...], /
    ) -> tuple[tuple[int, float] | None, list[tuple[str, str]], list[tuple[str, str]]]:
        """Part the headers that usually come again together from the others. How many values the former have if none
        of them has to be read, and their score, else None; these headers; the others."""

    def weight(self, pairs: tuple[tuple[str, str], ...], /) -> tuple[int, int]:
        """Return how many characters and semicolons the values of headers have, or about so many."""

    def valid_headers(self, pairs: list[tuple[str, str]], /) -> tuple[tuple[str, str], ...] | None:
        """Return the pairs if `http_request.validate_headers` takes them all, else None."""

    def read(
        self,
        model: int,
        vocabulary: int,
        scoring: tuple[float, float, float],
        views: list[str],
        contexts: Sequence[list[int]],
        /,
    ) -> list[tuple[float, int, int, list[float] | None] | None] | int:
        """Run the model over text views; see inference/text_reader.py."""

    def inert_count(self, memory: object, /) -> int:
        """Return how many are in the set."""

    def is_inert(self, text: str, place: int, whole: bool, /) -> bool | None:
        """As `screen.is_inert`; `place` is 1 for a path, 2 for a header."""

    def is_inert_name(self, text: str, is_cookie: bool, /) -> bool | None:
        """As `screen.is_inert_name`."""

    def is_loaded(self, text: str, /) -> bool | None:
        """As `screen.is_loaded`."""

    def hot_spots(self, text: str, join: int, /) -> list[tuple[int, int]] | None:
        """As `screen.hot_spots`."""

    def view(self, text: str, /) -> str | None:
        """As `text_view.view`."""

    def pieces(
        self, text: str, separator: str, most: int, memory: object, location: str, /
    ) -> tuple[int, float, list[str]] | None:
        """Split pairs; return how many need not be read, their highest score, and the others. None where bare
        separators may have torn one."""

    def is_plain_pair(self, name: str, value: str, /) -> bool | None:
        """As `values.is_plain_pair`."""

    def may_be_base64(self, text: str, /) -> bool:
        """Return False where `decoders.base64_text` would find nothing."""

    def percent(self, text: str, /) -> str | None:
        """As `decoders.percent`."""

    def decode(self, text: str, /) -> tuple[str, int] | None:
        """As `values.decode`, for up to `LAYERS` layers of percent-encoding and nothing else; how many there were."""

    def json(
        self, text: str, path: str, deepest: int, memory: object, location: str, most: int, /
    ) -> tuple[int, int, float, list[tuple[str, str | None]]] | None:
        """Read a document: how many strings it holds that are no numbers, how many of them need not be read and their
        highest score, and in order the others with their paths and the names that are not plain, with None."""


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
        sources = sorted([*LIBRARY.parent.glob("*.c"), *LIBRARY.parent.glob("*.h")])
        if library.vedette_sources() != zlib.crc32(b"".join(path.read_bytes() for path in sources)):
            return "it was compiled from another version of Vedette; install anew"
        return library if library.vedette_supported() else "the processor has no AVX2"
    except (OSError, AttributeError) as error:
        return str(error)


def native_reader() -> Callable[..., Any] | None:
    """Return `NativeModule.read`, which no rules belong to; None where there is no library."""
    module = _module()
    return None if module is None else module.read


def native_module(rules: Rules) -> NativeModule | None:
    """Return the module, None where there is no library or it was compiled from other `rules`."""
    module = _module()
    return module if module is not None and rules.checksum() in module.rules() else None


@cache
def _module() -> NativeModule | None:
    if isinstance(native_library(), str):
        return None
    spec = importlib.util.spec_from_file_location("vedette.native._native", LIBRARY)
    if spec is None or spec.loader is None:
        return None
    try:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError:
        return None
    return cast("NativeModule", module)
