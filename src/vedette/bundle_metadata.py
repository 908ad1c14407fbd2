"""What a weight file says of itself, read without running or unpickling anything.

Every weight file that Vedette writes carries one entry ``vedette`` of JSON: format, architecture, vocabulary hash,
calibration, precision. So a loose file can be served, and a file cannot be mistaken for another's. ONNX and safetensors
are read here by walking their outermost framing only (protobuf wire format; 8-byte length and JSON header): linear in
the number of top-level fields, no copy of the weights, no optional package.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from vedette.errors import BundleError
from vedette.model.detector_config import DetectorConfig
from vedette.model.scoring import Calibration

KEY = "vedette"
FORMAT = 1
MAX_METADATA_BYTES = 1 << 20  # the shipped bundle's is 2 kB
Precision = Literal["fp32", "int8"]

# TensorProto.external_data holds StringStringEntryProto{key: "location"}: a tensor that lies in another file.
_EXTERNAL_TENSOR = re.compile(rb"\x0a\x08location\x12")
_METADATA_PROPS = 14  # ModelProto.metadata_props, onnx.proto3
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class ModelMetadata(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The entry ``vedette`` of a weight file. `calibration` is None in a checkpoint that was never calibrated."""

    format: int
    config: dict[str, Any]
    vocab_sha256: str
    precision: Precision = "fp32"
    calibration: dict[str, Any] | None = None

    @classmethod
    def of(
        cls, config: DetectorConfig, vocab_sha256: str, calibration: Calibration | None, precision: Precision = "fp32"
    ) -> ModelMetadata:
        """Describe a model."""
        return cls(
            format=FORMAT,
            config=config.to_dict(),
            vocab_sha256=vocab_sha256,
            precision=precision,
            calibration=None if calibration is None else calibration.to_dict(),
        )

    def to_json(self) -> str:
        """The text that is stored in the file; equal metadata gives equal text."""
        return msgspec.json.encode(self, order="sorted").decode()

    def detector_config(self) -> DetectorConfig:
        """Architecture of the model. Raises `BundleError` where it is not one."""
        return DetectorConfig.from_dict(self.config)

    def scorer_calibration(self) -> Calibration | None:
        """Calibration, if the file has one. Raises `BundleError` where it is not readable."""
        return None if self.calibration is None else Calibration.from_dict(self.calibration)


def parse_metadata(text: str | bytes, where: str) -> ModelMetadata:
    """JSON of the entry -> `ModelMetadata`. Raises `BundleError` naming `where`."""
    if len(text) > MAX_METADATA_BYTES:
        raise BundleError(f"{where}: metadata larger than {MAX_METADATA_BYTES} bytes")
    try:
        metadata = msgspec.json.decode(text, type=ModelMetadata)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BundleError(f"{where}: metadata is not readable: {error}") from error
    if metadata.format != FORMAT:
        raise BundleError(f"{where}: format {metadata.format} is unknown, this version reads {FORMAT}")
    return metadata


def onnx_metadata(data: bytes, where: str) -> ModelMetadata:
    """Read the entry of an ONNX model. Raises `BundleError` if it is cut short, has none, or points to other files."""
    if _EXTERNAL_TENSOR.search(data):
        raise BundleError(f"{where}: keeps tensors in other files, which is refused")
    found: bytes | None = None
    for number, value in _protobuf_fields(data, where):
        if number == _METADATA_PROPS:
            entry = dict(_protobuf_fields(value, where))
            if bytes(entry.get(1, b"")) == KEY.encode():
                found = bytes(entry.get(2, b""))
    if found is None:
        raise BundleError(f"{where}: has no {KEY!r} metadata; only models written by Vedette can be served")
    return parse_metadata(found, where)


def safetensors_metadata(data: bytes, where: str) -> ModelMetadata:
    """Read the entry of a safetensors file: u64 little-endian header length, then a JSON header."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not 2 <= length <= min(len(data) - 8, 4 * MAX_METADATA_BYTES):
        raise BundleError(f"{where}: is truncated or not a safetensors file")
    try:
        header = msgspec.json.decode(data[8 : 8 + length], type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BundleError(f"{where}: safetensors header is not readable: {error}") from error
    entry = header.get("__metadata__")
    text = entry.get(KEY) if isinstance(entry, dict) else None
    if not isinstance(text, str):
        raise BundleError(f"{where}: has no {KEY!r} metadata; only checkpoints written by Vedette can be loaded")
    return parse_metadata(text, where)


def _protobuf_fields(data: bytes | memoryview, where: str) -> Iterator[tuple[int, memoryview]]:
    """Yield (field number, bytes) of the length-delimited fields of one message, skipping the others."""
    view, at, end = memoryview(data), 0, len(data)
    while at < end:
        tag, at = _varint(view, at, where)
        kind = tag & 7
        if kind == _VARINT:
            _, at = _varint(view, at, where)
        elif kind == _FIXED64:
            at += 8
        elif kind == _FIXED32:
            at += 4
        elif kind == _BYTES:
            size, at = _varint(view, at, where)
            if size > end - at:
                raise BundleError(f"{where}: is truncated")
            yield tag >> 3, view[at : at + size]
            at += size
        else:
            raise BundleError(f"{where}: is not an ONNX model")
    if at > end:
        raise BundleError(f"{where}: is truncated")


def _varint(view: memoryview, at: int, where: str) -> tuple[int, int]:
    """Base-128 varint at `at` -> (value, position after it); at most ten bytes."""
    value = 0
    for index, byte in enumerate(view[at : at + 10]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, at + index + 1
    raise BundleError(f"{where}: is truncated or not an ONNX model")
