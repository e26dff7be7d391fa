"""A TCP port of this host: whether it can be listened on, and who does."""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Iterator
from contextlib import suppress

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")  # no such files: not Linux, and nobody is named
_LISTENING = "0A"


def fault_of_listening(host: str | None, port: int) -> str | None:
    """Return why nobody can listen there now, or None if one can; host None: on all addresses."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        return error.strerror or str(error)
    faults = [_fault_of_binding(family, kind, address) for family, kind, _, _, address in addresses]
    if None in faults:
        return None
    return f"{faults[0]}{holder(port)}"


def holder(port: int) -> str:
    """Return `, by NAME (pid N)` or `, by a process of user NAME` of who listens on a port; empty: nobody, or not known."""
    for inode, uid in _listeners(port):
        pid = _pid_of(inode)
        if pid is not None:
            return f", by {_name(pid)} (pid {pid})"
        with suppress(KeyError):
            return f", by a process of user {pwd.getpwuid(uid).pw_name}"
    return ""


def _fault_of_binding(family: int, kind: int, address: object) -> str | None:
    try:
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Postgres does: old connections don't count
            probe.bind(address)  # type: ignore[arg-type]  # as getaddrinfo gave it
    except OSError as error:
        return error.strerror or str(error)
    return None


def _listeners(port: int) -> Iterator[tuple[str, int]]:
    """Yield (inode of the socket, uid) of those who listen on this port at any address."""
    for table in _TABLES:
        for fields in _rows(table):
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9], int(fields[7])


def _rows(table: str) -> list[list[str]]:
    try:
        with open(table, encoding="ascii") as file:
            return [line.split() for line in file.readlines()[1:]]
    except OSError:
        return []


def _pid_of(inode: str) -> int | None:
    """Return whose descriptor a socket is, as far as we may look."""
    return next((int(pid) for pid in filter(str.isdigit, os.listdir("/proc")) if _has_socket(pid, inode)), None)


def _has_socket(pid: str, inode: str) -> bool:
    try:
        descriptors = os.listdir(f"/proc/{pid}/fd")
        return any(os.readlink(f"/proc/{pid}/fd/{each}") == f"socket:[{inode}]" for each in descriptors)
    except OSError:  # it has ended, or is another user's
        return False


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "a process that has just ended"
