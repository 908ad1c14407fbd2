"""The int8 graph that is served by default, written from the detector's weights (needs torch and onnx).

Why not the exporter's graph with dynamic quantisation: with GELU and 4 heads that took 144/300/660 CPU µs a sequence of
32/64/128 tokens (2026-11-23, one thread, batch of 16, d_model 96, two layers), and as it measures activation ranges
over the whole batch, a row's logits moved by up to 0.03 with its neighbours (untrained weights). Here activation ranges
are fixed by calibration, so a row's result does not depend on its batch: 85/190/490 µs with ReLU and 3 heads (the
detector's head and positions of then; now 6 to 9 % more).
What is different in the graph:

- token-wise parts run on (B*T, D); q, k and v are three products, so nothing is split or transposed outside the fused
  ``Attention`` (ONNX opset 23; a tenth faster than ``com.microsoft.MultiHeadAttention``);
- each linear layer is one integer product with its bias (``MatMulIntegerToFloat``); a ReLU is the lower saturation
  bound of the first feed-forward product (``QGemm``), whose output stays in 8 bits. Both belong to the domain
  ``com.microsoft``, which every onnxruntime build has;
- weights use 7 bits per channel: u8 x s8 products of processors without VNNI add pairs in 16 bits, which 8-bit weights
  can overflow (255 * 127 * 2 > 32,767). So every processor gives the same scores.

Embeddings and layer norms stay fp32: they are looked up or memory-bound, so 8 bits would save disk, not time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vedette.bundle_metadata import KEY, ModelMetadata
from vedette.errors import BundleError

if TYPE_CHECKING:
    from vedette.model.anomaly_detector import AnomalyDetector

WEIGHT_MAX = 63  # 7 bits, see above
OPSET, IR_VERSION, MICROSOFT = 23, 10, "com.microsoft"
MIN_CORRELATION = 0.98  # int8 against fp32 logits on the calibration rows; trained models reach 0.999
_CLIPS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)  # shares of the largest magnitude tried as the range
_SAMPLE = 200_000  # activations kept for each layer

Array = NDArray[Any]


class _Range:
    """Range of one activation as u8: value = (code - zero) * scale."""

    def __init__(self, sample: NDArray[np.float32]) -> None:
        """Take the clip with the least squared error on `sample`; 0 is always exactly representable."""
        low, high = min(0.0, float(sample.min())), max(1e-6, float(sample.max()))
        best = float("inf")
        self.scale, self.zero = 1.0, 0
        for clip in _CLIPS:
            scale = (high - low) * clip / 255
            zero = int(np.clip(round(-low * clip / scale), 0, 255))
            code = np.clip(np.rint(sample / scale) + zero, 0, 255)
            error = float(np.square((code - zero) * scale - sample).mean())
            if error < best:
                best, self.scale, self.zero = error, scale, zero


def quantize_int8(
    detector: AnomalyDetector,
    path: str | Path,
    calibration_ids: Sequence[NDArray[np.int64]],
    metadata: ModelMetadata,
) -> None:
    """Write the int8 graph of `detector` to `path`.

    `calibration_ids`: batches (B, T) of real windows, benign and attack; a few thousand rows are plenty. Raises
    `BundleError` if the graph's logits do not follow the detector's on them.
    """
    import onnx

    ranges, logits = _observe(detector, calibration_ids)
    weights = {name: tensor.detach().cpu().numpy() for name, tensor in detector.state_dict().items()}
    model = _Graph(detector, weights, ranges).model()
    onnx.helper.set_model_props(model, {KEY: metadata.to_json()})
    onnx.checker.check_model(model)
    data = model.SerializeToString()
    _check_agreement(data, calibration_ids, logits)
    Path(path).write_bytes(data)


def _observe(
    detector: AnomalyDetector, batches: Iterable[NDArray[np.int64]]
) -> tuple[dict[str, _Range], list[NDArray[np.float32]]]:
    """Run `detector` over `batches` -> range of each linear layer's input on real tokens, and logits per batch."""
    import torch

    samples: dict[str, list[NDArray[np.float32]]] = {}
    current: dict[str, Any] = {}
    rng = np.random.default_rng(0)

    def watch(name: str) -> Any:
        def hook(_module: Any, inputs: tuple[Any, ...]) -> None:
            values = inputs[0][current["real"]].flatten().numpy()
            kept = rng.choice(values, min(len(values), 20_000), replace=False)
            samples.setdefault(name, []).append(np.append(kept, [values.min(), values.max()]))

        return hook

    names = [f"layers.{i}.{part}" for i in range(len(detector.layers)) for part in ("qkv", "out", "up", "down")]
    handles = [detector.get_submodule(name).register_forward_pre_hook(watch(name)) for name in names]
    logits = []
    try:
        with torch.inference_mode():
            for batch in batches:
                ids = torch.from_numpy(np.asarray(batch, np.int64))
                current["real"] = ids != 0
                logits.append(detector.eval()(ids)[0].numpy())
    finally:
        for handle in handles:
            handle.remove()
    if not logits:
        raise BundleError("quantisation needs calibration rows")
    return {name: _Range(_thinned(np.concatenate(values), rng)) for name, values in samples.items()}, logits


