"""SQL with a deadline of the client's own: a frozen or half-dead server never holds up a test.

The server's own time limits do not help against a stopped backend, and psycopg2's `cancel` blocks; so the connection is
non-blocking, and one that missed a deadline is closed.
"""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Sequence
from typing import Self

import psycopg2
from psycopg2 import extensions

Row = tuple[object, ...]


class SqlFailed(Exception):
    """The server refused, went away, or did not answer in time: whether a COMMIT counts is then unknown."""


class Session:
    """One connection in autocommit mode."""

    def __init__(self, dsn: str, timeout_s: float) -> None:
        """Connect within the time limit."""
        deadline_s = time.monotonic() + timeout_s
        try:
            self._connection = psycopg2.connect(dsn, async_=True)
        except psycopg2.Error as error:
            raise SqlFailed(str(error).strip()) from error
        try:
            self._wait(deadline_s)
        except SqlFailed:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close it."""
        self.close()

    def run(self, statement: str, values: Sequence[object] = (), timeout_s: float = 10.0) -> list[Row]:
        """Run a statement and return its rows, none where it has no result; after a failure the session is closed."""
        deadline_s = time.monotonic() + timeout_s
        try:
            cursor = self._connection.cursor()
            cursor.execute(statement, values or None)
            self._wait(deadline_s)
            return cursor.fetchall() if cursor.description else []
        except psycopg2.Error as error:
            self.close()
            raise SqlFailed(str(error).strip()) from error
        except SqlFailed:
            self.close()
            raise

    def close(self) -> None:
        """Close it, whatever state it is in."""
        with contextlib.suppress(psycopg2.Error):
            self._connection.close()

    def _wait(self, deadline_s: float) -> None:
        """Wait until the library has nothing left to do."""
        while True:
            try:
                state = self._connection.poll()
            except psycopg2.Error as error:
                raise SqlFailed(str(error).strip()) from error
            if state == extensions.POLL_OK:
                return
            left_s = deadline_s - time.monotonic()
            readable = [self._connection] if state == extensions.POLL_READ else []
            writable = [self._connection] if state == extensions.POLL_WRITE else []
            if left_s <= 0 or not any(select.select(readable, writable, [], left_s)):
                raise SqlFailed("no answer in time")
