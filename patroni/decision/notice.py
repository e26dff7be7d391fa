"""What is remembered of this view before any rule looks at it: each function takes one kind of fact into the memory.

Rules change the memory only to note what they order. Everything else that a later turn must know is noted here, in one
place and on every turn, so that no rule depends on another one having been reached.
"""

from __future__ import annotations

from dataclasses import replace

from patroni.decision.actions import ClaimInitialize
from patroni.decision.cluster import Initialize, PostgresState, Role
from patroni.decision.fact import DOWN, is_other_leading, leader_member, slot_name
from patroni.decision.node import ClusterState, Process
from patroni.decision.rewind import settled, triggered
from patroni.decision.stuck import is_unanswered
from patroni.decision.view import Answer, Memory, RewindState, View

BOOTSTRAPPING = (
    PostgresState.INITDB,
    PostgresState.CUSTOM_BOOTSTRAP,
    PostgresState.CREATING_REPLICA,  # the making of a standby cluster
    PostgresState.BOOTSTRAP_STARTING,
    PostgresState.STARTING,
    PostgresState.RUNNING,
)


def noticed(view: View) -> Memory:
    """Return the memory with what this view shows."""
    memory = view.memory
    for notice in (
        _leader,
        _free_key,
        _request,
        _slots,
        _own_bootstrap,
        _abandoned,
        _life,
        _position,
        _stream,
        _won,
        _lock,
        _joined,
        _history,
        _silence,
        _stopping,
    ):
        memory = notice(view, memory)
    return settled(view, memory)


def _leader(view: View, memory: Memory) -> Memory:
    """Remember the last view that had a leader, or the very first one."""
    cluster = view.cluster
    if cluster is None or (cluster.leader is None and (memory.healthy_leader or memory.healthy_members)):
        return memory
    return replace(memory, healthy_members=cluster.members, healthy_leader=cluster.leader_name)


def _free_key(view: View, memory: Memory) -> Memory:
    """Remember since when the key is free, and since when who else could have taken it (safety_rules.md §9c)."""
    if view.cluster is None:
        return memory
    if view.cluster.leader is not None:
        asking_since_s = None if is_other_leading(view) else memory.asking_since_s
        return replace(
            memory, key_free_since_s=None, rival_since_s={}, race_backoff_since_s=None, asking_since_s=asking_since_s
        )
    rivals = {name for name, peer in view.peers.items() if isinstance(peer, Answer) and peer.is_in_recovery}
    candidate = view.cluster.failover.candidate if view.cluster.failover else None
    if candidate is not None:
        rivals.add(candidate)
    since_s = view.now_s if memory.key_free_since_s is None else memory.key_free_since_s
    ahead = {**dict.fromkeys(sorted(rivals), view.now_s), **memory.rival_since_s}
    return replace(memory, key_free_since_s=since_s, rival_since_s=ahead)


def _request(view: View, memory: Memory) -> Memory:
    """Remember since when a switchover or failover is asked for."""
    request = view.cluster.failover if view.cluster else None
    if request == memory.request:
        return memory
    return replace(memory, request=request, request_since_s=None if request is None else view.now_s)


def _slots(view: View, memory: Memory) -> Memory:
    """Remember which members' slots were seen lately; while another node leads, what it retains counts as seen (§4.9)."""
    if view.cluster is None:
        return memory
    names = [slot_name(member.name) for member in view.cluster.members.values() if not member.tags.nostream]
    retained = () if view.lease.is_held else view.cluster.status.retain_slots
    seen = {**memory.slot_seen_at_s, **dict.fromkeys((*names, *retained), view.now_s)}
    ttl_s = view.settings.member_slots_ttl_s
    return replace(memory, slot_seen_at_s={name: at_s for name, at_s in seen.items() if view.now_s - at_s <= ttl_s})


def _own_bootstrap(view: View, memory: Memory) -> Memory:
    """Forget a bootstrap whose claim was not granted, or that has led to the lock."""
    last = view.last_chain
    is_lost = view.chain is None and last is not None and isinstance(last.failed, ClaimInitialize)
    return replace(memory, is_own_bootstrap=False) if is_lost or view.lease.is_held else memory


def _abandoned(view: View, memory: Memory) -> Memory:
    """Remember since when the initialize key is empty and no member seems to make the cluster."""
    cluster = view.cluster
    is_claimed = cluster is not None and cluster.initialize is Initialize.RUNNING and cluster.leader is None
    others = () if cluster is None else (member for name, member in cluster.members.items() if name != view.node.name)
    if not is_claimed or memory.is_own_bootstrap or any(member.state in BOOTSTRAPPING for member in others):
        return replace(memory, abandoned_since_s=None)
    return replace(memory, abandoned_since_s=view.now_s if memory.abandoned_since_s is None else memory.abandoned_since_s)


