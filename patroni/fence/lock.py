"""One agent a data directory: an flock beside the guard's page, held for the agent's life (safety_rules.md §4.2).

In /dev/shm, not on the database's disk, which may hang. The kernel lets go of it when the agent ends, however it ends.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from dataclasses import dataclass

from patroni.fence import page_file

DIRECTORY = page_file.DIRECTORY


class DataDirectoryTaken(Exception):
    """The lock is not ours to take: another agent holds it, and the message says who, or its file is not usable."""


@dataclass(frozen=True, slots=True)
class DataDirectoryLock:
    """The lock that is held; `close` or the end of the process lets go of it."""

    fd: int

    def close(self) -> None:
        """Let go of the lock."""
        os.close(self.fd)


def page_name(data_directory: str, uid: int) -> str:
    """Return the name under which agent and guard meet for this data directory and user."""
    real = os.path.realpath(data_directory)
    return f"patroni-{hashlib.blake2b(f'{uid}:{real}'.encode(), digest_size=12).hexdigest()}"


def lock_data_directory(data_directory: str, who: str) -> DataDirectoryLock:
    """Take the lock or raise DataDirectoryTaken. who: the member name, shown to the second agent."""
    path = os.path.join(DIRECTORY, page_name(data_directory, os.getuid()) + ".lock")
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise DataDirectoryTaken(f"postgresql.data_dir: {data_directory}: lock file {path}: {error.strerror}") from error
    if os.fstat(fd).st_uid != os.getuid():
        os.close(fd)
        raise DataDirectoryTaken(f"postgresql.data_dir: {data_directory}: lock file {path} belongs to another user")
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(fd, 4096, 0).decode(errors="replace").strip() or "an agent that did not say its name"
        os.close(fd)
        raise DataDirectoryTaken(f"postgresql.data_dir: {data_directory} is in use by {holder}") from error
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{who}, pid {os.getpid()}".encode(), 0)
    return DataDirectoryLock(fd)
