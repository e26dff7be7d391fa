"""The client: one connection through HAProxy, one insert every 10 ms, each its own transaction; a new connection at once."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from typing import Self

import psycopg2

from tests.bench.cluster import PASSWORD
from tests.support.waiting import wait_until

PERIOD_S = 0.01
SHORTEST_PAUSE_S = 0.1  # what is shorter is a slow insert
_CONNECT_TIMEOUT_S = 2
_STEADY_S = 0.2
_STEADY_TIMEOUT_S = 60.0


class Writer:
    """Writes from start to end, and knows when each insert was acknowledged (monotonic seconds)."""

    def __init__(self, port: int) -> None:
        self.acknowledged: list[float] = []
        self._conninfo = (
            f"host=127.0.0.1 port={port} dbname=postgres user=postgres password={PASSWORD} connect_timeout={_CONNECT_TIMEOUT_S}"
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    def __enter__(self) -> Self:
        """Start to write, and wait until it works."""
        wait_until(self._make_table, _STEADY_TIMEOUT_S, "a first connection through HAProxy")
        self._thread.start()
        self.wait_steady()
        return self

    def __exit__(self, *exception: object) -> None:
        """End."""
        self._stop.set()
        self._thread.join(10.0)

    def wait_steady(self) -> None:
        """Wait until inserts are acknowledged again, and have been for a moment."""

        def is_steady() -> bool:
            recent = self.acknowledged[-int(_STEADY_S / PERIOD_S / 2) :]
            return bool(recent) and recent[0] > time.monotonic() - _STEADY_S

        wait_until(is_steady, _STEADY_TIMEOUT_S, "steady writes")

    def outage_s(self, since_s: float) -> float:
        """Return for how long writes were away since then: all pauses between acknowledgements, summed up.

        since_s: monotonic. A pause that began before is counted from its begin.
        """
        acknowledged = self.acknowledged[:]
        return outage_s(acknowledged, since_s)

    def _make_table(self) -> bool:
        try:
            with closing(psycopg2.connect(self._conninfo)) as connection, connection.cursor() as cursor:
                connection.autocommit = True
                cursor.execute("CREATE TABLE IF NOT EXISTS bench (id bigserial PRIMARY KEY, at timestamptz DEFAULT now())")
        except psycopg2.Error:
            return False
        return True

    def _run(self) -> None:
        while not self._stop.wait(PERIOD_S):
            try:
                with closing(psycopg2.connect(self._conninfo)) as connection:
                    connection.autocommit = True
                    self._write(connection)
            except psycopg2.Error:
                continue

    def _write(self, connection: psycopg2.extensions.connection) -> None:
        with connection.cursor() as cursor:
            while not self._stop.is_set():
                cursor.execute("INSERT INTO bench DEFAULT VALUES")
                self.acknowledged.append(time.monotonic())
                self._stop.wait(PERIOD_S)


def outage_s(acknowledged: list[float], since_s: float) -> float:
    """Return the sum of the pauses that ended after `since_s`; shorter ones than `SHORTEST_PAUSE_S` are none."""
    total_s = 0.0
    for before_s, after_s in zip(reversed(acknowledged[:-1]), reversed(acknowledged[1:]), strict=True):
        if after_s < since_s:
            break
        if after_s - before_s >= SHORTEST_PAUSE_S:
            total_s += after_s - before_s
    return total_s
