"""What is asked of a running server: reload, promote, checkpoint, replay, slots."""

from __future__ import annotations

import os
import signal

from patroni.decision.cluster import SlotName
from patroni.postgres.call import Call
from patroni.postgres.process import Living
from patroni.postgres.request import (
    ChangeSlots,
    PostgresError,
    Reload,
    ResumeReplay,
    RunCheckpoint,
    SignalPromote,
)
from patroni.postgres.server import Server
from patroni.postgres.session import Session, SqlError, connected

_DUPLICATE_OBJECT = "42710"
_UNDEFINED_OBJECT = "42704"
# What is so already is no error in the server's log either.
_CREATE = """
SELECT pg_create_physical_replication_slot(%(name)s, true)
 WHERE NOT EXISTS (SELECT 1 FROM pg_replication_slots WHERE slot_name = %(name)s)
"""
_DROP = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %(name)s"


def reload(server: Server, call: Call, request: Reload) -> None:
    """Make the server read its files again."""
    server.require_postmaster().signal(signal.SIGHUP)


def signal_promote(server: Server, call: Call, request: SignalPromote) -> None:
    """Ask for promotion as `pg_ctl promote -W` does: it needs no free connection."""
    living = server.require_postmaster()
    if not server.is_standby_on_disk():
        raise PostgresError("Postgres is no standby: there is nothing to promote")
    try:
        os.close(os.open(server.path("promote"), os.O_WRONLY | os.O_CREAT, 0o600))
    except OSError as error:
        raise PostgresError(f"cannot write {server.path('promote')}: {error.strerror}") from error
    fault = _promoted(living, request)
    if fault:
        os.unlink(server.path("promote"))  # else another server would find it
        raise PostgresError(fault)


def _promoted(living: Living, request: SignalPromote) -> str:
    """Send the signal; return why it was not sent, empty if it was."""
    if not request.is_due():
        return "the lease does not allow a promotion any more"
    return "" if living.signal(signal.SIGUSR1) else "Postgres is gone: it was not promoted"


def run_checkpoint(server: Server, call: Call, request: RunCheckpoint) -> None:
    """CHECKPOINT, at most `within_s`; the server goes on with it after that."""
    limited = Call(min(request.within_s, call.left_s()), call.now_s)
    try:
        with connected(limited, server.local_words("checkpoint", statement_timeout_ms=0)) as session:
            session.run(limited, "CHECKPOINT")
    finally:
        limited.close()


def resume_replay(server: Server, call: Call, request: ResumeReplay) -> None:
    """Let a paused replay go on."""
    with connected(call, server.local_words("replay")) as session:
        session.run(call, "SELECT pg_wal_replay_resume()")


def change_slots(server: Server, call: Call, request: ChangeSlots) -> None:
    """Create and drop physical slots; all are tried, the first fault that is none of "already so" is raised at the end."""
    faults: list[PostgresError] = []
    with connected(call, server.local_words("slots")) as session:
        for name in request.create:  # WAL is reserved at once
            faults += _change(session, call, _CREATE, name, _DUPLICATE_OBJECT)
        for name in request.drop:
            faults += _change(session, call, _DROP, name, _UNDEFINED_OBJECT)
    if faults:
        raise faults[0]


def _change(session: Session, call: Call, statement: str, name: SlotName, already: str) -> list[PostgresError]:
    try:
        session.run(call, statement, {"name": name})
    except SqlError as error:
        if error.sqlstate is None:
            raise  # the connection is gone
        return [] if error.sqlstate == already else [error]
    return []
