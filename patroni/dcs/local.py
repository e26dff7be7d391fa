"""The embedded store: one SQLite file for agents on one machine. For trials and demonstrations: it is as available as its disk.

Promise: what `store.py` asks, between processes that share the file and the machine's clock. Mechanism: each request is one
transaction, begun by BEGIN IMMEDIATE where it may write; every one of these first removes what hangs on expired sessions.
Sessions expire by CLOCK_BOOTTIME and the boot id, never by wall clock, so that neither a set clock nor a restart of the
machine prolongs one. A locked file is no answer. A file that was replaced is another store, and is opened anew.

A watcher polls: it reads `PRAGMA data_version` every 50 ms, and wakes at the earliest expiry. Not promised: anything on a
network file system, between containers of different time namespaces, or while a stopped process holds the file's lock (then
nobody gets an answer, and a leader gives up its power in time). The file belongs to the agents' user.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from patroni.dcs.local_file import File, Transaction, check, file_path, snapshot_of
from patroni.dcs.store import (
    Clock,
    Create,
    DcsUnavailable,
    Delete,
    DeletePrefix,
    EndSession,
    Entry,
    OpenSession,
    ProveLock,
    ReadPrefix,
    Refusal,
    Refused,
    RenewSession,
    Session,
    Snapshot,
    Timing,
    Watcher,
    Write,
)
from patroni.decision.cluster import SessionId
from patroni.decision.lease import Instant, elapsed_s

logger = logging.getLogger(__name__)
T = TypeVar("T")

POLL_S = 0.05
LONGEST_BUSY_S = 1.0  # of a watcher, which must notice that it is closed


class LocalWatcher:
    """See `store.Watcher`."""

    def __init__(self, file: File, prefix: str) -> None:
        self._file = file
        self._prefix = prefix
        self._closed = threading.Event()
        self._using = threading.Lock()
        self._connection: tuple[sqlite3.Connection, tuple[int, int]] | None = None  # which reads the version, never writes
        self._version: int | None = None
        self._seen: Snapshot | None = None
        self._next_expiry_s: float | None = None

    def next(self, timeout_s: float) -> Snapshot | None:
        """See `store.Watcher`."""
        began = self._file.clock()
        with self._using:
            while not self._closed.is_set():
                now = self._file.clock()
                left_s = timeout_s - elapsed_s(began, now)
                snapshot = self._look(now, max(POLL_S, min(left_s, LONGEST_BUSY_S)))
                if snapshot is not None:
                    return snapshot
                if left_s <= 0:
                    return None
                self._closed.wait(min(POLL_S, left_s))
        return None

    def _look(self, now: Instant, busy_s: float) -> Snapshot | None:
        """Return the prefix if it differs from what was seen; read it only where something has happened."""
        try:
            version = self._data_version(busy_s)
            if version == self._version and (self._next_expiry_s is None or now.boot_s < self._next_expiry_s):
                return None
            snapshot, self._next_expiry_s = self._file.read(self._prefix, busy_s, is_linearizable=True)
        except (sqlite3.Error, OSError) as error:
            self._forget()
            raise DcsUnavailable(f"{self._file.path}: {error}") from error
        except DcsUnavailable:
            self._forget()
            raise
        self._version = version
        if self._seen is not None and (snapshot.entries, snapshot.store_id) == (self._seen.entries, self._seen.store_id):
            return None
        self._seen = snapshot
        return replace(snapshot, began=now)

    def _data_version(self, busy_s: float) -> int:
        """Return what changes with every commit of another connection (SQLite 3.8)."""
        if self._connection is None or self._connection[1] != self._file.identity():
            self._forget_connection()
            self._connection = self._file.connect(busy_s)
        (version,) = self._connection[0].execute("PRAGMA data_version").fetchone()
        assert isinstance(version, int)
        return version

    def _forget(self) -> None:
        """Begin anew: the next look returns a snapshot."""
        self._seen = None
        self._forget_connection()

    def _forget_connection(self) -> None:
        connection, self._connection, self._version = self._connection, None, None
        if connection is not None:
            connection[0].close()

    def close(self) -> None:
        """See `store.Watcher`."""
        self._closed.set()
        with self._using:
            self._forget_connection()


class LocalStore:
    """Implements `store.Store` on the file that `path` of the section names."""

    can_write_under = True
    has_revision = True

    def __init__(self, section: Mapping[str, object], *, timing: Timing, clock: Clock) -> None:
        path = file_path(section)
        self._file = File(path, clock)
        check(self._file)
        logger.info("embedded store %s: for agents on this machine only, as available as its disk", path)

    def open_session(self, request: OpenSession, timeout_s: float) -> Session:
        """See `store.OpenSession`."""

        def run(transaction: Transaction) -> Session:
            session = SessionId(str(transaction.rows("SELECT lower(hex(randomblob(8)))")[0][0]))
            return transaction.extend(session, request.ttl_s, self._file.boot_id)

        return self._run(run, timeout_s)

    def renew_session(self, request: RenewSession, timeout_s: float) -> Session:
        """See `store.RenewSession`."""

        def run(transaction: Transaction) -> Session:
            transaction.require_session(request.session)
            ttl_s = transaction.rows("SELECT ttl_s FROM session WHERE id = ?", request.session)[0][0]
            assert isinstance(ttl_s, float)
            return transaction.extend(request.session, ttl_s, self._file.boot_id)

        return self._run(run, timeout_s)

    def end_session(self, request: EndSession, timeout_s: float) -> None:
        """See `store.EndSession`."""

        def run(transaction: Transaction) -> None:
            transaction.rows("DELETE FROM session WHERE id = ?", request.session)
            transaction.remove("session = ?", request.session)

        self._run(run, timeout_s)

    def prove_lock(self, request: ProveLock, timeout_s: float) -> Snapshot:
        """See `store.ProveLock`."""

        def run(transaction: Transaction) -> Snapshot:
            lock = transaction.entry(request.lock.key)
            if lock is None:
                raise Refused(Refusal.GONE)
            if lock.incarnation != request.lock.incarnation or lock.session != request.session.id:
                raise Refused(Refusal.NOT_OURS, f"{lock.value} holds it")
            return snapshot_of(transaction.connection, request.prefix, is_linearizable=True)

        return self._run(run, timeout_s)

    def read_prefix(self, request: ReadPrefix, timeout_s: float) -> Snapshot:
        """See `store.ReadPrefix`."""
        snapshot, _ = self._file.read(request.prefix, timeout_s, is_linearizable=request.is_linearizable)
        return snapshot

    def create(self, request: Create, timeout_s: float) -> Entry:
        """See `store.Create`."""

        def run(transaction: Transaction) -> Entry:
            transaction.require_session(request.session)
            if transaction.entry(request.key) is not None:
                raise Refused(Refusal.EXISTS)
            return transaction.put(request.key, request.value, request.session)

        return self._run(run, timeout_s)

    def write(self, request: Write, timeout_s: float) -> Entry:
        """See `store.Write`."""

        def run(transaction: Transaction) -> Entry:
            transaction.require_session(request.session)
            transaction.require_under(request.under)
            transaction.require_token(request.key, request.token)
            return transaction.put(request.key, request.value, request.session)

        return self._run(run, timeout_s)

    def delete(self, request: Delete, timeout_s: float) -> None:
        """See `store.Delete`."""

        def run(transaction: Transaction) -> None:
            transaction.require_token(request.key, request.token)
            transaction.remove("key = ?", request.key)

        self._run(run, timeout_s)

    def delete_prefix(self, request: DeletePrefix, timeout_s: float) -> None:
        """See `store.DeletePrefix`."""

        def run(transaction: Transaction) -> None:
            for key in snapshot_of(transaction.connection, request.prefix, is_linearizable=True).entries:
                transaction.remove("key = ?", key)

        self._run(run, timeout_s)

    def watcher(self, prefix: str) -> Watcher:
        """Return a new stream of snapshots of this prefix."""
        return LocalWatcher(self._file, prefix)

    def set_timing(self, timing: Timing) -> None:
        """See `Store`: nothing depends on them here."""

    def reload(self, section: Mapping[str, object]) -> None:
        """See `Store`: nothing may change here."""

    def close(self) -> None:
        """See `store.Store`."""
        self._file.close()

    def _run(self, run: Callable[[Transaction], T], timeout_s: float) -> T:
        with self._file.transaction(timeout_s) as transaction:
            return run(transaction)
