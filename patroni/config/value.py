"""How single values are read (contract/configuration.md §2). Pure; None means *undefined*, never a default.

Words and units are those of Postgres' own parameters, so that `90s`, `1.5GB` or `on` mean here what they mean there.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass


class Unreadable(ValueError):
    """A value is not of its kind; the message is the reason, to be written behind the key's path."""


_TRUE = frozenset({"on", "true", "yes", "1"})
_FALSE = frozenset({"off", "false", "no", "0"})

# Steps of the two families of units, ascending; each number says how many of the first unit there are in this one.
_MEMORY = {"B": 1.0, "kB": 1024.0, "MB": 1024.0**2, "GB": 1024.0**3, "TB": 1024.0**4}
_TIME = {"us": 1.0, "ms": 1e3, "s": 1e6, "min": 6e7, "h": 3.6e9, "d": 8.64e10}
_BASES = {
    "B": _MEMORY,
    "kB": _MEMORY,
    "MB": _MEMORY,
    "ms": _TIME,
    "s": _TIME,
    "min": _TIME,
}

_WHOLE = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
_REAL = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_BASE = re.compile(r"([0-9]*)([A-Za-z]+)")


def parse_boolean(value: object) -> bool | None:
    """Read a bool-like value (§2.1): `on`, `true`, `yes`, `1` and their opposites in any case; nothing else."""
    word = str(value).lower()
    if word in _TRUE:
        return True
    return False if word in _FALSE else None


def is_true(value: object) -> bool:
    """Read a truthy value: text is read as bool-like, so that `"off"` is false (§9 row 14); other text is true."""
    if isinstance(value, str):
        known = parse_boolean(value)
        return bool(value) if known is None else known
    return bool(value)


def parse_integer(value: object, base: str | None = None) -> int | None:
    """Read an integer in `base` units (§2.2): `1.5GB` in MB is 1536. base None: a bare number only; half to even."""
    number = _parse_number(value, base, is_whole=True)
    return None if number is None else round(number)


def parse_real(value: object, base: str | None = None) -> float | None:
    """Read a real number in `base` units (§2.2)."""
    return _parse_number(value, base, is_whole=False)


def _parse_number(value: object, base: str | None, *, is_whole: bool) -> float | None:
    if isinstance(value, bool):
        return None
    text = str(value).strip()
    number, unit = _split_number(text, is_whole=is_whole)
    if number is None or not math.isfinite(number):
        return None
    return number if not unit else _convert(number, unit, base)


def _split_number(text: str, *, is_whole: bool) -> tuple[float | None, str]:
    """Split into the leading number and the unit; octal and hexadecimal as strtol reads them, so `08` has the unit `8`."""
    whole = _WHOLE.match(text)
    rest = text[whole.end() :] if whole else text
    if is_whole and whole and not rest.startswith((".", "e", "E")):
        return float(_strtol(whole.group())), rest.strip()
    real = _REAL.match(text)
    return (float(real.group()), text[real.end() :].strip()) if real else (None, "")


def _strtol(text: str) -> int:
    digits = text.lstrip("+-").lower()
    radix = 16 if digits.startswith("0x") else 8 if digits.startswith("0") else 10
    return int(digits, radix) * (-1 if text.startswith("-") else 1)


def _convert(number: float, unit: str, base: str | None) -> float | None:
    """Convert to the base, rounded to a multiple of the next smaller unit as Postgres does."""
    parts = _BASE.fullmatch(base or "")
    family = _BASES.get(parts[2]) if parts else None
    if parts is None or family is None or unit not in family:
        return None
    scale = family[parts[2]] * int(parts[1] or 1)
    names = list(family)
    smaller = names[max(names.index(unit) - 1, 0)]
    steps = number * family[unit] / family[smaller]
    if not math.isfinite(steps):
        return None
    return (round(steps) if smaller != unit else number) * family[smaller] / scale


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A `host:port` that was read (§2.5)."""

    hosts: tuple[str, ...]  # without brackets; an empty one or `*` means all addresses
    port: int

    @property
    def host(self) -> str:
        """Return the first host."""
        return self.hosts[0]


def parse_address(text: object, default_port: int | None = None) -> Address:
    """Read `host[,host…][:port]` (§2.5); raise Unreadable. default_port None: the port is mandatory."""
    if not isinstance(text, str) or not text.strip():
        raise Unreadable(f"{text!r} is not host:port")
    text = text.strip()
    hosts, colon, port = text.rpartition(":")
    if text.endswith("]") or not colon:
        hosts, port = text, ""
        if default_port is None:
            raise Unreadable("no port")
    elif not port:
        raise Unreadable("no port")
    return Address(
        hosts=tuple(_bare(host) for host in hosts.split(",")),
        port=_port(port) if port else default_port or 0,
    )


def _bare(host: str) -> str:
    host = host.strip()
    return host[1:-1] if ":" in host and host.startswith("[") and host.endswith("]") else host


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise Unreadable(f"port {text!r} is not a number from 1 to 65535")
    return int(text)


def parse_list(value: object) -> list[str]:
    """Read a list of words, or one text of comma-separated words."""
    if isinstance(value, str):
        return [word.strip() for word in value.split(",") if word.strip()]
    if not isinstance(value, list):
        raise Unreadable(f"{value!r} is not a list")
    return [str(item) for item in value]
