"""Preflight: what can be told before anything is started. Each fault is one line that names key, file or address.

Nothing is touched. A server that runs already is left out where it is the one that would be in the way. What is seen here may
change afterwards; whoever acts then says so himself.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator

from patroni.agent.port import fault_of_listening
from patroni.postgres.binaries import find
from patroni.postgres.config import PostgresConfig
from patroni.postgres.request import PostgresError
from patroni.rest.config import ClientConfig, RestConfig

_ANY_HOST = {"*", "0.0.0.0", "::"}  # noqa: S104  # compared with


def faults(config: PostgresConfig) -> list[str]:
    """Return what keeps a node with this configuration from working; empty: nothing that can be told now."""
    found = [*_of_data_directory(config.data_dir)]
    if found:
        return found  # what is in it is not known then
    return [*_of_binaries(config), *_of_password_file(config.pgpass), *_of_address(config)]


def faults_of_rest(rest: RestConfig, client: ClientConfig) -> list[str]:
    """Return what keeps the REST API from being served, and peers from being asked."""
    found = faults_of_certificates(rest, client)
    fault = fault_of_listening(rest.host, rest.port)
    return found if fault is None else [*found, f"restapi.listen: {rest.host or '*'}:{rest.port}: {fault}"]


def faults_of_certificates(rest: RestConfig, client: ClientConfig) -> list[str]:
    """Return which files of both can't be read."""
    tls = rest.tls
    files = [("ctl.certfile", client.certfile), ("ctl.keyfile", client.keyfile), ("ctl.cacert", client.cacert)]
    if tls is not None:
        files += [("restapi.certfile", tls.certfile), ("restapi.keyfile", tls.keyfile), ("restapi.cafile", tls.cafile)]
    keys = {path: key for key, path in files if path is not None}  # the client falls back on the server's
    return [fault for path, key in keys.items() for fault in _of_readable(f"{key}: {path}", path)]


def _of_readable(key: str, path: str) -> Iterator[str]:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        yield f"{key}: {error.strerror}"


def _of_data_directory(path: str) -> Iterator[str]:
    key = f"postgresql.data_dir: {path}"
    if not os.path.lexists(path):
        yield from _of_parent(key, path)
    elif not os.path.isdir(path):
        yield f"{key} is not a directory"
    elif os.stat(path).st_uid != os.geteuid():
        yield f"{key} belongs to {_user(os.stat(path).st_uid)}, and Postgres would run as {_user(os.geteuid())}"
    elif not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        yield f"{key} is not readable and writable for {_user(os.geteuid())}"
    elif _is_foreign(path):
        yield f"{key} is not empty, but holds no database of Postgres (no PG_VERSION)"


def _is_foreign(path: str) -> bool:
    """Return whether something else is in there; what a copy that was cut off left is Postgres' (see `postgres.directory`)."""
    if os.path.exists(os.path.join(path, "PG_VERSION")) or os.path.exists(f"{path}.incomplete"):
        return False
    return any(name != "lost+found" for name in os.listdir(path))


def _of_binaries(config: PostgresConfig) -> Iterator[str]:
    try:
        find(config, _major(config.data_dir))
    except PostgresError as error:
        yield str(error)


def _of_password_file(path: str | None) -> Iterator[str]:
    if path is None:
        return
    key = f"postgresql.pgpass: {path}"
    if not os.path.lexists(path):
        yield from _of_parent(key, path)
    elif not os.path.isfile(path) or not os.access(path, os.W_OK):
        yield f"{key} is no file that {_user(os.geteuid())} can write"


def _of_parent(key: str, path: str) -> Iterator[str]:
    """Find out whether something can be made where nothing is: in the nearest directory that exists."""
    parent = os.path.dirname(os.path.abspath(path))
    while not os.path.lexists(parent):
        parent = os.path.dirname(parent)
    if not os.path.isdir(parent):
        yield f"{key} cannot be made: {parent} is not a directory"
    elif not os.access(parent, os.W_OK | os.X_OK):
        yield f"{key} cannot be made: {parent} is not writable for {_user(os.geteuid())}"


def _of_address(config: PostgresConfig) -> Iterator[str]:
    """Find out whether Postgres could listen; like Postgres be content with one of its addresses."""
    if os.path.exists(os.path.join(config.data_dir, "postmaster.pid")):
        return  # it runs, or what is left of it has to be looked at first
    found = []
    for host in config.listen_host.split(","):
        fault = fault_of_listening(None if host.strip() in _ANY_HOST else host.strip(" []"), config.port)
        if fault is None:
            return
        found.append(f"{host.strip()}:{config.port}: {fault}")
    yield f"postgresql.listen: {', '.join(found)}"


def _major(data_dir: str) -> int | None:
    try:
        with open(os.path.join(data_dir, "PG_VERSION"), encoding="ascii") as file:
            return int(file.read().strip())
    except (OSError, ValueError):
        return None


def _user(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"uid {uid}"
