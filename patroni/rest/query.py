"""Values of query parameters (contract/rest_api.md §1 "size", §8.4)."""

from __future__ import annotations

import re

_FACTORS = {"": 1, "B": 1, "kB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}
_SIZE = re.compile(
    r"""\s* (?P<sign>[+-]?)
        (?: 0[xX](?P<hex>[0-9a-fA-F]+) | 0(?P<octal>[0-7]+) | (?P<decimal>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?) )
        \s* (?P<unit>B|kB|MB|GB|TB)? \s*""",
    re.VERBOSE | re.ASCII,
)


def parse_size(value: str | None) -> int | None:
    """Return a size in bytes, rounded; None: missing or unparsable. Units are case-sensitive, factor 1024."""
    match = _SIZE.fullmatch(value) if value is not None and len(value) <= 64 else None
    if match is None:
        return None
    factor = _FACTORS[match["unit"] or ""]
    try:
        size = round(_number(match) * factor)
    except OverflowError:
        return None  # `1e999`
    return -size if match["sign"] == "-" else size


def _number(match: re.Match[str]) -> int | float:
    if match["hex"]:
        return int(match["hex"], 16)
    if match["octal"]:
        return int(match["octal"], 8)
    return int(match["decimal"]) if match["decimal"].isdigit() else float(match["decimal"])


def tag_text(value: object) -> str:
    """Return the text that `tag_<key>=` is compared with: text as it is, other values lower-cased."""
    return value if isinstance(value, str) else str(value).lower()
