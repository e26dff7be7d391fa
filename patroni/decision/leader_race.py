"""Nobody holds the leader key, or it names us without proof: who may take it (contract/ha_behaviour.md §2.11-2.13).

Several nodes may answer yes; the atomic create of the key decides. What is promised is that nobody says yes who is known
to be worse than somebody who could lead: behind in WAL, too far behind what was published, or not the one asked for. A
running primary asks nobody: it holds all that was acknowledged, unless the history shows that it slept through a promotion.
An adoption passes the same checks (safety_rules.md §1.4). Elections end: §9 there says which peers are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from patroni.decision.actions import AcquireLock, AdoptLock, Demote, DemoteKind, ReadCluster
from patroni.decision.candidate import FACTS_S, Consulted, ask, consult, failover_possible, is_limited, may_be_asked
from patroni.decision.cluster import FailoverRequest, Member
from patroni.decision.demotion import release
from patroni.decision.fact import cluster_timeline
from patroni.decision.reasons import Code, Reason, because
from patroni.decision.rule import act
from patroni.decision.view import Answer, Decision, View

SHORTEST_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MustAsk:
    """The race can't be judged before these members have been asked, or have answered."""

    consulted: Consulted


Verdict = Reason | MustAsk | None  # why not; not known yet; None: may race


# --- rules


def unreachable(view: View) -> Decision | None:
    """Decide nothing while Postgres does not say what it is (§2.30)."""
    node = view.node
    is_silent = node.is_in_recovery is None or (node.is_running_primary and node.timeline is None)
    if node.is_starting or not is_silent:
        return None
    return act(view, because(Code.PG_UNREACHABLE), within_s=1.0)


def starting(view: View) -> Decision | None:
    """Wait for the end of a start before judging (H3): what Postgres is, is not known yet."""
    if not view.node.is_starting:
        return None
    return act(view, because(Code.RACE_STARTING), within_s=1.0)


def back_off(view: View) -> Decision | None:
    """Delay the race of a standby whose WAL may still be moving (L0, L1)."""
    backoff_s = view.settings.primary_race_backoff_s
    memory = view.memory
    is_free = view.cluster is not None and view.cluster.leader is None and _candidate(view) is None
    if backoff_s <= 0 or not is_free or view.node.is_running_primary or memory.last_lsn is None:
        return None
    since_s = memory.race_backoff_since_s if memory.race_backoff_since_s is not None else view.now_s
    left_s = since_s + backoff_s - view.now_s
    is_moving = memory.moved_at_s is not None and view.now_s - memory.moved_at_s <= view.settings.loop_wait_s
    waits_for_wal = left_s > 0 and is_moving and view.node.replication_state == "streaming"
    if not waits_for_wal and left_s <= backoff_s - view.settings.loop_wait_s:
        return None
    remembered = replace(memory, race_backoff_since_s=since_s)
    return act(view, because(Code.RACE_BACKOFF, left_s=left_s), memory=remembered, within_s=max(1.0, left_s))


def race(view: View) -> Decision:
    """Take the lock if nobody better is known (L2), else say why not (L7, L8) or demote a primary (F7).

    A lock that names a standby which must not adopt it is released; one that names somebody else is never touched.
    """
    leader = view.cluster.leader if view.cluster else None
    if leader is not None and not view.is_lock_ours:  # Ours has vanished; older than that, or of another store.
        return act(view, because(Code.RACE_VIEW_OLD), ReadCluster(), within_s=1.0)
    verdict = race_bar(view)
    if not isinstance(verdict, Reason):
        return _claim(view, verdict)
    if view.node.is_running_primary:
        return act(view, because(Code.DEMOTE_NOT_HEALTHIEST, why=verdict), Demote(DemoteKind.IMMEDIATE_NOLOCK))
    stands_back = replace(view, memory=replace(view.memory, asking_since_s=None))
    if leader is not None:  # It names us. Under our own session it would stand for ever.
        return release(stands_back, because(Code.RACE_RELEASED, why=verdict.code), leader)
    return act(stands_back, verdict, within_s=_patience_left_s(view))


def claim(view: View) -> Decision | None:
    """Take the lock, or ask who else could (L2); None: this node may not."""
    verdict = race_bar(view)
    return None if isinstance(verdict, Reason) else _claim(view, verdict)


