"""Copy a member's data directory by pg_basebackup (contract/callbacks_and_scripts.md §6.4-6.5)."""

from __future__ import annotations

import logging

from patroni.postgres import conf, parameters
from patroni.postgres.call import Call
from patroni.postgres.directory import being_made, require_down
from patroni.postgres.options import BASEBACKUP_FORBIDDEN, words
from patroni.postgres.replication import password_extra, remote_words
from patroni.postgres.request import BaseBackup, PostgresError, PostgresTimeout
from patroni.postgres.server import Server

logger = logging.getLogger(__name__)

_ATTEMPTS = 2
_PAUSE_S = 5.0


def base_backup(server: Server, call: Call, request: BaseBackup) -> None:
    """Copy into our empty data directory, at most twice; what a failed or cancelled copy left behind is removed."""
    require_down(server)
    if not server.config.replication.username:
        raise PostgresError("postgresql.authentication.replication.username is not set")
    for attempt in range(_ATTEMPTS):
        try:
            _copy(server, call, request.conn_url)
            break
        except PostgresTimeout:
            raise
        except PostgresError as error:
            if attempt + 1 == _ATTEMPTS:
                raise
            logger.warning("%s; trying again in %s s", error, _PAUSE_S)
            call.wait({}, _PAUSE_S)
    conf.restore_backups(server)


def _copy(server: Server, call: Call, conn_url: str) -> None:
    config = server.config
    accepted, faults = words(config.basebackup, _forbidden(config.basebackup))
    for fault in faults:
        logger.error("postgresql.basebackup: %s", fault)
    source = remote_words(server, conn_url, config.replication, server.described(call)[0] // 10000)
    for name in ("password", "options"):
        source.pop(name, None)
    source |= {"dbname": "replication", "application_name": config.name}
    passfile = conf.write_passfile(config, config.replication, source)
    program = server.binaries().path("pg_basebackup")
    command = [
        program,
        f"--pgdata={server.data_dir}",
        "-X",
        "stream",
        f"--dbname={parameters.conninfo(source)}",
        *accepted,
    ]
    with being_made(server):
        server.tools.require(call, command, password_extra(config.replication, passfile))


def _forbidden(options: object) -> frozenset[str]:
    """Return what may not be set: `compress` only where the server does it (the client writes plain files)."""
    values = options.items() if isinstance(options, dict) else [pair for item in _mappings(options) for pair in item.items()]
    is_by_server = all(str(value).startswith("server") for name, value in values if name == "compress")
    return BASEBACKUP_FORBIDDEN if is_by_server else BASEBACKUP_FORBIDDEN | {"compress"}


def _mappings(options: object) -> list[dict[object, object]]:
    return [item for item in options if isinstance(item, dict)] if isinstance(options, list) else []
