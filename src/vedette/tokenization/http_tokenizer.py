"""Fields to token ids: context words, then byte-level BPE of the text view, in windows that leave nothing out.

A value is read whole: a text with more tokens than one window is cut into rows that overlap. Values longer than
`WHOLE` characters are first cut to the surroundings of their hot spots (see `screen`), in segments of `SEGMENT`:
padding costs nothing and keeps nothing from being read.

    field -> windows(field): [] if inert, else [Window(context, text, offset), ...]
    windows -> encode(windows): for each window its rows of ids, each at most `max_tokens` long

(context, text) of a window is exactly what the model reads, so it is the key of the score memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

from vedette.errors import BundleError
from vedette.parsing.field import Field
from vedette.tokenization.context import CONTEXT_WORDS, context_of
from vedette.tokenization.native_bpe import native_bpe
from vedette.tokenization.native_screen import hot_spots, is_inert, is_inert_name, is_loaded, view
from vedette.tokenization.text_view import SourceMap

PAD = "[pad]"
# Words, numbers of up to three digits, runs of signs; a leading space belongs to what follows (as in GPT-2's BPE).
_SPLIT = r" ?\p{L}+|[0-9]{1,3}| ?[^\s\p{L}0-9]+|\s+"
WHOLE = 160
SEGMENT = 2048
_OVERLAP = 128
_HALO = 32  # characters read on each side of a hot spot in a long value


class Window(NamedTuple):
    """A piece of a field's value. `text` is the piece itself (not yet its view), `offset` its place in the value."""

    context: str
    text: str
    offset: int


