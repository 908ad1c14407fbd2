"""Each way to run the model is proven against fp32, saved with what it is, and loaded again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.native_here import WAYS
from tests.tiny_bundle import rows, tiny_bundle
from vedette.bundle import VOCABULARY, load_model
from vedette.errors import BundleError
from vedette.http_request import HTTPRequest
from vedette.inference.optimization import (
    TOLERANCES,
    agreement_rows,
    compare_backends,
    load_optimized,
    optimization_for,
    save_optimized,
)
from vedette.inference.runtime import VARIANTS, Variant, load_runtime

EVERY_WAY = pytest.mark.parametrize("variant", WAYS, ids=lambda variant: variant.name)


@pytest.mark.parametrize("which", ["untrained", "shipped"])
def test_every_way_agrees_with_fp32_within_its_tolerance(which: str) -> None:
    bundle = tiny_bundle() if which == "untrained" else load_model()
    compared = compare_backends(bundle, measure_s=0.01)
    assert [row.variant for row in compared] == [variant.name for variant in VARIANTS]
    assert [row.variant for row in compared if row.unavailable is None] == [variant.name for variant in WAYS]
    for row in compared[-len(WAYS) :]:
        allowed = TOLERANCES[row.variant]
        assert row.max_logit_difference <= allowed.max_logit_difference, row
        assert row.max_score_difference <= allowed.max_score_difference, row
        assert row.agreement >= allowed.min_agreement, row
        assert row.within_tolerance
        assert row.size > 0
        assert row.cpu_us_per_sequence > 0
        assert json.loads(json.dumps(row.to_dict()))["variant"] == row.variant


def test_ways_without_weights_are_listed_as_unavailable() -> None:
    bundle = load_model(tiny_bundle().path / "model.onnx", tiny_bundle().path / VOCABULARY)
    reasons = {row.variant: row.unavailable for row in compare_backends(bundle, measure_s=0.01)}
    assert reasons["onnx-fp32"] is None
    assert "model.int8.onnx" in str(reasons["onnx-int8"])
    assert "model.safetensors" in str(reasons["torch-fp32"])
    with pytest.raises(BundleError, match="no fp32 weights"):
        compare_backends(load_model(tiny_bundle().path / "model.int8.onnx", tiny_bundle().path / VOCABULARY))


def test_own_requests_can_be_compared() -> None:
    request = HTTPRequest("GET", "/?q=%3Cscript%3Ealert(1)%3C/script%3E")
    only = (Variant("onnx", "int8"),)
    assert [row.variant for row in compare_backends(tiny_bundle(), [request], variants=only, measure_s=0)] == [
        "onnx-int8"
    ]
    with pytest.raises(ValueError, match="nothing that the model reads"):
        compare_backends(tiny_bundle(), [HTTPRequest("GET", "/?id=1")])


def test_the_fixed_set_fills_short_and_whole_windows() -> None:
    lengths = {len(row) for row in agreement_rows(tiny_bundle())}
    assert min(lengths) < 16
    assert max(lengths) == tiny_bundle().config.max_tokens


@EVERY_WAY
def test_a_saved_way_is_loaded_with_the_same_answers(tmp_path: Path, variant: Variant) -> None:
    bundle = tiny_bundle()
    path = save_optimized(bundle, variant, tmp_path)
    description = json.loads(path.with_name(path.name + ".json").read_text())
    assert description["model_version"] == bundle.version
    runtime = load_optimized(path, bundle)
    assert runtime.variant == variant
    ids = rows(6, 21)
    wanted = load_runtime(bundle, optimization_for(variant), "cpu").run(ids)
    assert np.array_equal(runtime.run(ids).logits, wanted.logits)


def test_an_altered_or_foreign_file_is_refused(tmp_path: Path) -> None:
    path = save_optimized(tiny_bundle(), Variant("torch", "none", torchscript=True), tmp_path)
    beside = path.with_name(path.name + ".json")
    good, description = path.read_bytes(), beside.read_text()
    for change, reason in (
        (lambda: path.write_bytes(good[:-1] + b"x"), "was altered"),
        (lambda: beside.unlink(), "cannot be read"),
        (lambda: beside.write_text("{"), "cannot be read"),
        (lambda: beside.write_text(description.replace('"format": 1', '"format": 9')), "unknown"),
        (lambda: beside.write_text(description.replace('"backend": "torch"', '"backend": "tarot"')), "unknown"),
        (lambda: beside.write_text(description.replace("tiny-", "other-")), "belongs to model other-"),
    ):
        path.write_bytes(good)
        beside.write_text(description)
        change()
        with pytest.raises(BundleError, match=reason):
            load_optimized(path, tiny_bundle())
