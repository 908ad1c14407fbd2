"""Byte-pair encoding by native/bpe.c: what the tokenizers library does, at a sixth of its cost for short texts."""

from __future__ import annotations

import ctypes
import unicodedata
from array import array
from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec

from vedette.native.loader import native_library

_Pointer = ctypes.c_void_p
_EMPTY = 0xFFFFFFFF
_MAX_VOCABULARY = 0xFFFF
_NO_SPACE = range(0x1C, 0x20)  # separators of files and records: spaces to Python, not to Unicode
_LETTER, _DIGIT, _SPACE, _SIGN, _UNKNOWN = range(5)  # as in bpe.c


class _Vocabulary(ctypes.Structure):
    _fields_ = [("bytes", _Pointer), ("kinds", _Pointer), ("table", _Pointer), ("mask", ctypes.c_uint32)]


class _Bpe(msgspec.Struct):
    """The part of a vocabulary file that says how pieces are merged; anything but nothing in the others is not done."""

    vocab: dict[str, int]
    merges: list[tuple[str, str]]
    dropout: float | None = None
    unk_token: str | None = None
    continuing_subword_prefix: str | None = None
    end_of_word_suffix: str | None = None
    byte_fallback: bool = False
    ignore_merges: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether bytes are merged by rank, and no more."""
        others = (self.dropout, self.unk_token, self.continuing_subword_prefix, self.end_of_word_suffix)
        return not (any(others) or self.byte_fallback or self.ignore_merges)


class _File(msgspec.Struct):
    model: _Bpe
    pre_tokenizer: Any
    normalizer: Any = None


class NativeBpe:
    """Encodes texts with the vocabulary of a tokenizer file; see `native_bpe`."""

    def __init__(self, library: ctypes.CDLL, model: _Bpe) -> None:
        vocab, merges = model.vocab, model.merges
        if max(len(merges), *vocab.values()) >= _MAX_VOCABULARY or len(set(merges)) < len(merges):
            raise KeyError("a vocabulary of this size does not fit the table")
        slots = 1 << (2 * len(merges) + 1).bit_length()
        table = array("I", [_EMPTY, 0] * slots)  # a pair and what it merges to, twice 16 bits each
        for rank, (left, right) in enumerate(merges):
            slot = _slot(vocab[left], vocab[right], slots - 1)
            while table[2 * slot] != _EMPTY:
                slot = (slot + 1) & (slots - 1)
            table[2 * slot] = vocab[left] << 16 | vocab[right]
            table[2 * slot + 1] = rank << 16 | vocab[left + right]
        self._tables = array("i", [vocab[char] for char in _characters()]), _kinds(), table
        self._vocabulary = _Vocabulary(*[held.buffer_info()[0] for held in self._tables], slots - 1)
        self.address = ctypes.addressof(self._vocabulary)
        self._encode = library.vedette_encode
        self._encode.argtypes = [_Pointer, ctypes.c_char_p, _Pointer, ctypes.c_int32, _Pointer, _Pointer]
        self._encode.restype = None

    def encode(self, texts: Sequence[str]) -> list[list[int] | None]:
        """Texts -> ids, None for one that the library has to encode (see bpe.c)."""
        pieces = [text.encode("utf-8", "surrogatepass") for text in texts]
        ends, at = array("i"), 0
        for piece in pieces:
            at += len(piece)
            ends.append(at)
        ids, counts = array("i", bytes(4 * at + 4)), array("i", bytes(4 * len(texts) + 4))
        places = [table.buffer_info()[0] for table in (ends, ids, counts)]
        self._encode(self.address, b"".join(pieces), places[0], len(texts), places[1], places[2])
        found: list[list[int] | None] = []
        at = 0
        for count in counts[: len(texts)]:
            found.append(ids[at : at + count].tolist() if count >= 0 else None)
            at += max(count, 0)
        return found


def native_bpe(vocabulary: str, pattern: str) -> NativeBpe | None:
    """Return an encoder for a vocabulary file's text, None where there is no library or the file is of another kind.

    `pattern` is what splits texts into pieces; bpe.c has it built in.
    """
    library = native_library()
    if isinstance(library, str):
        return None
    try:
        file = msgspec.json.decode(vocabulary, type=_File)
        split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
        wanted = {"type": "Sequence", "pretokenizers": [split, level]}
        if file.pre_tokenizer != wanted or file.normalizer is not None or not file.model.is_plain:
            return None
        return NativeBpe(library, file.model)
    except (msgspec.MsgspecError, KeyError):
        return None


def _slot(left: int, right: int, mask: int) -> int:
    mixed = (left << 16 | right) * 0x9E3779B1 & 0xFFFFFFFF
    return (mixed ^ mixed >> 15) & mask


def _characters() -> list[str]:
    """The character that stands for each byte in a byte-level vocabulary (that of GPT-2)."""
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    stands_for = {byte: chr(byte) for byte in plain} | {byte: chr(256 + at) for at, byte in enumerate(others)}
    return [stands_for[byte] for byte in range(256)]


@cache
def _kinds() -> array[int]:
    """Kind of each character below U+10000, as the tokenizer's pattern tells them apart. Known are those that mean the
    same since Unicode 3.2, so that it does not matter which version the library has."""
    kinds = array("B", bytes([_UNKNOWN]) * 0x10000)
    old = unicodedata.ucd_3_2_0.category
    for code in range(0x10000):
        char = chr(code)
        before, now = old(char), unicodedata.category(char)
        if "Cn" in (before, now) or "Cs" in (before, now):
            continue
        if char.isspace():
            kinds[code] = _SPACE if code not in _NO_SPACE else _SIGN
        elif before[0] == now[0]:
            kinds[code] = _LETTER if now[0] == "L" else _DIGIT if "0" <= char <= "9" else _SIGN
    return kinds
