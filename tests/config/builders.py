"""The smallest configuration that can be used, and what differs from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from patroni.config.environment import Environment, capture
from patroni.config.fault import ConfigError
from patroni.config.load import Local, load_local
from patroni.config.settings import Configuration, build
from patroni.config.tree import patched

SMALLEST: Mapping[str, object] = {
    "scope": "batman",
    "name": "postgresql0",
    "restapi": {"listen": "127.0.0.1:8008"},
    "etcd3": {"host": "127.0.0.1:2379"},
    "postgresql": {"listen": "127.0.0.1:5432", "data_dir": "/srv/pg"},
}


def a_tree(text: str = "") -> dict[str, object]:
    """Return the smallest configuration with this YAML laid over it; null deletes."""
    return patched(SMALLEST, yaml.safe_load(text) or {})


def a_local(text: str = "") -> Local:
    """Return it as a local layer."""
    return Local(values=a_tree(text), path="p.yml")


def built(text: str = "", cached: Mapping[str, object] | None = None) -> Configuration:
    """Return the configuration built from it."""
    return build(a_local(text), cached)


def faults(text: str) -> tuple[str, ...]:
    """Return why it is refused; nothing if it is not."""
    try:
        built(text)
    except ConfigError as error:
        return error.faults
    return ()


def environment(**variables: str) -> Environment:
    """Return the environment with these variables, `PATRONI_` put before each."""
    return capture({f"PATRONI_{name}": text for name, text in variables.items()})


def from_file(path: Path, text: str, **variables: str) -> Mapping[str, object]:
    """Return the local layer of a file that holds this text, with these variables over it."""
    path.write_text(text, encoding="utf-8")
    return load_local(str(path), environment(**variables)).values
