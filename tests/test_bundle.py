"""A bundle is loaded whole or not at all, and every refusal names the file."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.native_here import HAS_NATIVE
from tests.tiny_bundle import CALIBRATION, detector, ranges, rows, tiny_bundle, tokenizer
from vedette.bundle import (
    CHECKPOINT,
    FP32_ONNX,
    INT8_ONNX,
    MANIFEST,
    VOCABULARY,
    WEIGHTS,
    default_bundle_path,
    load_bundle,
    load_model,
    save_bundle,
)
from vedette.bundle_checkpoint import load_checkpoint, load_detector, save_checkpoint
from vedette.bundle_export import stamp_calibration
from vedette.bundle_metadata import ModelMetadata, onnx_metadata, safetensors_metadata
from vedette.bundle_quantize import quantize_int8
from vedette.config import OptimizationSettings
from vedette.errors import BundleError
from vedette.inference.runtime import load_runtime
from vedette.model.scoring import Calibration
from vedette.tokenization.http_tokenizer import HTTPTokenizer

FILES = (MANIFEST, VOCABULARY, *WEIGHTS)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A bundle that a test may damage."""
    return Path(shutil.copytree(tiny_bundle().path, tmp_path / "copy"))


def refusal(path: Path, vocab: Path | None = None) -> str:
    with pytest.raises(BundleError) as caught:
        load_model(path, vocab)
    return str(caught.value)


def edit_manifest(bundle: Path, change: Callable[[dict], None]) -> None:
    """Change the manifest and give it a version that fits, so that only what was changed is at fault."""
    manifest = json.loads((bundle / MANIFEST).read_text())
    change(manifest)
    (bundle / MANIFEST).write_text(json.dumps(manifest))
    try:
        loaded = msgspec.convert(manifest, type(tiny_bundle().manifest))
    except msgspec.ValidationError:
        return
    manifest["version"] = f"{loaded.name}-{loaded.content_hash()[:8]}"
    (bundle / MANIFEST).write_text(json.dumps(manifest))


