"""Does this data directory belong to this cluster (contract/ha_behaviour.md §2.8)? Asked before anything is done with it."""

from __future__ import annotations

from patroni.decision.actions import Exit, WriteInitialize
from patroni.decision.cluster import Initialize
from patroni.decision.demotion import release_unless_orphans
from patroni.decision.fact import is_leading, is_valid_system_id, may_write
from patroni.decision.node import Process
from patroni.decision.reasons import Code, because
from patroni.decision.rule import act
from patroni.decision.shutdown import leave
from patroni.decision.view import Decision, View


def invalid(view: View) -> Decision | None:
    """Do nothing with a data directory whose system identifier is unknown (I1), and do not lead with it.

    A running primary that leads goes on: it was known when the lock was taken.
    """
    can_write = may_write(view.node)
    if is_valid_system_id(view.node.system_id) or (can_write and is_leading(view)):
        return None
    why = because(Code.SYSID_INVALID)
    return release_unless_orphans(view, why) if view.lease.is_held and not can_write else act(view, why)


def mismatch(view: View) -> Decision | None:
    """Stop and end the agent on the data directory of another cluster (I4)."""
    theirs, mine = view.cluster.system_id if view.cluster else None, view.node.system_id
    if theirs is None or mine is None or theirs == mine:
        return None
    return leave(view, because(Code.SYSID_MISMATCH, name=view.node.name, mine=mine, theirs=theirs), 1)


def replica_first(view: View) -> Decision | None:
    """End the agent, not Postgres: a running replica can't found the cluster (I6)."""
    if not _is_unclaimed(view) or view.node.is_in_recovery is not True:
        return None
    return act(view, because(Code.SYSID_REPLICA_FIRST), Exit(1))


def claim(view: View) -> Decision | None:
    """Found the cluster with an existing data directory (I7)."""
    is_unknown = view.node.process is Process.ALIVE and view.node.is_in_recovery is None
    if not _is_unclaimed(view) or is_unknown or view.node.system_id is None or view.cluster is None:
        return None
    is_new = view.cluster.initialize is Initialize.ABSENT
    action = WriteInitialize(system_id=view.node.system_id, is_new=is_new)
    return act(view, because(Code.SYSID_CLAIM, mine=view.node.system_id), action, within_s=1.0)


def _is_unclaimed(view: View) -> bool:
    """Return whether nobody leads, no valid system id is published and this node has not joined yet."""
    cluster = view.cluster
    return cluster is not None and cluster.leader is None and cluster.system_id is None and not view.memory.has_joined
