"""The model bundle: a directory that is loaded whole or not at all.

    manifest.json       versions, architecture, limits, calibration, training data, and size and SHA-256 of each file
    vocabulary.json     what `HTTPTokenizer` reads
    model.int8.onnx     served by default
    model.onnx          the same in fp32
    model.safetensors   the checkpoint: torch backends, fine-tuning

Loading opens each file without following links, checks size and hash, and checks that the parts belong together: the
vocabulary's hash and size, and what each weight file says of itself. Every failure is a `BundleError` naming the file.
Hashes guard against damage and mix-ups, not against somebody who can write the directory: nothing loaded from it is
ever executed (ONNX graphs, JSON, raw tensors). Saving writes a temporary directory beside the target and renames it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from vedette.bundle_metadata import ModelMetadata, onnx_metadata, safetensors_metadata
from vedette.errors import BundleError
from vedette.model.detector_config import CLASSES, DetectorConfig
from vedette.model.scoring import AnomalyScorer, Calibration
from vedette.tokenization.context import CONTEXT_WORDS
from vedette.tokenization.http_tokenizer import HTTPTokenizer

FORMAT = 1
MANIFEST, VOCABULARY = "manifest.json", "vocabulary.json"
INT8_ONNX, FP32_ONNX, CHECKPOINT = "model.int8.onnx", "model.onnx", "model.safetensors"
WEIGHTS = (INT8_ONNX, FP32_ONNX, CHECKPOINT)
MAX_FILE_BYTES = 1 << 30  # far above any detector; keeps a wrong path from filling memory
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Size in bytes and SHA-256 (hex) of one file."""

    sha256: str
    size: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """manifest.json. `limits` are the field limits of training, `training` the data manifest and how it was trained."""

    format: int
    name: str
    version: str
    created: str
    config: dict[str, Any]
    calibration: dict[str, Any]
    vocab_sha256: str
    limits: dict[str, Any]
    training: dict[str, Any]
    files: dict[str, FileEntry]

    def content_hash(self) -> str:
        """SHA-256 over all that decides a verdict: files, architecture, calibration, limits."""
        parts = (self.config, self.calibration, self.vocab_sha256, self.limits, self.files)
        return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()


