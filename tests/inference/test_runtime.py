"""One suite over all ways to run the model: each agrees with fp32, whatever the shapes, the padding and the thread."""

from __future__ import annotations

import ctypes
import hashlib
import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.native_here import HAS_NATIVE, NATIVE_ONLY, VNNI_ONLY, WAYS
from tests.tiny_bundle import CALIBRATION, detector, early_bundle, early_detector, rows, tiny_bundle, tokenizer
from vedette.bundle import (
    CHECKPOINT,
    FP32_ONNX,
    INT8_ONNX,
    VOCABULARY,
    Bundle,
    FileEntry,
    WeightFile,
    load_bundle,
    load_model,
)  # fmt: skip
from vedette.bundle_checkpoint import save_checkpoint
from vedette.config import OptimizationSettings
from vedette.errors import BackendUnavailable, BundleError, ConfigError, InferenceFailed
from vedette.inference import runtime_native
from vedette.inference.optimization import TOLERANCES, optimization_for
from vedette.inference.runtime import RUNTIMES, VARIANTS, ModelRuntime, Variant, load_runtime
from vedette.native.loader import native_library

EVERY_WAY = pytest.mark.parametrize("variant", WAYS, ids=lambda variant: variant.name)
# Rows of a run share their rounding with no other row, except where upstream takes activation ranges over the batch.
FREE_OF_NEIGHBOURS = {variant.name: 1e-4 for variant in VARIANTS} | {
    "native": 0.0, "torch-int8": 0.5, "torchscript-int8": 0.5,
}  # fmt: skip


@cache
def opened(variant: Variant) -> ModelRuntime:
    return load_runtime(tiny_bundle(), optimization_for(variant), "cpu")


def fp32(ids: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    with torch.inference_mode():
        logits, evidence = detector()(torch.from_numpy(ids))
    return logits.numpy(), evidence.numpy()


def differences(left: NDArray[np.float32], right: NDArray[np.float32]) -> float:
    return float(np.abs(left - right).max())


@EVERY_WAY
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (1, 64), (2, 3), (7, 17), (64, 33), (300, 8)])
def test_logits_agree_with_fp32_for_every_shape(variant: Variant, shape: tuple[int, int]) -> None:
    ids = rows(*shape)
    output = opened(variant).run(ids)
    assert (output.logits.shape, output.evidence.shape) == ((shape[0], 23), shape)
    assert (output.logits.dtype, output.evidence.dtype) == (np.float32, np.float32)
    assert differences(output.logits, fp32(ids)[0]) <= TOLERANCES[variant.name].max_logit_difference


@EVERY_WAY
def test_evidence_agrees_where_the_strongest_class_does(variant: Variant) -> None:
    ids = rows(64, 33)
    output, (logits, evidence) = opened(variant).run(ids), fp32(ids)
    same = output.logits[:, 1:].argmax(1) == logits[:, 1:].argmax(1)
    assert same.mean() > 0.8
    allowed = {"native": 0.05}.get(variant.name, 0.3 if variant.quantization == "int8" else 1e-4)
    assert differences(output.evidence[same], evidence[same]) <= allowed
    assert np.abs(output.evidence[ids == 0]).max() < 1e-6


@EVERY_WAY
def test_padding_does_not_change_a_row(variant: Variant) -> None:
    ids = rows(5, 20)
    padded = np.pad(ids, ((0, 0), (0, 31)))
    runtime = opened(variant)
    plain, wide = runtime.run(ids), runtime.run(padded)
    assert differences(plain.logits, wide.logits) <= FREE_OF_NEIGHBOURS[variant.name]
    assert differences(plain.evidence, wide.evidence[:, :20]) <= FREE_OF_NEIGHBOURS[variant.name]


@EVERY_WAY
def test_a_row_does_not_depend_on_its_neighbours(variant: Variant) -> None:
    ids = rows(40, 30)
    runtime = opened(variant)
    together = runtime.run(ids).logits
    alone = np.concatenate([runtime.run(ids[row : row + 1]).logits for row in range(len(ids))])
    assert differences(together, alone) <= FREE_OF_NEIGHBOURS[variant.name]


@EVERY_WAY
def test_what_leaves_early_says_what_was_guessed(variant: Variant) -> None:
    ids, model = rows(60, 64, seed=4), early_detector()
    assert model.exit is not None
    with torch.inference_mode():
        hidden, _, masked = model.read(torch.from_numpy(ids))
        guesses = model.exit(hidden)[masked[..., 0] == 0]
        logits, evidence = model(torch.from_numpy(ids))
    assert 0.2 < float((guesses < model.config.exit_below).float().mean()) < 0.8
    output = load_runtime(early_bundle(), optimization_for(variant), "cpu").run(ids)
    # A token near the border may leave in one and stay in the other.
    allowed = 0.02 if variant.name == "native" or variant.quantization == "none" else 0.5
    text = masked[..., 0].numpy() == 0
    assert np.quantile(np.abs(output.logits - logits.numpy()), 0.98) < allowed
    assert np.quantile(np.abs(output.evidence - evidence.numpy())[text], 0.98) < allowed
    assert np.quantile(np.abs(fp32(ids)[0] - logits.numpy()), 0.98) > 5.0  # what no exit would say


