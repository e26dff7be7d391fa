"""The long works: bootstrap, clone, start, stop, rewind. Each is a generator of bounded steps; one runs at a time.

A job never decides who leads. It tells its phase by `Note`, ends by returning (done), or by raising `PostgresError` or `Void`
(not done, with the reason); closing the generator cancels it. Whoever starts a server as primary arms the guard first.
Sources: contract/ha_behaviour.md §2.9, 2.21, 5.5, 5.7, 6.3-6.4; design.md §3 (bounded stop).
"""

from __future__ import annotations

from contextlib import suppress
from typing import assert_never

from patroni.agent.precondition import require_lease_to_write, require_no_lock
from patroni.agent.request import ArmFence, IsHurried, Note, Void
from patroni.decision import actions
from patroni.decision.actions import DemoteKind, JobAction
from patroni.decision.cluster import PostgresState, Role, Twin
from patroni.decision.node import DataDirectory, JobKind, Process, Upstream
from patroni.decision.request import Steps, ask
from patroni.decision.rewind import controlled
from patroni.postgres import request as pg
from patroni.postgres.request import PostgresError, Readiness, StopMode

CHECKPOINT_S = 30.0  # before a planned stop; what it does not flush the shutdown checkpoint will
END_BACKENDS_AFTER_S = 1.0  # clients get so long to end by themselves after SIGINT
SHUTDOWN_CHECKPOINT_S = 60.0  # for a stop that nobody waits for; then immediate
IMMEDIATE_S = 5.0
KILL_S = 10.0
LOOK_S = 0.1
TORN = "a rewind of the data directory was cut short"


def kind_of(action: JobAction) -> tuple[JobKind, str | None]:
    """Return under which kind and subject operators see this job."""
    match action:
        case actions.Bootstrap():
            return JobKind.BOOTSTRAP, None
        case actions.CloneFrom(member=member, is_leader=is_leader):
            return (JobKind.CLONE_FROM_LEADER if is_leader else JobKind.CLONE_FROM_REPLICA), member
        case actions.StartAsPrimary():
            return JobKind.START_AS_PRIMARY, None
        case actions.StartAsStandby(is_after_demotion=is_after_demotion):
            return (JobKind.START_AFTER_DEMOTION if is_after_demotion else JobKind.START_AS_STANDBY), None
        case actions.Rewind(member=member):
            return JobKind.REWIND, member
        case actions.Reinitialize():
            return JobKind.REINITIALIZE, None
        case actions.CrashRecovery():
            return JobKind.CRASH_RECOVERY, None
        case actions.Demote(title=title):
            return JobKind.DEMOTE, title
        case actions.StopPostgres() | actions.AbortBootstrap():
            return JobKind.STOP, None
        case _:
            assert_never(action)


def work(action: JobAction) -> Steps[None]:
    """Carry out one job; see the module for how it ends."""
    match action:
        case actions.Bootstrap():
            yield from _bootstrap()
        case actions.AbortBootstrap():
            yield from _abort_bootstrap()
        case actions.CloneFrom():
            yield from _clone(action.conn_url, action.upstream)
        case actions.StartAsPrimary():
            yield from _start_as_primary(action.timeout_s)
        case actions.StartAsStandby():
            yield from _start_as_standby(action.upstream, action.timeout_s)
        case actions.Rewind():
            yield from _rewind(action.conn_url)
        case actions.Reinitialize():
            yield from _reinitialize(action)
        case actions.CrashRecovery():
            yield from _crash_recovery()
        case actions.Demote():
            yield from _demote(action.kind)
        case actions.StopPostgres():
            yield from _stop(StopMode.FAST if action.is_fast else StopMode.IMMEDIATE)
        case _:
            assert_never(action)


# --- making a data directory


def _bootstrap() -> Steps[None]:
    yield from ask(Note("initdb", state=PostgresState.INITDB, role=Role.UNINITIALIZED))
    try:
        yield from ask(pg.Initdb())
    except PostgresError:
        yield from ask(Note("initdb failed", state=PostgresState.INITDB_FAILED))
        raise
    yield from ask(pg.WriteConfiguration(is_standby=False))
    yield from _launch(Role.PRIMARY, None)
    yield from ask(Note("creating roles"))
    yield from ask(pg.CreateRoles())


def _abort_bootstrap() -> Steps[None]:
    yield from _stop(StopMode.IMMEDIATE)
    yield from ask(Note("moving the data directory away"))
    yield from ask(pg.MoveDataDirectoryAway())


def _clone(conn_url: str, upstream: Upstream | None) -> Steps[None]:
    yield from require_no_lock()
    files = yield from ask(pg.ReadFiles())
    if files.data_directory is not DataDirectory.EMPTY:
        raise Void("the data directory is not empty")
    yield from _make_sure_it_is_down()
    yield from ask(Note("base backup", state=PostgresState.CREATING_REPLICA, role=Role.UNINITIALIZED))
    try:
        yield from ask(pg.BaseBackup(conn_url))
    except PostgresError:
        yield from ask(Note("base backup failed", state=PostgresState.STOPPED))
        raise
    yield from ask(Note("base backup done", state=PostgresState.STOPPED, role=Role.REPLICA))
    yield from _start_as_standby(upstream, None)


def _reinitialize(action: actions.Reinitialize) -> Steps[None]:
    yield from require_no_lock()
    yield from _stop(StopMode.IMMEDIATE)
    yield from require_no_lock()
    own = (yield from _own_timeline()) if action.is_twin else None
    said = yield from ask(pg.AskRemoteHistory(action.conn_url, own))  # again: it may have died since the decision
    if not said.is_primary:
        raise Void("the server to clone from is no primary any more")
    if action.is_twin and (own is None or own.timeline != said.timeline or said.twin not in (Twin.BY_BEGIN, Twin.BY_WAL)):
        raise Void("stopped, its timeline is no other one than that of this server")
    yield from ask(Note("removing the data directory", role=Role.UNINITIALIZED))
    yield from ask(pg.RemoveDataDirectory())
    yield from _clone(action.conn_url, action.upstream)


