"""Reading a tree of values by the table of keys: each value typed, each fault with its path (contract/configuration.md §8)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from patroni.config.key import Key, Kind, Misuse
from patroni.config.value import Unreadable, is_true, parse_address, parse_boolean, parse_integer, parse_list, parse_real

T = TypeVar("T")

_NEVER_EMPTY = (Kind.NAME, Kind.PATH)  # an empty one is as if absent (contract/configuration.md §9 row 6)
LEVELS = ("DEBUG", "INFO", "WARNING", "WARN", "ERROR", "CRITICAL", "FATAL")


@dataclass(slots=True)
class Notes:
    """What was found wrong while reading: faults refuse the configuration, warnings are logged."""

    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class Values:
    """Parsed values by dotted path; each path must be in the table, each type is checked by who asks."""

    def __init__(self, found: Mapping[str, object]) -> None:
        self._found = dict(found)

    def get(self, path: str, kind: type[T]) -> T:
        """Return a value that has a default or is required."""
        value = self._found[path]
        assert isinstance(value, kind), path
        return value

    def find(self, path: str, kind: type[T]) -> T | None:
        """Return a value, or None where it is absent and has no default."""
        value = self._found.get(path)
        assert value is None or isinstance(value, kind), path
        return value


def section(tree: Mapping[str, object], name: str) -> Mapping[str, object]:
    """Return a section as a mapping; empty where it is absent or something else (reported when its keys are read)."""
    found = tree.get(name)
    return found if isinstance(found, Mapping) else {}


def read_values(tree: Mapping[str, object], keys: Iterable[Key], notes: Notes) -> Values:
    """Read every key from the tree. A value that must be refused leaves a fault and its default."""
    found: dict[str, object] = {}
    for key in keys:
        if "*" not in key.path:
            found[key.path] = _read_key(tree, key, notes)
    return Values(found)


def fault_of(key: Key, value: object) -> str | None:
    """Return what is wrong with a value that an operator is about to write, limits included; None: nothing.

    Stricter than reading: text where a flag is wanted must be bool-like, and limits are kept rather than clamped.
    """
    try:
        if key.kind is Kind.FLAG and isinstance(value, str):
            _switch(key, value)
        number = _PARSERS[key.kind](key, value)
    except Unreadable as reason:
        said = str(reason)
        return said if repr(value) in said else f"{value!r} {said}"
    if not isinstance(number, int | float) or isinstance(number, bool):
        return None
    if key.minimum is not None and number < key.minimum:
        return f"{value!r} is less than {key.minimum:g}"
    return f"{value!r} is more than {key.maximum:g}" if key.maximum is not None and number > key.maximum else None


def _read_key(tree: Mapping[str, object], key: Key, notes: Notes) -> object:
    value = _look_up(tree, key.path.split("."), notes)
    if value is None or (value == "" and key.kind in _NEVER_EMPTY and not key.is_required):
        if key.is_required:
            _add(notes.faults, f"{key.path}: is missing")
        return key.default
    try:
        return _limited(key, _PARSERS[key.kind](key, value))
    except Unreadable as reason:
        if key.misuse is Misuse.FAULT:
            _add(notes.faults, f"{key.path}: {reason}")
        elif key.misuse is Misuse.WARN:
            _add(notes.warnings, f"{key.path}: {reason}; {key.default!r} is used")
        return key.default


def _look_up(tree: Mapping[str, object], words: list[str], notes: Notes) -> object:
    """Return the value at a path, None if it is absent; a section that is no mapping is reported once and has no values."""
    value: object = tree
    for index, word in enumerate(words):
        if not isinstance(value, Mapping):
            if value:
                _add(notes.faults, f"{'.'.join(words[:index])}: is not a mapping")
            return None
        value = value.get(word)
    return value


def _add(lines: list[str], line: str) -> None:
    if line not in lines:
        lines.append(line)


def _limited(key: Key, value: object) -> object:
    if key.is_raised and key.minimum is not None and isinstance(value, int):
        return max(value, int(key.minimum))
    return value


def _name(_key: Key, value: object) -> str:
    if not isinstance(value, str):
        raise Unreadable(f"{value!r} is not text; write it in quotes")
    if not value:
        raise Unreadable("is empty")
    return value


def _text(_key: Key, value: object) -> str:
    if isinstance(value, Mapping | list):
        raise Unreadable("is not text")
    return str(value)


def _path(key: Key, value: object) -> str:
    """Read a path; as the agent's tools take it wherever they run, it is made absolute."""
    return os.path.abspath(_name(key, value))


def _switch(_key: Key, value: object) -> bool:
    known = parse_boolean(value)
    if known is None:
        raise Unreadable(f"{value!r} is neither on nor off")
    return known


def _switch_or_word(key: Key, value: object) -> object:
    if parse_boolean(value) is None and str(value).lower() not in key.words:
        raise Unreadable(f"{value!r} is neither on, off nor {' nor '.join(key.words)}")
    return value


def _integer(key: Key, value: object) -> int:
    number = parse_integer(value, key.unit)
    if number is None:
        raise Unreadable(f"{value!r} is not a whole number{_units(key)}")
    return number


def _number(key: Key, value: object) -> float:
    number = parse_real(value, key.unit)
    if number is None:
        raise Unreadable(f"{value!r} is not a number{_units(key)}")
    return number


def _units(key: Key) -> str:
    return f" (in {key.unit} or with a unit)" if key.unit else ""


def _word(key: Key, value: object) -> str:
    word = str(value).lower()
    if word not in key.words:
        raise Unreadable(f"{value!r} is none of {', '.join(key.words)}")
    return word


def _level(_key: Key, value: object) -> str:
    return level(value)


def level(value: object) -> str:
    """Read the name of a level of the log; upper case only, as the contract has it."""
    if not isinstance(value, str) or value not in LEVELS:
        raise Unreadable(f"{value!r} is none of {', '.join(LEVELS)}")
    return value


def _address(key: Key, value: object) -> object:
    return parse_address(value, key.default_port)


def _list(_key: Key, value: object) -> list[str]:
    return parse_list(value)


def _lines(_key: Key, value: object) -> list[str]:
    if not isinstance(value, list):
        raise Unreadable("is not a list of lines")
    return [line for line in value if isinstance(line, str)]


def _mapping(_key: Key, value: object) -> Mapping[str, object]:
    if not value:
        return {}
    if not isinstance(value, Mapping):
        raise Unreadable("is not a mapping")
    return value


_PARSERS: Mapping[Kind, Callable[[Key, object], object]] = {
    Kind.NAME: _name,
    Kind.TEXT: _text,
    Kind.PATH: _path,
    Kind.FLAG: lambda _key, value: is_true(value),
    Kind.SWITCH: _switch,
    Kind.SWITCH_OR_WORD: _switch_or_word,
    Kind.INTEGER: _integer,
    Kind.NUMBER: _number,
    Kind.WORD: _word,
    Kind.LEVEL: _level,
    Kind.ADDRESS: _address,
    Kind.LIST: _list,
    Kind.LINES: _lines,
    Kind.OPTIONS: lambda _key, value: value,
    Kind.MAPPING: _mapping,
    Kind.ANY: lambda _key, value: value,
}
