"""Make a new data directory and the roles of a new cluster (contract/callbacks_and_scripts.md §4.3-4.4, 5)."""

from __future__ import annotations

import os
import shlex
import tempfile

from patroni.postgres import conf, parameters
from patroni.postgres.call import Call
from patroni.postgres.config import Credentials
from patroni.postgres.directory import being_made
from patroni.postgres.options import INITDB_FORBIDDEN, words
from patroni.postgres.request import CreateRoles, Initdb, PostgresError
from patroni.postgres.server import Server
from patroni.postgres.session import Session, composed, connected

_REWIND_FUNCTIONS = (
    "pg_ls_dir(text, boolean, boolean)",
    "pg_stat_file(text, boolean)",
    "pg_read_binary_file(text)",
    "pg_read_binary_file(text, bigint, bigint, boolean)",
)
# No standby may hold up the roles, and no password may end in a log.
_QUIET = (
    "synchronous_commit = local",
    "log_statement = none",
    "log_duration = off",
    "log_min_duration_statement = -1",
    "log_min_error_statement = panic",
)


def initdb(server: Server, call: Call, request: Initdb) -> None:
    """Run initdb; what a failed one made is removed."""
    config = server.config
    accepted, faults = words(config.initdb, INITDB_FORBIDDEN)
    if faults:
        raise PostgresError(f"bootstrap.initdb: {faults[0]}")
    command = [server.binaries().path("initdb"), *accepted]
    if config.superuser.username:
        command.append(f"--username={config.superuser.username}")
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", prefix="pwfile") as file:  # mode 0600
        if config.superuser.password:
            file.write(config.superuser.password)
            file.flush()
            command.append(f"--pwfile={file.name}")
        with being_made(server):
            server.tools.require(call, [*command, server.data_dir])
    has_own_hba = bool(config.pg_hba) or "hba_file" in parameters.wanted(config)
    if config.bootstrap_pg_hba and not has_own_hba:
        conf.append_hba(config, config.bootstrap_pg_hba)


def create_roles(server: Server, call: Call, request: CreateRoles) -> None:
    """Set the superuser's password, run the post_bootstrap program, create the replication and rewind roles."""
    config = server.config
    if not config.replication.username:
        raise PostgresError("postgresql.authentication.replication.username is not set")
    with connected(call, server.local_words("bootstrap", statement_timeout_ms=0)) as session:
        for setting in _QUIET:
            session.run(call, f"SET {setting}")
        if config.superuser.username and config.superuser.password:
            _make_role(session, call, config.superuser, "SUPERUSER")
        if config.post_bootstrap:
            _run_post_bootstrap(server, call, config.post_bootstrap)
        _make_role(session, call, config.replication, "REPLICATION")
        if config.rewind and config.rewind.username and config.rewind != config.superuser:
            _make_role(session, call, config.rewind, "")
            for function in _REWIND_FUNCTIONS:
                text = f"GRANT EXECUTE ON FUNCTION pg_catalog.{function} TO {{role}}"
                session.run(call, composed(text, names={"role": config.rewind.username}, literals={}))


def _make_role(session: Session, call: Call, credentials: Credentials, attributes: str) -> None:
    """Create the role, or alter the one that is there."""
    name = credentials.username or ""
    is_there = session.run(call, "SELECT 1 FROM pg_roles WHERE rolname = %s", (name,))
    verb = "ALTER" if is_there else "CREATE"
    text = f"{verb} ROLE {{role}} WITH LOGIN {attributes}"
    literals = {}
    if credentials.password:
        text += " PASSWORD {password}"
        literals["password"] = credentials.password
    session.run(call, composed(text, names={"role": name}, literals=literals))


def _run_post_bootstrap(server: Server, call: Call, command: str) -> None:
    """Run the program with a connection string as its last argument; its output goes where the agent's goes."""
    config = server.config
    connection = server.local_words("post_bootstrap")
    for name in ("password", "options", "application_name"):
        connection.pop(name, None)
    extra = {"PGOPTIONS": "-c synchronous_commit=local -c statement_timeout=0"}
    if config.superuser.password:
        extra["PGPASSFILE"] = conf.write_passfile(config, config.superuser, connection)
    try:
        program = shlex.split(command)
    except ValueError as error:
        raise PostgresError(f"bootstrap.post_bootstrap: {error}") from error
    finished = server.tools.run(call, [*program, parameters.conninfo(connection)], extra, is_captured=False)
    if finished.status != 0:
        raise PostgresError(f"bootstrap.post_bootstrap: {os.path.basename(program[0])} ended with status {finished.status}")
