"""Rows packed end to end instead of padded: what a graphics card reads of a batch, and the detector over it.

Half of a padded batch is padding, and a small model on a large card waits for its launches; packed, with every weight
of a model in one vector, a step is one graph of fixed shape.

A batch of at most B rows and N tokens is one array of 16-bit numbers, the blob: the ids of all texts end to end (N),
the row of each token (N; B where there is none), the words of each row's context (B, C; 0 where there is none), the
labels (B; `IGNORED` for rows that had no room) and whether the rows are attacks for certain (B; 0 or 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from vedette.model.anomaly_detector import AnomalyDetector
from vedette.model.detector_config import ROTARY_BASE, DetectorConfig
from vedette.training.rows import Drawn

IGNORED = -100
WORDS = 10  # of a context, at most
_BLOCK = 64  # queries that look at one stretch of keys
_MASKED = -1e4
_MOST_ODDS = 60.0  # exp of more is no float32


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a batch: `tokens` (N, a multiple of 64) and `rows` (B)."""

    tokens: int
    rows: int

    @property
    def size(self) -> int:
        """Numbers of a blob."""
        return 2 * self.tokens + self.rows * (WORDS + 2)


def pack(shape: Shape, drawn: Sequence[Drawn]) -> NDArray[np.int16]:
    """At most B rows -> their blob. The last ones are left out where the tokens of all have no room."""
    blob = np.zeros(shape.size, np.int16)
    rows = blob[shape.tokens : 2 * shape.tokens]
    contexts = blob[2 * shape.tokens : -2 * shape.rows].reshape(shape.rows, WORDS)
    labels, certain = blob[-2 * shape.rows :].reshape(2, shape.rows)
    rows[:], labels[:] = shape.rows, IGNORED
    lengths = np.fromiter((len(one.text) for one in drawn), np.int64, len(drawn))
    ends = lengths.cumsum()
    fitting = int(np.searchsorted(ends, shape.tokens, side="right"))
    if fitting:
        total = int(ends[fitting - 1])
        blob[:total] = np.concatenate([one.text for one in drawn[:fitting]])
        rows[:total] = np.repeat(np.arange(fitting, dtype=np.int16), lengths[:fitting])
    contexts[:fitting] = pack_contexts([one.context for one in drawn[:fitting]])
    labels[:fitting] = [one.label for one in drawn[:fitting]]
    certain[:fitting] = [one.certain for one in drawn[:fitting]]
    return blob


def pack_contexts(contexts: Sequence[Sequence[int]]) -> NDArray[np.int16]:
    """Contexts -> their words (len(contexts), C)."""
    table = np.zeros((len(contexts), WORDS), np.int16)
    for number, context in enumerate(contexts):
        table[number, : len(context)] = context[:WORDS]
    return table


def unpack(blob: Tensor, shape: Shape) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """A blob -> ids (N,), row of each token (N,), contexts (B, C), labels (B,), which rows attack for certain (B,)."""
    n, b = shape.tokens, shape.rows
    whole = blob.long()
    contexts = whole[2 * n : -2 * b].view(b, WORDS)
    return whole[:n], whole[n : 2 * n], contexts, whole[-2 * b : -b], whole[-b:].bool()


class FlatWeights:
    """The weights of an `AnomalyDetector` without early exit, as one vector and back."""

    def __init__(self, config: DetectorConfig) -> None:
        self.config = config
        parameters = dict(AnomalyDetector(config).named_parameters())
        self._shapes = {name: parameter.shape for name, parameter in parameters.items()}
        self._sizes = [parameter.numel() for parameter in parameters.values()]

    def flatten(self, model: AnomalyDetector) -> Tensor:
        """Weights of `model` -> (P,). The embedding of word 0, with which contexts are padded, has to be zero."""
        with torch.no_grad():
            model.tokens.weight[0] = 0.0
        return torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()])

    def named(self, flat: Tensor) -> dict[str, Tensor]:
        """(P,) -> views of it by name."""
        parts = zip(self._shapes.items(), torch.split(flat, self._sizes), strict=True)
        return {name: part.view(shape) for (name, shape), part in parts}

    def model(self, flat: Tensor) -> AnomalyDetector:
        """(P,) -> a detector on the processor."""
        model = AnomalyDetector(self.config)
        named = {name: part.detach().float().cpu().clone() for name, part in self.named(flat).items()}
        model.load_state_dict(named, strict=False)
        return model.eval()


