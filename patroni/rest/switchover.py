"""`POST /switchover`, `POST /failover`, `DELETE /switchover` (contract/rest_api.md §11).

Promised: the key is written only after every check of the contract; the answer is 200 only if another leader was seen. The
operation itself is the loop's: leader and candidates check everything again. Not promised: that an answer `status unknown`
means that nothing happens any more.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from patroni.decision.cluster import Cluster, FailoverRequest, Member
from patroni.decision.request import Steps, ask
from patroni.decision.settings import SynchronousMode
from patroni.decision.view import Answer, Peer
from patroni.rest.message import Response, page, text
from patroni.rest.operations import AskMembers, AwaitCluster, ReadCluster, Wake, WriteFailover
from patroni.rest.snapshot import Situation

logger = logging.getLogger("patroni.api")

_LEAST_WAIT_S = 10.0
_POLL_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """What the operator asks for."""

    is_failover: bool  # by the path
    leader: str | None
    candidate: str | None
    scheduled: object = None  # as written; None: now

    @property
    def is_switchover(self) -> bool:
        """Return whether the checks of a switchover apply: also to a failover that names the leader (§11.1)."""
        return not self.is_failover or self.leader is not None

    @property
    def action(self) -> str:
        return "Failover" if self.is_failover else "Switchover"


def switch(action: str, body: Mapping[str, object], situation: Situation) -> Steps[Response | None]:
    """Carry out one request; `action` is the path's segment. None: the store does not answer."""
    wish = _Wish(
        is_failover=action == "failover",
        leader=_name(body.get("leader")),
        candidate=_name(body.get("candidate")) or _name(body.get("member")),
        scheduled=body.get("scheduled_at") or None,
    )
    cluster = yield from ask(ReadCluster())
    if cluster is None:
        return None
    logger.info(
        "received %s request with leader=%s candidate=%s scheduled_at=%s",
        action,
        wish.leader,
        wish.candidate,
        wish.scheduled,
    )
    scheduled_at = _scheduled_at(wish, situation)
    if isinstance(scheduled_at, Response):
        return scheduled_at
    bar = _request_bar(wish, situation)
    if bar is None and scheduled_at is None:
        bar = yield from _possible_bar(wish, cluster, situation)
    if bar is not None:
        return bar
    return (yield from _ordered(wish, scheduled_at, cluster, situation))


def unschedule() -> Steps[Response | None]:
    """Remove a scheduled switchover (§11.4)."""
    cluster = yield from ask(ReadCluster())
    if cluster is None:
        return None
    if cluster.failover is None or cluster.failover.scheduled_at is None:
        return text(404, "no switchover is scheduled")
    if not (yield from ask(WriteFailover(None, cluster.failover_token))):
        return page(409, "the scheduled switchover changed meanwhile")
    return text(200, "scheduled switchover deleted")


def _ordered(wish: _Wish, scheduled_at: datetime | None, cluster: Cluster, situation: Situation) -> Steps[Response | None]:
    """Write the key, wake the loop and, unless it is scheduled, wait for the outcome."""
    request = FailoverRequest(leader=wish.leader, candidate=wish.candidate, scheduled_at=scheduled_at)
    if not (yield from ask(WriteFailover(request))):
        return text(503, f"failed to write the {wish.action.lower()} key to the store")
    yield from ask(Wake("switchover" if wish.is_switchover else "failover"))
    if scheduled_at is not None:
        return text(202, f"{wish.action} scheduled")
    return (yield from _outcome(wish, cluster.leader_name, situation))


def _name(value: object) -> str | None:
    """Return a member name; null and empty mean "not given", a number is its text."""
    return str(value) if value not in (None, "") else None


def _scheduled_at(wish: _Wish, situation: Situation) -> datetime | Response | None:
    """Return the time asked for, None for now, or what is wrong (§11.1 rows 3 and 4)."""
    if wish.is_failover and wish.candidate is None:
        return text(400, "Failover could be performed only to a specific candidate")
    if not wish.is_failover and wish.leader is None:
        return text(400, "Switchover could be performed only from a specific leader")
    if wish.scheduled is None:
        return None
    if wish.is_failover:
        return text(400, "Failover can't be scheduled")
    if situation.snapshot.settings.is_paused:
        return text(400, "Can't schedule a switchover while the cluster is paused")
    return _parsed_time(str(wish.scheduled), situation.wall)