@EVERY_WAY
def test_threads_share_a_runtime(variant: Variant) -> None:
    runtime = opened(variant)
    batches = [rows(1 + seed % 5, 3 + seed, seed=seed) for seed in range(48)]
    wanted = [runtime.run(ids) for ids in batches]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(runtime.run, batches))
    for left, right in zip(got, wanted, strict=True):
        assert np.array_equal(left.logits, right.logits)
        assert np.array_equal(left.evidence, right.evidence)


@EVERY_WAY
@pytest.mark.parametrize(
    "ids",
    [
        np.zeros((0, 5), np.int64),
        np.zeros((2, 0), np.int64),
        np.ones(5, np.int64),
        np.ones((1, 5), np.float32),
        np.full((1, 5), 10**6),
        np.ones((1, 65), np.int64),
    ],
    ids=["no rows", "no tokens", "one axis", "floats", "unknown token", "longer than the window"],
)
def test_input_that_is_none_is_a_named_failure(variant: Variant, ids: NDArray[np.int64]) -> None:
    with pytest.raises(InferenceFailed):
        opened(variant).run(ids)
    assert np.isfinite(opened(variant).run(rows(1, 4)).logits).all()


@EVERY_WAY
def test_opening_warns_of_nothing(variant: Variant) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        runtime = load_runtime(tiny_bundle(), optimization_for(variant), "cpu")
    assert (runtime.variant, runtime.device) == (variant, "cpu")


def test_the_default_is_native() -> None:
    """Here the compiler of the machine, or the one that pip fetches, must have done its work."""
    assert load_runtime(tiny_bundle()).variant.name == ("native" if HAS_NATIVE else "onnx-int8")
    assert {variant.backend for variant in VARIANTS} == set(RUNTIMES)


def test_where_the_native_library_is_missing_onnxruntime_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_native, "native_library", lambda: "it was not compiled")
    assert load_runtime(tiny_bundle()).variant.name == "onnx-int8"
    with pytest.raises(BackendUnavailable, match="it was not compiled"):
        load_runtime(tiny_bundle(), OptimizationSettings(backend="native"))


def test_where_fp32_or_cuda_is_asked_for_auto_is_not_native() -> None:
    assert load_runtime(tiny_bundle(), OptimizationSettings(quantization="none")).variant.name == "onnx-fp32"
    with pytest.raises(ConfigError, match="int8 runs on the CPU"):
        load_runtime(tiny_bundle(), device="cuda")


@pytest.mark.parametrize("changes", [{"activation": "gelu"}, {"d_model": 24}, {"d_ff": 40}, {"n_heads": 2}])
def test_a_detector_that_native_cannot_run_is_run_by_onnxruntime(changes: dict[str, object]) -> None:
    bundle = replace(tiny_bundle(), config=replace(tiny_bundle().config, **changes))
    assert runtime_native.why_unavailable(bundle) is not None
    assert load_runtime(bundle).variant.name == "onnx-int8"


@NATIVE_ONLY
@pytest.mark.parametrize("shape", [(3, 1), (130, 2), (9, 31), (2, 64)])
def test_native_agrees_bit_by_bit_however_rows_are_put_together(shape: tuple[int, int]) -> None:
    """Words of the context may stand anywhere, and a row may have no text at all."""
    rng = np.random.default_rng(7)
    ids = rng.integers(0, 60, shape)
    runtime = opened(Variant("native", "int8"))
    together, (logits, _) = runtime.run(ids), fp32(ids)
    for row in range(len(ids)):
        alone = runtime.run(ids[row : row + 1])
        assert np.array_equal(alone.logits[0], together.logits[row])
        assert np.array_equal(alone.evidence[0], together.evidence[row])
    has_text = (ids > tiny_bundle().config.context_tokens).any(axis=1)
    assert differences(together.logits[has_text], logits[has_text]) <= TOLERANCES["native"].max_logit_difference
    assert (together.logits[~has_text, 1:] <= -9000).all()


@VNNI_ONLY
@pytest.mark.parametrize("bundle", [tiny_bundle, early_bundle, load_model], ids=["tiny", "early", "shipped"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (5, 7), (40, 30), (2, 64)])
def test_wide_products_are_the_same_bit_by_bit(bundle: Callable[[], Bundle], shape: tuple[int, int]) -> None:
    library, runtime = native_library(), load_runtime(bundle(), optimization_for(Variant("native", "int8")), "cpu")
    assert isinstance(library, ctypes.CDLL)
    ids = rows(*shape)
    found = []
    try:
        for wanted in (0, 1):
            assert library.vedette_wide(wanted) == wanted
            found.append(runtime.run(ids))
    finally:
        library.vedette_wide(1)
    narrow, wide = found
    assert narrow.logits.tobytes() == wide.logits.tobytes()
    assert narrow.evidence.tobytes() == wide.evidence.tobytes()