def claim_lock(view: View) -> Decision:
    """Create the free lock, or make the one that names us ours; every check was passed."""
    leader = view.cluster.leader if view.cluster else None
    published = view.cluster.status.lsn if view.cluster else None
    facts = {"lsn": view.node.lsn, "published": published, "peers": _positions(view)}
    memory = replace(view.memory, asking_since_s=None)
    proof = view.lease.proof
    has_vanished = proof is not None and view.lease.is_gone and leader is not None and leader.incarnation == proof.incarnation
    if leader is not None and not has_vanished:
        adopt = AdoptLock(token=leader.token, incarnation=leader.incarnation)
        return act(view, because(Code.RACE_ADOPT, **facts), adopt, memory=memory, within_s=1.0)
    return act(view, because(Code.RACE_ACQUIRE, **facts), AcquireLock(), memory=memory, within_s=1.0)


# --- may this node race?


def race_bar(view: View) -> Verdict:
    """Return why this node must not take the lock, what must be asked first, or None if it may (§2.12)."""
    if view.node.is_torn:
        return because(Code.TORN)
    if view.node.is_running_primary:
        return _primary_bar(view)
    return _own_bar(view) or _rivals_bar(view)


def is_standing_back(view: View) -> bool:
    """Return whether this node is out of the race for a while: peers are told `nofailover` (safety_rules.md §9)."""
    return _stands_back_s(view) > 0


def _primary_bar(view: View) -> Reason | None:
    """H5: the own timeline is not behind the history."""
    current, mine = cluster_timeline(view), view.node.timeline
    if current is None or (mine is not None and mine >= current):
        return None
    return because(Code.RACE_TIMELINE, mine=mine, theirs=current)


def _own_bar(view: View) -> Reason | None:
    """Return what of our own speaks against it: H1, H7, failsafe memory, `standby_cluster`, an unknown position."""
    stands_back_s = _stands_back_s(view)
    if stands_back_s > 0:
        return because(Code.RACE_STANDS_BACK, left_s=stands_back_s)
    if view.failsafe_until_s is not None and view.failsafe_until_s > view.now_s:
        return because(Code.RACE_FAILSAFE)
    if view.settings.tags.nofailover:
        return because(Code.RACE_NOT_ALLOWED)
    if view.settings.is_standby_cluster:
        return because(Code.RACE_STANDBY_CLUSTER)
    return because(Code.RACE_POSITION_UNKNOWN) if view.node.lsn is None else None


def _rivals_bar(view: View) -> Verdict:
    """Return what others, or an operator's request, speak against it: H9, H13."""
    request = view.cluster.failover if view.cluster else None
    if request is not None:
        return _requested_bar(view, request)
    return _lag_bar(view) or _timeline_bar(view) or _compare(view, _members(view))


def _requested_bar(view: View, request: FailoverRequest) -> Verdict:
    """§2.13: a failover was asked for and nobody leads."""
    me = view.node.name
    if request.candidate == me:
        return None
    if request.candidate is not None:
        bar = _candidate_bar(view, request.candidate)
        if bar is not None:
            return bar
    if request.leader == me:
        return _own_return_bar(view, request)
    others = {name: member for name, member in _members(view).items() if name != request.leader}
    return _timeline_bar(view) or _compare(view, others)


def _candidate_bar(view: View, candidate: str) -> Verdict:
    """M5: leave it to the candidate, unless it can't lead or has left the free key alone for too long (§9c)."""
    member = view.cluster.members.get(candidate) if view.cluster else None
    if member is None or member.api_url is None or _has_left_it(view, candidate):
        return None
    consulted = consult(view, [candidate])
    if not consulted.is_complete:
        return MustAsk(consulted=consulted)
    answer = consulted.answers.get(candidate)
    if answer is None or is_limited(answer):
        return None
    return because(Code.RACE_CANDIDATE, member=candidate)


def _own_return_bar(view: View, request: FailoverRequest) -> Verdict:
    """M7: the old leader returns only if nobody else could take over."""
    possible = failover_possible(view, except_candidate=request.candidate is not None)
    good = tuple(name for name in possible.good if not _has_left_it(view, name))
    if good:
        return because(Code.RACE_FAILOVER_POSSIBLE, member=good[0])
    return None if possible.consulted.is_complete else MustAsk(consulted=possible.consulted)


def _lag_bar(view: View) -> Reason | None:
    """K1: not too far behind the last published position."""
    published = view.cluster.status.lsn if view.cluster else None
    limit_bytes = view.settings.maximum_lag_on_failover_bytes
    lag_bytes = (published or 0) - (view.node.lsn or 0)
    return because(Code.RACE_LAG, lag_bytes=lag_bytes, limit_bytes=limit_bytes) if lag_bytes > limit_bytes else None