def test_a_saved_bundle_loads_with_all_its_parts() -> None:
    bundle = tiny_bundle()
    assert sorted(path.name for path in bundle.path.iterdir()) == sorted(FILES)
    assert set(bundle.weights) == set(WEIGHTS)
    assert bundle.config == detector().config
    assert bundle.calibration == CALIBRATION
    assert bundle.tokenizer.sha256 == tokenizer().sha256
    assert bundle.version == f"tiny-{bundle.manifest.content_hash()[:8]}"
    assert bundle.manifest.training == {"data": "none: untrained"}


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    assert f"{copy / name}: is missing" in refusal(copy)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_named(copy: Path, name: str) -> None:
    data = (copy / name).read_bytes()
    (copy / name).write_bytes(data[: len(data) // 2])
    assert str(copy / name) in refusal(copy)


@pytest.mark.parametrize("name", [VOCABULARY, *WEIGHTS])
def test_an_altered_file_is_named(copy: Path, name: str) -> None:
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    assert f"{copy / name}: was altered" in refusal(copy)


@pytest.mark.parametrize("key", ["calibration", "config", "limits", "name"])
def test_an_altered_manifest_does_not_fit_its_version(copy: Path, key: str) -> None:
    manifest = json.loads((copy / MANIFEST).read_text())
    changed = {"calibration": {"centre": -9.0}, "config": {"d_ff": 49}, "limits": {"x": 1}, "name": "other"}[key]
    manifest[key] = {**manifest[key], **changed} if isinstance(changed, dict) else changed
    (copy / MANIFEST).write_text(json.dumps(manifest))
    assert "version does not fit" in refusal(copy)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m.update(format=2), "format 2 is unknown"),
        (lambda m: m.pop("format"), "format None is unknown"),
        (lambda m: m.update(surprise=1), "is not a bundle manifest"),
        (lambda m: m["files"].update({"../../etc/passwd": {"sha256": "0", "size": 1}}), "'../../etc/passwd'"),
        (lambda m: m["files"].update({"/etc/passwd": {"sha256": "0", "size": 1}}), "'/etc/passwd'"),
        (lambda m: m["files"].pop(VOCABULARY), "no vocabulary"),
        (lambda m: [m["files"].pop(name) for name in WEIGHTS], "no weights"),
        (lambda m: m["config"]["classes"].append("sorcery"), "['sorcery'] are not known"),
        (lambda m: m["config"].update(n_heads=5), "not divisible"),
        (lambda m: m["config"].pop("vocab_size"), "not readable"),
        (lambda m: m["config"].update(d_ff=49), "another architecture"),
        (lambda m: m["calibration"].update(centre=1.0), "another calibration"),
        (lambda m: m["calibration"].update(scale=-1.0), "positive scale"),
        (lambda m: m.update(vocab_sha256="0" * 64), "do not belong together"),
    ],
)
def test_a_manifest_that_promises_what_is_not_there_is_refused(
    copy: Path, change: Callable[[dict], None], reason: str
) -> None:
    edit_manifest(copy, change)
    assert reason in refusal(copy)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 1}', "[" * 100_000, '{"a":' * 50_000, "\xff"])
def test_a_manifest_that_is_none_is_refused(copy: Path, text: str) -> None:
    (copy / MANIFEST).write_bytes(text.encode("latin-1"))
    assert str(copy / MANIFEST) in refusal(copy)


def test_the_vocabulary_of_another_model_is_refused(copy: Path) -> None:
    other = HTTPTokenizer.train(["other words entirely"] * 3, 380, 64)
    other.save(copy / VOCABULARY)
    entry = {"sha256": other.sha256, "size": (copy / VOCABULARY).stat().st_size}
    edit_manifest(copy, lambda m: m["files"].update({VOCABULARY: entry}))
    assert f"{copy / VOCABULARY}: vocabulary and model do not belong together" in refusal(copy)


def test_weights_trained_with_another_vocabulary_are_refused(copy: Path) -> None:
    save_checkpoint(copy / CHECKPOINT, detector(), "0" * 64, CALIBRATION)
    data = (copy / CHECKPOINT).read_bytes()
    entry = msgspec.to_builtins(type(tiny_bundle().manifest.files[CHECKPOINT])(_sha256(data), len(data)))
    edit_manifest(copy, lambda m: m["files"].update({CHECKPOINT: entry}))
    assert f"{copy / CHECKPOINT}: was trained with another vocabulary" in refusal(copy)


def test_links_and_pipes_are_refused(copy: Path) -> None:
    target = copy.parent / "elsewhere"
    (copy / INT8_ONNX).rename(target)
    (copy / INT8_ONNX).symlink_to(target)
    assert f"{copy / INT8_ONNX}: is a symbolic link" in refusal(copy)
    (copy / INT8_ONNX).unlink()
    os.mkfifo(copy / INT8_ONNX)
    assert f"{copy / INT8_ONNX}: is not a regular file" in refusal(copy)


def test_a_file_changed_after_loading_is_not_served(copy: Path) -> None:
    bundle = load_bundle(copy)
    (copy / INT8_ONNX).write_bytes((copy / FP32_ONNX).read_bytes())
    (copy / CHECKPOINT).write_bytes((copy / CHECKPOINT).read_bytes()[:-4] + b"\0\0\0\0")
    ways = [("onnx", r"model\.int8\.onnx"), ("torch", r"model\.safetensors"), ("native", r"model\.safetensors")]
    for backend, name in ways if HAS_NATIVE else ways[:2]:
        with pytest.raises(BundleError, match=name):
            load_runtime(bundle, OptimizationSettings(backend=backend))


def test_saving_over_a_bundle_replaces_it_whole(copy: Path) -> None:
    source = tiny_bundle()

    def only_int8(directory: Path) -> None:
        shutil.copy(source.path / INT8_ONNX, directory)

    def broken(directory: Path) -> None:
        only_int8(directory)
        raise OSError("disk full")

    def save(write: Callable[[Path], object], to: Path) -> None:
        save_bundle(
            to, name="tiny", config=source.config, calibration=CALIBRATION, tokenizer=tokenizer(), write_weights=write
        )

    with pytest.raises(OSError, match="disk full"):
        save(broken, copy)
    assert load_bundle(copy).version == source.version
    save(only_int8, copy)
    assert set(load_bundle(copy).weights) == {INT8_ONNX}
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]

    other = copy.parent / "photos"
    other.mkdir()
    (other / "cat.jpg").write_bytes(b"meow")
    with pytest.raises(BundleError, match="is not a bundle"):
        save(only_int8, other)
    assert (other / "cat.jpg").exists()


