"""A switchover or manual failover was asked for, seen by the leader (contract/ha_behaviour.md §2.19, 2.19a).

The request stays in its key while the leader demotes itself; whoever wins the race clears it. A request that can't be
carried out is removed under the version that was judged, so that a newer one is never lost.
"""

from __future__ import annotations

from patroni.decision.actions import ClearFailover, Demote, DemoteKind
from patroni.decision.candidate import ask, failover_possible
from patroni.decision.cluster import FailoverRequest
from patroni.decision.reasons import Code, because
from patroni.decision.rule import act
from patroni.decision.view import Decision, View


def requested(view: View) -> Decision | None:
    """Demote for the candidate, or remove a request that can't be carried out (V1-V5)."""
    request = view.cluster.failover if view.cluster else None
    if request is None:
        return None
    if request.scheduled_at is not None:
        decision = _scheduled(view, request)
        if decision is not None:
            return decision
    return _due(view, request)


def scheduled_in_s(view: View) -> float | None:
    """Return in how many seconds a scheduled request is due; None: there is none, or it has no zone."""
    request = view.cluster.failover if view.cluster else None
    if request is None or request.scheduled_at is None or request.scheduled_at.tzinfo is None:
        return None
    return (request.scheduled_at - view.wall).total_seconds()


def _scheduled(view: View, request: FailoverRequest) -> Decision | None:
    """Z2-Z5: None if it is due, or if it is so far away that the leader's work goes on meanwhile."""
    left_s = scheduled_in_s(view)
    if left_s is None:
        return _clear(view, request, "its time has no zone")
    if left_s < -int(1.5 * view.settings.loop_wait_s):
        return _clear(view, request, "its time is over")
    return None


def _due(view: View, request: FailoverRequest) -> Decision | None:
    left_s = scheduled_in_s(view)
    if left_s is not None and left_s > view.settings.loop_wait_s:
        return None
    if left_s is not None and left_s > 0:
        return act(view, because(Code.SWITCHOVER_SCHEDULED, action=request.action, left_s=left_s), within_s=left_s)
    me = view.node.name
    if request.leader not in (None, me):
        return _clear(view, request, f"{request.leader} is not the leader")
    if request.candidate == me:
        return _clear(view, request, "I am the leader already")
    possible = failover_possible(view)
    if possible.is_unknown:
        return ask(view, possible.consulted, because(Code.SWITCHOVER_ASKING, action=request.action))
    if not possible.good:
        is_barred = view.settings.is_standby_cluster
        why_not = "standby_cluster is set and not supported yet" if is_barred else "no member is fit to take over"
        return _clear(view, request, why_not)
    why = because(Code.SWITCHOVER_DEMOTING, action=request.action)
    return act(view, why, Demote(DemoteKind.GRACEFUL, title=request.action))


def _clear(view: View, request: FailoverRequest, why: str) -> Decision | None:
    token = request.token or (view.cluster.failover_token if view.cluster else None)
    if token is None:
        return None
    return act(view, because(Code.SWITCHOVER_CLEARED, action=request.action, why=why), ClearFailover(token))