class Reader:
    """The detector over packed rows; products in bfloat16 on a card, float32 elsewhere."""

    def __init__(self, config: DetectorConfig, tokens: int, device: str) -> None:
        self._config = config
        self._half = device == "cuda"
        half = config.d_model // config.n_heads // 2
        # Positions count from the beginning of the batch, as only their differences matter.
        angles = torch.arange(tokens, dtype=torch.float64)[:, None]
        angles = angles * ROTARY_BASE ** (-torch.arange(half, dtype=torch.float64) / half)
        self._cos, self._sin = (part.float().to(device)[:, None, None] for part in (angles.cos(), angles.sin()))

    def logits(self, named: dict[str, Tensor], ids: Tensor, row: Tensor, contexts: Tensor) -> Tensor:
        """Named weights, ids (N,), row (N,) and contexts (B, C) -> logits (B, K), the first of them 0."""
        odds = self._token_odds(named, ids, row, contexts)
        total = torch.zeros(len(contexts) + 1, odds.shape[1], device=odds.device)
        total = total.index_add(0, row, odds.clamp(max=_MOST_ODDS).exp())
        return F.pad((total[:-1] + 1e-30).log(), (1, 0))

    def _token_odds(self, named: dict[str, Tensor], ids: Tensor, row: Tensor, contexts: Tensor) -> Tensor:
        config, n, width = self._config, len(ids), self._config.d_model
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=self._half):
            table = named["tokens.weight"]
            words = F.embedding(contexts, table, padding_idx=0).sum(1)
            words = torch.cat((words, torch.zeros_like(words[:1])))
            x = F.embedding(ids, table, padding_idx=0) + words[row]
            bias = self._bias(row)
            for layer in range(config.n_layers):
                own = {name.removeprefix(f"layers.{layer}."): part for name, part in named.items()}
                y = F.layer_norm(x, (width,), own["norm1.weight"], own["norm1.bias"])
                y = self._attend(F.linear(y, own["qkv.weight"], own["qkv.bias"]), bias)
                x = x + F.linear(y, own["out.weight"], own["out.bias"])
                y = F.layer_norm(x, (width,), own["norm2.weight"], own["norm2.bias"])
                y = F.relu(F.linear(y, own["up.weight"], own["up.bias"]))
                x = x + F.linear(y, own["down.weight"], own["down.bias"])
            x = F.layer_norm(x, (width,), named["norm.weight"], named["norm.bias"])
            odds = F.linear(x, named["odds.weight"], named["odds.bias"])
        return odds.float().view(n, -1)

    def _bias(self, row: Tensor) -> Tensor:
        """Which keys a query may look at: those of its row, at most a window away. (N / Q, 1, Q, Q + 2 W)."""
        window = self._config.attention_window
        rows = row.view(-1, _BLOCK)
        keys = self._with_neighbours(rows, -1)
        queries = torch.arange(_BLOCK, device=row.device)[:, None]
        distance = queries - (torch.arange(_BLOCK + 2 * window, device=row.device)[None] - window)
        seen = (rows[:, :, None] == keys[:, None, :]) & (distance.abs() <= window)
        dtype = torch.bfloat16 if self._half else torch.float32
        return torch.zeros(seen.shape, dtype=dtype, device=row.device).masked_fill_(~seen, _MASKED)[:, None]

    def _attend(self, qkv: Tensor, bias: Tensor) -> Tensor:
        """(N, 3 D) -> (N, D)."""
        config, n = self._config, len(qkv)
        heads, size = config.n_heads, config.d_model // config.n_heads
        parts = qkv.view(n, 3, heads, size)
        a, b = parts[:, :2].chunk(2, -1)
        turned = torch.cat((a * self._cos[:n] - b * self._sin[:n], b * self._cos[:n] + a * self._sin[:n]), -1)
        turned = turned.to(parts.dtype)
        queries = turned[:, 0].view(-1, _BLOCK, heads, size).transpose(1, 2)
        keys = torch.stack((turned[:, 1], parts[:, 2]), 1).view(-1, _BLOCK, 2, heads, size)
        keys = self._with_neighbours(keys, 0)
        k, v = keys[:, :, 0].transpose(1, 2), keys[:, :, 1].transpose(1, 2)
        read = F.scaled_dot_product_attention(queries, k, v, attn_mask=bias)
        return read.transpose(1, 2).reshape(n, config.d_model)

    def _with_neighbours(self, blocks: Tensor, outside: int) -> Tensor:
        """(N / Q, Q, ..) -> (N / Q, W + Q + W, ..): each block between the ends of its neighbours."""
        window = self._config.attention_window
        edge = torch.full_like(blocks[:1, :window], outside)
        before = torch.cat((edge, blocks[:-1, _BLOCK - window :]))
        behind = torch.cat((blocks[1:, :window], edge))
        return torch.cat((before, blocks, behind), 1)
