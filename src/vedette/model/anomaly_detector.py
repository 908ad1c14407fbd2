"""The detector: a small pre-norm Transformer encoder with a local view, whose strongest tokens decide (torch).

Each token gives log-odds of every attack class against benign; those of a window are the log-sum-exp of its tokens',
a smooth maximum (multiple-instance learning; Pinheiro & Collobert, "From Image-level to Pixel-level Labeling", 2015).
A token attends to its neighbours only (sliding-window attention; Beltagy et al., "Longformer", 2020), their distance
being told by rotation (Su et al., "RoFormer", 2021), and the words of the context are added to each token. So what a
token says depends on `reach` tokens on either side of it and on nothing else: padding beyond them can neither lower nor
raise it, by construction, and where an attack stands in its window does not matter. The span that made a verdict is
read off the same run that made it.

Hardly a token of harmless text needs the last layer. With an early exit a small head tells of each token, before that
layer, how likely an attack it is; those that are surely harmless leave there (token-level early exit; Li et al.,
"Accelerating BERT Inference for Sequence Labeling via Early-Exit", 2021), but not in training. `forward` computes what
comes out; the native backend also saves the work.

Attention is written as plain matrix products: the exported graph then quantises to int8 whole, and any pair of
(batch, tokens) shapes runs through it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vedette.model.detector_config import MASKED, ROTARY_BASE, DetectorConfig, attack_indexes

_ODDS_AT_FIRST = -4.0  # so that a window of a hundred tokens begins undecided


def rotations(config: DetectorConfig) -> tuple[Tensor, Tensor]:
    """Cosines and sines of rotary positions, each (max_tokens, head size / 2)."""
    half = config.d_model // config.n_heads // 2
    angles = torch.arange(config.max_tokens)[:, None] * ROTARY_BASE ** (-torch.arange(half) / half)
    return angles.cos(), angles.sin()


def band(config: DetectorConfig) -> Tensor:
    """Bias of attention scores (max_tokens, max_tokens): 0 within `attention_window` tokens, else masked."""
    at = torch.arange(config.max_tokens)
    return ((at[:, None] - at).abs() > config.attention_window).to(torch.float32) * MASKED


def set_aside(config: DetectorConfig) -> Tensor:
    """Bias of the choice of the strongest attack (C - 1,): 0, but -1e4 for what is none (see `attack_indexes`)."""
    bias = torch.full((len(config.classes),), MASKED)
    bias[attack_indexes(config.classes)] = 0.0
    return bias[1:]


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x (B, H, T, d), cos and sin (T, d / 2) -> x with its pairs (i, i + d / 2) rotated."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class EncoderLayer(nn.Module):
    """Pre-norm self-attention and feed-forward block (Xiong et al. 2020)."""

    def __init__(self, config: DetectorConfig, dropout: float) -> None:
        super().__init__()
        d = config.d_model
        self.n_heads = config.n_heads
        self.scale = (d // config.n_heads) ** -0.5
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.up, self.down = nn.Linear(d, config.d_ff), nn.Linear(config.d_ff, d)
        self.activate = F.relu if config.activation == "relu" else F.gelu
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, bias: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """x (B, T, D), bias (B, 1, T, T) added to the attention scores, rotations (T, d / 2) -> (B, T, D)."""
        B, T, D = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(B, T, 3, self.n_heads, D // self.n_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, H, T, D/H)
        q, k = _rotated(q, cos, sin), _rotated(k, cos, sin)
        if self.training:  # the fused kernel, equal up to rounding
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)  # (B, H, T, D/H)
        else:
            mixed = torch.softmax((q * self.scale) @ k.transpose(-2, -1) + bias, dim=-1) @ v
        x = x + self.dropout(self.out(mixed.transpose(1, 2).reshape(B, T, D)))
        hidden: Tensor = self.activate(self.up(self.norm2(x)))
        change: Tensor = self.dropout(self.down(hidden))
        return x + change


class EarlyExit(nn.Module):
    """Log-odds of an attack as the layers before the last one show it."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.norm, self.out = nn.LayerNorm(config.d_model), nn.Linear(config.d_model, 1)
        nn.init.constant_(self.out.bias, _ODDS_AT_FIRST)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, D) -> (B, T)."""
        guesses: Tensor = self.out(self.norm(x)).squeeze(-1)
        return guesses


class AnomalyDetector(nn.Module):
    """Token ids of one window of one field -> class logits and each token's evidence."""

    cos: Tensor
    sin: Tensor
    band: Tensor
    aside: Tensor

    def __init__(self, config: DetectorConfig, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocab_size, config.d_model, padding_idx=0)
        self.layers = nn.ModuleList(EncoderLayer(config, dropout) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(config.d_model)
        self.odds = nn.Linear(config.d_model, len(config.classes) - 1)
        self.exit = None if config.exit_below is None else EarlyExit(config)
        self.exit_share = math.log(len(attack_indexes(config.classes)))  # so that all attacks together are the guess
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.tokens.weight, std=0.02)
        tables = dict(zip(("cos", "sin"), rotations(config), strict=True)) | {
            "band": band(config),
            "aside": set_aside(config),
        }
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)
        nn.init.constant_(self.odds.bias, _ODDS_AT_FIRST)

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """ids int64 (B, T), 0 pads -> logits (B, C), that of benign being 0, and evidence (B, T).

        Evidence is the softplus of each token's log-odds of the attack class that the row's score names, so above 0 for
        every token of text. Context words come first in a row and are no text: they have none. Padding does not change
        a row's result.
        """
        odds = self.token_odds(ids)
        attacks = torch.logsumexp(odds, dim=1)  # (B, C - 1)
        logits = F.pad(attacks, (1, 0))
        top = (attacks + self.aside).argmax(-1, keepdim=True).unsqueeze(1).expand(-1, ids.shape[1], -1)  # (B, T, 1)
        return logits, F.softplus(odds.gather(2, top).squeeze(-1))

    def token_odds(self, ids: Tensor) -> Tensor:
        """Ids (B, T) -> log-odds of each attack class for each token (B, T, C - 1), -1e4 and less beside text."""
        hidden, odds, masked = self.read(ids)
        if self.exit is not None and not self.training:
            guesses = self.exit(hidden).unsqueeze(-1)
            odds = torch.where(guesses < self.config.exit_below, guesses - self.exit_share, odds)
        return odds + masked

    def read(self, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Ids (B, T) -> what the last layer is given (B, T, D), each token's odds behind it (B, T, C - 1), and -1e4
        for what is no text, else 0 (B, T, 1)."""
        T = ids.shape[1]
        x = self.tokens(ids)
        is_text = ids > self.config.context_tokens  # (B, T)
        words = (~is_text & (ids > 0)).to(x.dtype).unsqueeze(1)  # (B, 1, T)
        x = self.dropout(x + words @ x)
        masked = (~is_text).to(x.dtype) * MASKED
        bias = self.band[:T, :T] + masked[:, None, None, :]
        hidden = x
        for layer in self.layers:
            hidden = x
            x = layer(x, bias, self.cos[:T], self.sin[:T])
        return hidden, self.odds(self.norm(x)), masked.unsqueeze(-1)
