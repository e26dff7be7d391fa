"""Execute: the effects of a decision as generators of requests, each with its preconditions in the step of the effect.

No policy: who may lead is decided in `decision/`. A precondition that does not hold raises `Void`, a "no" of the store
`Refused`, a silence `DcsUnavailable`, a failure of Postgres `PostgresError`; each ends the chain, and the loop goes round.
The table: safety_rules.md §6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from patroni.agent.precondition import checked, require_facts, require_lease, require_lease_to_write, require_shut_down
from patroni.agent.request import (
    ArmFence,
    BeginJob,
    DropLock,
    Note,
    ReadLease,
    ReadSession,
    TakeLock,
    Void,
)
from patroni.agent.shared import Shared
from patroni.dcs.coordinator import Coordinator, Won
from patroni.dcs.store import LockRef
from patroni.decision import actions as act
from patroni.decision.actions import JOBS, Action
from patroni.decision.cluster import Role
from patroni.decision.request import Steps, ask
from patroni.postgres import request as pg

ENOUGH_S = 1.0  # of lease for an effect that must not come after its end


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What every effect of a chain may use."""

    coordinator: Coordinator
    shared: Shared
    can_write_under: bool  # whether the store compares the lock in the transaction of the write
    is_primary: bool  # whether Postgres was a running primary when this was decided


def effects(action: Action, context: Context) -> Steps[None]:
    """Carry out one action."""
    if isinstance(action, JOBS):
        yield from ask(BeginJob(action))
        return
    match action:
        case act.AcquireLock() | act.AdoptLock() | act.ReleaseLock():
            yield from _lock(action, context)
        case act.Promote() | act.Follow() | act.ResumeReplay() | act.Checkpoint() | act.SyncSlots():
            yield from _postgres(action, context)
        case _:
            yield from _store(action, context)


# --- the lock


def _lock(action: act.AcquireLock | act.AdoptLock | act.ReleaseLock, context: Context) -> Steps[None]:
    match action:
        case act.AcquireLock():
            yield from _acquire(context)
        case act.AdoptLock():
            yield from _adopt(action, context)
        case act.ReleaseLock():
            yield from require_shut_down()
            lsn = action.lsn if (yield from _may_publish(context)) else None
            yield from ask(DropLock())
            yield from context.coordinator.release(action.token, lsn)
        case _:
            assert_never(action)


def _acquire(context: Context) -> Steps[None]:
    yield from require_facts()
    session = yield from ask(ReadSession())
    won = yield from checked(context.coordinator.acquire(session), require_facts)
    yield from _take(won, context)


def _adopt(action: act.AdoptLock, context: Context) -> Steps[None]:
    yield from require_facts()
    session = yield from ask(ReadSession())
    won = yield from checked(context.coordinator.adopt(session, action.token, action.incarnation), require_facts)
    yield from _take(won, context)


def _take(won: Won, context: Context) -> Steps[None]:
    """Keep the lock from now on; a running primary is guarded from the same moment."""
    yield from ask(TakeLock(won.proof))
    if context.is_primary and not (yield from ask(ArmFence(won.proof))):
        raise Void("the guard did not acknowledge")


# --- Postgres


def _postgres(
    action: act.Promote | act.Follow | act.ResumeReplay | act.Checkpoint | act.SyncSlots, context: Context
) -> Steps[None]:
    match action:
        case act.Promote():
            yield from _promote()
        case act.Follow(upstream=upstream):
            yield from ask(pg.WriteConfiguration(is_standby=True, upstream=upstream))
            yield from ask(pg.Reload())
        case act.ResumeReplay():
            yield from ask(pg.ResumeReplay())
        case act.Checkpoint():
            yield from ask(pg.RunCheckpoint(within_s=context.shared.settings.loop_wait_s * 3))
        case act.SyncSlots(create=create, drop=drop):
            yield from ask(pg.ChangeSlots(create=create, drop=drop))
        case _:
            assert_never(action)


def _promote() -> Steps[None]:
    """Arm the guard, then signal. The lease is looked at again after arming: both took time."""
    proof = yield from require_lease_to_write()
    if not (yield from ask(ArmFence(proof))):
        raise Void("the guard did not acknowledge")
    yield from require_lease_to_write()
    yield from ask(pg.SignalPromote())
    yield from ask(Note("promotion signalled", role=Role.PROMOTED))


# --- the store


def _store(action: Action, context: Context) -> Steps[None]:
    coordinator = context.coordinator
    match action:
        case act.ClaimInitialize():
            yield from coordinator.claim_initialize()
        case act.WriteInitialize(system_id=system_id, is_new=is_new):
            yield from coordinator.write_initialize(system_id, is_new=is_new)
        case act.CancelInitialize(token=token):
            yield from coordinator.cancel_initialize(token)
        case act.WriteConfig():
            yield from _write_config(context)
        case act.ClearFailover(token=token):
            yield from coordinator.clear_failover(token)
        case act.WriteStatus(status=status):
            yield from coordinator.write_status(status, under=(yield from _require_lock(context)))
        case act.WriteHistory(rows=rows):
            yield from coordinator.write_history(rows, under=(yield from _require_lock(context)))
        case _:
            raise Void(f"{type(action).__name__} is not an effect")


def _write_config(context: Context) -> Steps[None]:
    """Write the configuration where there is none; what somebody has written since the view stands."""
    found = (yield from context.coordinator.read(is_linearizable=True)).config
    if found is None or not found.values:
        token = found.token if found is not None else None
        yield from context.coordinator.write_config(context.shared.dynamic_configuration, token, is_new=found is None)


def _require_lock(context: Context) -> Steps[LockRef]:
    """The lock is ours for long enough; returns what a leader's key is written under."""
    proof = yield from require_lease(_enough_s(context))
    return LockRef(key=context.coordinator.leader_key, incarnation=proof.incarnation)


def _may_publish(context: Context) -> Steps[bool]:
    """Whether a last position may be written beside the release of the lock."""
    if context.can_write_under:
        return True
    lease = yield from ask(ReadLease())
    return lease.is_held and lease.left_s >= _enough_s(context)


def _enough_s(context: Context) -> float:
    """Return how much lease must be left for a leader's write: one that no lock guards must have ended before (§6)."""
    return ENOUGH_S if context.can_write_under else max(ENOUGH_S, context.shared.settings.retry_timeout_s)