def _life(view: View, memory: Memory) -> Memory:
    """Remember what holds for one life of the server only."""
    node = view.node
    if node.process in DOWN:
        is_idle = node.job is None and view.chain is None  # else a start that was told whom to follow is under way
        has_followed = memory.has_followed and not is_idle
        return replace(memory, was_in_production=False, has_followed=has_followed, handed_over_lsn=None)
    if node.process is not Process.ALIVE:
        return memory
    state = node.control.cluster_state if node.control else None
    if state in (ClusterState.IN_PRODUCTION, ClusterState.SHUTTING_DOWN):
        memory = replace(memory, was_in_production=True)
    if node.is_in_recovery is None or node.is_starting:
        return memory
    return replace(memory, crash_recovery_at_s=None, history_asked_at_s=None)


def _position(view: View, memory: Memory) -> Memory:
    """Remember the position and when it was last seen to grow."""
    lsn, last = view.node.lsn, memory.last_lsn
    if lsn is None or lsn == last:
        return memory
    return replace(memory, last_lsn=lsn, moved_at_s=None if last is None else view.now_s)


def _stream(view: View, memory: Memory) -> Memory:
    """Remember when the standby streamed last: a stream that was cut is tried again at once (`standby.restream`)."""
    return replace(memory, followed_at_s=view.now_s) if view.node.replication_state == "streaming" else memory


def _won(view: View, memory: Memory) -> Memory:
    """Remember since when a won lock shows no progress towards a primary (safety_rules.md §7.6)."""
    node = view.node
    is_waiting = view.lease.is_held and node.process is Process.ALIVE and node.is_in_recovery is True
    if not is_waiting:
        return replace(memory, won_at_s=None, won_facts=())
    facts = (node.replay_lsn, node.state, node.role)
    if memory.won_at_s is not None and memory.won_facts == facts:
        return memory
    return replace(memory, won_at_s=view.now_s, won_facts=facts)


def _lock(view: View, memory: Memory) -> Memory:
    """Forget the lock that we gave up when another one is ours."""
    proof = view.lease.proof
    return replace(memory, released=None) if proof is not None and proof.incarnation != memory.released else memory


def _joined(view: View, memory: Memory) -> Memory:
    """Note the first healthy turn with a running Postgres; a standby then compares its history (T2)."""
    node, cluster = view.node, view.cluster
    is_known = node.process is Process.ALIVE and node.state is PostgresState.RUNNING and node.is_in_recovery is not None
    is_member = cluster is not None and cluster.system_id is not None and cluster.system_id == node.system_id
    if memory.has_joined or not is_known or not is_member:
        return memory
    return triggered(view, replace(memory, has_joined=True))


def _history(view: View, memory: Memory) -> Memory:
    """Note when the history must be compared with the leader's, and when no comparison is due any more."""
    node, leader = view.node, leader_member(view)
    if node.is_running_primary:
        return replace(memory, rewind=RewindState.INITIAL)
    is_executed = memory.rewind in (RewindState.SUCCESS, RewindState.FAILED)
    if node.process in DOWN and not is_executed:
        return triggered(view, memory)
    is_running = node.process is Process.ALIVE and node.state is PostgresState.RUNNING
    if is_running and memory.rewind is RewindState.SUCCESS:
        return replace(memory, rewind=RewindState.INITIAL)
    if not is_running or leader is None or leader.role is not Role.PRIMARY or node.timeline is None:
        return memory
    is_another = leader.timeline is not None and node.timeline != leader.timeline  # an older one, too: of a restored store
    said = view.leader_history
    if said is None or said.member != leader.name:
        return triggered(view, memory)  # a new leader (F13, F14): equal numbers do not make it ours
    is_due = said.age_s >= view.settings.loop_wait_s
    return triggered(view, memory) if is_another and is_due else memory


def _silence(view: View, memory: Memory) -> Memory:
    """Remember since when the data directory owes an answer."""
    since_s = view.now_s if memory.unanswered_since_s is None else memory.unanswered_since_s
    return replace(memory, unanswered_since_s=since_s if is_unanswered(view) else None)


def _stopping(view: View, memory: Memory) -> Memory:
    """Remember since when the agent is to end."""
    is_new = view.is_stopping and memory.stopping_since_s is None
    return replace(memory, stopping_since_s=view.now_s) if is_new else memory
