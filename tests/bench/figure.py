"""A figure: values measured, what they must reach, and how they are shown."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table: what is measured, and its goal as the issue states it."""

    name: str
    unit: str
    most: float | None = None  # the median is at most so much
    least: float | None = None  # the median is at least so much
    never_above: float | None = None  # no value is greater
    digits: int = 2

    @property
    def goal(self) -> str:
        """Say what must be reached."""
        bounds = (("≤ ", self.most), ("≥ ", self.least), ("max ≤ ", self.never_above))
        return ", ".join(f"{word}{bound:,g}" for word, bound in bounds if bound is not None) or "-"

    def is_reached(self, values: Sequence[float]) -> bool:
        """Tell whether these values reach the goal, as they are shown."""
        median = round(statistics.median(values), self.digits)
        return (
            (self.most is None or median <= self.most)
            and (self.least is None or median >= self.least)
            and (self.never_above is None or round(max(values), self.digits) <= self.never_above)
        )

    def shown(self, values: Sequence[float]) -> str:
        """Return median, range and number."""
        if not values:
            return "-"
        median, least, most = (f"{value:,.{self.digits}f}" for value in (statistics.median(values), min(values), max(values)))
        return f"{median} ({least} to {most}; {len(values)})"


Values = Mapping[Figure, list[float]]


def table(ours: Values, stock: Values | None) -> str:
    """Return the table: a line a figure; stock: None: it was not measured."""
    head = ["figure", "unit", "goal", "median (range; runs)", "", *(["stock"] if stock is not None else [])]
    rows = [head]
    for figure, values in ours.items():
        verdict = "" if not values or figure.goal == "-" else "ok" if figure.is_reached(values) else "MISSED"
        row = [figure.name, figure.unit, figure.goal, figure.shown(values), verdict]
        rows.append([*row, figure.shown(stock.get(figure, ()))] if stock is not None else row)
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])
