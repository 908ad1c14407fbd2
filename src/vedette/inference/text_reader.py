"""Text views to answers in one call of C: tokens, model and score of the few windows that a request usually adds.

What `HTTPTokenizer.encode`, `NativeRuntime.run` and `AnomalyScorer.score_rows` do one after the other: with the same
result for a text of one row, while the tokens of a longer one see their neighbours beyond their row. Python in between
costs as much as the model does for fifteen tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from vedette.errors import InferenceFailed
from vedette.inference.runtime_native import REASONS, NativeRuntime
from vedette.native.loader import native_reader

if TYPE_CHECKING:
    from vedette.inference.runtime import ModelRuntime
    from vedette.model.scoring import AnomalyScorer
    from vedette.tokenization.http_tokenizer import HTTPTokenizer


Answer = tuple[float, int, int, list[float] | None]
"""Of a text's row with the highest score: that, the index of its strongest attack class, which row it is, and the
evidence of its tokens of text, None below the threshold."""


class TextReader:
    """Reads text views; safe to call from many threads."""

    def __init__(
        self, runtime: NativeRuntime, tokenizer: HTTPTokenizer, scorer: AnomalyScorer, threshold: float
    ) -> None:
        self._held = runtime, tokenizer  # what the addresses point into
        self._addresses = runtime.address, tokenizer.native_address
        self._scoring = scorer.calibration.centre, scorer.calibration.scale, threshold
        self._read = cast("Callable[..., Any]", native_reader())

    def read(self, views: list[str], contexts: Sequence[list[int]]) -> list[Answer | None]:
        """Text views and the token ids of their contexts -> the answer of each, None for a view that only the
        tokenizers library can encode. Raises `InferenceFailed`."""
        found = self._read(*self._addresses, self._scoring, views, contexts)
        if isinstance(found, int):
            raise InferenceFailed(f"native: {REASONS.get(found, found)}")
        return cast("list[Answer | None]", found)


def text_reader(
    runtime: ModelRuntime, tokenizer: HTTPTokenizer, scorer: AnomalyScorer, threshold: float
) -> TextReader | None:
    """Return a reader for a model that the native backend runs, None for another one or where its vocabulary is of a
    kind that the library has to encode."""
    if not isinstance(runtime, NativeRuntime) or tokenizer.native_address is None or native_reader() is None:
        return None
    return TextReader(runtime, tokenizer, scorer, threshold)
