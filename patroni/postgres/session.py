"""SQL on non-blocking connections with a deadline of the client's own; the only module that imports psycopg2.

A stopped backend answers nothing for ever and no server-side timeout helps (safety_rules.md §4.7): every wait here is a poll
on the socket with a deadline. `cancel()` of psycopg2 is never called: it blocks with the GIL held. Names are resolved outside
libpq, whose own resolver would block every thread.
"""

from __future__ import annotations

import contextlib
import ipaddress
import select
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg2
from psycopg2 import extensions, sql

from patroni.postgres.call import Call
from patroni.postgres.request import PostgresError, PostgresTimeout

Row = tuple[Any, ...]  # Any: as the columns of the statement say; parsed at once by who asked

LIBPQ_MAJOR = extensions.libpq_version() // 10000  # which words the agent's own connections may use
_LOCALHOST = ("127.0.0.1", "::1")  # known without a resolver


class SqlError(PostgresError):
    """The server or the connection said no."""

    def __init__(self, message: str, sqlstate: str | None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate  # None: the connection failed


class Session:
    """One open connection."""

    def __init__(self, connection: extensions.connection) -> None:
        self._connection = connection

    @property
    def server_version(self) -> int:
        """Return the server's version as a number, e.g. 150018."""
        return self._connection.server_version

    def run(
        self, call: Call, statement: str | sql.Composable, values: Sequence[object] | Mapping[str, object] = ()
    ) -> list[Row]:
        """Run one statement and return its rows (none if it returns nothing)."""
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                _drive(call, self._connection, "SQL")
                return cursor.fetchall() if cursor.description else []
        except psycopg2.Error as error:
            raise _ours(error) from error

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def connect(call: Call, words: Mapping[str, str]) -> Session:
    """Open a connection with these libpq words."""
    try:
        connection = psycopg2.connect(extensions.make_dsn(**_resolved(call, words)), async_=True)
    except psycopg2.Error as error:
        raise _ours(error) from error
    try:
        _drive(call, connection, "connecting to Postgres")
    except psycopg2.Error as error:
        connection.close()
        raise _ours(error) from error
    except BaseException:
        connection.close()
        raise
    return Session(connection)


@contextmanager
def connected(call: Call, words: Mapping[str, str]) -> Iterator[Session]:
    """Open a connection for one purpose and close it afterwards."""
    session = connect(call, words)
    try:
        yield session
    finally:
        session.close()


class KeptSession:
    """One connection that is kept between requests; one request at a time, the next waits within its own time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._session: Session | None = None

    def run(self, call: Call, words: Mapping[str, str], statement: str) -> tuple[list[Row], int]:
        """Run a statement; a kept connection that turns out dead is replaced once. Return its rows and the server's version."""
        if not self._lock.acquire(timeout=call.left_s()):
            raise PostgresTimeout("SQL: an earlier statement on this connection has no answer yet")
        try:
            if self._session is not None:
                try:
                    return self._run(call, self._session, statement)
                except SqlError:
                    call.check("SQL")  # it may have died with an earlier server
            return self._run(call, connect(call, words), statement)
        finally:
            self._lock.release()

    def close(self) -> None:
        """Give up the connection if nobody uses it now."""
        if self._lock.acquire(blocking=False):
            try:
                self._drop()
            finally:
                self._lock.release()

    def _run(self, call: Call, session: Session, statement: str) -> tuple[list[Row], int]:
        self._session = session
        try:
            return session.run(call, statement), session.server_version
        except BaseException:
            self._drop()
            raise

    def _drop(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None


def words_of_url(conn_url: str) -> dict[str, str]:
    """Return the libpq words of a `postgres://` URL or connection string."""
    try:
        return dict(extensions.parse_dsn(conn_url))
    except psycopg2.Error as error:
        raise PostgresError(f"not a connection URL: {conn_url.rsplit('@', 1)[-1]}") from error


def composed(text: str, *, names: Mapping[str, str], literals: Mapping[str, str]) -> sql.Composable:
    """Return a statement with {placeholders} filled by quoted names and literals."""
    parts: dict[str, sql.Composable] = {key: sql.Identifier(value) for key, value in names.items()}
    parts |= {key: sql.Literal(value) for key, value in literals.items()}
    return sql.SQL(text).format(**parts)


def _drive(call: Call, connection: extensions.connection, doing: str) -> None:
    """Poll until the connection has done what it is doing."""
    while (wanted := connection.poll()) != extensions.POLL_OK:
        mask = select.POLLIN if wanted == extensions.POLL_READ else select.POLLOUT
        if not call.wait({connection.fileno(): mask}, call.left_s()):
            raise PostgresTimeout(f"{doing}: no answer in time")


def _ours(error: psycopg2.Error) -> SqlError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return SqlError(lines[0] if lines else type(error).__name__, error.pgcode)


def _resolved(call: Call, words: Mapping[str, str]) -> dict[str, str]:
    """Add `hostaddr` so that libpq has no name to resolve; several addresses of a name are tried in turn."""
    if not words.get("host") or "hostaddr" in words:
        return dict(words)
    hosts = words["host"].split(",")
    ports = words.get("port", "5432").split(",")
    targets = [
        (host, address, port)
        for host, port in zip(hosts, ports if len(ports) == len(hosts) else ports[:1] * len(hosts), strict=True)
        for address in _addresses(call, host)
    ]
    host, hostaddr, port = (",".join(column) for column in zip(*targets, strict=True))
    return {**words, "host": host, "hostaddr": hostaddr, "port": port}


def _addresses(call: Call, host: str) -> Sequence[str]:
    """Return the addresses of a host; an empty one for a socket directory."""
    if host.startswith(("/", "@")) or not host:
        return ("",)
    if host == "localhost":
        return _LOCALHOST
    try:
        return (str(ipaddress.ip_address(host)),)
    except ValueError:
        return _looked_up(call, host)


def _looked_up(call: Call, host: str) -> Sequence[str]:
    """Resolve a name in a thread of its own: a resolver cannot be given a deadline."""
    found: list[str] = []
    ours, theirs = socket.socketpair()

    def look() -> None:
        with theirs, contextlib.suppress(OSError):  # nothing found: said below
            entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            found.extend(dict.fromkeys(str(entry[4][0]) for entry in entries))

    with ours:
        threading.Thread(target=look, name="resolver", daemon=True).start()
        if not call.wait({ours.fileno(): select.POLLIN}, call.left_s()):
            raise PostgresTimeout(f"resolving {host}: no answer in time")
    if not found:
        raise SqlError(f"cannot resolve host {host}", None)
    return found
