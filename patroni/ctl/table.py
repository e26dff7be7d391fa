"""Rows as text: an ASCII box, tab-separated, JSON, YAML; pure (contract/cli.md §3.1)."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import yaml

YAML_WIDTH = 200


class Align(Enum):
    """On which side of its column a cell stands."""

    LEFT = "left"
    RIGHT = "right"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a box."""

    header: str
    align: Align = Align.LEFT


def boxed(columns: Sequence[Column], rows: Sequence[Sequence[str]], title: str = "") -> str:
    """Return a box; the title is written over its first line. A rule follows every row if any cell has a line break."""
    heads = [column.header for column in columns]
    widths = [max(_width(line) for cell in cells for line in cell.split("\n")) for cells in zip(heads, *rows, strict=True)]
    rule = f"+{'+'.join('-' * (width + 2) for width in widths)}+"
    is_ruled = any("\n" in cell for row in rows for cell in row)
    lines = [_titled(rule, title), *_lines(heads, columns, widths), rule]
    for row in rows:
        lines.extend(_lines(row, columns, widths))
        lines.extend([rule] if is_ruled else [])
    return "\n".join(lines if is_ruled else [*lines, rule])


def _lines(cells: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> list[str]:
    split = [cell.split("\n") for cell in cells]
    height = max(len(lines) for lines in split)
    padded = [[*lines, *[""] * (height - len(lines))] for lines in split]
    texts = ([_aligned(*part) for part in zip(line, columns, widths, strict=True)] for line in zip(*padded, strict=True))
    return [f"| {' | '.join(text)} |" for text in texts]


def _aligned(text: str, column: Column, width: int) -> str:
    blanks = " " * (width - _width(text))
    return blanks + text if column.align is Align.RIGHT else text + blanks


def _titled(rule: str, title: str) -> str:
    """Write the title, a blank around it, over the rule from its second character on; cut off what does not fit."""
    if not title:
        return rule
    text = f" {title} "
    while _width(text) > len(rule) - 2:
        text = text[:-1]
    return rule[0] + text + rule[1 + _width(text) :]


def _width(text: str) -> int:
    """Return how many cells of a terminal a line takes: wide characters two, combining ones none."""
    return sum(_cells(character) for character in text)


def _cells(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def separated(headers: Sequence[str], rows: Iterable[Sequence[str]], delimiter: str = "\t") -> str:
    """Return a line for the headers and one for each row; nothing is quoted."""
    return "\n".join(delimiter.join(cells) for cells in (headers, *rows))


def json_text(records: Sequence[Mapping[str, object]]) -> str:
    """Return one line: an array of objects, keys in their order."""
    return json.dumps([dict(record) for record in records])


def yaml_text(value: object, *, is_flow: bool = False) -> str:
    """Return YAML, keys sorted, with its last line break; is_flow: everything on one line."""
    width = float("inf") if is_flow else YAML_WIDTH
    return yaml.safe_dump(value, default_flow_style=is_flow, width=width, allow_unicode=True)