@pytest.mark.parametrize("name", ["", "Tiny", "a/b", "../up", "x" * 65, "a b"])
def test_a_bundle_name_is_a_plain_word(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError, match="bundle name"):
        save_bundle(
            tmp_path / "b",
            name=name,
            config=detector().config,
            calibration=CALIBRATION,
            tokenizer=tokenizer(),
            write_weights=lambda directory: None,
        )


# -- loose files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_loose_file_brings_its_architecture_and_calibration(tmp_path: Path, name: str) -> None:
    source = tiny_bundle()
    path = Path(shutil.copy(source.path / name, tmp_path / f"mine{Path(name).suffix}"))
    bundle = load_model(path, source.path / VOCABULARY)
    assert (bundle.config, bundle.calibration, bundle.loose) == (source.config, CALIBRATION, True)
    assert set(bundle.weights) == {name}
    assert bundle.version.startswith("mine-")


def test_a_pt_checkpoint_is_read_by_weights_only(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "mine.pt", detector(), tokenizer().sha256, CALIBRATION)
    tokenizer().save(tmp_path / VOCABULARY)
    bundle = load_model(tmp_path / "mine.pt")
    assert bundle.config == detector().config
    with torch.inference_mode():
        ids = torch.from_numpy(rows(3, 9))
        assert torch.equal(load_detector(bundle)(ids)[0], detector()(ids)[0])


def test_a_loose_file_needs_calibration_and_its_own_vocabulary(tmp_path: Path) -> None:
    for ending in (".pt", ".safetensors"):
        save_checkpoint(tmp_path / f"raw{ending}", detector(), tokenizer().sha256)
        assert "has no calibration" in refusal(tmp_path / f"raw{ending}", tiny_bundle().path / VOCABULARY)
    other = tmp_path / "other.json"
    HTTPTokenizer.train(["other words entirely"] * 3, 380, 64).save(other)
    assert "do not belong together" in refusal(tiny_bundle().path / FP32_ONNX, other)
    assert "is not the vocabulary of" in refusal(tiny_bundle().path, other)
    assert "is missing" in refusal(tiny_bundle().path / FP32_ONNX, tmp_path / "none.json")


class _Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("/tmp/vedette-was-here"),))


def write_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(_Evil()))


def write_torch_pickle(path: Path) -> None:
    torch.save({"format": 1, "state_dict": _Evil()}, path)


def write_torchscript(path: Path) -> None:
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)), path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("write", [write_pickle, write_torch_pickle, write_torchscript])
def test_a_checkpoint_that_holds_code_is_refused_and_not_run(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(tmp_path / "evil.pt")
    assert "holds code or objects, which is refused" in refusal(tmp_path / "evil.pt")
    assert not Path("/tmp/vedette-was-here").exists()


@pytest.mark.parametrize(
    "content",
    [
        {"weights": torch.ones(1)},
        {"format": 2, "config": {}, "vocab_sha256": "", "calibration": None, "state_dict": {}},
        {"format": 1, "config": [], "vocab_sha256": "", "calibration": None, "state_dict": {}},
        {"format": 1, "config": {}, "vocab_sha256": "", "calibration": None, "state_dict": {"a": 1}},
        [1, 2],
    ],
)
def test_a_pt_of_another_kind_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "other.pt")
    assert str(tmp_path / "other.pt") in refusal(tmp_path / "other.pt")


def test_weights_that_do_not_fit_their_architecture_are_refused(tmp_path: Path) -> None:
    model = detector()
    del model.layers[1]
    save_checkpoint(tmp_path / "short.pt", model, tokenizer().sha256, CALIBRATION)
    with pytest.raises(BundleError, match="do not fit the architecture"):
        load_checkpoint(tmp_path / "short.pt")