@NATIVE_ONLY
def test_native_reads_only_a_checkpoint_that_fits_its_manifest(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    bundle = tiny_bundle()
    arrays = load_file(bundle.weights[CHECKPOINT].path)
    for name, changed in (
        ("no.safetensors", {"norm.bias": None}),
        ("odd.safetensors", {"norm.bias": arrays["norm.weight"][:8]}),
        ("nan.safetensors", {"norm.bias": arrays["norm.bias"] * np.float32("nan")}),
    ):
        kept = {key: value for key, value in (arrays | changed).items() if value is not None}
        save_file(kept, tmp_path / name)
        data = (tmp_path / name).read_bytes()
        entry = FileEntry(hashlib.sha256(data).hexdigest(), len(data))
        other = replace(bundle, weights={**bundle.weights, CHECKPOINT: WeightFile(tmp_path / name, entry)})
        with pytest.raises(BundleError, match=r"not the checkpoint .*norm\.bias"):
            load_runtime(other)


def test_a_loose_file_is_run_by_the_backend_that_reads_it(tmp_path: Path) -> None:
    vocabulary = tiny_bundle().path / VOCABULARY
    save_checkpoint(tmp_path / "mine.pt", detector(), tokenizer().sha256, CALIBRATION)
    for path, name in (
        (tiny_bundle().path / INT8_ONNX, "onnx-int8"),
        (tiny_bundle().path / FP32_ONNX, "onnx-fp32"),
        (tiny_bundle().path / CHECKPOINT, "native" if HAS_NATIVE else "torch-fp32"),
        (tmp_path / "mine.pt", "torch-fp32"),
    ):
        runtime = load_runtime(load_model(path, vocabulary))
        assert runtime.variant.name == name
        assert runtime.run(rows(3, 9)).logits.shape == (3, 23)
    chosen = OptimizationSettings(backend="torch", quantization="int8", torchscript=True)
    assert load_runtime(load_model(tmp_path / "mine.pt", vocabulary), chosen).variant.name == "torchscript-int8"


def test_settings_that_contradict_each_other_are_refused_by_name() -> None:
    bundle = tiny_bundle()
    script = OptimizationSettings(backend="onnx", quantization="int8", torchscript=True)
    with pytest.raises(ConfigError) as caught:
        load_runtime(bundle, script)
    assert caught.value.key == "inference.optimization.torchscript"
    with pytest.raises(ConfigError) as caught:
        load_runtime(bundle, device="cuda")
    assert caught.value.key == "inference.device"
    for backend in ("torch", "native"):
        with pytest.raises(ConfigError) as caught:
            load_runtime(load_model(bundle.path / FP32_ONNX), OptimizationSettings(backend=backend))
        assert caught.value.key == "inference.optimization.backend"
    with pytest.raises(ConfigError) as caught:
        load_runtime(bundle, OptimizationSettings(backend="native", quantization="none"))
    assert caught.value.key == "inference.optimization.quantization"
    with pytest.raises(ConfigError) as caught:
        load_runtime(bundle, OptimizationSettings(backend="native"), "cuda")
    assert caught.value.key == "inference.device"


def test_a_device_that_is_not_there_is_named() -> None:
    if not torch.cuda.is_available():
        for variant in (Variant("onnx", "none"), Variant("torch", "none")):
            with pytest.raises(BackendUnavailable, match="cuda"):
                load_runtime(tiny_bundle(), optimization_for(variant), "cuda")


def test_a_bundle_without_the_weights_asked_for_is_refused() -> None:
    bundle = load_model(tiny_bundle().path / INT8_ONNX)
    object.__setattr__(bundle, "loose", False)
    with pytest.raises(BundleError, match=r"has no model\.onnx"):
        load_runtime(bundle, optimization_for(Variant("onnx", "none")))


def test_an_onnx_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    import onnx

    model = onnx.load(str(tiny_bundle().path / FP32_ONNX))
    model.graph.output.pop()
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BundleError, match="must map ids"):
        load_runtime(load_model(tmp_path / "m.onnx", tiny_bundle().path / VOCABULARY))


@pytest.mark.parametrize("settings", ["backend='torch', quantization='none', torchscript=False"])
def test_without_torch_the_default_runs_and_torch_is_refused_by_its_extra(settings: str) -> None:
    """In an interpreter where torch and onnx cannot be imported."""
    code = f"""
import sys
for name in ("torch", "onnx", "onnxscript", *{["onnxruntime"] if HAS_NATIVE else []}):
    sys.modules[name] = None
import numpy as np
from vedette.bundle import load_bundle
from vedette.config import OptimizationSettings
from vedette.errors import BackendUnavailable
from vedette.inference.runtime import load_runtime
bundle = load_bundle({str(tiny_bundle().path)!r})
assert load_runtime(bundle).run(np.ones((2, 5), np.int64)).logits.shape == (2, 23)
try:
    load_runtime(bundle, OptimizationSettings({settings}))
except BackendUnavailable as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "vedette[train]" in done.stdout


def test_reloading_a_bundle_gives_the_same_answers() -> None:
    ids = rows(8, 20)
    again = load_runtime(load_bundle(tiny_bundle().path)).run(ids)
    assert np.array_equal(again.logits, opened(WAYS[0]).run(ids).logits)
