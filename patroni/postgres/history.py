"""Timeline history files: the ended timelines before one, with where each was left (contract/ha_behaviour.md §5.3)."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from datetime import datetime

from patroni.decision.cluster import HistoryRow, Timeline
from patroni.postgres.call import Call
from patroni.postgres.control_data import lsn
from patroni.postgres.request import ReadLocalHistory
from patroni.postgres.server import Server


def read_local_history(server: Server, call: Call, request: ReadLocalHistory) -> tuple[HistoryRow, ...]:
    """Read the timeline's history file; the last row carries the file's time, in the local zone."""
    return local_rows(server, request.timeline)


def local_rows(server: Server, timeline: Timeline) -> tuple[HistoryRow, ...]:
    """Return the rows of the local history file of a timeline; empty: there is none."""
    path = server.path("pg_wal", f"{timeline:08X}.history")
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            rows = history_rows(file.read())
            written_at = datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime).astimezone()
    except FileNotFoundError:
        return ()
    return (*rows[:-1], replace(rows[-1], timestamp=written_at.isoformat())) if rows else ()


def history_rows(text: str) -> tuple[HistoryRow, ...]:
    """Return the rows of a timeline history file: ended timeline, switch point, reason."""
    rows = []
    for line in text.splitlines():
        found = re.match(r"\s*(\d+)\s+([0-9A-Fa-f]+/[0-9A-Fa-f]+)\s*(.*)", line)
        if found is not None:
            rows.append(HistoryRow(timeline=Timeline(int(found[1])), lsn=lsn(found[2]), reason=found[3].strip()))
    return tuple(rows)
