"""Make a diverged data directory continue another server's history: pg_rewind, and recovery before it (§5.5, 5.7).

pg_rewind is run twice: first dry, which finds whatever keeps it from beginning and changes nothing, then under a mark
(`being_rewound`). A failure of the first leaves the directory as it was. After one of the second, or an end of agent or host
in the middle, it holds parts of two histories and is never started, nor rewound again: a second run copies anew only what the
target had changed, so what the first one had appended from another leader, or not yet flushed when power failed, would stay.
"""

from __future__ import annotations

import logging
import os

from patroni.decision.node import ClusterState
from patroni.postgres import conf, parameters
from patroni.postgres.archive import archive_ready_segments
from patroni.postgres.call import Call
from patroni.postgres.control_data import parsed, read_words
from patroni.postgres.directory import being_rewound, require_down, require_whole
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
    require_whole(server)
    config = server.config
    who = config.rewind_credentials
    with connected(call, remote_words(server, request.conn_url, who)) as session:
        is_standby, is_checkpointed = session.run(call, _IS_READY)[0]
    if is_standby:
        raise PostgresError("the server to rewind from is in recovery")
    if not is_checkpointed:
        raise PostgresError("the server to rewind from has not finished its checkpoint after promotion yet")
    _recover_first(server, call)
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
        *_restoring(server),
        *_user_options(config.rewind_options),
    ]
    server.tools.require(call, [*command, "--dry-run"], extra)
    with being_rewound(server):
        server.tools.require(call, command, extra)  # it syncs what it wrote, unless `no-sync` is among the options


def run_single_user(server: Server, call: Call, request: RunSingleUser) -> None:
    """Recover from a crash in single-user mode, so that a clean shutdown stands in pg_control."""
    require_down(server)
    require_whole(server)
    archive_ready_segments(server, call)
    status = server.path("pg_wal", "archive_status")
    for name in os.listdir(status) if os.path.isdir(status) else []:
        os.unlink(os.path.join(status, name))
    conf.remove_recovery_files(server)
    program = server.binaries().path("postgres")
    settings = ["--archive_mode=on", "--archive_command=false"]
    command = [program, "--single", *server_words(server, call), *settings, "template1"]
    server.tools.require(call, command, {**C_LOCALE, **ignoring_stale_pid(server)})


def _recover_first(server: Server, call: Call) -> None:
    """Recover a target that was not shut down, as pg_rewind would by itself, but not when it runs dry."""
    state = parsed(read_words(server, call)).cluster_state
    has_label = server.require_major() >= 15 and os.path.exists(server.path("backup_label"))
    if state not in (ClusterState.SHUT_DOWN, ClusterState.SHUT_DOWN_IN_RECOVERY) and not has_label:
        run_single_user(server, call, RunSingleUser())


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
