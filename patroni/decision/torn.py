"""A rewind of this data directory was cut short: parts of two histories lie in it.

Promised: nothing is started on it, and with it this node never leads, until a clone has replaced it. Mechanism: a mark beside
the directory (`Node.is_torn`), which outlives agent and host; these rules stand in place of all others that could start a
server. A second pg_rewind is no way out (`postgres/rewind.py` says why), nor is a start in the hope that replay mends it, which
contract/ha_behaviour.md §5.6 row 5 has: safety comes first. The clone needs the permission of §5.6 row 4, because the directory
may hold the last copy of what this node acknowledged; without it a person has to remove the directory.
"""

from __future__ import annotations

from patroni.decision.actions import StopPostgres
from patroni.decision.demotion import release
from patroni.decision.fact import leader_member
from patroni.decision.node import Process
from patroni.decision.reasons import Code, because
from patroni.decision.rewind import may_remove_after_failure, reinitialize
from patroni.decision.rule import act
from patroni.decision.view import Decision, View


def stop(view: View) -> Decision | None:
    """Stop what somebody else has started on it, and end orphans."""
    if view.node.process is Process.DOWN:
        return None
    return act(view, because(Code.TORN_STOP), StopPostgres(is_fast=False))


def give_up_lock(view: View) -> Decision | None:
    """Release the lock: nothing here can lead."""
    named = view.cluster.leader if view.cluster and view.is_lock_ours else None
    if not view.lease.is_held and named is None:
        return None
    return release(view, because(Code.TORN_RELEASED), None if view.lease.is_held else named)


def clone_anew(view: View) -> Decision | None:
    """Clone from the leader where the configuration allows it (§5.6 row 4)."""
    leader, theirs = leader_member(view), view.cluster.system_id if view.cluster else None
    if not may_remove_after_failure(view):
        return None
    if leader is None or leader.conn_url is None or theirs is None or theirs != view.node.system_id:
        return act(view, because(Code.TORN_WAITING))
    return reinitialize(view, leader)


def stay_down(view: View) -> Decision:
    """Wait for a person, and say what to do."""
    return act(view, because(Code.TORN))
