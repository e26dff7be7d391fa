"""Root: Postgres refuses it, so an agent started as root makes its directories and becomes the unprivileged user first.

Before any thread starts (servers.md, "Settled"). On a laptop the user is unprivileged already and nothing happens.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable

USER = "postgres"


class PrivilegeError(Exception):
    """The agent cannot become an unprivileged user; the message is one line for the operator."""


def drop_root(data_directory: str, own_directories: Iterable[str], checkout: str, user: str = USER) -> str | None:
    """Become the user if we are root; return a line that says so, or None if we were not root.

    data_directory and its parent, and own_directories, are made and handed over. checkout: must be readable afterwards.
    """
    if os.getuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(user)
    except KeyError as error:
        raise PrivilegeError(
            f"started as root, and there is no user `{user}` to become; start it as an unprivileged user"
        ) from error
    for directory in (os.path.dirname(os.path.abspath(data_directory)), data_directory, *own_directories):
        try:
            _hand_over(directory, entry)
        except OSError as error:
            raise PrivilegeError(f"cannot make {directory} for user `{user}`: {error.strerror}") from error
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    os.environ.update(HOME=entry.pw_dir, USER=user, LOGNAME=user)
    if not os.access(checkout, os.R_OK | os.X_OK):
        raise PrivilegeError(f"user `{user}` cannot read {checkout}; put it where it can, or open the directories above it")
    return f"started as root: running as user {user}"


def _hand_over(directory: str, user: pwd.struct_passwd) -> None:
    """Make a directory and give it away; of those that exist only root's own, and if in use only below where we were started.

    That is the parent of a relative data directory, in which a store that root started may live already (etcd makes it 0700).
    """
    made = not os.path.exists(directory)
    if made:
        os.makedirs(directory, mode=0o700)
    is_free = made or not os.listdir(directory) or _is_below(directory, os.getcwd())
    if is_free and os.stat(directory).st_uid == 0:
        os.chown(directory, user.pw_uid, user.pw_gid)


def _is_below(directory: str, start: str) -> bool:
    real = os.path.realpath(directory)
    return start != os.sep and real.startswith(start + os.sep)
