"""What a module of Vedette wants to have in C (see regex_to_c.py), and how it tells that it got just that."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Rules(NamedTuple):
    """What one module of Vedette wants in C: patterns by name, sets of words, lists of texts."""

    patterns: Mapping[str, re.Pattern[str]]
    word_sets: Mapping[str, frozenset[str]] = {}
    texts: Mapping[str, Sequence[str]] = {}

    def checksum(self) -> int:
        """Tells rules apart, so that a library compiled from others is not used."""
        said = repr([(name, pattern.pattern, pattern.flags) for name, pattern in sorted(self.patterns.items())])
        said += repr([(name, sorted(words)) for name, words in sorted(self.word_sets.items())])
        said += repr([(name, list(texts)) for name, texts in sorted(self.texts.items())])
        return zlib.crc32(said.encode("utf-8", "surrogatepass"))