def _thinned(values: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    if len(values) <= _SAMPLE:
        return values
    return np.append(rng.choice(values, _SAMPLE, replace=False), [values.min(), values.max()]).astype(np.float32)


def _check_agreement(data: bytes, batches: Sequence[NDArray[np.int64]], expected: list[NDArray[np.float32]]) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    got = np.concatenate([session.run(["logits"], {"ids": batch})[0] for batch in batches])
    wanted = np.concatenate(expected)
    has_text = wanted[:, 1:].max(axis=1) > -100
    # Within each class: some are rarer than others, which any graph would tell.
    centre = wanted[has_text, 1:].mean(axis=0)
    got, wanted = (logits[has_text, 1:] - centre for logits in (got, wanted))
    correlation = float(np.corrcoef(got.ravel(), wanted.ravel())[0, 1])
    if not correlation >= MIN_CORRELATION:
        raise BundleError(
            f"int8 logits do not follow the detector's (correlation {correlation:.4f}): the graph is wrong"
        )


class _Graph:
    """Builds the ONNX graph node by node; each method returns the name of what it made."""

    def __init__(self, detector: AnomalyDetector, weights: dict[str, Array], ranges: dict[str, _Range]) -> None:
        self.config, self.weights, self.ranges = detector.config, weights, ranges
        self.relu = detector.config.activation == "relu"
        self.exit_share = detector.exit_share
        self.tables = {name: detector.get_buffer(name).cpu().numpy() for name in ("cos", "sin", "band", "aside")}
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def model(self) -> Any:
        """Inputs "ids" int64 (batch, tokens) -> "logits" (batch, classes), "evidence" (batch, tokens), both fp32."""
        from onnx import TensorProto, helper

        self._encoder()
        n_classes = len(self.config.classes)
        graph = helper.make_graph(
            self.nodes,
            "vedette",
            [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "tokens"])],
            [
                helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", n_classes]),
                helper.make_tensor_value_info("evidence", TensorProto.FLOAT, ["batch", "tokens"]),
            ],
            self.constants,
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="vedette")

    def _encoder(self) -> None:
        d, depth = self.config.d_model, self.config.n_layers
        table = self.weights["tokens.weight"].copy()
        table[0] = 0  # so that padding can be summed up with the context
        x = self.op("Gather", self.const(table), "ids")  # (B, T, D)
        no_text = self.op("LessOrEqual", "ids", self.const(np.int64(self.config.context_tokens)))
        no_text = self.op("Cast", no_text, to=1)  # (B, T)
        masked = self.op("Mul", no_text, self.const(np.float32(-1e4)))
        context = self.op("MatMul", self.op("Unsqueeze", no_text, self.ints(1)), x)  # (B, 1, D)
        shape = self.op("Shape", "ids")
        cube = self.op("Concat", shape, self.ints(d), axis=0)  # (B, T, D)
        n_tokens = self.op("Shape", "ids", start=1, end=2)
        square = self.op("Concat", n_tokens, n_tokens, axis=0)
        near = self.op("Slice", self.const(self.tables["band"]), self.ints(0, 0), square, self.ints(0, 1))  # (T, T)
        mask = self.op("Add", near, self.op("Unsqueeze", masked, self.ints(1, 2)))  # (B, 1, T, T)
        x = self.op("Reshape", self.op("Add", x, context), self.ints(-1, d))  # (B*T, D)
        guesses = None
        for i in range(depth):
            if i == depth - 1 and self.config.exit_below is not None:
                guesses = self.op("Reshape", self._guesses(x), self.op("Concat", shape, self.ints(1), axis=0))
            x = self._layer(f"layers.{i}", x, mask, cube)
        x = self.op("Reshape", self.norm("norm", x), cube)
        self._head(x, masked, guesses)

    def _guesses(self, x: str) -> str:
        """What the early exit tells of x (B*T, D) -> (B*T, 1)."""
        weight, shift = self.linear("exit.out")
        return self.op("Add", self.op("MatMul", self.norm("exit.norm", x), self.const(weight.T)), self.const(shift))

    def _layer(self, name: str, x: str, mask: str, cube: str) -> str:
        """Pre-norm attention and feed-forward on x (B*T, D)."""
        d, heads = self.config.d_model, self.config.n_heads
        y = self.quantized(f"{name}.qkv", self.norm(f"{name}.norm1", x))
        weight, bias = self.weights[f"{name}.qkv.weight"], self.weights[f"{name}.qkv.bias"]
        parts = [slice(start, start + d) for start in (0, d, 2 * d)]
        q, k, v = (self.op("Reshape", self.product(y, weight[part], bias[part]), cube) for part in parts)
        q, k = (self.op("RotaryEmbedding", z, *self.rotation(), domain=MICROSOFT) for z in (q, k))
        scale = float((d // heads) ** -0.5)
        mixed = self.op("Attention", q, k, v, mask, q_num_heads=heads, kv_num_heads=heads, scale=scale)
        y = self.quantized(f"{name}.out", self.op("Reshape", mixed, self.ints(-1, d)))
        x = self.op("Add", x, self.product(y, *self.linear(f"{name}.out")))
        y = self.quantized(f"{name}.up", self.norm(f"{name}.norm2", x))
        return self.op("Add", x, self.product(self._hidden(name, y), *self.linear(f"{name}.down")))

    def _hidden(self, name: str, y: tuple[str, _Range]) -> tuple[str, _Range]:
        """First half of the feed-forward block, its activation included, as u8."""
        if self.relu:
            return self.product_u8(y, *self.linear(f"{name}.up"), self.ranges[f"{name}.down"])
        return self.quantized(f"{name}.down", self.op("Gelu", self.product(y, *self.linear(f"{name}.up"))))

    def _head(self, x: str, masked: str, guesses: str | None) -> None:
        """x (B, T, D), masked (B, T) -1e4 where there is no text, guesses (B, T, 1) of an early exit -> outputs."""
        weight, shift = self.linear("odds")
        odds = self.op("Add", self.op("MatMul", x, self.const(weight.T)), self.const(shift))  # (B, T, C - 1)
        if guesses is not None:
            cold = self.op("Less", guesses, self.const(np.float32(self.config.exit_below)))
            told = self.op("Sub", guesses, self.const(np.float32(self.exit_share)))
            odds = self.op("Where", cold, told, odds)
        odds = self.op("Add", odds, self.op("Unsqueeze", masked, self.ints(2)))
        attacks = self.op("ReduceLogSumExp", odds, self.ints(1), keepdims=0)  # (B, C - 1)
        self.op("Pad", attacks, self.ints(0, 1, 0, 0), outputs=["logits"])
        ranked = self.op("Add", attacks, self.const(self.tables["aside"]))
        top = self.op("ArgMax", ranked, axis=1, keepdims=1)  # (B, 1)
        chosen = self.op("Gather", self.const(np.eye(len(weight), dtype=np.float32)), top)  # (B, 1, C - 1)
        along = self.op("MatMul", odds, self.op("Transpose", chosen, perm=[0, 2, 1]))  # (B, T, 1)
        self.op("Softplus", self.op("Squeeze", along, self.ints(2)), outputs=["evidence"])

    def linear(self, name: str) -> tuple[Array, Array]:
        """Weight (out, in) and bias (out) of a linear layer."""
        return self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]

    def norm(self, name: str, x: str) -> str:
        """Layer norm over the last axis, torch's epsilon."""
        scale, shift = (self.const(self.weights[f"{name}.{part}"]) for part in ("weight", "bias"))
        return self.op("LayerNormalization", x, scale, shift, axis=-1, epsilon=1e-5)

    def rotation(self) -> tuple[str, str, str]:
        """First position, cosines and sines of rotary positions."""
        return self.ints(0), self.const(self.tables["cos"]), self.const(self.tables["sin"])

    def quantized(self, layer: str, x: str) -> tuple[str, _Range]:
        """x as u8 in the input range of `layer`."""
        span = self.ranges[layer]
        return self.op("QuantizeLinear", x, *self.u8(span)), span

    def product(self, x: tuple[str, _Range], weight: Array, bias: Array) -> str:
        """u8 x (N, K) times weight (M, K) plus bias -> fp32 (N, M)."""
        codes, scales = _weight_codes(weight)
        scale, zero = self.u8(x[1])
        b = (self.const(codes), scale, self.const(scales), zero, self.const(np.zeros(len(scales), np.int8)))
        return self.op("MatMulIntegerToFloat", x[0], *b, self.const(bias), domain=MICROSOFT)

    def product_u8(self, x: tuple[str, _Range], weight: Array, bias: Array, out: _Range) -> tuple[str, _Range]:
        """relu(u8 x times weight plus bias) as u8 in range `out`, whose zero is code 0."""
        codes, scales = _weight_codes(weight)
        scale, zero = self.u8(x[1])
        steps = self.const(np.rint(bias / (x[1].scale * scales)).astype(np.int32))
        b = (self.const(codes), self.const(scales), self.const(np.zeros(len(scales), np.int8)), steps)
        return self.op("QGemm", x[0], scale, zero, *b, *self.u8(out), domain=MICROSOFT), out

    def u8(self, span: _Range) -> tuple[str, str]:
        """Scale and zero point of a range."""
        return self.const(np.float32(span.scale)), self.const(np.uint8(span.zero))

    def ints(self, *values: int) -> str:
        """A 1-D int64 constant."""
        return self.const(np.array(values, np.int64))

    def const(self, value: Any) -> str:
        """An initializer."""
        from onnx import numpy_helper

        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def op(self, kind: str, *inputs: str, outputs: list[str] | None = None, domain: str = "", **attributes: Any) -> str:
        """A node with one output."""
        from onnx import helper

        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, outputs or [name], name, domain=domain, **attributes))
        return (outputs or [name])[0]


def _weight_codes(weight: Array) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Weight (M, K) -> symmetric codes (K, M) and one scale for each of the M outputs."""
    scales = (np.maximum(np.abs(weight).max(axis=1), 1e-8) / WEIGHT_MAX).astype(np.float32)
    codes = np.clip(np.rint(weight / scales[:, None]), -WEIGHT_MAX, WEIGHT_MAX).astype(np.int8)
    return np.ascontiguousarray(codes.T), scales
