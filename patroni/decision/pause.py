"""Paused: everything stays as it is (contract/ha_behaviour.md §2.27, as far as it is safe without its other rules).

Nothing is started, stopped, promoted or demoted. Renewals go on, a running primary keeps or takes its lock, the leader
publishes its position.
"""

from __future__ import annotations

from patroni.decision.actions import WriteStatus
from patroni.decision.demotion import release_unless_orphans
from patroni.decision.fact import is_leading, is_other_leading, is_store_silent
from patroni.decision.leader import keep_up
from patroni.decision.leader_race import claim
from patroni.decision.node import Process
from patroni.decision.reasons import Code, because
from patroni.decision.rule import act
from patroni.decision.view import Decision, View


def store_down(view: View) -> Decision | None:
    """Wait for the store (O1)."""
    return act(view, because(Code.DCS_DOWN)) if is_store_silent(view) else None


def leader(view: View) -> Decision | None:
    """Say that all is well with the leader, and publish its position (E3, W4)."""
    if not is_leading(view) or not view.node.is_running_primary:
        return None
    decision = keep_up(view)
    writes = tuple(action for action in decision.actions if isinstance(action, WriteStatus))
    return act(view, decision.because, *(writes if view.is_fresh else ()), memory=decision.memory if writes else None)


def release_when_down(view: View) -> Decision | None:
    """Release the lock of a leader whose Postgres is down (R1): it is not started, and leads nobody."""
    if view.node.process is not Process.DOWN or not view.lease.is_held:
        return None
    return release_unless_orphans(view, because(Code.PAUSE_LOCK_REMOVED))


def primary_without_lock(view: View) -> Decision | None:
    """Let a running primary take a free lock or its own (H4); else it goes on without one (F3)."""
    if not view.node.is_running_primary:
        return None
    is_free = not is_other_leading(view) and view.node.timeline is not None and not view.lease.is_held
    decision = claim(view) if is_free and _is_of_this_cluster(view) else None
    return decision or act(view, because(Code.PAUSE_PRIMARY_WITHOUT_LOCK))


def _is_of_this_cluster(view: View) -> bool:
    theirs = view.cluster.system_id if view.cluster else None
    return theirs is not None and theirs == view.node.system_id
