"""The detector: a small pre-norm Transformer encoder with additive attention pooling (torch).

Each token adds its own share to every class logit: ``logit[c] = sum_t a[t] * v[t, c] + b[c]`` with pooling weights
``a`` (Ilse et al., "Attention-based Deep Multiple Instance Learning", 2018; additive form after Javed et al.,
"Additive MIL", 2022). So the span that made a verdict is read off the same run that made it.

Attention is written as plain matrix products: the exported graph then quantises to int8 whole, and any pair of
(batch, tokens) shapes runs through it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vedette.model.detector_config import DetectorConfig

_MASKED = -1e4  # additive; exp(-1e4) is 0 in fp32 and the value survives fp16 and int8 scales


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

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """x (B, T, D), bias (B, 1, 1, T) added to the attention scores -> (B, T, D)."""
        B, T, D = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(B, T, 3, self.n_heads, D // self.n_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, H, T, D/H)
        if self.training:  # the fused kernel, equal up to rounding
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)  # (B, H, T, D/H)
        else:
            mixed = torch.softmax((q * self.scale) @ k.transpose(-2, -1) + bias, dim=-1) @ v
        x = x + self.dropout(self.out(mixed.transpose(1, 2).reshape(B, T, D)))
        hidden: Tensor = self.activate(self.up(self.norm2(x)))
        change: Tensor = self.dropout(self.down(hidden))
        return x + change


class AnomalyDetector(nn.Module):
    """Token ids of one window of one field -> class logits and each token's evidence."""

    def __init__(self, config: DetectorConfig, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocab_size, config.d_model, padding_idx=0)
        self.positions = nn.Parameter(torch.zeros(config.max_tokens, config.d_model))
        self.layers = nn.ModuleList(EncoderLayer(config, dropout) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(config.d_model)
        self.pool = nn.Linear(config.d_model, 1)
        self.classify = nn.Linear(config.d_model, len(config.classes), bias=False)
        self.bias = nn.Parameter(torch.zeros(len(config.classes)))
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.tokens.weight, std=0.02)
        nn.init.normal_(self.positions, std=0.02)

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """ids int64 (B, T), 0 pads -> logits (B, C) and evidence (B, T).

        Evidence is each token's share in (strongest attack logit - benign logit); over a row it sums to that
        difference up to the class biases. Padding does not change a row's result.
        """
        bias = (ids == 0).to(torch.float32) * _MASKED  # (B, T)
        x = self.dropout(self.tokens(ids) + self.positions[: ids.shape[1]])
        for layer in self.layers:
            x = layer(x, bias[:, None, None, :])
        x = self.norm(x)
        weights = torch.softmax(self.pool(x).squeeze(-1) + bias, dim=-1)  # (B, T)
        logits = self.classify((weights.unsqueeze(1) @ x).squeeze(1)) + self.bias  # pooled (B, D) -> (B, C)
        top = logits[:, 1:].argmax(-1) + 1  # (B,) strongest attack class
        direction = self.classify.weight[top] - self.classify.weight[0]  # (B, D)
        evidence = (x @ direction.unsqueeze(-1)).squeeze(-1) * weights
        return logits, evidence
