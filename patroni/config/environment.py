"""The variables `PATRONI_*`: captured once at the start, then laid over the file at every load (contract/configuration.md §5).

Recognised variables are taken out of the process' environment, so that no child sees them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field

import yaml

from patroni.config.key import Key, Kind
from patroni.config.keys import KEYS
from patroni.config.keys_store import ORDER, STORE
from patroni.config.value import Unreadable, parse_boolean, parse_integer, parse_real

WHOLE = "PATRONI_CONFIGURATION"
_PREFIX = "PATRONI_"
_OLD_NAMES = {
    "PATRONI_LOGLEVEL": "PATRONI_LOG_LEVEL",
    "PATRONI_LOGFORMAT": "PATRONI_LOG_FORMAT",
    "PATRONI_LOG_DATEFMT": "PATRONI_LOG_DATEFORMAT",
}
_NOT_GENERIC = ("username", "password")  # of etcd; read only beside another variable of that section


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What the environment says of the configuration."""

    values: Mapping[str, object] = field(default_factory=dict)  # a tree like that of the file
    whole: str | None = None  # PATRONI_CONFIGURATION: YAML that stands for everything; None: not set
    warnings: tuple[str, ...] = ()


def capture(environ: MutableMapping[str, str]) -> Environment:
    """Take the recognised variables out of `environ`."""
    values: dict[str, object] = {}
    warnings: list[str] = []
    whole = environ.pop(WHOLE, "") or None
    for old, new in _OLD_NAMES.items():
        text = environ.pop(old, "")
        if text and not environ.get(new):
            environ[new] = text
    for variable, key in _NAMED.items():
        text = environ.pop(variable, "")
        if text:
            _take(values, warnings, (variable, key), text)
    for variable in sorted(environ):
        generic = _generic(variable)
        if generic is not None:
            _take(values, warnings, (variable, generic), environ.pop(variable))
    _take_credentials(environ, values)
    return Environment(values=values, whole=whole, warnings=tuple(warnings))


def _take(values: dict[str, object], warnings: list[str], source: tuple[str, Key], text: str) -> None:
    variable, key = source
    try:
        converted = _CONVERSIONS.get(key.kind, _as_text)(key, text)
    except (Unreadable, yaml.YAMLError) as error:
        warnings.append(f"{variable}: ignored: {' '.join(str(error).split())}")
        return
    words = key.path.split(".")
    tree: dict[str, object] = values
    for word in words[:-1]:
        inner = tree.setdefault(word, {})
        assert isinstance(inner, dict)  # sections and values never share a name in the table
        tree = inner
    tree[words[-1]] = converted


def _generic(variable: str) -> Key | None:
    """Return the key of `PATRONI_<SECTION>_<SUFFIX>`: any section, a suffix that some store knows; None: not ours."""
    name, separator, suffix = variable.removeprefix(_PREFIX).partition("_")
    if not variable.startswith(_PREFIX) or not name or not separator:
        return None
    section = name.lower()
    template = _SUFFIXES.get(suffix)
    if template is None:
        return None
    return Key(path=f"{section}.{suffix.lower()}", kind=template.kind, unit=template.unit, help=template.help)


def _take_credentials(environ: MutableMapping[str, str], values: dict[str, object]) -> None:
    """Read etcd's user only where another variable of its section is set."""
    for section in ("etcd", "etcd3"):
        tree = values.get(section)
        for name in _NOT_GENERIC:
            text = environ.pop(f"{_PREFIX}{section.upper()}_{name.upper()}", "")
            if text and isinstance(tree, dict):
                tree[name] = text


def _as_text(_key: Key, text: str) -> object:
    return text


def _as_format(_key: Key, text: str) -> object:
    """Read log.format: a text if it names an attribute as `%(name)`, else a list (contract/logs_and_metrics.md §2)."""
    return text if "%(" in text else _as_list(_key, text)


def _as_any(key: Key, text: str) -> object:
    return _as_format(key, text) if key.path == "log.format" else text


def _as_integer(key: Key, text: str) -> object:
    number = parse_integer(text, key.unit)
    if number is None:
        raise Unreadable(f"{text!r} is not a whole number")
    return number


def _as_number(key: Key, text: str) -> object:
    number = parse_real(text, key.unit)
    if number is None:
        raise Unreadable(f"{text!r} is not a number")
    return number


def _as_boolean(_key: Key, text: str) -> object:
    known = parse_boolean(text)
    if known is None:
        raise Unreadable(f"{text!r} is neither on nor off")
    return known


def _as_list(_key: Key, text: str) -> object:
    found = yaml.safe_load(text if text.startswith("-") or "[" in text else f"[{text}]")
    if not isinstance(found, list):
        raise Unreadable(f"{text!r} is not a list")
    return found


def _as_mapping(_key: Key, text: str) -> object:
    found = yaml.safe_load(text if text.startswith("{") else f"{{{text}}}")
    if not isinstance(found, dict):
        raise Unreadable(f"{text!r} is not a mapping")
    return found


_CONVERSIONS: Mapping[Kind, Callable[[Key, str], object]] = {
    Kind.INTEGER: _as_integer,
    Kind.NUMBER: _as_number,
    Kind.FLAG: _as_boolean,
    Kind.SWITCH: _as_boolean,
    Kind.LIST: _as_list,
    Kind.MAPPING: _as_mapping,
    Kind.ANY: _as_any,
}


def _named() -> dict[str, Key]:
    """Return the keys with a variable of their own, by its name: all but those of the stores (raft has no generic form)."""
    generic = {section for section in ORDER if section != "raft"} | {"citus"}
    return {key.variable: key for key in KEYS if key.variable and key.path.partition(".")[0] not in generic}


def _suffixes(keys: tuple[Key, ...]) -> dict[str, Key]:
    found = {key.path.partition(".")[2].upper(): key for key in keys if "E" in key.layers}
    return {suffix: key for suffix, key in found.items() if suffix.lower() not in _NOT_GENERIC}


_NAMED = _named()
_SUFFIXES = _suffixes(tuple(key for key in STORE if key.path.partition(".")[0] not in ("raft", "local")))