def _parsed_time(written: str, now: datetime) -> datetime | Response:
    from dateutil import parser  # noqa: PLC0415  # 3.5 MB with what it imports, for the rare request that has a time

    try:
        when = parser.parse(written)
    except (ValueError, OverflowError):
        return text(422, "Unable to parse scheduled timestamp; use an unambiguous format, e.g. ISO 8601")
    if when.tzinfo is None or when.utcoffset() is None:
        return text(400, "Timezone information is mandatory for the scheduled time")
    if when < now:
        return text(422, "The scheduled time is in the past")
    return when


def _request_bar(wish: _Wish, situation: Situation) -> Response | None:
    """Return what forbids the request whatever the cluster looks like (§11.1 rows 5 and 6)."""
    if situation.snapshot.settings.is_paused and wish.candidate is None:
        return text(400, f"{wish.action} is possible only to a specific candidate while the cluster is paused")
    if wish.leader is not None and wish.leader == wish.candidate:
        return text(400, "Switchover target and source are the same")
    return None


def _possible_bar(wish: _Wish, cluster: Cluster, situation: Situation) -> Steps[Response | None]:
    """Return why it is not possible now, or None (§11.2); lag and timeline are left to leader and candidates."""
    mode = situation.synchronous_mode
    if wish.leader is not None and wish.leader != cluster.leader_name:
        return text(412, "leader name does not match")
    bar = _candidate_bar(wish, cluster, mode)
    if bar is not None:
        return bar
    candidates = _candidates(wish, cluster, mode)
    if not candidates:
        is_sync = mode is SynchronousMode.PRIORITY
        what = "cluster does not have a synchronous standby" if is_sync else "cluster does not have members except leader"
        return text(412, f"{wish.action.lower()} is not possible: {what}")
    answers = yield from ask(AskMembers(candidates))
    if any(_is_eligible(answers.get(member.name)) for member in candidates):
        return None
    return text(412, f"{wish.action.lower()} is not possible: no good candidates have been found")


def _candidate_bar(wish: _Wish, cluster: Cluster, mode: SynchronousMode) -> Response | None:
    if wish.candidate is None:
        return None
    if wish.is_switchover and mode is SynchronousMode.PRIORITY and not _is_voter(wish.candidate, cluster):
        return text(412, "candidate name does not match with sync_standby")
    if wish.candidate not in cluster.members:
        return text(412, "candidate does not exist")
    return None


def _candidates(wish: _Wish, cluster: Cluster, mode: SynchronousMode) -> tuple[Member, ...]:
    if wish.candidate is not None:
        return (cluster.members[wish.candidate],)
    others = tuple(member for member in cluster.members.values() if member.name != wish.leader and member.api_url)
    if mode is SynchronousMode.PRIORITY:
        return tuple(member for member in others if _is_voter(member.name, cluster))
    return others


def _is_voter(name: str, cluster: Cluster) -> bool:
    return name.lower() in {voter.lower() for voter in cluster.sync.voters}


def _is_eligible(peer: Peer | None) -> bool:
    """Return whether an answer allows a promotion (§13.2); silence does not."""
    return isinstance(peer, Answer) and not peer.nofailover and not peer.is_watchdog_failed


def _outcome(wish: _Wish, old_leader: str | None, situation: Situation) -> Steps[Response | None]:
    """Wait for another leader, woken by each change of the store (§11.3)."""
    limit_s = 2 * max(_LEAST_WAIT_S, situation.snapshot.settings.loop_wait_s)
    waited_s = 0.0
    while waited_s < limit_s:
        waited = yield from ask(AwaitCluster(min(_POLL_S, limit_s - waited_s)))
        waited_s += waited.elapsed_s
        answer = _seen(wish, old_leader, waited.cluster) if waited.cluster is not None else None
        if answer is not None:
            return answer
    return text(503, f"{wish.action} status unknown after {limit_s:.0f} s; it may still happen")


def _seen(wish: _Wish, old_leader: str | None, cluster: Cluster) -> Response | None:
    """Return the answer that this view of the cluster means; None: nothing is decided yet."""
    leader = cluster.leader_name
    if leader is not None and leader != old_leader:
        if wish.candidate is None or leader == wish.candidate:
            return text(200, f'Successfully {_DONE[wish.is_failover]} to "{leader}"')
        return text(200, f'{_DONE[wish.is_failover].capitalize()} to "{leader}" instead of "{wish.candidate}"')
    return text(503, f"{wish.action} failed") if cluster.failover is None else None


_DONE = {True: "failed over", False: "switched over"}
