"""The store does not answer (contract/ha_behaviour.md §2.22 without failsafe mode; design.md §8).

A primary goes on writing while its own lease lasts; the fence ends Postgres a margin before that, and it is started again
read-only, without an upstream. Replicas keep theirs. Nothing is written to a store that does not answer (§9, PR4).
"""

from __future__ import annotations

from patroni.decision.actions import Demote, DemoteKind, StartAsStandby
from patroni.decision.cluster import Role
from patroni.decision.fact import DOWN, may_write
from patroni.decision.node import DataDirectory, JobKind
from patroni.decision.reasons import Code, because
from patroni.decision.rule import act
from patroni.decision.standby import wanted_upstream
from patroni.decision.view import Decision, View


def unread(view: View) -> Decision | None:
    """Wait for the first answer of the store (§2.26 row 1)."""
    if view.cluster is not None or view.store_silent_s > view.settings.retry_timeout_s:
        return None
    return act(view, because(Code.DCS_UNREAD), within_s=1.0)


def demote(view: View) -> Decision | None:
    """Demote a primary without a lease (O3)."""
    if view.lease.is_held or not may_write(view.node):
        return None
    return act(view, because(Code.DCS_DEMOTED), Demote(DemoteKind.OFFLINE))


def lease_lasts(view: View) -> Decision | None:
    """Go on as leader while the lease lasts (design.md §8)."""
    if not view.lease.is_held:
        return None
    return act(view, because(Code.DCS_LEASE_LASTS), within_s=max(0.1, view.lease.left_s))


def start_read_only(view: View) -> Decision | None:
    """Start a server that is down and known to be of this cluster; only a replica has an upstream (§2.21 step 8)."""
    node = view.node
    is_demoted = node.last_job is not None and node.last_job.kind is JobKind.DEMOTE
    is_ours = node.data_directory is DataDirectory.PRESENT and not node.is_torn and (view.memory.has_joined or is_demoted)
    theirs = view.cluster.system_id if view.cluster else None
    if node.process not in DOWN or not is_ours or theirs not in (None, node.system_id):
        return None
    upstream = wanted_upstream(view) if node.role is Role.REPLICA else None
    return act(view, because(Code.DCS_READONLY), StartAsStandby(upstream=upstream, timeout_s=None))


def down(view: View) -> Decision:
    """Wait for the store, as everything is (O1, O4)."""
    return act(view, because(Code.DCS_DOWN))
