"""Words and numbers of configuration and store values, read tolerantly; pure, and None where a value is not of the kind."""

from __future__ import annotations

import re

_INTEGER = re.compile(r"\s*[+-]?[0-9]{1,20}\s*", re.ASCII)
_TRUE = frozenset({"on", "true", "yes", "1"})
_FALSE = frozenset({"off", "false", "no", "0"})


def integer(value: object) -> int | None:
    """Return the integer that a JSON or YAML value is or spells (contract/dcs.md §1.3), else None; a boolean is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return int(value) if isinstance(value, str) and _INTEGER.fullmatch(value) else None


def boolean(value: object) -> bool | None:
    """Return what a boolean word says, in any case (contract/configuration.md), else None."""
    word = str(value).lower()
    if word in _TRUE:
        return True
    return False if word in _FALSE else None
