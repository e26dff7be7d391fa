"""Temporary directories in which servers of tests live, as the user that servers run as."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.backstop import backstop, end_processes_in


def unprivileged_user() -> str | None:
    """Return the user that servers run as, or None where we are unprivileged ourselves. Postgres refuses root."""
    return "postgres" if os.geteuid() == 0 else None


@contextmanager
def server_directory(name: str) -> Iterator[Path]:
    """Make a directory of the unprivileged user; at the end, end the processes that live in it and remove it.

    The path is short, since a Unix socket's has at most 107 bytes; pytest's tmp_path is long, and closed to others.
    """
    path = Path(tempfile.mkdtemp(prefix=f"patroni-{name}-", dir="/tmp"))
    give_to_servers(path)
    backstop.tell("directory", path)
    try:
        yield path
    finally:
        end_processes_in(path)
        shutil.rmtree(path)
        backstop.tell("no-directory", path)


def give_to_servers(path: Path) -> Path:
    """Make the unprivileged user the owner of a file or directory that a test made, and return it."""
    user = unprivileged_user()
    if user is not None:
        shutil.chown(path, user, user)
    return path


def subdirectory(parent: Path, name: str) -> Path:
    """Make a directory of the unprivileged user in another."""
    path = parent / name
    path.mkdir(mode=0o700)
    return give_to_servers(path)
