"""An empty data directory, and the making of a cluster (contract/ha_behaviour.md §2.5, 2.7, 2.9).

Whoever creates the empty initialize key makes the cluster: initdb in one job, then system id, configuration and lock, in
this order. Everybody else waits for a leader and clones. A bootstrap that fails takes its claim back and moves its remains
away, so that the next node can try.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from patroni.decision.actions import (
    AbortBootstrap,
    Bootstrap,
    CancelInitialize,
    ClaimInitialize,
    CloneFrom,
    Exit,
    StopPostgres,
    WriteConfig,
    WriteInitialize,
)
from patroni.decision.cluster import Initialize, Member, PostgresState
from patroni.decision.demotion import release
from patroni.decision.fact import is_valid_system_id, leader_member
from patroni.decision.leader_race import claim_lock
from patroni.decision.node import DataDirectory, JobKind, Process
from patroni.decision.reasons import Code, because
from patroni.decision.rule import act
from patroni.decision.standby import wanted_upstream
from patroni.decision.view import Decision, View

# --- our own bootstrap


def exit_after_abort(view: View) -> Decision | None:
    """End the agent when the remains of a failed bootstrap are away (P1)."""
    last = view.last_chain
    if not view.memory.is_aborting:
        return None
    if last is not None and isinstance(last.failed, CancelInitialize | AbortBootstrap):
        return _abort(view, "taking it back once more")
    return act(view, because(Code.BOOTSTRAP_ABORT, detail="the data directory was moved away"), Exit(1))


def abort(view: View) -> Decision | None:
    """Take the claim back where our bootstrap has failed, or somebody else's cluster has come instead (P1)."""
    detail = _failure(view)
    return None if detail is None else _abort(view, detail)


def _abort(view: View, detail: str) -> Decision:
    memory = replace(view.memory, is_aborting=True, is_own_bootstrap=False)
    is_claim_ours = view.cluster is not None and view.cluster.initialize is Initialize.RUNNING
    claim = (CancelInitialize(view.cluster.initialize_token if view.cluster else None),) if is_claim_ours else ()
    return act(view, because(Code.BOOTSTRAP_ABORT, detail=detail), *claim, AbortBootstrap(), memory=memory)


def abort_at_shutdown(view: View) -> Decision | None:
    """Take the claim back where the agent ends in the middle of its bootstrap (U1, P1); its job is cancelled first."""
    if not view.memory.is_aborting and not view.memory.is_own_bootstrap:
        return None
    if view.chain is not None:
        return act(view, because(Code.CHAIN_RUNNING, decision=view.chain.code))
    if view.node.job is not None:
        return None
    return exit_after_abort(view) or _abort(view, "the agent was told to end")


def publish(view: View) -> Decision | None:
    """Publish the cluster that we have made: system id, configuration, then the lock (P5)."""
    node, cluster = view.node, view.cluster
    if node.process is not Process.ALIVE or node.is_in_recovery is not False or cluster is None:
        return None
    if node.system_id is None or not is_valid_system_id(node.system_id):
        return None
    is_new = cluster.initialize is Initialize.ABSENT
    initialize = () if cluster.system_id else (WriteInitialize(system_id=node.system_id, is_new=is_new),)
    config = () if cluster.config is not None and cluster.config.values else (WriteConfig(),)
    return act(view, because(Code.BOOTSTRAP_DONE), *initialize, *config, *claim_lock(view).actions, within_s=1.0)


def wait_for_recovery(view: View) -> Decision:
    """Wait until the new server says that it is a primary (P2)."""
    return act(view, because(Code.BOOTSTRAP_RECOVERING), within_s=1.0)


def _failure(view: View) -> str | None:
    last, cluster = view.node.last_job, view.cluster
    if cluster is not None and cluster.system_id not in (None, view.node.system_id):
        return "the cluster was initialized by another node"
    if cluster is not None and cluster.leader_name not in (None, view.node.name):
        return "another node leads the cluster"
    if view.last_chain is not None and isinstance(view.last_chain.failed, Bootstrap):
        return view.last_chain.detail
    if last is None or last.kind is not JobKind.BOOTSTRAP:
        return None  # It is about to begin.
    if not last.is_ok:
        return last.detail
    return "Postgres is not running" if view.node.process is not Process.ALIVE else None


