"""The local configuration: a file or a directory with the environment laid over it (contract/configuration.md §1.1, §1.2)."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from patroni.config.environment import WHOLE, Environment
from patroni.config.fault import ConfigError
from patroni.config.tree import patched

CACHE = "patroni.dynamic.json"
_WANTED = (
    "Usage: patroni CONFIGFILE, a YAML file or a directory of them; without one the text in PATRONI_CONFIGURATION, "
    "else the PATRONI_* variables, are the configuration."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """The local layer, unparsed."""

    values: Mapping[str, object]  # YAML's tree, unknown keys included
    path: str | None  # of the file or directory; None: the environment alone, which cannot be reloaded
    environment: Environment = Environment()  # as captured at the start; laid over the file again at a reload


def load_local(path: str | None, environment: Environment) -> Local:
    """Load the local layer: the path if it exists, else PATRONI_CONFIGURATION, else the variables.

    Raise ConfigError where nothing is found, or where a file cannot be read, parsed or holds no mapping.
    """
    if path is not None and os.path.exists(path):
        values: Mapping[str, object] = patched(_read(Path(path)), environment.values)
    else:
        values = _without_file(environment)
        if not values:
            missing = f"There is no {path}." if path is not None else _WANTED
            raise ConfigError([f"Config is empty. {missing}"])
        path = None
    return Local(values=values, path=path, environment=environment)


def reload_local(local: Local) -> Local:
    """Read the file or directory again; without one there is nothing to reload. Raise ConfigError as `load_local` does."""
    if local.path is None:
        return local
    if not os.path.exists(local.path):
        raise ConfigError([f"{local.path}: there is no such file"])
    return load_local(local.path, local.environment)


def load_for_patronictl(path: str | None, default_path: str, environment: Environment) -> Local:
    """Load for `patronictl`, which takes what it finds; only a path that was named must be readable (contract/cli.md §2.2)."""
    wanted = default_path if path is None else path
    if os.access(wanted, os.R_OK):
        values = patched(_read(Path(wanted)), environment.values)
        return Local(values=values, path=wanted, environment=environment)
    if wanted != default_path:
        raise ConfigError([f"{wanted}: {'is not readable' if os.path.exists(wanted) else 'there is no such file'}"])
    return Local(values=_without_file(environment), path=None, environment=environment)


def read_cache(data_dir: str) -> Mapping[str, object] | None:
    """Return the cached dynamic configuration (§1.7); None: there is none, or it cannot be used."""
    try:
        found = json.loads(Path(data_dir, CACHE).read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _without_file(environment: Environment) -> Mapping[str, object]:
    """Return PATRONI_CONFIGURATION, whose null sections are empty ones (§1.2), else the variables."""
    whole = _parse(environment.whole, WHOLE) if environment.whole else None
    if not whole:
        return environment.values
    return {name: {} if value is None else value for name, value in _mapping(whole, WHOLE).items()}


def _read(path: Path) -> Mapping[str, object]:
    """Return a file's mapping, or a directory's files laid over each other in the order of their names."""
    if path.is_dir():
        result: dict[str, object] = {}
        for name in sorted(os.listdir(path)):
            if name.endswith((".yml", ".yaml")) and (path / name).is_file():
                result = patched(result, _read_file(path / name))
        return result
    if not stat.S_ISREG(path.stat().st_mode):
        raise ConfigError([f"{path}: invalid config path: neither a file nor a directory"])
    return patched({}, _read_file(path))


def _read_file(path: Path) -> Mapping[str, object]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError([f"{path}: cannot be read: {reason}"]) from error
    return _mapping(_parse(text, str(path)), str(path))


def _parse(text: str, source: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise ConfigError([f"{source}{where}: {error.problem or error.context}"]) from error
    except (yaml.YAMLError, ValueError) as error:  # a character or a date that cannot be
        raise ConfigError([f"{source}: {' '.join(str(error).split())}"]) from error


def _mapping(found: object, source: str) -> Mapping[str, object]:
    if found is None:
        raise ConfigError([f"{source}: is empty"])
    if not isinstance(found, dict):
        raise ConfigError([f"{source}: the top level is not a mapping of keys"])
    return {str(name): value for name, value in found.items()}
