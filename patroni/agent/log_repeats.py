"""Repeats: a line that says the same again falls to DEBUG after the third time, and once a minute it is said that it goes on.

A long outage would otherwise fill the log with one sentence (style.md §10); another error under the same words is another
line. The heartbeats are left alone, since log parsers count on one a cycle (contract/logs_and_metrics.md §4), and so is what
answers an operator.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass

PARTS = ("patroni.agent.", "patroni.dcs.", "patroni.postgres.")
SHOWN = 3
MINUTE_S = 60.0
KEPT = 64  # series under way at most; the one that was quiet longest is forgotten first


@dataclass(slots=True)
class _Series:
    """One line that is said again and again; times are the records' own, seconds since the epoch."""

    count: int = 0  # how often it was said so far
    hidden: int = 0  # how often since it was shown last
    seen_s: float = 0.0
    shown_s: float = 0.0


class Repeats:
    """Used by one thread at a time."""

    def __init__(self) -> None:
        self._series: OrderedDict[tuple[str, int, str, str], _Series] = OrderedDict()

    def judged(self, record: logging.LogRecord) -> logging.LogRecord | None:
        """Return the record as it is to be written; None: it has fallen to DEBUG, which its logger does not want.

        record: complete, its trace made into text, and nobody else's: it may be changed. Another trace is another line.
        """
        if record.levelno < logging.INFO or not record.name.startswith(PARTS):
            return record
        series = self._of((record.name, record.levelno, record.getMessage(), record.exc_text or ""), record.created)
        series.count, series.seen_s = series.count + 1, record.created
        if series.count <= SHOWN:
            series.shown_s = record.created
            return record
        series.hidden += 1
        if record.created - series.shown_s >= MINUTE_S:
            record.msg, record.args = f"{record.getMessage()} (goes on: {series.hidden} times in the last minute)", None
            series.hidden, series.shown_s = 0, record.created
            return record
        record.levelno, record.levelname = logging.DEBUG, logging.getLevelName(logging.DEBUG)
        return record if logging.getLogger(record.name).isEnabledFor(logging.DEBUG) else None

    def _of(self, key: tuple[str, int, str, str], now_s: float) -> _Series:
        """Return the series of this line; one that was quiet for a minute, or whose clock went back, begins anew."""
        series = self._series.pop(key, None)
        if series is None or not 0 <= now_s - series.seen_s < MINUTE_S:
            series = _Series()
        self._series[key] = series
        if len(self._series) > KEPT:
            self._series.popitem(last=False)
        return series