def _timeline_bar(view: View) -> Reason | None:
    """K2, K3: with `check_timeline`, not behind the history."""
    current, mine = cluster_timeline(view), view.node.timeline
    if not view.settings.check_timeline or (mine is not None and (current is None or mine >= current)):
        return None
    return because(Code.RACE_TIMELINE, mine=mine, theirs=current)


def _compare(view: View, members: Mapping[str, Member]) -> Verdict:
    """K4-K11: nobody who could lead is a primary still, is ahead, or is as far and preferred. A "no" needs one answer."""
    consulted = consult(view, may_be_asked(view, members.values()))
    for name, answer in consulted.answers.items():
        bar = None if _is_ignored(view, name, answer) else _rival_bar(view, name, answer)
        if bar is not None:
            return bar
    return None if consulted.is_complete else MustAsk(consulted=consulted)


def _rival_bar(view: View, name: str, answer: Answer) -> Reason | None:
    """K6, K7, K9 for one peer; positions on a timeline that has ended say nothing against one on the current."""
    if not answer.is_in_recovery:
        return because(Code.RACE_OTHER_PRIMARY, member=name)
    lsn, mine = answer.lsn or 0, view.node.lsn or 0
    if lsn > mine or _is_current_beside_us(view, answer):
        return because(Code.RACE_PEER_AHEAD, member=name)
    is_preferred = answer.failover_priority > view.settings.tags.failover_priority and name != view.memory.healthy_leader
    return because(Code.RACE_PEER_PRIORITY, member=name) if 0 < lsn == mine and is_preferred else None


def _is_current_beside_us(view: View, answer: Answer) -> bool:
    """Return whether the peer is on the history's current timeline and we are not: the other half of §9 (b)."""
    current, mine = cluster_timeline(view), view.node.timeline
    if current is None or mine is None or answer.timeline is None:
        return False
    return mine < current <= answer.timeline


def _is_ignored(view: View, name: str, answer: Answer) -> bool:
    """K5, and safety_rules.md §9 (b) and (c)."""
    current, mine = cluster_timeline(view), view.node.timeline
    is_mine_current = current is not None and mine is not None and mine >= current
    is_behind = is_mine_current and answer.timeline is not None and current is not None and answer.timeline < current
    return is_limited(answer) or is_behind or (answer.is_in_recovery and _has_left_it(view, name))


# --- helpers


def _claim(view: View, verdict: MustAsk | None) -> Decision:
    if verdict is not None:
        since_s = view.memory.asking_since_s
        asking = replace(view.memory, asking_since_s=view.now_s if since_s is None else since_s)
        return ask(view, verdict.consulted, because(Code.RACE_ASKING), asking)
    if view.cluster_age_s is None or view.cluster_age_s > FACTS_S:
        return act(view, because(Code.RACE_VIEW_OLD), ReadCluster(), within_s=1.0)
    return claim_lock(view)


def _members(view: View) -> dict[str, Member]:
    """H13: members of the last healthy view and of this one; current data win."""
    current = view.cluster.members if view.cluster else {}
    return {**view.memory.healthy_members, **current}


def _candidate(view: View) -> str | None:
    return view.cluster.failover.candidate if view.cluster and view.cluster.failover else None


def _stands_back_s(view: View) -> float:
    released_at_s = view.memory.released_at_s
    return 0.0 if released_at_s is None else released_at_s + view.settings.ttl_s - view.now_s


def _patience_s(view: View) -> float:
    return max(view.settings.ttl_s, SHORTEST_PATIENCE_S)


def _has_left_it(view: View, name: str) -> bool:
    """§9c: it ought to have taken the free key for so long that it will not."""
    since_s = view.memory.rival_since_s.get(name)
    return since_s is not None and view.now_s - since_s >= _patience_s(view)


def _patience_left_s(view: View) -> float | None:
    """Return in how many seconds the first peer will be ignored; None: nobody is waited for."""
    left_s = [since_s + _patience_s(view) - view.now_s for since_s in view.memory.rival_since_s.values()]
    return min((seconds for seconds in left_s if seconds > 0), default=None)


def _positions(view: View) -> tuple[tuple[str, object], ...]:
    """The peers' positions: another attempt with other ones is not a repetition (safety_rules.md §7.5)."""
    answers = ((name, peer.lsn) for name, peer in view.peers.items() if isinstance(peer, Answer))
    return tuple(sorted(answers, key=lambda item: item[0]))
