"""Giving up power: a lost lock, and the hand-over of a planned stop (contract/ha_behaviour.md §2.21, design.md §3).

A Postgres that may write never loses its key by our own hand (§9, PR6): the key is released when the server is down, or when
its control data, read in this life of the server, say "shut down" and a standby that could lead has that checkpoint. The
stop may then end at once. Orders that give up power are repeated until the view shows their effect.
"""

from __future__ import annotations

from dataclasses import replace

from patroni.decision.actions import Demote, DemoteKind, FinishStop, ReadFiles, ReleaseLock, StopPostgres
from patroni.decision.candidate import failover_possible, question
from patroni.decision.cluster import Leader, Lsn
from patroni.decision.fact import STOPPING_JOBS, is_other_leading, leader_name, may_write
from patroni.decision.node import ClusterState, Process
from patroni.decision.reasons import Code, Reason, because
from patroni.decision.rule import act
from patroni.decision.view import Decision, View

LOOK_S = 0.1
RELEASE_S = 1.0  # so long a view may still show the key that was released


def lost_lock(view: View) -> Decision | None:
    """Demote a Postgres that may write although another node leads or the store said no (E5, F7)."""
    job = view.node.job
    if not may_write(view.node) or (job is not None and job.kind in STOPPING_JOBS):
        return None
    if is_other_leading(view):
        why = because(Code.DEMOTE_OTHER_LEADS, leader=leader_name(view))
    elif view.lease.is_refused and not view.lease.is_held:
        why = because(Code.DEMOTE_REFUSED)
    elif not view.node.is_running_primary and not view.lease.is_held:
        why = because(Code.DEMOTE_PENDING_PROMOTION)
    else:
        return None
    return act(view, why, Demote(DemoteKind.IMMEDIATE_NOLOCK))


def hand_over(view: View) -> Decision | None:
    """Release the lock during a stop, as soon as somebody who could lead has its checkpoint (§2.21 step 2h, §2.25)."""
    job, control = view.node.job, view.node.control
    if job is None or job.kind not in STOPPING_JOBS or not view.lease.is_held or control is None:
        return None
    if not _has_shut_down(view):
        return act(view, because(Code.BUSY_LOCK_RENEWED, task=job.title), ReadFiles(), within_s=LOOK_S)
    possible = failover_possible(view, beyond_lsn=control.checkpoint_lsn)
    if possible.good:
        why = because(Code.DEMOTE_HANDED_OVER, member=possible.good[0])
        memory = replace(view.memory, handed_over_lsn=control.checkpoint_lsn)
        return release(replace(view, memory=memory), why)
    names = (*possible.consulted.answers, *possible.consulted.to_ask)  # known ones again: they are receiving
    questions = (question(view, names),) if names else ()
    return act(view, because(Code.DEMOTE_WAITING), *questions, within_s=LOOK_S)


def finish_stop(view: View) -> Decision | None:
    """End a stop whose lock is handed over: nobody waits for it any more (design.md §3)."""
    job = view.node.job
    if job is None or job.kind not in STOPPING_JOBS or view.lease.is_held or view.memory.handed_over_lsn is None:
        return None
    return act(view, because(Code.BUSY, task=job.title), FinishStop())


def release(view: View, why: Reason, named: Leader | None = None) -> Decision:
    """Release the lock with the last position that its WAL needs; Postgres is down, was never primary, or has shut down.

    named: a leader key that names us without proof; None: the lock that is held.
    """
    lock = named or view.lease.proof
    assert lock is not None  # Nobody calls this without a lock of one of the two sorts.
    memory = replace(view.memory, released=lock.incarnation, release_asked_s=view.now_s)
    return act(view, why, ReleaseLock(token=lock.token, lsn=_last_lsn(view)), memory=memory)


def release_unless_orphans(view: View, why: Reason) -> Decision:
    """Release the lock of a server that can't write; orphans could, so they end first (safety_rules.md §5)."""
    if view.node.process is not Process.ORPHANS:
        return release(view, why)
    return act(view, because(Code.RECOVER_ORPHANS), StopPostgres(is_fast=False))


def release_again(view: View) -> Decision | None:
    """Repeat a release that had no answer (§2.21 step 6): what was given up is not taken back."""
    leader = view.cluster.leader if view.cluster else None
    can_write = may_write(view.node) or view.node.process is Process.ORPHANS
    if leader is None or view.memory.released is None or view.lease.is_held or can_write:
        return None
    if leader.name != view.node.name or leader.incarnation != view.memory.released:
        return None
    asked_s, last = view.memory.release_asked_s, view.last_chain
    since_s = RELEASE_S if asked_s is None else view.now_s - asked_s
    has_failed = last is not None and isinstance(last.failed, ReleaseLock) and last.age_s < since_s
    if has_failed or since_s >= RELEASE_S:
        return release(view, because(Code.DEMOTE_RELEASED), leader)
    return act(view, because(Code.DEMOTE_RELEASED), within_s=RELEASE_S)


def _has_shut_down(view: View) -> bool:
    control = view.node.control
    is_shut_down = control is not None and control.cluster_state is ClusterState.SHUT_DOWN
    return is_shut_down and view.memory.was_in_production


def _last_lsn(view: View) -> Lsn | None:
    """Return what to publish as the last position (§6.5); None: not a clean shutdown, the published one stands."""
    control = view.node.control
    if control is None or control.cluster_state is not ClusterState.SHUT_DOWN:
        return None
    return control.previous_lsn
