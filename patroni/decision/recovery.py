"""Postgres is down: start it again, in the role that the lock allows (contract/ha_behaviour.md §2.6, 2.7, 2.10).

With the lock held a crashed primary is started in place, which keeps its timeline; with `primary_start_timeout: 0`, or when
it can't start, the lock is released for somebody who can. Without the lock it starts as a standby, its history compared with
the leader's first. Every start job ends orphans before it launches (safety_rules.md §5).
"""

from __future__ import annotations

from dataclasses import replace

from patroni.decision.actions import CrashRecovery, StartAsPrimary, StartAsStandby, StopPostgres
from patroni.decision.candidate import ask, failover_possible
from patroni.decision.cluster import PostgresState, Role
from patroni.decision.demotion import release_unless_orphans
from patroni.decision.fact import START_JOBS, is_crashed_primary, last_failed, lease_enough_s
from patroni.decision.node import ClusterState, JobKind, Process
from patroni.decision.reasons import Code, because
from patroni.decision.rule import act
from patroni.decision.standby import wanted_upstream
from patroni.decision.view import Decision, RewindState, View

CRASHED = (PostgresState.CRASHED, PostgresState.RUNNING, PostgresState.STARTING)
UNCLEAN = (ClusterState.IN_PRODUCTION, ClusterState.SHUTTING_DOWN, ClusterState.IN_CRASH_RECOVERY)


def end_orphans(view: View) -> Decision | None:
    """End what a dead postmaster left behind, at once where no lease covers what it commits (safety_rules.md §5)."""
    if view.node.process is not Process.ORPHANS or view.lease.is_held:
        return None
    return act(view, because(Code.RECOVER_ORPHANS), StopPostgres(is_fast=False))


def release_after_demotion(view: View) -> Decision | None:
    """Release the lock after a demotion that has stopped the server (§2.21 step 6)."""
    last = view.node.last_job
    if not view.lease.is_held or last is None or last.kind is not JobKind.DEMOTE:
        return None
    return release_unless_orphans(view, because(Code.DEMOTE_RELEASED))


def give_up_lock(view: View) -> Decision | None:
    """Release the lock after a start that failed (A1)."""
    if not view.lease.is_held or not last_failed(view, *START_JOBS):
        return None
    return release_unless_orphans(view, because(Code.RECOVER_GAVE_UP_LOCK))


def give_up_crash_recovery(view: View) -> Decision | None:
    """Release the lock where crash recovery took too long and somebody else can lead (B1)."""
    since_s = view.memory.crash_recovery_at_s
    if not view.lease.is_held or since_s is None or not last_failed(view, JobKind.CRASH_RECOVERY):
        return None
    if view.now_s - since_s < view.settings.primary_start_timeout_s:
        return None
    return release_unless_orphans(view, because(Code.BUSY_CRASH_RECOVERY_TIMEOUT))


def fail_over(view: View) -> Decision | None:
    """With `primary_start_timeout: 0` let another node take over at once (R5)."""
    if not view.lease.is_held or view.settings.primary_start_timeout_s > 0:
        return None
    possible = failover_possible(view)
    if possible.is_unknown:
        return ask(view, possible.consulted, because(Code.RECOVER_FAILOVER))
    return release_unless_orphans(view, because(Code.RECOVER_FAILOVER)) if possible.good else None


def start_in_place(view: View) -> Decision | None:
    """Start a crashed primary as primary (R7), if enough of the lease is left."""
    node, timeout_s = view.node, view.settings.primary_start_timeout_s
    is_crashed = node.state in CRASHED and node.role is Role.PRIMARY and not node.has_recovery_signal
    if not view.lease.is_held or timeout_s <= 0 or not is_crashed or not is_crashed_primary(node):
        return None
    if view.lease.left_s < lease_enough_s(view):
        return act(view, because(Code.RECOVER_LEASE_SHORT), within_s=1.0)
    return act(view, because(Code.RECOVER_AS_PRIMARY), StartAsPrimary(timeout_s=timeout_s))


def recover_in_single_user_mode(view: View) -> Decision | None:
    """Recover a server that died as primary, so that its end is known (R9)."""
    node, control = view.node, view.node.control
    if control is None or control.cluster_state not in UNCLEAN or node.has_backup_label:
        return None
    is_free = view.cluster is not None and view.cluster.leader is None
    can_rewind = view.settings.use_pg_rewind and control.can_rewind
    if view.memory.crash_recovery_at_s is not None or not (is_free or can_rewind):
        return None
    memory = replace(view.memory, crash_recovery_at_s=view.now_s)
    return act(view, because(Code.RECOVER_SINGLE_USER), CrashRecovery(), memory=memory)


def start_with_lock(view: View) -> Decision | None:
    """Start in recovery with nobody to follow, because the lock names this node; it is promoted afterwards (R11)."""
    if not view.lease.is_held and not view.is_lock_ours:
        return None
    timeout_s = view.settings.primary_start_timeout_s if view.lease.is_held else None
    memory = replace(view.memory, rewind=RewindState.INITIAL)
    action = StartAsStandby(upstream=None, timeout_s=timeout_s)
    return act(view, because(Code.RECOVER_READONLY_WITH_LOCK), action, memory=memory)


def start_as_standby(view: View) -> Decision:
    """Start as a standby of whoever is to be followed (R17)."""
    last, upstream = view.node.last_job, wanted_upstream(view)
    is_after_demotion = last is not None and last.kind is JobKind.DEMOTE
    memory = replace(view.memory, following=upstream, has_followed=True)
    action = StartAsStandby(upstream=upstream, timeout_s=None, is_after_demotion=is_after_demotion)
    return act(view, because(Code.RECOVER_REPLICA), action, memory=memory)