class HTTPTokenizer:
    """Byte-level BPE with one token for each context word. Immutable after loading; safe to use from many threads."""

    pad_id = 0

    def __init__(self, tokenizer: Tokenizer, max_tokens: int = 128) -> None:
        if not 32 <= max_tokens <= 4096:
            raise BundleError(f"max_tokens must lie between 32 and 4096, not {max_tokens}")
        self._bpe = tokenizer
        self._bpe.encode_special_tokens = True  # a text that spells "[pad]" or "[query]" holds these letters, no more
        self.max_tokens = max_tokens
        ids = {word: tokenizer.token_to_id(f"[{word}]") for word in CONTEXT_WORDS}
        missing = [word for word, token in ids.items() if token is None]
        if missing or tokenizer.token_to_id(PAD) != self.pad_id:
            raise BundleError(f"the vocabulary lacks the context tokens {missing[:5]}")
        self._context_ids: dict[str, int] = {word: int(token) for word, token in ids.items() if token is not None}
        if max(self._context_ids.values()) != len(CONTEXT_WORDS):
            raise BundleError("the vocabulary must begin with padding and the context tokens")
        self._contexts: dict[str, list[int]] = {}
        self._native = native_bpe(self.to_json(), _SPLIT)
        self.vocab_size = int(tokenizer.get_vocab_size())
        self._token_bytes = {token: len(text) for text, token in tokenizer.get_vocab().items()}  # one sign for each

    @property
    def native_address(self) -> int | None:
        """Where the vocabulary lies as bpe.c has it, None where only the library can encode."""
        return None if self._native is None else self._native.address

    # -- files ---------------------------------------------------------------------------------------------------

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int = 4096, max_tokens: int = 128) -> HTTPTokenizer:
        """Learn a vocabulary from field values (their views are taken here)."""
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=[PAD, *(f"[{word}]" for word in CONTEXT_WORDS)],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            max_token_length=16,
            show_progress=False,
        )
        tokenizer.train_from_iterator((view(text) for text in texts), trainer)
        return cls(tokenizer, max_tokens)

    @classmethod
    def load(cls, path: Path | str, max_tokens: int = 128) -> HTTPTokenizer:
        """Read a vocabulary file. Raises `BundleError` if it is missing or not a vocabulary of Vedette's."""
        try:
            return cls.from_json(Path(path).read_text("utf-8"), max_tokens)
        except (OSError, UnicodeDecodeError) as error:
            raise BundleError(f"{path}: cannot read the vocabulary: {error}") from error

    @classmethod
    def from_json(cls, text: str, max_tokens: int = 128) -> HTTPTokenizer:
        """Build from the JSON text of a vocabulary file. Raises `BundleError` if it is not one."""
        try:
            tokenizer = Tokenizer.from_str(text)
        except Exception as error:  # the library raises bare Exception
            raise BundleError(f"the vocabulary is not readable: {error}") from error
        return cls(tokenizer, max_tokens)

    def to_json(self) -> str:
        """Return the vocabulary file's text; the same vocabulary always gives the same text."""
        return str(self._bpe.to_str(pretty=False))

    def save(self, path: Path | str) -> None:
        """Write the vocabulary file."""
        Path(path).write_text(self.to_json(), "utf-8")

    @property
    def sha256(self) -> str:
        """Hash of the vocabulary file's text: what ties a model to its vocabulary."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    # -- fields to windows -----------------------------------------------------------------------------------------

    def windows(self, field: Field) -> list[Window]:
        """Return what the model has to read of `field`; nothing if the screen shows it inert."""
        return windows_of(field)

    # -- windows to ids ----------------------------------------------------------------------------------------------

    def encode(self, windows: Sequence[Window], views: list[str] | None = None) -> list[list[list[int]]]:
        """Windows -> for each its rows of token ids (one or more, each of at most `max_tokens`, overlapping).

        `views` are the text views of `windows` where the caller has them.
        """
        if views is None:
            views = [view(window.text) for window in windows]
        rows = []
        for window, ids in zip(windows, self.encode_texts(views), strict=True):
            context = self.context_ids(window.context)
            rows.append([context + piece for piece in self.cut(ids, self.max_tokens - len(context))])
        return rows

    def encode_texts(self, views: list[str]) -> list[list[int]]:
        """Text views -> their ids, without context and uncut."""
        if self._native is None:
            return self._encode_by_library(views)
        found = self._native.encode(views)
        left = iter(self._encode_by_library([text for text, ids in zip(views, found, strict=True) if ids is None]))
        return [ids if ids is not None else next(left) for ids in found]

    def pieces_of(self, other: HTTPTokenizer, token: int) -> list[int]:
        """Return the ids that stand here for what `token` is to another vocabulary: pieces of the same text, or the
        same word of the context."""
        if token <= len(self._context_ids):
            return [token]
        return [piece.id for piece in self._bpe.model.tokenize(other._bpe.id_to_token(token))]

    def _encode_by_library(self, views: list[str]) -> list[list[int]]:
        if not views:
            return []
        return [encoding.ids for encoding in self._bpe.encode_batch_fast(views, add_special_tokens=False)]

    def cut(self, ids: list[int], room: int) -> list[list[int]]:
        """Ids -> pieces of at most `room` that cover them all, overlapping by at least a quarter."""
        if len(ids) <= room:
            return [ids]
        return [ids[start : start + room] for start in self._starts(len(ids), room)]

    def spans(self, window: Window, row: int = 0) -> list[tuple[int, int]]:
        """Token index of row `row` -> [start, end) characters of the field's value; context tokens give (0, 0)."""
        context = self.context_ids(window.context)
        encoding = self._bpe.encode(view(window.text), add_special_tokens=False)
        room = self.max_tokens - len(context)
        start = 0 if len(encoding.ids) <= room else self._starts(len(encoding.ids), room)[row]
        to_source = SourceMap(window.text)
        spans = [(0, 0)] * len(context)
        for token_start, token_end in encoding.offsets[start : start + room]:
            first, last = to_source.source(token_start, token_end)
            spans.append((first + window.offset, last + window.offset))
        return spans

    def span(self, window: Window, row: int, start: int, end: int) -> tuple[int, int] | None:
        """Tokens [start, end) of row `row` -> [start, end) characters of the field's value, as `spans` has them.

        None where the range holds nothing but context. Counts bytes of tokens, where `spans` asks the library.
        """
        context = len(self.context_ids(window.context))
        text = view(window.text)
        ids = self.encode_texts([text])[0]
        room = self.max_tokens - context
        skip = 0 if len(ids) <= room else self._starts(len(ids), room)[row]
        first, last = skip + max(start - context, 0), min(skip + min(end - context, room), len(ids))
        if first >= last:
            return None
        sizes = self._token_bytes
        at = sum([sizes[token] for token in ids[:first]])
        to = at + sum([sizes[token] for token in ids[first:last]])
        if not text.isascii():
            data = text.encode("utf-8", "surrogatepass")
            inside = data[to : to + 1] > b"\x7f" and data[to : to + 1] < b"\xc0"  # the token ends within a character
            at, to = (len(data[:place].decode("utf-8", "ignore")) for place in (at, to))
            to += inside
        start, end = SourceMap(window.text).source(at, to)
        return start + window.offset, end + window.offset

    def context_ids(self, context: str) -> list[int]:
        """Context words -> their token ids."""
        ids = self._contexts.get(context)
        if ids is None:
            ids = self._contexts[context] = [self._context_ids[word] for word in context.split(" ")]
        return ids

    @staticmethod
    def _starts(length: int, room: int) -> list[int]:
        """Where rows of `room` tokens begin so that they cover `length` tokens, overlapping by at least a quarter."""
        stride = room - room // 4
        return [*range(0, length - room, stride), length - room]


def windows_of(field: Field) -> list[Window]:
    """Return what a model has to read of `field`; nothing if the screen shows it inert. Needs no vocabulary."""
    text = field.value
    is_name, whole = field.kind == "name", len(text) <= WHOLE
    if is_inert_name(text, field.location) if is_name else is_inert(text, field.location, whole=whole):
        return []
    context = context_of(field)
    if whole:
        return [Window(context, text, 0)]
    windows = [
        Window(context if start == 0 else context + " more", piece, start)
        for start, end in _segments(text)
        if not is_inert(piece := text[start:end], field.location, whole=False) or is_name
    ]
    if is_loaded(text) or (is_name and not windows):  # its beginning tells what it is
        windows.insert(0, Window(context, text[:SEGMENT], 0))
    return windows


def _segments(text: str) -> list[tuple[int, int]]:
    """Ranges of a long text that hold its hot spots, each with a halo, at most SEGMENT long, overlapping."""
    ranges = [(max(0, start - _HALO), min(len(text), end + _HALO)) for start, end in hot_spots(text, join=2 * _HALO)]
    return [
        (at, min(at + SEGMENT, end))
        for start, end in ranges
        for at in range(start, max(end - _OVERLAP, start + 1), SEGMENT - _OVERLAP)
    ]