@dataclass(frozen=True, slots=True)
class WeightFile:
    """A weight file that was verified when the bundle was loaded; `read` verifies it again."""

    path: Path
    entry: FileEntry

    def read(self) -> bytes:
        """Return the bytes. Raises `BundleError` if they changed since the bundle was loaded."""
        return _read_verified(self.path, self.entry)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A loaded bundle. `weights` maps `INT8_ONNX`, `FP32_ONNX`, `CHECKPOINT` to the files that there are.

    `loose` is true where one weight file was given instead of a directory: the backend then follows the file.
    """

    path: Path
    version: str
    config: DetectorConfig
    calibration: Calibration
    tokenizer: HTTPTokenizer
    scorer: AnomalyScorer
    manifest: Manifest
    weights: Mapping[str, WeightFile]
    loose: bool = False

    def with_weights(self, name: str, path: Path) -> Bundle:
        """Return this bundle with the weight file `name` read from `path`, which must belong to it."""
        data = _read_regular(path)
        _check_belongs(weight_metadata(data, path), self.manifest, path)
        return replace(self, weights={**self.weights, name: WeightFile(path, _entry(data))})


def default_bundle_path() -> Path:
    """Where the shipped bundle lies inside the installed package."""
    return Path(str(resources.files("vedette"))) / "models" / "default"


def load_model(model_path: str | Path | None = None, vocab_path: str | Path | None = None) -> Bundle:
    """Load a bundle directory, or one `.onnx`, `.safetensors` or `.pt` file; None is the shipped bundle.

    A loose file brings its architecture and calibration in its metadata; its vocabulary is `vocab_path`, or else the
    vocabulary.json beside it, or else the shipped one, and must have the hash that the file names.
    """
    path = default_bundle_path() if model_path is None else Path(model_path)
    if path.is_dir():
        bundle = load_bundle(path)
        if vocab_path is not None and _tokenizer(Path(vocab_path), bundle.config).sha256 != bundle.tokenizer.sha256:
            raise BundleError(f"{vocab_path}: is not the vocabulary of {path}")
        return bundle
    return _load_loose(path, None if vocab_path is None else Path(vocab_path))


def load_bundle(path: str | Path) -> Bundle:
    """Load a bundle directory. Raises `BundleError` naming the file that is missing, altered or does not belong."""
    path = Path(path)
    where = path / MANIFEST
    manifest = _parse_manifest(_read_regular(where), where)
    config = DetectorConfig.from_dict(manifest.config)
    _check_classes(config, where)
    contents = {name: _read_verified(path / name, entry) for name, entry in manifest.files.items()}
    tokenizer = HTTPTokenizer.from_json(contents[VOCABULARY].decode("utf-8", "replace"), config.max_tokens)
    if not _belong_together(tokenizer, config, manifest.vocab_sha256):
        raise BundleError(f"{path / VOCABULARY}: vocabulary and model do not belong together")
    calibration = Calibration.from_dict(manifest.calibration)
    for name in manifest.files:
        if name != VOCABULARY:
            metadata = weight_metadata(contents[name], path / name)
            _check_belongs(metadata, manifest, path / name)
    weights = {name: WeightFile(path / name, manifest.files[name]) for name in manifest.files if name != VOCABULARY}
    scorer = AnomalyScorer(config.classes, calibration)
    return Bundle(path, manifest.version, config, calibration, tokenizer, scorer, manifest, weights)


def save_bundle(
    path: str | Path,
    *,
    name: str,
    config: DetectorConfig,
    calibration: Calibration,
    tokenizer: HTTPTokenizer,
    write_weights: Callable[[Path], object],
    limits: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    created: str | None = None,
) -> Bundle:
    """Write a bundle to `path`, replacing a bundle there, and return it loaded.

    `write_weights(directory)` writes the weight files (see `vedette.bundle_export.write_weights`). The new directory is
    complete and verified before it takes the old one's name; a crash leaves the old or the new one, and at worst a
    temporary directory beside it.
    """
    path = Path(path)
    if not _NAME.match(name):
        raise BundleError(f"bundle name {name!r} must be lower-case letters, digits, '.', '_' and '-'")
    path.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        tokenizer.save(work / VOCABULARY)
        write_weights(work)
        names = [name for name in (VOCABULARY, *WEIGHTS) if (work / name).exists()]
        manifest = Manifest(
            format=FORMAT,
            name=name,
            version="",
            created=created or datetime.now(UTC).isoformat(timespec="seconds"),
            config=config.to_dict(),
            calibration=calibration.to_dict(),
            vocab_sha256=tokenizer.sha256,
            limits=dict(limits or {}),
            training=dict(training or {}),
            files={file: _entry((work / file).read_bytes()) for file in names},
        )
        manifest = msgspec.structs.replace(manifest, version=_version(name, manifest.content_hash()))
        text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
        (work / MANIFEST).write_bytes(text + b"\n")
        for file in (*names, MANIFEST):
            _sync(work / file)
        work.chmod(0o755)
        load_bundle(work)
        _replace_directory(work, path)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return load_bundle(path)


def weight_metadata(data: bytes, path: Path) -> ModelMetadata:
    """What the weight file `path` says of itself; its format follows from its ending."""
    if path.suffix == ".pt":
        from vedette.bundle_checkpoint import pt_metadata  # needs torch: the train extra

        return pt_metadata(data, str(path))
    if path.suffix == ".safetensors":
        return safetensors_metadata(data, str(path))
    if path.suffix == ".onnx":
        return onnx_metadata(data, str(path))
    raise BundleError(f"{path}: a model is a bundle directory, or an .onnx, .safetensors or .pt file")


def _load_loose(path: Path, vocab_path: Path | None) -> Bundle:
    data = _read_regular(path)
    metadata = weight_metadata(data, path)
    onnx_role = INT8_ONNX if metadata.precision == "int8" else FP32_ONNX
    role = onnx_role if path.suffix == ".onnx" else CHECKPOINT
    config, calibration = metadata.detector_config(), metadata.scorer_calibration()
    _check_classes(config, path)
    if calibration is None:
        raise BundleError(f"{path}: has no calibration in its metadata, so its scores mean nothing yet")
    tokenizer = _tokenizer(vocab_path or _vocabulary_for(path), config)
    if not _belong_together(tokenizer, config, metadata.vocab_sha256):
        raise BundleError(f"{vocab_path or _vocabulary_for(path)}: vocabulary and model {path} do not belong together")
    entry = _entry(data)
    manifest = Manifest(
        format=FORMAT,
        name=path.stem,
        version=f"{path.stem}-{entry.sha256[:8]}",
        created="",
        config=metadata.config,
        calibration=calibration.to_dict(),
        vocab_sha256=metadata.vocab_sha256,
        limits={},
        training={},
        files={role: entry},
    )
    scorer = AnomalyScorer(config.classes, calibration)
    weights = {role: WeightFile(path, entry)}
    return Bundle(path, manifest.version, config, calibration, tokenizer, scorer, manifest, weights, loose=True)


def _vocabulary_for(path: Path) -> Path:
    beside = path.parent / VOCABULARY
    return beside if beside.exists() else default_bundle_path() / VOCABULARY


def _tokenizer(path: Path, config: DetectorConfig) -> HTTPTokenizer:
    return HTTPTokenizer.from_json(_read_regular(path).decode("utf-8", "replace"), config.max_tokens)


def _parse_manifest(data: bytes, where: Path) -> Manifest:
    """JSON -> checked `Manifest`: known format, known plain file names, a version that fits the contents."""
    try:
        head = msgspec.json.decode(data, type=dict[str, Any])
        if head.get("format") != FORMAT:
            raise BundleError(f"{where}: bundle format {head.get('format')!r} is unknown, this version reads {FORMAT}")
        manifest = msgspec.convert(head, Manifest)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BundleError(f"{where}: is not a bundle manifest: {error}") from error
    for name in manifest.files:
        if name not in (VOCABULARY, *WEIGHTS):
            raise BundleError(f"{where}: lists {name!r}, which is not a file of a bundle")
    if VOCABULARY not in manifest.files or not set(WEIGHTS) & set(manifest.files):
        raise BundleError(f"{where}: lists no vocabulary or no weights")
    if manifest.version != _version(manifest.name, manifest.content_hash()):
        raise BundleError(f"{where}: was altered: its version does not fit its contents")
    return manifest


def _belong_together(tokenizer: HTTPTokenizer, config: DetectorConfig, vocab_sha256: str) -> bool:
    sizes = (tokenizer.vocab_size, len(CONTEXT_WORDS))
    return tokenizer.sha256 == vocab_sha256 and sizes == (config.vocab_size, config.context_tokens)


def _check_classes(config: DetectorConfig, where: Path) -> None:
    unknown = sorted(set(config.classes) - set(CLASSES))
    if unknown:
        raise BundleError(f"{where}: classes {unknown} are not known to this version")


def _check_belongs(metadata: ModelMetadata, manifest: Manifest, where: Path) -> None:
    if metadata.vocab_sha256 != manifest.vocab_sha256:
        raise BundleError(f"{where}: was trained with another vocabulary")
    if metadata.config != manifest.config:
        raise BundleError(f"{where}: has another architecture than the manifest says")
    if metadata.calibration not in (None, manifest.calibration):
        raise BundleError(f"{where}: has another calibration than the manifest says")


def _version(name: str, content_hash: str) -> str:
    return f"{name}-{content_hash[:8]}"


def _entry(data: bytes) -> FileEntry:
    return FileEntry(hashlib.sha256(data).hexdigest(), len(data))


def _read_verified(path: Path, entry: FileEntry) -> bytes:
    data = _read_regular(path)
    if len(data) != entry.size:
        raise BundleError(f"{path}: has {len(data)} bytes, the manifest says {entry.size}")
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise BundleError(f"{path}: was altered: its SHA-256 is not the manifest's")
    return data


def _read_regular(path: Path) -> bytes:
    """Read a regular file, following no link at its last step and blocking on no pipe."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise BundleError(f"{path}: is missing") from error
    except OSError as error:
        reason = "is a symbolic link, which is refused" if path.is_symlink() else f"cannot be read: {error.strerror}"
        raise BundleError(f"{path}: {reason}") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise BundleError(f"{path}: is not a regular file")
        if status.st_size > MAX_FILE_BYTES:
            raise BundleError(f"{path}: is larger than {MAX_FILE_BYTES} bytes")
        return file.read(MAX_FILE_BYTES)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _replace_directory(new: Path, path: Path) -> None:
    """Give `new` the name `path`. A directory there is moved away first and comes back if the rename fails."""
    if path.exists() and not (path / MANIFEST).exists() and any(path.iterdir()):
        raise BundleError(f"{path}: exists and is not a bundle; it is left alone")
    old = new.with_name(new.name + ".old")
    if path.exists():
        path.rename(old)
    try:
        new.rename(path)
    except OSError:
        if old.exists():
            old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)
