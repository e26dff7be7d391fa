"""Ports for the servers of tests, below the range from which the kernel takes the ports of outgoing connections.

A port from bind(0) could be lost to an outgoing connection between the choice and the server's start. Here a run
reserves a block of ports by an flock on a file in /tmp, held until the run's process ends, so parallel runs never meet.
One file a block, not a port: a run of hundreds of servers would else come near the limit of open files.
"""

from __future__ import annotations

import fcntl
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

FIRST_PORT = 20_000
BLOCK = 16  # ports that one lock file reserves; the first port is a multiple
_DEFAULT_END = 32_768
_LOCK_FILE = "/tmp/patroni-ports-{first}.lock"
_RANGE_FILE = Path("/proc/sys/net/ipv4/ip_local_port_range")


class NoPortLeft(Exception):
    """Other runs, or this one, hold all ports of the range."""


def reserve_port() -> int:
    """Return a port that nobody listens on and that no other caller gets while this process lives."""
    with _lock:
        for port in _ports:
            if _is_free(port):
                return port
    raise NoPortLeft(f"no free port from {FIRST_PORT} up; the lock files are {_LOCK_FILE.format(first='*')}")


def is_listening(port: int, host: str = "127.0.0.1") -> bool:
    """Tell whether a server takes connections there."""
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False


def _reserved_ports() -> Iterator[int]:
    """Yield each port of each block that this process can lock, once."""
    for first in range(FIRST_PORT, _end() - BLOCK + 1, BLOCK):
        if _holds(_LOCK_FILE.format(first=first)):
            yield from range(first, first + BLOCK)


def _end() -> int:
    """Return the first port that is not ours; where the kernel's range begins below our first one, the usual end."""
    try:
        begin = int(_RANGE_FILE.read_text().split()[0])
    except OSError:  # no Linux
        return _DEFAULT_END
    return begin if begin > FIRST_PORT else _DEFAULT_END


def _holds(path: str) -> bool:
    """Lock the file until this process ends; False: another run holds it, or another user made it unreadable.

    Created only if missing: in /tmp the kernel refuses to open another user's file with O_CREAT.
    """
    try:
        try:
            opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            opened = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except OSError:
        return False
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(opened)
        return False
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections in TIME_WAIT don't count
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True


_lock = threading.Lock()
_ports = _reserved_ports()