def test_a_path_that_is_no_model_is_refused(tmp_path: Path) -> None:
    assert "is missing" in refusal(tmp_path / "none.onnx")
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04.")
    assert "an .onnx, .safetensors or .pt file" in refusal(tmp_path / "model.pkl")
    (tmp_path / "empty").mkdir()
    assert str(tmp_path / "empty" / MANIFEST) in refusal(tmp_path / "empty")


def test_an_onnx_file_that_points_to_other_files_is_refused(tmp_path: Path) -> None:
    import onnx

    model = onnx.load(str(tiny_bundle().path / FP32_ONNX))
    tensor = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../etc/passwd")
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert "keeps tensors in other files" in refusal(tmp_path / "m.onnx", tiny_bundle().path / VOCABULARY)


# -- what weight files say of themselves -----------------------------------------------------------------------------


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_metadata_or_one_named_error(data: bytes) -> None:
    for read in (onnx_metadata, safetensors_metadata):
        with pytest.raises(BundleError, match="here"):
            read(data, "here")


@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=4))
@settings(max_examples=100, deadline=None)
def test_a_damaged_model_is_metadata_or_one_named_error(place: int, patch: bytes) -> None:
    for name, read in ((INT8_ONNX, onnx_metadata), (CHECKPOINT, safetensors_metadata)):
        data = bytearray((tiny_bundle().path / name).read_bytes())
        at = place % len(data)
        data[at : at + len(patch)] = patch
        with suppress(BundleError):
            assert isinstance(read(bytes(data), "here"), ModelMetadata)


def test_calibration_can_be_stamped_after_training(copy: Path) -> None:
    calibration = Calibration(1.5, 0.5, ((300.0, 1.5),))
    stamp_calibration(copy, calibration)
    for name in WEIGHTS:
        assert load_model(copy / name).calibration == calibration
    before, after = (
        load_runtime(bundle, OptimizationSettings(backend="onnx")).run(rows(4, 9)).logits
        for bundle in (tiny_bundle(), load_model(copy / INT8_ONNX))
    )
    assert np.array_equal(before, after)
    assert load_checkpoint(copy / CHECKPOINT)[0].state_dict().keys() == detector().state_dict().keys()


# -- quantisation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_the_int8_graph_follows_the_detector(tmp_path: Path, activation: str) -> None:
    model = detector(activation)
    metadata = ModelMetadata.of(model.config, tokenizer().sha256, CALIBRATION, "int8")
    quantize_int8(model, tmp_path / "q.onnx", ranges(), metadata)
    runtime = load_runtime(load_model(tmp_path / "q.onnx", tiny_bundle().path / VOCABULARY))
    ids = rows(64, 30, seed=9)
    with torch.inference_mode():
        wanted = model(torch.from_numpy(ids))[0].numpy()
    got = runtime.run(ids).logits
    assert np.corrcoef(got.ravel(), wanted.ravel())[0, 1] > 0.99


def test_a_graph_that_strays_from_the_detector_is_not_written(tmp_path: Path) -> None:
    model = detector()
    model.layers[0].scale *= 40  # what a changed forward pass would look like: the graph does not know of it
    metadata = ModelMetadata.of(model.config, tokenizer().sha256, CALIBRATION, "int8")
    with pytest.raises(BundleError, match="do not follow"):
        quantize_int8(model, tmp_path / "q.onnx", ranges(), metadata)
    with pytest.raises(BundleError, match="calibration rows"):
        quantize_int8(model, tmp_path / "q.onnx", [], metadata)
    assert not (tmp_path / "q.onnx").exists()


def test_weight_codes_fit_seven_bits() -> None:
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(tiny_bundle().path / INT8_ONNX))
    codes = [
        numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.INT8
    ]
    assert max(int(np.abs(array.astype(int)).max()) for array in codes) == 63


# -- the shipped bundle ----------------------------------------------------------------------------------------------


def test_the_shipped_bundle_is_whole_and_small() -> None:
    bundle = load_model()
    assert bundle.path == default_bundle_path()
    assert set(bundle.weights) == set(WEIGHTS)
    assert sum(path.stat().st_size for path in bundle.path.iterdir()) <= 8 * 1024 * 1024
    assert load_detector(bundle).config == bundle.config


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
