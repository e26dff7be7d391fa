"""A client that writes all the time, and remembers every row whose commit was acknowledged to it."""

from __future__ import annotations

import select
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Self

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, connection

from tests.demo.sample import HOST, USER, superuser_password

_STATEMENT_S = 5.0
_SETUP_S = 30.0


class TooSlow(Exception):
    """The server did not answer in time."""


class Client:
    """Sessions through one port, with a deadline for every statement.

    On the client's side alone: a statement that the server cancels while it waits for the synchronous standby counts as
    committed, so a timeout of the server would acknowledge what no standby has.
    """

    def __init__(self, port: int) -> None:
        self._address = (
            f"host={HOST} port={port} user={USER} password={superuser_password()} dbname=postgres "
            "application_name=demo gssencmode=disable sslmode=disable"
        )

    @contextmanager
    def session(self) -> Iterator[connection]:
        """Connect; the session ends with the block."""
        opened = psycopg2.connect(self._address, async_=True)
        try:
            _await(opened)
            yield opened
        finally:
            opened.close()

    def rows(self, statement: str) -> list[tuple[object, ...]]:
        """Run a statement in a session of its own, and return its rows."""
        with self.session() as opened:
            return run(opened, statement)


def run(opened: connection, statement: str, *arguments: object) -> list[tuple[object, ...]]:
    """Run a statement to its end; with an answer it is committed."""
    cursor = opened.cursor()
    cursor.execute(statement, arguments)
    _await(opened)
    return cursor.fetchall() if cursor.description else []


def _await(opened: connection) -> None:
    deadline_s = time.monotonic() + _STATEMENT_S
    while (state := opened.poll()) != POLL_OK:
        waiting = [opened]
        left_s = max(0.0, deadline_s - time.monotonic())
        ready = select.select(waiting, [], [], left_s) if state == POLL_READ else select.select([], waiting, [], left_s)
        if not any(ready):
            raise TooSlow


class Writer:
    """Writes one row after the other, in a thread; after an error it connects anew until a write succeeds."""

    def __init__(self, port: int, period_s: float) -> None:
        """port: of the primary. period_s: the pause after each try."""
        self._client = Client(port)
        self._period_s = period_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._write, name="writer", daemon=True)
        self._times_s: list[float] = []  # of the acknowledgements, in their order
        self._number = 0
        self._acknowledged: list[int] = []
        self.last_error = ""

    def __enter__(self) -> Self:
        """Make the table and begin."""
        deadline_s = time.monotonic() + _SETUP_S
        while not self._makes_table():
            if time.monotonic() > deadline_s:
                raise TooSlow(f"no table could be made through HAProxy in {_SETUP_S:g} s: {self.last_error}")
            self._stopped.wait(self._period_s)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """End."""
        self.stop()

    def stop(self) -> None:
        """Write no more; the last try ends."""
        self._stopped.set()
        self._thread.join(2 * _STATEMENT_S)

    @property
    def count(self) -> int:
        """How many rows were acknowledged."""
        return len(self._times_s)

    def has_written_since(self, moment_s: float) -> bool:
        """Tell whether a row was acknowledged after this moment (time.monotonic)."""
        return bool(self._times_s) and self._times_s[-1] > moment_s

    def longest_pause_s(self, since_s: float) -> float:
        """Return the longest time without an acknowledgement from this moment until the last one."""
        times_s = [since_s, *self._times_s[bisect_left(self._times_s, since_s) :]]
        return max((after - before for before, after in pairwise(times_s)), default=0.0)

    def missing(self) -> list[int]:
        """Return the acknowledged rows that the primary does not have."""
        present = {row[0] for row in self._client.rows("SELECT id FROM demo")}
        return [number for number in self._acknowledged if number not in present]

    def _makes_table(self) -> bool:
        try:
            self._client.rows("CREATE TABLE IF NOT EXISTS demo (id bigint PRIMARY KEY, written timestamptz DEFAULT now())")
        except (psycopg2.Error, TooSlow) as error:
            self.last_error = str(error).strip()
            return False
        return True

    def _write(self) -> None:
        while not self._stopped.is_set():
            try:
                with self._client.session() as opened:
                    self._write_on(opened)
            except (psycopg2.Error, TooSlow) as error:
                self.last_error = str(error).strip()
                self._stopped.wait(self._period_s)

    def _write_on(self, opened: connection) -> None:
        """Write rows until somebody stops us; a number is used once, since what became of an unanswered one is not known."""
        while not self._stopped.wait(self._period_s):
            self._number += 1
            run(opened, "INSERT INTO demo (id) VALUES (%s)", self._number)
            self._acknowledged.append(self._number)
            self._times_s.append(time.monotonic())
