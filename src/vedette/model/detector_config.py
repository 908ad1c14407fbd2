"""The architecture of a detector, read from its checkpoint. Torch-free, so that serving can show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vedette.errors import BundleError
from vedette.verdict import ATTACK_CLASSES, BENIGN, PROBE

CLASSES = (BENIGN, *ATTACK_CLASSES)
"""Output order of the shipped detector: index 0 is benign."""
ROTARY_BASE = 500.0  # wavelengths of 6 to about 2,000 tokens
MASKED = -1e4  # additive; exp(-1e4) is 0 in fp32 and the value survives fp16 and int8 scales


def attack_indexes(classes: Sequence[str]) -> list[int]:
    """Return where the classes that make an anomaly stand in `classes`: all but benign and probe."""
    return [index for index, name in enumerate(classes) if name not in (BENIGN, PROBE)]


@dataclass(frozen=True, slots=True)
class DetectorConfig:
    """Sizes of an `AnomalyDetector`. `max_tokens` is the window length T, context tokens included."""

    vocab_size: int
    max_tokens: int = 128
    d_model: int = 96
    n_layers: int = 2
    n_heads: int = 3
    d_ff: int = 384
    attention_window: int = 16  # tokens on either side that a token attends to
    context_tokens: int = 37  # ids 1 to this are words of the context (`tokenization.context`), the others are text
    exit_below: float | None = None  # log-odds of an attack below which a token leaves before the last layer
    activation: str = "relu"  # of the feed-forward block; a ReLU costs nothing in int8, a GELU a fifth of the run
    classes: tuple[str, ...] = CLASSES

    def __post_init__(self) -> None:
        sizes = (self.vocab_size, self.max_tokens, self.d_model, self.n_layers, self.n_heads, self.d_ff,
                 self.attention_window, self.context_tokens)  # fmt: skip
        if any(type(size) is not int or not 0 < size <= 1_000_000 for size in sizes):
            raise BundleError("detector sizes must be positive integers")
        if self.exit_below is not None and (type(self.exit_below) is not float or not abs(self.exit_below) <= 100):
            raise BundleError(f"exit_below {self.exit_below!r} must be log-odds from -100.0 to 100.0, or null")
        if self.exit_below is not None and self.n_layers < 2:
            raise BundleError("an early exit needs a layer before it and another behind it")
        if self.activation not in ("relu", "gelu"):
            raise BundleError(f"activation {self.activation!r} is neither relu nor gelu")
        if self.d_model % (2 * self.n_heads):
            raise BundleError(f"d_model {self.d_model} is not divisible by twice n_heads {self.n_heads}")
        if not self.classes or self.classes[0] != BENIGN or len(set(self.classes)) != len(self.classes):
            raise BundleError(f"classes must be unique and begin with {BENIGN!r}")
        if not attack_indexes(self.classes):
            raise BundleError("classes must hold an attack")

    @property
    def reach(self) -> int:
        """How many tokens on either side of a token can change what it says."""
        return self.n_layers * self.attention_window

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types only."""
        return {**asdict(self), "classes": list(self.classes)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> DetectorConfig:
        """Build from `to_dict()`'s object. Raises `BundleError` on missing or unknown keys."""
        try:
            return cls(**{**data, "classes": tuple(data["classes"])})
        except (TypeError, KeyError) as error:
            raise BundleError(f"detector configuration is not readable: {error}") from error
