"""Make a diverged data directory continue another server's history: pg_rewind, and recovery before it (§5.5, 5.7)."""

from __future__ import annotations

import logging
import os

from patroni.postgres import conf, parameters
from patroni.postgres.archive import archive_ready_segments
from patroni.postgres.call import Call
from patroni.postgres.directory import require_down
from patroni.postgres.launch import ignoring_stale_pid, server_words
from patroni.postgres.options import REWIND_FORBIDDEN, words
from patroni.postgres.replication import password_extra, remote_words
from patroni.postgres.request import PostgresError, RunRewind, RunSingleUser
from patroni.postgres.server import Server
from patroni.postgres.session import connected
from patroni.postgres.tool import C_LOCALE

logger = logging.getLogger(__name__)

# pg_rewind takes the source's timeline from its last checkpoint: before that one is done it would rewind to the old timeline.
_IS_READY = """
SELECT pg_is_in_recovery(),
       CASE WHEN pg_is_in_recovery() THEN true
            ELSE (SELECT timeline_id FROM pg_control_checkpoint())
               = ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint END
"""


def run_rewind(server: Server, call: Call, request: RunRewind) -> None:
    """Rewind against a running primary; the own server must be down."""
    require_down(server)
    config = server.config
    who = config.rewind_credentials
    with connected(call, remote_words(server, request.conn_url, who)) as session:
        is_standby, is_checkpointed = session.run(call, _IS_READY)[0]
    if is_standby:
        raise PostgresError("the server to rewind from is in recovery")
    if not is_checkpointed:
        raise PostgresError("the server to rewind from has not finished its checkpoint after promotion yet")
    archive_ready_segments(server, call)
    source = remote_words(server, request.conn_url, who, server.require_major())
    for name in ("password", "options"):
        source.pop(name, None)
    source |= {"application_name": config.name, "target_session_attrs": "read-write"}
    extra = {**C_LOCALE, "PGOPTIONS": "-c statement_timeout=0"}
    extra |= password_extra(who, conf.write_passfile(config, who, source))
    command = [
        server.binaries().path("pg_rewind"),
        "-D",
        server.data_dir,
        f"--source-server={parameters.conninfo(source)}",
    ]
    server.tools.require(call, [*command, *_restoring(server), *_user_options(config.rewind_options)], extra)


def run_single_user(server: Server, call: Call, request: RunSingleUser) -> None:
    """Recover from a crash in single-user mode, so that a clean shutdown stands in pg_control."""
    require_down(server)
    archive_ready_segments(server, call)
    status = server.path("pg_wal", "archive_status")
    for name in os.listdir(status) if os.path.isdir(status) else []:
        os.unlink(os.path.join(status, name))
    conf.remove_recovery_files(server)
    program = server.binaries().path("postgres")
    settings = ["--archive_mode=on", "--archive_command=false"]
    command = [program, "--single", *server_words(server, call), *settings, "template1"]
    server.tools.require(call, command, {**C_LOCALE, **ignoring_stale_pid(server)})


def _restoring(server: Server) -> list[str]:
    """Return the words that let pg_rewind fetch missing WAL from the archive (13 or later; §5.5, missing WAL)."""
    config = server.config
    if not parameters.recovery(config, server.require_major(), None).get("restore_command"):
        return []
    if config.conf_dir == config.data_dir:
        return ["--restore-target-wal"]
    if server.require_major() < 15:
        return []
    return ["--restore-target-wal", f"--config-file={os.path.join(config.conf_dir, config.config_base_name)}.conf"]


def _user_options(options: object) -> list[str]:
    accepted, faults = words(options, REWIND_FORBIDDEN)
    for fault in faults:
        logger.error("postgresql.rewind: %s", fault)
    return accepted
