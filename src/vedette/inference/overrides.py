"""The keyword arguments of the Python services, laid over their settings."""

from __future__ import annotations

import os
from typing import Any

from pydantic import ValidationError

from vedette.config import Settings
from vedette.errors import ConfigError

_QUIET = {"waf_service": {"event_log": {"enabled": False}}}


def settings_with(
    settings: Settings | None,
    *,
    model_path: str | os.PathLike[str] | None = None,
    vocab_path: str | os.PathLike[str] | None = None,
    threshold: float | None = None,
    device: str = "auto",
    max_workers: int | None = None,
    batch_size: int | None = None,
    timeout: float | None = None,
) -> Settings:
    """Return `settings` (None: the defaults, without an event log) with what was given laid over them.

    `timeout` in seconds bounds a check as a whole and its model stage. Raises `ConfigError` naming the key.
    """
    base = settings if settings is not None else Settings.model_validate(_QUIET)
    waf: dict[str, Any] = {"threshold": threshold, "timeout": timeout}
    waf["model_path"] = None if model_path is None else os.fspath(model_path)
    waf["vocab_path"] = None if vocab_path is None else os.fspath(vocab_path)
    stage: dict[str, Any] = {"max_workers": max_workers, "batch_size": batch_size, "timeout": timeout}
    data = base.model_dump(by_alias=True)
    data["waf_service"] |= {key: value for key, value in waf.items() if value is not None}
    data["inference"]["async"] |= {key: value for key, value in stage.items() if value is not None}
    if device != "auto":
        data["inference"]["device"] = device
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{key}: {first['msg']}", key=key) from None