# --- an empty or vanished data directory


def stop_without_data(view: View) -> Decision | None:
    """Stop a Postgres that still runs on a data directory that is gone (D0)."""
    if view.node.process not in (Process.ALIVE, Process.ORPHANS):
        return None
    return act(view, because(Code.DATADIR_STOP), StopPostgres(is_fast=False))


def release_without_data(view: View) -> Decision | None:
    """Release the lock: nothing here can lead (D1)."""
    named = view.cluster.leader if view.cluster and view.is_lock_ours else None
    if not view.lease.is_held and named is None:
        return None
    why = because(Code.DATADIR_RELEASED, condition=view.node.data_directory.value)
    return release(view, why, None if view.lease.is_held else named)


def inaccessible(view: View) -> Decision | None:
    """Do nothing about a data directory that can't be read (D2)."""
    if view.node.data_directory is not DataDirectory.INACCESSIBLE:
        return None
    return act(view, because(Code.DATADIR_INACCESSIBLE))


def make_cluster(view: View) -> Decision | None:
    """Race to create the cluster where there is none (N1-N3)."""
    if not _is_unmade(view) or _making_bar(view) is not None:
        return None
    memory = replace(view.memory, is_own_bootstrap=True)
    return act(view, because(Code.BOOTSTRAP_NEW), ClaimInitialize(), Bootstrap(), memory=memory)


def free_claim(view: View) -> Decision | None:
    """Remove a claim to make the cluster that nobody pursues: its maker was killed; the race begins anew (before N1)."""
    cluster, since_s = view.cluster, view.memory.abandoned_since_s
    if cluster is None or since_s is None or _making_bar(view) is not None:
        return None
    if view.now_s - since_s < 2 * view.settings.ttl_s:
        return None
    return act(view, because(Code.BOOTSTRAP_ABANDONED), CancelInitialize(cluster.initialize_token), within_s=1.0)


def clone(view: View) -> Decision | None:
    """Clone from a member that offers itself, else from the leader (N4)."""
    source = _clone_source(view)
    if source is None:
        return None
    why = because(Code.CLONE, source="leader" if source.is_leader else "replica", member=source.name)
    action = CloneFrom(member=source.name, conn_url=source.conn_url, is_leader=source.is_leader, upstream=wanted_upstream(view))
    memory = replace(view.memory, following=action.upstream, has_followed=True)
    return act(view, why, action, memory=memory)


def wait_for_leader(view: View) -> Decision:
    """Wait until somebody leads (N6), and say so where it can't be by this node's own doing."""
    bar = _making_bar(view) if _is_unmade(view) else None
    return act(view, because(Code.BOOTSTRAP_WAITING) if bar is None else because(Code.BOOTSTRAP_NOT_ALLOWED, why=bar))


def _is_unmade(view: View) -> bool:
    """Return whether there is no cluster yet and nobody makes one."""
    cluster = view.cluster
    return cluster is not None and cluster.leader is None and cluster.initialize is Initialize.ABSENT


def _making_bar(view: View) -> str | None:
    """Return what of this node's configuration forbids it to make the cluster, in an operator's words (N1)."""
    if view.settings.tags.nofailover:
        return "of its tags (nofailover, or failover_priority 0)"
    if not view.settings.has_bootstrap_section:
        return "its configuration has no section bootstrap"
    return "standby_cluster is set and not supported yet" if view.settings.is_standby_cluster else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    name: str
    conn_url: str
    is_leader: bool


def _clone_source(view: View) -> _Source | None:
    leader = leader_member(view)
    if leader is None or view.cluster is None:
        return None
    offered = [member for member in view.cluster.members.values() if _offers_itself(view, member, leader)]
    if not offered:
        return _Source(name=leader.name, conn_url=leader.conn_url, is_leader=True) if leader.conn_url else None
    chosen = sorted(offered, key=lambda member: member.name)[view.seed % len(offered)]
    return _Source(name=chosen.name, conn_url=chosen.conn_url or "", is_leader=False)


def _offers_itself(view: View, member: Member, leader: Member) -> bool:
    is_other = member.name not in (view.node.name, leader.name)
    return is_other and member.tags.clonefrom and bool(member.conn_url) and member.state is PostgresState.RUNNING
