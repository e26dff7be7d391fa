"""A client that writes all the time and takes down what was acknowledged, when, and where its WAL ends.

What is lost by a failover, how long writes were away, and whether two nodes ever took writes at once is read from that.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from typing import Self, cast

from tests.support.sql import Session, SqlFailed
from tests.support.waiting import wait_until

TABLE = "CREATE TABLE IF NOT EXISTS written (writer text, number bigint)"
_INSERT = (
    "INSERT INTO written VALUES (%s, %s)"
    " RETURNING ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int"
)
_POSITION = "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint"


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """One row whose COMMIT was confirmed; times are monotonic."""

    number: int
    invoked_s: float  # before the statement was sent
    acknowledged_s: float
    timeline: int
    end_lsn: int | None  # the row's COMMIT ends at or before this; None: the session broke before it could be asked


class Writer:
    """Inserts numbered rows into the table, one a pause, over one connection that is opened anew when it breaks."""

    def __init__(self, dsn: str, name: str, *, pause_s: float = 0.02, patience_s: float = 3.0) -> None:
        """patience_s: after so long without an answer the session is given up, its last row of unknown fate."""
        self.name = name
        self.acknowledged: list[Acknowledged] = []
        self._dsn = dsn
        self._pause_s = pause_s
        self._patience_s = patience_s
        self._number = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"writer-{name}", daemon=True)

    def __enter__(self) -> Self:
        """Begin to write."""
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """End it and wait for that."""
        self._stopped.set()
        self._thread.join(10 * self._patience_s)

    def wait_for_write(self, timeout_s: float = 60.0) -> Acknowledged:
        """Wait until a row is acknowledged that was sent from now on, and return it."""
        since_s, known = time.monotonic(), len(self.acknowledged)

        def found() -> Acknowledged | None:
            return next((row for row in self.acknowledged[known:] if row.invoked_s > since_s), None)

        row = wait_until(found, timeout_s, f"a write of {self.name}")
        assert row is not None
        return row

    def longest_gap_s(self, since_s: float) -> float:
        """Return the longest time between two acknowledgements, beginning with the last one before that moment."""
        times = [row.acknowledged_s for row in self.acknowledged]
        first = max((place for place, at_s in enumerate(times) if at_s <= since_s), default=0)
        return max((later - earlier for earlier, later in zip(times[first:], times[first + 1 :], strict=False)), default=0.0)

    def lost(self, session: Session) -> list[Acknowledged]:
        """Return what was acknowledged before this call and is missing on that server."""
        rows = list(self.acknowledged)
        present = {row[0] for row in session.run("SELECT number FROM written WHERE writer = %s", [self.name], 30.0)}
        return [row for row in rows if row.number not in present]

    def _run(self) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(SqlFailed), Session(self._dsn, self._patience_s) as session:
                while not self._stopped.is_set():
                    self._write(session)
                    self._stopped.wait(self._pause_s)
            self._stopped.wait(self._pause_s)

    def _write(self, session: Session) -> None:
        """Write one row. A number is used once, since the fate of an unanswered row is unknown."""
        self._number += 1
        invoked_s = time.monotonic()
        ((timeline,),) = session.run(_INSERT, [self.name, self._number], self._patience_s)
        acknowledged_s = time.monotonic()
        end_lsn: object = None
        try:
            ((end_lsn,),) = session.run(_POSITION, (), self._patience_s)
        finally:
            row = Acknowledged(self._number, invoked_s, acknowledged_s, cast(int, timeline), cast("int | None", end_lsn))
            self.acknowledged.append(row)


def overlaps(writers: list[Writer]) -> list[tuple[str, Acknowledged, str, Acknowledged]]:
    """Return where one server acknowledged a statement sent after another's first acknowledgement of the same reign.

    writers: one a server, each beside HAProxy. A reign is a timeline; what an older one acknowledges for a statement
    that was sent after a newer one's first acknowledgement was written on two servers at once.
    """
    rows = [(writer.name, row) for writer in writers for row in writer.acknowledged]
    firsts: dict[int, tuple[str, Acknowledged]] = {}
    for name, row in sorted(rows, key=lambda item: item[1].acknowledged_s):
        firsts.setdefault(row.timeline, (name, row))
    return [
        (name, row, first_name, first)
        for name, row in rows
        for timeline, (first_name, first) in firsts.items()
        if timeline > row.timeline and row.invoked_s > first.acknowledged_s
    ]
