"""Another node leads: follow it (contract/ha_behaviour.md §2.17, 2.18).

Whom to follow is known or it is not; where it is not, the upstream stays as it is (§11, Q10): a leader that stops cleanly
still sends its last WAL after its key is gone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from patroni.decision.actions import Follow, ResumeReplay, SyncSlots
from patroni.decision.candidate import may_be_asked, question
from patroni.decision.cluster import Member
from patroni.decision.fact import address_of, is_other_leading, leader_name, slot_name
from patroni.decision.node import Upstream
from patroni.decision.reasons import Code, Reason, because
from patroni.decision.rule import act
from patroni.decision.slots import missing_slots, superfluous_slots
from patroni.decision.view import Answer, Decision, Memory, View

RESTREAM_WITHIN_S = 10.0
RESTREAM_LOOK_S = 0.2
RECONNECT_S = 0.15  # a server that was told takes so long to connect: what it says sooner is of before
ASK_AGAIN_S = 2.0  # while the leader is silent: answers must be younger than 3 s when its key is free


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Whom to stream from; None: from nobody, archive recovery only."""

    upstream: Upstream | None


def target(view: View) -> Target | None:
    """Return whom to stream from (§2.18); None: nobody is known, so nothing is to be changed."""
    tags = view.settings.tags
    if tags.nostream:
        return Target(upstream=None)
    members, leader = _members(view)
    name = leader
    if tags.replicatefrom in members and tags.replicatefrom != view.node.name:
        name = tags.replicatefrom
    upstream = _upstream(view, members[name]) if name is not None and name in members and name != view.node.name else None
    return Target(upstream=upstream) if upstream else None


def wanted_upstream(view: View) -> Upstream | None:
    """Return the upstream to start with; None: there is none."""
    known = target(view)
    return known.upstream if known else None


def resume_replay(view: View) -> Decision | None:
    """Let a paused replay go on (F10): Postgres pauses by itself where the primary raised a setting."""
    if view.node.is_starting or not view.node.is_replay_paused or (view.node.major or 0) < 14:
        return None
    return act(view, _ok(view), ResumeReplay())


def follow(view: View) -> Decision | None:
    """Point the server at whom it ought to follow (F13, F14)."""
    wanted = target(view)
    if wanted is None or view.node.is_in_recovery is not True or not _differs(view, wanted.upstream):
        return None
    return act(view, _ok(view), Follow(wanted.upstream), memory=replace(_told(view, wanted), followed_at_s=view.now_s))


def restream(view: View) -> Decision | None:
    """Make a standby that was turned to a new leader, or whose stream was cut, try again now.

    Postgres, refused once, would wait `wal_retrieve_retry_interval` (5 s): a leader makes its slots with its promotion, and a
    crashed one is back sooner. Commits that wait for a standby wait for this.
    """
    wanted = _again(view)
    if wanted is None:
        return None
    if _is_connecting(view):
        return act(view, _ok(view), within_s=RESTREAM_LOOK_S)
    return act(view, _ok(view), Follow(wanted.upstream), memory=_told(view, wanted), within_s=RESTREAM_LOOK_S)


def keep_slots(view: View) -> Decision | None:
    """Keep the slots of those who stream from this standby (§4.2)."""
    if view.node.is_in_recovery is not True:
        return None
    create, drop = missing_slots(view), superfluous_slots(view)
    return act(view, _ok(view), SyncSlots(create=create, drop=drop)) if create or drop else None


def ask_ahead(view: View) -> Decision | None:
    """Ask the others while the leader is silent, so that the answers are there when its key is free (safety_rules.md §9)."""
    if not view.is_leader_silent or view.settings.tags.nofailover or view.cluster is None:
        return None
    names = may_be_asked(view, view.cluster.members.values())
    old = tuple(name for name in names if _must_be_asked(view, name))
    asking, wanted = (question(view, old),) if old else (), _again(view)
    if wanted is None:
        return act(view, _ok(view), *asking, within_s=ASK_AGAIN_S)
    if _is_connecting(view):
        return act(view, _ok(view), *asking, within_s=RESTREAM_LOOK_S)
    again = Follow(wanted.upstream)
    return act(view, _ok(view), *asking, again, memory=_told(view, wanted), within_s=RESTREAM_LOOK_S)


def follower_ok(view: View) -> Decision | None:
    """Say that all is well (E12, F17)."""
    return act(view, _ok(view)) if is_other_leading(view) else None


def no_action(view: View) -> Decision:
    """Say that there is nothing to do (F5)."""
    return act(view, because(Code.NO_ACTION, name=view.node.name))


def _told(view: View, wanted: Target) -> Memory:
    return replace(view.memory, following=wanted.upstream, has_followed=True, told_at_s=view.now_s)


def _has_answered(view: View, since_s: float | None) -> bool:
    """Return whether what the server says is of a time at which it can have connected, told so or cut off at `since_s`."""
    age_s = view.node.probe_age_s
    return since_s is None or (age_s is not None and view.now_s - age_s >= since_s + RECONNECT_S)


def _is_connecting(view: View) -> bool:
    """Return whether the server may be connecting by itself: being told again would only disturb it."""
    memory = view.memory
    return not (_has_answered(view, memory.told_at_s) and _has_answered(view, memory.followed_at_s))


def _again(view: View) -> Target | None:
    """Return whom a standby must be made to connect to again; None: it streams, or ended doing so too long ago."""
    since_s, wanted = view.memory.followed_at_s, target(view)
    if since_s is None or view.now_s - since_s > RESTREAM_WITHIN_S or view.node.is_in_recovery is not True:
        return None
    if view.node.replication_state == "streaming" or wanted is None or wanted.upstream is None:
        return None
    return wanted


def _ok(view: View) -> Reason:
    if not is_other_leading(view):
        return because(Code.NO_ACTION, name=view.node.name)
    return because(Code.FOLLOWER_OK, name=view.node.name, leader=leader_name(view))


def _members(view: View) -> tuple[dict[str, Member], str | None]:
    """Return members and leader of this view; of the last healthy one where the store has not answered at all."""
    if view.cluster is None:
        return dict(view.memory.healthy_members), view.memory.healthy_leader
    return dict(view.cluster.members), view.cluster.leader_name


def _upstream(view: View, member: Member) -> Upstream | None:
    address = address_of(member.conn_url)
    if address is None:
        return None
    slot = slot_name(view.node.name) if view.settings.use_slots else None
    return Upstream(member=member.name, host=address[0], port=address[1], slot=slot)


def _differs(view: View, wanted: Upstream | None) -> bool:
    """Return whether the server follows somebody else; where it does not say, what it was told last counts."""
    seen, memory = view.node.upstream, view.memory
    if not memory.has_followed:
        return True  # The first check after joining writes our configuration (§6.7).
    if seen is None or wanted is None or (memory.following == wanted and not _has_answered(view, memory.told_at_s)):
        return memory.following != wanted
    return (seen.host, seen.port, seen.slot) != (wanted.host, wanted.port, wanted.slot)


def _must_be_asked(view: View, name: str) -> bool:
    """Return whether to ask ahead: never asked, or answered some time ago; a silent one waits for the race."""
    peer = view.peers.get(name)
    return peer is None or (isinstance(peer, Answer) and peer.age_s >= ASK_AGAIN_S)
