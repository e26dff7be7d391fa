"""Read settings as Postgres does: booleans, numbers with units (contract/configuration.md §2.1-2.2). Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

_MEMORY: Mapping[str, int] = {"B": 1, "kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
_TIME: Mapping[str, int] = {
    "us": 1,
    "ms": 1000,
    "s": 1_000_000,
    "min": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
}
_TRUE = frozenset({"on", "true", "yes", "1"})
_FALSE = frozenset({"off", "false", "no", "0"})
_INTEGER = re.compile(r"[+-]?(0[xX][0-9a-fA-F]+|0[0-7]*(?![0-9])|[1-9][0-9]*)")
_REAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def boolean(value: object) -> bool | None:
    """Return the truth that a bool-like value names; None: it is none."""
    word = str(value).lower()
    return True if word in _TRUE else False if word in _FALSE else None


def integer(value: object, base: str | None = None) -> int | None:
    """Return a setting as an integer in units of `base` (e.g. `8kB`, `ms`; None: it has no unit); None: it is none."""
    number = _number(value, base, is_integer=True)
    return None if number is None else round(number)


def real(value: object, base: str | None = None) -> float | None:
    """Return a setting as a float in units of `base`; None: it is none."""
    return _number(value, base, is_integer=False)


def human(value: str, base: str | None) -> str:
    """Return an integer setting in the largest unit that expresses it exactly, e.g. `16384` in `8kB` is `128MB`."""
    if base is None or not re.fullmatch(r"[1-9][0-9]*", value):
        return value
    found = _base(base)
    if found is None:
        return value
    units, factor = found
    amount = int(value) * factor
    name = next(name for name, size in sorted(units.items(), key=lambda unit: -unit[1]) if amount % size == 0)
    return f"{amount // units[name]}{name}"


def _number(value: object, base: str | None, *, is_integer: bool) -> float | None:
    if value is None or isinstance(value, bool):
        return None
    text = str(value).strip()
    found = _INTEGER.match(text) if is_integer else None
    is_whole = found is not None and text[found.end() : found.end() + 1] not in (".", "e", "E")
    if not is_whole and (found is not None or not is_integer or text.lstrip("+-").startswith(".")):
        found = _REAL.match(text)
    if found is None:
        return None
    number = _whole(found[0]) if is_whole else float(found[0])
    unit = text[found.end() :].strip()
    if not math.isfinite(number):
        return None
    return _converted(number, unit, base, is_integer) if unit else number


def _whole(text: str) -> float:
    digits = text.lstrip("+-").lower()
    base = 16 if digits.startswith("0x") else 8 if digits.startswith("0") else 10
    return float(int(digits, base) * (-1 if text.startswith("-") else 1))


def _base(base: str) -> tuple[Mapping[str, int], int] | None:
    """Return the family of units that a base belongs to and its size in the family's smallest one."""
    found = re.fullmatch(r"([0-9]*)([A-Za-z]+)", base)
    if found is None:
        return None
    units = _MEMORY if found[2] in _MEMORY else _TIME
    return (units, int(found[1] or 1) * units[found[2]]) if found[2] in units else None


def _converted(number: float, unit: str, base: str | None, is_integer: bool) -> float | None:
    found = _base(base) if base else None
    if found is None or unit not in found[0]:
        return None
    units, factor = found
    if is_integer:  # a fraction is rounded to a multiple of the next smaller unit first
        smaller = max((size for size in units.values() if size < units[unit]), default=units[unit])
        number, size = (round(number * units[unit] / smaller), smaller) if smaller != units[unit] else (number, smaller)
    else:
        size = units[unit]
    return number * size / factor
