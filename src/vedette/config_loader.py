"""Settings from four places: flags beat environment beats files beats defaults.

    config/config.yaml, config/inference.yaml   -> values with file:line
    VEDETTE_<SECTION>__<KEY>                    -> values with the variable's name
    flags                                       -> values with the flag's key
                                                -> one frozen `Settings`, or a `ConfigError` that names what is wrong

Either file may hold either section, so that one file can do; a key in both is refused, as nobody could tell which one
counts. A name that no key has is refused with the nearest one that exists: a misspelt limit is worse than none. YAML
is read without aliases (no expansion bombs), without duplicate keys and up to 1 MiB.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from vedette.config import Settings
from vedette.config_keys import ENV_PREFIX, Key, keys, sections
from vedette.errors import ConfigError

DEFAULT_CONFIG = Path("config/config.yaml")
DEFAULT_INFERENCE = Path("config/inference.yaml")
MAX_FILE_BYTES = 1024 * 1024

# Kubernetes gives every pod such variables for a Service that happens to be named "vedette"; they are not settings.
_SERVICE_LINK = re.compile(r"VEDETTE_(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)\Z")


@dataclass(frozen=True, slots=True)
class _Given:
    """A value somebody gave, and where: ``config/config.yaml:7``, a variable's name, a flag."""

    value: Any
    source: str


_Values = dict[tuple[str, ...], _Given]


def load_settings(
    config: Path | None = None,
    inference: Path | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Return the settings in force.

    `config` and `inference` are YAML files that must exist; where one is None, config/config.yaml or
    config/inference.yaml in the working directory is read if it is there. `environ` is the environment to read (None:
    no variables). `overrides` maps dotted keys to values, None meaning not given.

    Raises `ConfigError` with one line for each problem, each naming the place and the key.
    """
    given: _Values = {}
    files = [(config, DEFAULT_CONFIG), (inference, DEFAULT_INFERENCE)]
    paths = [path or default for path, default in files if path is not None or default.is_file()]
    for path in dict.fromkeys(paths):
        values = _from_file(path)
        _refuse_twice(given, values)
        given |= values
    given |= _from_environment(environ or {})
    given |= _from_overrides(overrides or {})
    return _validate(given)


def _refuse_twice(first: _Values, second: _Values) -> None:
    for path in first.keys() & second.keys():
        dotted = ".".join(path)
        raise ConfigError(f"{second[path].source}: {dotted}: already set in {first[path].source}", key=dotted)


def _from_file(path: Path) -> _Values:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_FILE_BYTES:,} bytes")
    loader = None
    try:
        loader = _Loader(raw)
        node = loader.get_single_node()
        return {} if node is None else dict(_flatten(path, loader, node, ()))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}{_line(error)}: not valid YAML: {_problem(error)}") from error
    except ValueError as error:  # a date or number that Python cannot hold
        raise ConfigError(f"{path}: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: nested too deeply") from error
    finally:
        if loader is not None:
            loader.dispose()


class _Loader(yaml.SafeLoader):
    """Plain YAML: safe types only, and no aliases."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.get_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases are not allowed", event.start_mark)
        return super().compose_node(parent, index)


def _flatten(
    file: Path, loader: _Loader, node: yaml.Node, above: tuple[str, ...]
) -> Iterable[tuple[tuple[str, ...], _Given]]:
    """Yield the keys of a mapping node with their values; unknown and repeated keys are refused here."""
    if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null":
        return
    if not isinstance(node, yaml.MappingNode):
        name = ".".join(above) or "the file"
        raise ConfigError(
            f"{file}:{_at(node)}: {name} must be a mapping of keys to values", key=".".join(above) or None
        )
    leaves = {key.path for key in keys()}
    seen: set[str] = set()
    for key_node, value_node in node.value:
        name = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
        path = (*above, name)
        if name in seen:
            raise ConfigError(f"{file}:{_at(key_node)}: {'.'.join(path)}: given twice", key=".".join(path))
        seen.add(name)
        if path in leaves:
            yield path, _Given(loader.construct_object(value_node, deep=True), f"{file}:{_at(key_node)}")
        elif path in sections():
            yield from _flatten(file, loader, value_node, path)
        else:
            raise _unknown(f"{file}:{_at(key_node)}: {'.'.join(path)}", path)


def _from_environment(environ: Mapping[str, str]) -> _Values:
    by_name = {key.env: key for key in keys()}
    values: _Values = {}
    for name, text in environ.items():
        if not name.startswith(ENV_PREFIX) or _SERVICE_LINK.match(name):
            continue
        key = by_name.get(name.upper())
        if key is None:
            hint = _nearest(name, by_name)
            raise ConfigError(f"environment variable {name}: no such setting{hint}", key=name)
        values[key.path] = _Given(_parse_variable(key, text), f"environment variable {name}")
    return values


def _parse_variable(key: Key, text: str) -> Any:
    """Return the value of a variable: null where empty or ``null`` and allowed, lists as JSON or comma-separated."""
    if key.nullable and text.strip().lower() in ("", "null", "none"):
        return None
    if not key.is_list:
        return text
    if text.lstrip().startswith("["):
        try:
            return json.loads(text)
        except ValueError as error:
            raise ConfigError(f"environment variable {key.env}: not a JSON list: {error}", key=key.dotted) from error
    return [part.strip() for part in text.split(",") if part.strip()]


def _from_overrides(overrides: Mapping[str, Any]) -> _Values:
    known = {key.dotted: key for key in keys()}
    values: _Values = {}
    for dotted, value in overrides.items():
        if dotted not in known:
            raise _unknown(f"option {dotted}", tuple(dotted.split(".")))
        if value is not None:
            values[known[dotted].path] = _Given(value, "command line")
    return values


def _validate(given: _Values) -> Settings:
    tree: dict[str, Any] = {}
    for path, item in given.items():
        branch = tree
        for part in path[:-1]:
            branch = branch.setdefault(part, {})
        branch[path[-1]] = item.value
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        lines: list[str] = []
        first: str | None = None
        secrets = {key.path for key in keys() if key.is_secret}
        for problem in error.errors(include_url=False):
            path = _key_of(problem["loc"])
            source = given[path].source if path in given else "defaults"
            message = problem["msg"].replace("Input should be", "must be").removeprefix("Value error, ")
            got = "" if path in secrets else f" (got {_short(problem['input'])})"
            lines.append(f"{source}: {'.'.join(path)}: {message}{got}")
            first = first or ".".join(path)
        raise ConfigError("\n".join(dict.fromkeys(lines)), key=first) from error


def _key_of(location: tuple[int | str, ...]) -> tuple[str, ...]:
    """Return the path of the key that a validation error stands at (list positions cut off)."""
    leaves = {key.path for key in keys()}
    for end in range(len(location), 0, -1):
        path = tuple(str(part) for part in location[:end])
        if path in leaves:
            return path
    return tuple(str(part) for part in location)


def _unknown(place: str, path: tuple[str, ...]) -> ConfigError:
    siblings = [key.path[: len(path)][-1] for key in keys() if key.path[: len(path) - 1] == path[:-1]]
    hint = _nearest(path[-1], siblings)
    elsewhere = [key.dotted for key in keys() if key.path[-1] == path[-1]]
    if not hint and elsewhere:
        hint = f"; did you mean {elsewhere[0]}?"
    return ConfigError(f"{place}: unknown key{hint}", key=".".join(path))


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name[:100], list(dict.fromkeys(known)), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def _at(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f":{mark.line + 1}" if mark is not None else ""


def _problem(error: yaml.YAMLError) -> str:
    return str(getattr(error, "problem", None) or error).splitlines()[0]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
