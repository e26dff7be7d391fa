"""The embedded store's file: its tables, its connections, and one transaction for each request. See `local.py`."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from patroni.dcs.store import (
    Clock,
    DcsUnavailable,
    Entry,
    LockRef,
    Refusal,
    Refused,
    Session,
    Snapshot,
    StoreConfigError,
)
from patroni.decision.cluster import Incarnation, Revision, SessionId, Token
from patroni.decision.lease import elapsed_s

IDLE_CONNECTIONS = 8
FIRST_TRY_S = 0.05
BOOT_ID = "/proc/sys/kernel/random/boot_id"
FORMAT = 1  # `user_version` of the file
APPLICATION = 0x50617472  # `application_id` of the file: "Patr"

_SCHEMA = (
    "CREATE TABLE store (store_id TEXT NOT NULL, revision INTEGER NOT NULL)",
    "INSERT INTO store VALUES (lower(hex(randomblob(8))), 0)",
    # expires_s: CLOCK_BOOTTIME, valid under that boot id only.
    "CREATE TABLE session (id TEXT PRIMARY KEY, ttl_s REAL NOT NULL, boot_id TEXT NOT NULL, expires_s REAL NOT NULL)",
    # AUTOINCREMENT: the id of a deleted row is never given again, so it is the incarnation of a key.
    """CREATE TABLE entry (
        id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, value TEXT NOT NULL,
        revision INTEGER NOT NULL, session TEXT
    )""",
    f"PRAGMA application_id = {APPLICATION}",
    f"PRAGMA user_version = {FORMAT}",
)


def file_path(section: Mapping[str, object]) -> str:
    """Return the path of the file that the section names; raise StoreConfigError if it names none."""
    path = section.get("path")
    if not isinstance(path, str) or not path:
        raise StoreConfigError("local.path: the path of the store's file is missing")
    return os.path.abspath(path)


def owner_uid(section: Mapping[str, object]) -> int | None:
    """Return who owns the file, for `patronictl` as root, which drops to that user first; None: there is no file yet."""
    try:
        return os.stat(file_path(section)).st_uid
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction that may write, on a file from which what had expired is removed."""

    connection: sqlite3.Connection
    now_s: float

    def rows(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        """Run one statement and return its rows."""
        return self.connection.execute(sql, values).fetchall()

    def next_revision(self) -> int:
        """Count a change."""
        self.rows("UPDATE store SET revision = revision + 1")
        return _integer(self.rows("SELECT revision FROM store")[0][0])

    def remove(self, where: str, *values: object) -> None:
        """Delete keys; none is no change."""
        if self.connection.execute(f"DELETE FROM entry WHERE {where}", values).rowcount:  # noqa: S608  # our own words
            self.next_revision()

    def entry(self, key: str) -> Entry | None:
        """Read one key."""
        return next(iter(_entries(self.connection, "key = ?", key)), None)

    def require_session(self, session: SessionId | None) -> None:
        """Refuse what would hang on a session that is not there."""
        if session is not None and not self.rows("SELECT 1 FROM session WHERE id = ?", session):
            raise Refused(Refusal.SESSION_GONE)

    def require_under(self, under: LockRef | None) -> None:
        """Refuse what is to be written under a lock that does not stand."""
        if under is None:
            return
        lock = self.entry(under.key)
        if lock is None or lock.incarnation != under.incarnation:
            raise Refused(Refusal.NOT_OURS)

    def require_token(self, key: str, token: Token | None) -> None:
        """Refuse a change of another version than the one that was seen."""
        if token is None:
            return
        entry = self.entry(key)
        if entry is None or entry.token != token:
            raise Refused(Refusal.CHANGED)

    def put(self, key: str, value: str, session: SessionId | None) -> Entry:
        """Write a key; its row, and with it its incarnation, stays."""
        self.rows(
            "INSERT INTO entry (key, value, revision, session) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE"
            " SET value = excluded.value, revision = excluded.revision, session = excluded.session",
            key,
            value,
            self.next_revision(),
            session,
        )
        entry = self.entry(key)
        assert entry is not None
        return entry

    def extend(self, session: SessionId, ttl_s: float, boot_id: str) -> Session:
        """Let a session live for its ttl from now on."""
        self.rows(
            "INSERT OR REPLACE INTO session (id, ttl_s, boot_id, expires_s) VALUES (?, ?, ?, ?)",
            session,
            ttl_s,
            boot_id,
            self.now_s + ttl_s,
        )
        revision = _integer(self.rows("SELECT revision FROM store")[0][0])
        return Session(id=session, ttl_s=ttl_s, revision=Revision(revision))


def _integer(value: object) -> int:
    assert isinstance(value, int)
    return value


def _entries(connection: sqlite3.Connection, where: str, *values: object) -> list[Entry]:
    """Return the keys that meet a condition. SQLite compares text as UTF-8, byte by byte."""
    columns = "key, value, entry.revision, store_id || '-' || id, session"
    rows = connection.execute(f"SELECT {columns} FROM entry, store WHERE {where} ORDER BY key", values)  # noqa: S608  # our own words
    return [
        Entry(
            key=key,
            value=value,
            token=Token(str(revision)),
            incarnation=Incarnation(incarnation),
            revision=Revision(revision),
            session=session and SessionId(session),
        )
        for key, value, revision, incarnation, session in rows
    ]


def snapshot_of(connection: sqlite3.Connection, prefix: str, *, is_linearizable: bool) -> Snapshot:
    """Return all keys under a prefix, in the transaction that runs."""
    store_id, revision = connection.execute("SELECT store_id, revision FROM store").fetchone()
    after = prefix[:-1] + chr(ord(prefix[-1]) + 1)
    return Snapshot(
        entries={entry.key: entry for entry in _entries(connection, "key >= ? AND key < ?", prefix, after)},
        revision=Revision(revision),
        store_id=store_id,
        is_linearizable=is_linearizable,
    )


class File:
    """The file and its connections; each is used by one thread at a time."""

    def __init__(self, path: str, clock: Clock) -> None:
        self.path = path
        self.clock = clock
        with open(BOOT_ID, encoding="ascii") as file:
            self.boot_id = file.read().strip()
        self._idle: list[tuple[sqlite3.Connection, tuple[int, int]]] = []
        self._lock = threading.Lock()
        self._is_closed = False

    @contextmanager
    def transaction(self, timeout_s: float) -> Iterator[Transaction]:
        """Run one transaction that may write; a refusal or a fault leaves the file as it was."""
        began = self.clock()
        with self._connection(timeout_s) as connection:
            connection.execute("BEGIN IMMEDIATE")
            now = self.clock()  # only now, however long the lock took
            transaction = Transaction(connection, now.boot_s)
            self._expire(transaction)
            yield transaction
            _wait_at_most(connection, timeout_s - elapsed_s(began, now))
            connection.execute("COMMIT")

    def read(self, prefix: str, timeout_s: float, *, is_linearizable: bool) -> tuple[Snapshot, float | None]:
        """Return the prefix, and when the next session expires (CLOCK_BOOTTIME; None: there is none).

        A transaction of SQLite sees every one that ended before it began, so it is linearizable without writing. Only
        where something has expired is it a writing one, so that one revision never has two contents.
        """
        began = self.clock()
        with self._connection(timeout_s) as connection:
            connection.execute("BEGIN")
            snapshot = snapshot_of(connection, prefix, is_linearizable=is_linearizable)
            is_other_boot, next_s = connection.execute(
                "SELECT max(boot_id <> ?), min(expires_s) FROM session", (self.boot_id,)
            ).fetchone()
            connection.execute("COMMIT")
        now = self.clock()
        if not is_other_boot and (next_s is None or next_s > now.boot_s):
            return snapshot, next_s
        with self.transaction(timeout_s - elapsed_s(began, now)) as transaction:
            next_s = transaction.connection.execute("SELECT min(expires_s) FROM session").fetchone()[0]
            return snapshot_of(transaction.connection, prefix, is_linearizable=is_linearizable), next_s

    def _expire(self, transaction: Transaction) -> None:
        expired = "SELECT id FROM session WHERE boot_id <> ? OR expires_s <= ?"
        values = (self.boot_id, transaction.now_s)
        if transaction.rows(expired, *values):
            transaction.remove(f"session IN ({expired})", *values)
            transaction.rows(f"DELETE FROM session WHERE id IN ({expired})", *values)  # noqa: S608  # our own words

    @contextmanager
    def _connection(self, timeout_s: float) -> Iterator[sqlite3.Connection]:
        """Lend a connection; after a refusal or a fault it is closed, which undoes what was begun."""
        with self._faults(), ExitStack() as undo:
            connection, identity = self._take(timeout_s)
            undo.callback(connection.close)
            yield connection
            undo.pop_all()
            self._give_back(connection, identity)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Make every fault of the file "no answer"."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise DcsUnavailable(f"{self.path}: {error}") from error

    def _take(self, timeout_s: float) -> tuple[sqlite3.Connection, tuple[int, int]]:
        identity = self.identity()
        with self._lock:
            if self._is_closed:
                raise DcsUnavailable("the store is closed")
            stale = [connection for connection, other in self._idle if other != identity]
            self._idle = [(connection, other) for connection, other in self._idle if other == identity]
            taken = self._idle.pop() if self._idle else None
        for connection in stale:
            connection.close()
        if taken is None or identity is None:
            return self.connect(timeout_s)
        _wait_at_most(taken[0], timeout_s)
        return taken

    def _give_back(self, connection: sqlite3.Connection, identity: tuple[int, int]) -> None:
        with self._lock:
            if not self._is_closed and len(self._idle) < IDLE_CONNECTIONS:
                self._idle.append((connection, identity))
                return
        connection.close()

    def identity(self) -> tuple[int, int] | None:
        """Return which file stands at the path (device, inode); None: there is none."""
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    def connect(self, timeout_s: float) -> tuple[sqlite3.Connection, tuple[int, int]]:
        """Open the file, made and filled if it is missing; its identity comes with it."""
        connection = sqlite3.connect(self.path, timeout=timeout_s, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = TRUNCATE")  # a rollback journal whose file stays
            connection.execute("PRAGMA synchronous = FULL")
            self._prepare(connection)
            identity = self.identity()
            if identity is None:
                raise DcsUnavailable(f"{self.path} was removed while it was opened")
        except BaseException:
            connection.close()
            raise
        return connection, identity

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Make the tables in an empty file; refuse a file that is not ours."""
        if _format(connection) == (APPLICATION, FORMAT):
            return
        connection.execute("BEGIN IMMEDIATE")
        if _format(connection) == (0, 0) and not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            os.chmod(self.path, stat.S_IRUSR | stat.S_IWUSR)  # by path: another descriptor's end would drop our locks
            for statement in _SCHEMA:
                connection.execute(statement)
        connection.execute("COMMIT")
        application, version = _format(connection)
        if (application, version) != (APPLICATION, FORMAT):
            kind = f"has format {version}, not {FORMAT}" if application == APPLICATION else "holds something else"
            raise sqlite3.DatabaseError(f"the file {kind}")

    def close(self) -> None:
        """Close what is idle; what is in use is closed when it comes back."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.close()


def _wait_at_most(connection: sqlite3.Connection, wait_s: float) -> None:
    """Bound how long the next statement waits for the file's lock."""
    connection.execute(f"PRAGMA busy_timeout = {max(1, int(wait_s * 1000))}")


def _format(connection: sqlite3.Connection) -> tuple[int, int]:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return application, version


def check(file: File) -> None:
    """Make the file's directory and the file; raise StoreConfigError where no waiting helps. A locked file is waited for."""
    try:
        fault = _fault(file)
        if fault is None:
            with suppress(DcsUnavailable):
                connection, _ = file.connect(FIRST_TRY_S)
                connection.close()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return
        fault = str(error)
    except sqlite3.Error as error:
        fault = str(error)
    except OSError as error:
        said = error.strerror or str(error)
        fault = said if error.filename in (None, file.path) else f"{error.filename}: {said}"
    if fault is not None:
        raise StoreConfigError(f"local.path: {file.path}: {fault}")


def _fault(file: File) -> str | None:
    """Return why the file cannot be used, seen from its directory and its permissions."""
    directory = os.path.dirname(file.path)
    if os.path.isdir(file.path):
        return "is a directory, not a file"
    os.makedirs(directory, exist_ok=True)
    if not os.access(directory, os.W_OK | os.X_OK):
        return f"{directory} is not writable"
    if file.identity() is not None and not os.access(file.path, os.R_OK | os.W_OK):
        return "is not readable and writable"
    return None
