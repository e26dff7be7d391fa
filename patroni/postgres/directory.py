"""Remove a data directory or move it away, with what its links lead to (contract/callbacks_and_scripts.md §4.5, 6.4).

Both look for themselves that nothing lives on it: whoever asked may have been told so too early.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from patroni.decision.node import Process
from patroni.postgres.call import Call
from patroni.postgres.look import look_at_processes
from patroni.postgres.request import MoveDataDirectoryAway, PostgresError, RemoveDataDirectory
from patroni.postgres.server import Server

logger = logging.getLogger(__name__)

_MARKS = frozenset({"PG_VERSION", "global", "base", "pg_wal", "backup_label", "backup_manifest", "pg_tblspc"})


def remove_data_directory(server: Server, call: Call, request: RemoveDataDirectory) -> None:
    """Remove the directory's content, its WAL and tablespaces; the directory itself stays, empty.

    What an agent leaves that is killed meanwhile is as good as empty: its removal was decided.
    """
    require_down(server)
    if os.path.isdir(server.data_dir):
        _mark(server)
        remove_content(server)
    _unmark(server)


def move_data_directory_away(server: Server, call: Call, request: MoveDataDirectoryAway) -> None:
    """Rename the data directory, and the targets of its links, to `.failed`; an older one of that name is removed."""
    require_down(server)
    if not os.path.isdir(server.data_dir):
        return
    try:
        for link, target in _linked(server.data_dir):
            _move_away(target)
            os.unlink(link)
            os.symlink(f"{target}.failed", link)
        _move_away(server.data_dir)
    except OSError as error:
        raise PostgresError(f"cannot move {error.filename} away: {error.strerror}") from error


def remove_content(server: Server) -> None:
    """Remove everything in the data directory, if it looks like one."""
    if not os.path.isdir(server.data_dir):
        return
    entries = [entry for entry in os.listdir(server.data_dir) if entry != "lost+found"]
    if entries and not _MARKS & set(entries) and not server.is_incomplete():
        raise PostgresError(f"{server.data_dir} does not look like a data directory of Postgres; nothing was removed")
    try:
        for _, target in _linked(server.data_dir):
            shutil.rmtree(target)
        for name in entries:
            _remove(server.path(name))
    except OSError as error:
        raise PostgresError(f"cannot remove {error.filename}: {error.strerror}") from error


@contextmanager
def being_made(server: Server) -> Iterator[None]:
    """Keep an empty directory of the right permissions for a tool to fill; what it leaves at a failure is removed.

    pg_basebackup keeps the permissions of a directory that exists. A mark beside it outlives an agent that is killed meanwhile.
    """
    require_down(server)
    if server.is_incomplete():
        remove_content(server)
    try:
        os.makedirs(server.data_dir, mode=0o700, exist_ok=True)
        os.chmod(server.data_dir, 0o700)
        _mark(server)
    except OSError as error:
        raise PostgresError(f"cannot prepare {server.data_dir}: {error.strerror}") from error
    try:
        yield
    except BaseException:
        remove_content(server)
        _unmark(server)
        raise
    _unmark(server)


def _mark(server: Server) -> None:
    try:
        with open(server.incomplete_mark, "w", encoding="ascii") as file:
            file.write(str(os.stat(server.data_dir).st_ino))
    except PermissionError:
        logger.warning("cannot write %s: a copy that is cut off must be removed by hand", server.incomplete_mark)


def _unmark(server: Server) -> None:
    """Remove the mark of a copy, and before it that of a rewind of what was there."""
    _unmark_rewind(server)
    with suppress(FileNotFoundError):  # it could not be written
        os.unlink(server.incomplete_mark)


@contextmanager
def being_rewound(server: Server) -> Iterator[None]:
    """Keep a mark beside the data directory while pg_rewind changes it, on disk before it begins; only success removes it.

    It can't lie inside: pg_rewind removes what its source does not have. Without a mark nothing is begun.
    """
    try:
        with open(server.rewind_mark, "w", encoding="ascii") as file:
            file.write(str(os.stat(server.data_dir).st_ino))
            file.flush()
            os.fsync(file.fileno())
        _sync_directory(server)
    except OSError as error:
        why = "without this mark, a rewind cut short could be started"
        raise PostgresError(f"cannot write {server.rewind_mark} ({error.strerror}): {why}") from error
    yield
    _unmark_rewind(server)


def _unmark_rewind(server: Server) -> None:
    """Remove the mark of a rewind, so that it does not come back after a loss of power."""
    try:
        os.unlink(server.rewind_mark)
    except FileNotFoundError:
        return
    _sync_directory(server)


def _sync_directory(server: Server) -> None:
    """Make the names beside the data directory durable."""
    descriptor = os.open(os.path.dirname(server.data_dir), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_whole(server: Server) -> None:
    """Raise if a rewind of the data directory was cut short: nothing may be started on it, nor rewound again."""
    if server.is_torn():
        raise PostgresError(f"a rewind of {server.data_dir} was cut short ({server.rewind_mark}): only a clone replaces it")


def require_down(server: Server) -> None:
    """Raise if anything still lives on the data directory."""
    if look_at_processes(server) is not Process.DOWN:
        raise PostgresError(f"something still runs on {server.data_dir}")


def _linked(data_dir: str) -> Iterator[tuple[str, str]]:
    """Yield the links that lead out of a data directory and where they lead: WAL and tablespaces."""
    tablespaces = os.path.join(data_dir, "pg_tblspc")
    names = os.listdir(tablespaces) if os.path.isdir(tablespaces) else []
    for link in [os.path.join(data_dir, "pg_wal"), *(os.path.join(tablespaces, name) for name in names)]:
        if os.path.islink(link) and os.path.isdir(link):
            yield link, os.path.realpath(link)


def _move_away(path: str) -> None:
    if os.path.lexists(f"{path}.failed"):
        _remove(f"{path}.failed")
    os.rename(path, f"{path}.failed")


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)