def _own_timeline() -> Steps[pg.OwnTimeline | None]:
    """Read what a stopped server has of its timeline; None: its control data do not say where that ends."""
    files = yield from ask(pg.ReadFiles())
    local = controlled(files.control) if files.control is not None else None
    return (yield from ask(pg.ReadOwnTimeline(*local.known))) if local is not None else None


# --- starting


def _start_as_primary(timeout_s: float) -> Steps[None]:
    yield from _make_sure_it_is_down()
    proof = yield from require_lease_to_write()
    if not (yield from ask(ArmFence(proof))):
        raise Void("the guard did not acknowledge")
    yield from ask(pg.WriteConfiguration(is_standby=False))
    yield from require_lease_to_write()  # all that took time; a fence whose time had come has found nobody to end
    yield from _launch(Role.PRIMARY, timeout_s)


def _start_as_standby(upstream: Upstream | None, timeout_s: float | None) -> Steps[None]:
    yield from _make_sure_it_is_down()
    yield from ask(pg.WriteConfiguration(is_standby=True, upstream=upstream))
    yield from _launch(Role.REPLICA, timeout_s)


def _launch(role: Role, timeout_s: float | None) -> Steps[None]:
    """Launch and wait until it accepts connections, is gone, or time is up (then it goes on starting, and so it is seen).

    timeout_s: None: `pg_ctl_timeout`.
    """
    yield from ask(Note("starting", state=PostgresState.STARTING, role=role))
    yield from ask(pg.Launch())
    readiness = yield from ask(pg.AwaitReady(within_s=timeout_s))
    if readiness is Readiness.ACCEPTING:
        yield from ask(Note("accepting connections", state=PostgresState.RUNNING))
    elif readiness is Readiness.GONE:
        yield from ask(Note("gone during its start", state=PostgresState.START_FAILED))
        raise PostgresError("Postgres ended during its start; its own log says why")


def _make_sure_it_is_down() -> Steps[None]:
    """End orphans of an earlier postmaster: they can still commit, and no new one starts beside them (safety_rules.md §5)."""
    files = yield from ask(pg.ReadFiles())
    if files.is_torn:
        raise Void(TORN)
    if files.process is Process.ALIVE:
        raise Void("a postmaster is running")
    if files.process is Process.ORPHANS:
        yield from ask(Note("ending orphans"))
        yield from _kill()


# --- stopping


def _demote(kind: DemoteKind) -> Steps[None]:
    if kind is DemoteKind.GRACEFUL:
        yield from ask(Note("checkpoint"))
        with suppress(PostgresError):  # the shutdown checkpoint does what this one did not
            yield from ask(pg.RunCheckpoint(within_s=CHECKPOINT_S))
    yield from _stop(StopMode.FAST if kind is DemoteKind.GRACEFUL else StopMode.IMMEDIATE, Role.DEMOTED)


def _stop(mode: StopMode, role: Role | None = None) -> Steps[None]:
    """Stop, bounded: fast and, when hurried or out of time, immediate; then kill. Returns only when it is down.

    role: what it is afterwards; None: what it was.
    """
    yield from ask(Note(f"{mode.value} stop", state=PostgresState.STOPPING))
    yield from ask(pg.SignalStop(mode))
    if mode is StopMode.FAST and (yield from _down_by_itself()):
        yield from ask(Note("stopped", state=PostgresState.STOPPED, role=role))
        return
    if mode is StopMode.FAST:
        yield from ask(Note("immediate stop"))
        yield from ask(pg.SignalStop(StopMode.IMMEDIATE))
    if not (yield from ask(pg.AwaitDown(within_s=IMMEDIATE_S))):
        yield from _kill()
    yield from ask(Note("stopped", state=PostgresState.STOPPED, role=role))


def _down_by_itself() -> Steps[bool]:
    """Wait for a fast stop: clients are ended after a moment, physical walsenders get the last WAL out."""
    if (yield from ask(pg.AwaitDown(within_s=END_BACKENDS_AFTER_S))):
        return True
    yield from ask(Note("ending client backends"))
    yield from ask(pg.EndBackends())
    looks = int(SHUTDOWN_CHECKPOINT_S / LOOK_S)
    yield from ask(Note("waiting for the shutdown checkpoint and the standbys"))
    for _ in range(looks):
        if (yield from ask(pg.AwaitDown(within_s=LOOK_S))):
            return True
        if (yield from ask(IsHurried())):
            return False
    return False


def _kill() -> Steps[None]:
    yield from ask(pg.KillAll())
    if not (yield from ask(pg.AwaitDown(within_s=KILL_S))):
        raise PostgresError("processes of Postgres are still there after SIGKILL (a dead disk holds them)")


# --- repairing


def _rewind(conn_url: str) -> Steps[None]:
    yield from require_no_lock()
    files = yield from ask(pg.ReadFiles())
    if files.is_torn:
        raise Void(TORN)
    if files.process is not Process.DOWN:
        yield from _stop(StopMode.FAST)
    yield from require_no_lock()
    yield from ask(Note("pg_rewind"))
    yield from ask(pg.RunRewind(conn_url))


def _crash_recovery() -> Steps[None]:
    yield from _make_sure_it_is_down()
    yield from ask(Note("single-user recovery"))
    yield from ask(pg.RunSingleUser())
