"""Nobody leads, or the lock names us without proof (contract/ha_behaviour.md §2.11-2.13, safety_rules.md §1.4, 1.5, 9)."""

# ruff: noqa: ANN401  # builders hand any field on to the records

from __future__ import annotations

from dataclasses import replace
from typing import Any

from patroni.decision.actions import AcquireLock, AdoptLock, AskPeers, Demote, DemoteKind, ReadCluster, ReleaseLock
from patroni.decision.cluster import Incarnation, Lsn, Member, PostgresState, Status, Tags, Timeline
from patroni.decision.decide import decide
from patroni.decision.leader_race import is_standing_back
from patroni.decision.lease import Lease
from patroni.decision.reasons import Code
from patroni.decision.view import Asked, Silent
from tests.decision.builders import (
    FAILOVER,
    INCARNATION,
    LSN,
    NOW_S,
    TOKEN,
    Case,
    a_cluster,
    a_free,
    a_history,
    a_leader_key,
    a_member,
    a_memory,
    a_primary,
    a_request,
    a_standby,
    a_view,
    an_answer,
    answers,
    case,
    held,
    members,
    rows,
    settings,
    tagged,
)

ACQUIRE = AcquireLock()
ADOPT = AdoptLock(token=TOKEN, incarnation=INCARNATION)
NOLOCK = Demote(DemoteKind.IMMEDIATE_NOLOCK)
RELEASE = ReleaseLock(TOKEN)
DEAD = Silent(age_s=1.0)
TL2 = a_history(4000)  # the history says that timeline 2 is current
CHECKED = settings(check_timeline=True)
FOLLOWS_REMOTE = settings(is_standby_cluster=True)


def gone(name: str) -> dict[str, Member]:
    """Return the members without this one: its key has expired."""
    return {other: member for other, member in members().items() if other != name}


RACE = [
    case("the best takes it", a_free(), Code.RACE_ACQUIRE, ACQUIRE),
    case("nobody was asked", a_free(peers={}), Code.RACE_ASKING, AskPeers(("b", "c"))),
    case("one was not asked", a_free(peers=answers(c=None)), Code.RACE_ASKING, AskPeers(("c",))),
    case("one has not answered yet", a_free(peers=answers(c=Asked(age_s=1.0))), Code.RACE_ASKING),
    case("the old leader is dead", a_free(peers=answers(b=DEAD)), Code.RACE_ACQUIRE, ACQUIRE),
    case(
        "its member key has expired: it is asked where it was",
        a_free(cluster=a_cluster(None, members=gone("b")), peers=answers(b=None)),
        Code.RACE_ASKING,
        AskPeers(("b",), (("b", "http://b:8008/patroni"),)),
    ),
    case("an old silence is asked again", a_free(peers=answers(b=Silent(age_s=3.1))), Code.RACE_ASKING, AskPeers(("b",))),
    case("asking has a limit", a_free(peers={}, memory=a_memory(asking_since_s=NOW_S - 5.1)), Code.RACE_ACQUIRE, ACQUIRE),
    case(
        "not before that", a_free(peers={}, memory=a_memory(asking_since_s=NOW_S - 5.0)), Code.RACE_ASKING, AskPeers(("b", "c"))
    ),
    case("the view is old", a_free(cluster_age_s=3.1), Code.RACE_VIEW_OLD, ReadCluster()),
    case("the view is young enough", a_free(cluster_age_s=3.0), Code.RACE_ACQUIRE, ACQUIRE),
    case("no age of the view", a_free(cluster_age_s=None), Code.RACE_VIEW_OLD, ReadCluster()),
    case(
        "our lock has vanished, and a view from before it, or of another store, names somebody else: not ours to adopt",
        a_view(a_primary(), a_cluster(a_leader_key("b", Incarnation("i2"))), lease=held(is_gone=True), is_fresh=False),
        Code.RACE_VIEW_OLD,
        ReadCluster(),
    ),
    case(
        "nor to release",
        a_view(a_standby(), a_cluster("b"), lease=held(is_gone=True), is_fresh=False, settings=tagged(nofailover=True)),
        Code.RACE_VIEW_OLD,
        ReadCluster(),
    ),
    case(
        "nobody else is there",
        a_free(cluster=a_cluster(None, members={}), memory=a_memory(healthy_members={})),
        Code.RACE_ACQUIRE,
        ACQUIRE,
    ),
    case(
        "lag exactly at the limit",
        a_free(cluster=a_cluster(None, status=Status(lsn=Lsn(5000 + 1048576)))),
        Code.RACE_ACQUIRE,
        ACQUIRE,
    ),
    case("lag one byte over the limit", a_free(cluster=a_cluster(None, status=Status(lsn=Lsn(5001 + 1048576)))), Code.RACE_LAG),
    case("nothing was published", a_free(cluster=a_cluster(None, status=Status())), Code.RACE_ACQUIRE, ACQUIRE),
    case("not allowed", a_free(settings=tagged(nofailover=True)), Code.RACE_NOT_ALLOWED),
    case("a standby cluster promotes nobody", a_free(settings=FOLLOWS_REMOTE), Code.RACE_STANDBY_CLUSTER),
    case("its running primary stays", a_free(a_primary(), settings=FOLLOWS_REMOTE), Code.RACE_ACQUIRE, ACQUIRE),
    case("the own position is unknown", a_free(a_standby(lsn=None)), Code.RACE_POSITION_UNKNOWN),
    case("Postgres does not answer", a_free(a_standby(is_in_recovery=None)), Code.PG_UNREACHABLE),
    case("Postgres is starting", a_free(a_standby(state=PostgresState.STARTING)), Code.RACE_STARTING),
    case("we gave a lock back", a_free(memory=a_memory(released_at_s=NOW_S - 29.9)), Code.RACE_STANDS_BACK),
    case("that is ttl ago", a_free(memory=a_memory(released_at_s=NOW_S - 30.0)), Code.RACE_ACQUIRE, ACQUIRE),
    case("failsafe mode keeps a primary", a_free(failsafe_until_s=NOW_S + 0.1), Code.RACE_FAILSAFE),
    case("it did", a_free(failsafe_until_s=NOW_S), Code.RACE_ACQUIRE, ACQUIRE),
    case("an unknown system id never leads", a_free(a_standby(system_id=None)), Code.SYSID_INVALID),
]

RIVALS = [
    case(
        "c is current and we are not, wherever we are",
        a_free(a_standby(lsn=Lsn(9000)), a_cluster(None, history=TL2), peers=answers(c=an_answer(timeline=Timeline(2)))),
        Code.RACE_PEER_AHEAD,
    ),
    case(
        "nobody is current",
        a_free(
            a_standby(lsn=Lsn(9000)), a_cluster(None, history=a_history(1, 2)), peers=answers(c=an_answer(timeline=Timeline(2)))
        ),
        Code.RACE_ACQUIRE,
        ACQUIRE,
    ),
    case(
        "our own timeline is unknown",
        a_free(a_standby(timeline=None), a_cluster(None, history=TL2), peers=answers(c=an_answer(timeline=Timeline(2)))),
        Code.RACE_ACQUIRE,
        ACQUIRE,
    ),
    case(
        "c does not say its timeline, and is not ahead",
        a_free(cluster=a_cluster(None, history=TL2), peers=answers(b=DEAD, c=an_answer(timeline=None))),
        Code.RACE_ACQUIRE,
        ACQUIRE,
    ),
    case("another primary", a_free(peers=answers(c=an_answer(None, is_in_recovery=False))), Code.RACE_OTHER_PRIMARY),
    case("a no needs one answer", a_free(peers={"c": an_answer(None, is_in_recovery=False)}), Code.RACE_OTHER_PRIMARY),
    case("c is a byte ahead", a_free(peers=answers(c=an_answer(5001))), Code.RACE_PEER_AHEAD),
    case("c says no position", a_free(peers=answers(c=an_answer(None))), Code.RACE_ACQUIRE, ACQUIRE),
    case("c is ahead, but not allowed", a_free(peers=answers(c=an_answer(5001, nofailover=True))), Code.RACE_ACQUIRE, ACQUIRE),
    case(
        "c is ahead, but without priority",
        a_free(peers=answers(c=an_answer(5001, failover_priority=0))),
        Code.RACE_ACQUIRE,
        ACQUIRE,
    ),
    case(
        "c is ahead, but its watchdog failed",
        a_free(peers=answers(c=an_answer(5001, is_watchdog_failed=True))),
        Code.RACE_ACQUIRE,
        ACQUIRE,
    ),
    case(
        "c is tagged nofailover: not asked",
        a_free(cluster=a_cluster(None, a_member("c", tags=Tags(nofailover=True))), peers=answers(c=None)),
        Code.RACE_ACQUIRE,
        ACQUIRE,
    ),
    case(
        "c has no address: not asked",
        a_free(cluster=a_cluster(None, a_member("c", api_url=None)), peers=answers(c=None)),
        Code.RACE_ACQUIRE,
        ACQUIRE,
    ),
    case("c is as far and preferred", a_free(peers=answers(c=an_answer(failover_priority=2))), Code.RACE_PEER_PRIORITY),
    case(
        "c is preferred, but behind", a_free(peers=answers(c=an_answer(4999, failover_priority=2))), Code.RACE_ACQUIRE, ACQUIRE
    ),
    case(
        "we are preferred",
        a_free(peers=answers(c=an_answer(failover_priority=2)), settings=tagged(failover_priority=2)),
        Code.RACE_ACQUIRE,
        ACQUIRE,
    ),
    case(
        "the old leader is not preferred", a_free(peers=answers(b=an_answer(failover_priority=2))), Code.RACE_ACQUIRE, ACQUIRE
    ),
    case(
        "nobody is anywhere",
        a_free(
            a_standby(lsn=Lsn(0)), a_cluster(None, status=Status()), peers=answers(b=DEAD, c=an_answer(0, failover_priority=2))
        ),
        Code.RACE_ACQUIRE,
        ACQUIRE,
    ),
    case(
        "c was ahead and has left the key alone",
        a_free(peers=answers(c=an_answer(5001)), memory=a_memory(rival_since_s={"c": NOW_S - 30})),
        Code.RACE_ACQUIRE,
        ACQUIRE,
    ),
    case(
        "not for ttl",
        a_free(peers=answers(c=an_answer(5001)), memory=a_memory(rival_since_s={"c": NOW_S - 29.9})),
        Code.RACE_PEER_AHEAD,
    ),
    case(
        "not for ten seconds",
        a_free(
            peers=answers(c=an_answer(5001)), memory=a_memory(rival_since_s={"c": NOW_S - 9.9}), settings=settings(ttl_s=5.0)
        ),
        Code.RACE_PEER_AHEAD,
    ),
    case(
        "a primary is never ignored for that",
        a_free(peers=answers(c=an_answer(None, is_in_recovery=False)), memory=a_memory(rival_since_s={"c": NOW_S - 99})),
        Code.RACE_OTHER_PRIMARY,
    ),
    case(
        "c is ahead on a timeline that has ended",
        a_free(a_standby(timeline=Timeline(2)), a_cluster(None, history=TL2), peers=answers(c=an_answer(5001))),
        Code.RACE_ACQUIRE,
        ACQUIRE,
    ),
    case("so are we", a_free(cluster=a_cluster(None, history=TL2), peers=answers(c=an_answer(5001))), Code.RACE_PEER_AHEAD),
    case(
        "c does not say its timeline",
        a_free(a_standby(timeline=Timeline(2)), a_cluster(None, history=TL2), peers=answers(c=an_answer(5001, timeline=None))),
        Code.RACE_PEER_AHEAD,
    ),
    case("behind the history is allowed", a_free(cluster=a_cluster(None, history=TL2)), Code.RACE_ACQUIRE, ACQUIRE),
    case("unless it is checked", a_free(cluster=a_cluster(None, history=TL2), settings=CHECKED), Code.RACE_TIMELINE),
    case(
        "checked and right",
        a_free(a_standby(timeline=Timeline(2)), a_cluster(None, history=TL2), settings=CHECKED),
        Code.RACE_ACQUIRE,
        ACQUIRE,
    ),
    case("checked, and the own one unknown", a_free(a_standby(timeline=None), settings=CHECKED), Code.RACE_TIMELINE),
    case("checked, and no history", a_free(settings=CHECKED), Code.RACE_ACQUIRE, ACQUIRE),
]

PRIMARIES = [
    case(
        "it is meant for c",
        a_view(cluster=a_cluster("a", failover=a_request("c")), peers=answers()),
        Code.RACE_RELEASED,
        RELEASE,
    ),
    case(
        "a lock won without an answer, after one that vanished",
        a_view(cluster=a_cluster("a"), peers=answers(), lease=Lease(is_gone=True)),
        Code.RACE_ADOPT,
        ADOPT,
    ),
    case(
        "the same, within the lease of the one that vanished",
        a_view(cluster=a_cluster(a_leader_key("a", Incarnation("i2"))), peers=answers(), lease=held(is_gone=True)),
        Code.RACE_ADOPT,
        AdoptLock(token=TOKEN, incarnation=Incarnation("i2")),
    ),
    case("a primary without key takes it, asking nobody", a_free(a_primary(), peers={}), Code.RACE_ACQUIRE, ACQUIRE),
    case(
        "its timeline is current",
        a_free(a_primary(timeline=Timeline(2)), a_cluster(None, history=TL2)),
        Code.RACE_ACQUIRE,
        ACQUIRE,
    ),
    case("it slept through a promotion", a_free(a_primary(), a_cluster(None, history=TL2)), Code.DEMOTE_NOT_HEALTHIEST, NOLOCK),
    case("it does not say its timeline", a_free(a_primary(timeline=None), a_cluster(None, history=TL2)), Code.PG_UNREACHABLE),
    case("nofailover does not demote it", a_free(a_primary(), settings=tagged(nofailover=True)), Code.RACE_ACQUIRE, ACQUIRE),
    case("after a restart of the agent", a_view(a_primary(), a_cluster("a")), Code.RACE_ADOPT, ADOPT),
    case(
        "after that and a promotion elsewhere",
        a_view(a_primary(), a_cluster("a", history=TL2)),
        Code.DEMOTE_NOT_HEALTHIEST,
        NOLOCK,
    ),
    case(
        "a standby adopts after the election's checks", a_view(cluster=a_cluster("a"), peers=answers()), Code.RACE_ADOPT, ADOPT
    ),
    case("not before them", a_view(cluster=a_cluster("a"), peers={}), Code.RACE_ASKING, AskPeers(("b", "c"))),
    case(
        "not if somebody is ahead",
        a_view(cluster=a_cluster("a"), peers=answers(b=an_answer(5001))),
        Code.RACE_RELEASED,
        RELEASE,
    ),
    case(
        "a refusal of another lock does not hinder a standby", a_free(lease=Lease(is_refused=True)), Code.RACE_ACQUIRE, ACQUIRE
    ),
]


def asked(candidate: str | None, leader: str | None, **changes: Any) -> dict[str, Any]:
    """Return what differs in the view of a node that has seen this request for some time."""
    request = a_request(candidate, leader)
    memory = replace(changes.pop("memory", a_memory()), request=request, request_since_s=NOW_S - 2.0)
    return {"cluster": a_cluster(None, failover=request, failover_token=FAILOVER), "memory": memory, **changes}


LEFT = a_memory(rival_since_s={"c": NOW_S - 30})
EARLIER = Silent(age_s=2.1)
REQUESTED = [
    case("we are asked", a_free(**asked("a", "b", peers={})), Code.RACE_ACQUIRE, ACQUIRE),
    case("we are asked, and not allowed", a_free(**asked("a", "b", settings=tagged(nofailover=True))), Code.RACE_NOT_ALLOWED),
    case("c is asked: is it well?", a_free(**asked("c", "b", peers={})), Code.RACE_ASKING, AskPeers(("c",))),
    case("c is well", a_free(**asked("c", "b")), Code.RACE_CANDIDATE),
    case("c is silent", a_free(**asked("c", "b", peers=answers(c=DEAD))), Code.RACE_ACQUIRE, ACQUIRE),
    case(
        "it was before it was asked for",
        a_free(**asked("c", "b", peers=answers(c=EARLIER))),
        Code.RACE_ASKING,
        AskPeers(("c",)),
    ),
    case("c can't lead", a_free(**asked("c", "b", peers=answers(c=an_answer(nofailover=True)))), Code.RACE_ACQUIRE, ACQUIRE),
    case("c has left the key alone", a_free(**asked("c", "b", memory=LEFT)), Code.RACE_ACQUIRE, ACQUIRE),
    case("c is no member", a_free(**asked("x", "b")), Code.RACE_ACQUIRE, ACQUIRE),
    case(
        "c has no address",
        a_free(cluster=a_cluster(None, a_member("c", api_url=None), failover=a_request("c", "b"))),
        Code.RACE_ACQUIRE,
        ACQUIRE,
    ),
    case("anybody but b: b is not asked", a_free(**asked(None, "b", peers={"c": an_answer()})), Code.RACE_ACQUIRE, ACQUIRE),
    case("anybody but b: c is ahead", a_free(**asked(None, "b", peers={"c": an_answer(5001)})), Code.RACE_PEER_AHEAD),
    case(
        "the lag does not count",
        a_free(cluster=a_cluster(None, status=Status(lsn=Lsn(9999999)), failover=a_request(None, "b"))),
        Code.RACE_ACQUIRE,
        ACQUIRE,
    ),
    case(
        "the timeline does",
        a_free(cluster=a_cluster(None, history=TL2, failover=a_request(None, "b")), settings=CHECKED),
        Code.RACE_TIMELINE,
    ),
    case("we stepped down: could anybody lead?", a_free(**asked(None, "a", peers={})), Code.RACE_ASKING, AskPeers(("b", "c"))),
    case("we stepped down, and b could", a_free(**asked(None, "a", peers={"b": an_answer()})), Code.RACE_FAILOVER_POSSIBLE),
    case(
        "but has left the key alone", a_free(**asked(None, "a", peers=answers(b=DEAD), memory=LEFT)), Code.RACE_ACQUIRE, ACQUIRE
    ),
    case(
        "we stepped down, and nobody could",
        a_free(**asked(None, "a", peers=answers(b=DEAD, c=DEAD))),
        Code.RACE_ACQUIRE,
        ACQUIRE,
    ),
    case(
        "we stepped down for c, which is dead, and b could",
        a_free(**asked("c", "a", peers=answers(c=DEAD))),
        Code.RACE_FAILOVER_POSSIBLE,
    ),
    case(
        "we stepped down for c, which is dead, and b is not",
        a_free(**asked("c", "a", peers=answers(c=DEAD, b=DEAD))),
        Code.RACE_ACQUIRE,
        ACQUIRE,
    ),
    case(
        "a manual failover to c, which is dead", a_free(**asked("c", None, peers=answers(c=DEAD))), Code.RACE_ACQUIRE, ACQUIRE
    ),
]

PATIENT = settings(primary_race_backoff_s=30.0)


def moving(since_s: float | None, moved_s: float | None = 1.0, **changes: Any) -> dict[str, Any]:
    memory = a_memory(
        last_lsn=LSN,
        moved_at_s=None if moved_s is None else NOW_S - moved_s,
        race_backoff_since_s=None if since_s is None else NOW_S - since_s,
    )
    return {"memory": memory, "settings": PATIENT, **changes}


BACKOFF = [
    case("the first moment", a_free(**moving(None)), Code.RACE_BACKOFF),
    case("the first loop_wait, whatever moves", a_free(**moving(9.9, None)), Code.RACE_BACKOFF),
    case("nothing moves", a_free(**moving(10.0, None)), Code.RACE_ACQUIRE, ACQUIRE),
    case("WAL still arrives", a_free(**moving(29.9)), Code.RACE_BACKOFF),
    case("it did, loop_wait ago", a_free(**moving(29.9, 10.1)), Code.RACE_ACQUIRE, ACQUIRE),
    case("it does not stream", a_free(a_standby(replication_state=None), **moving(29.9)), Code.RACE_ACQUIRE, ACQUIRE),
    case("the time is over", a_free(**moving(30.0)), Code.RACE_ACQUIRE, ACQUIRE),
    case("no position was seen before", a_free(a_standby(lsn=None), settings=PATIENT), Code.RACE_POSITION_UNKNOWN),
    case("a primary does not wait", a_free(a_primary(), **moving(1.0)), Code.RACE_ACQUIRE, ACQUIRE),
    case(
        "a candidate does not wait",
        a_free(cluster=a_cluster(None, failover=a_request("a")), **moving(1.0)),
        Code.RACE_ACQUIRE,
        ACQUIRE,
    ),
    case(
        "its own lock is not raced for", a_view(cluster=a_cluster("a"), peers=answers(), **moving(1.0)), Code.RACE_ADOPT, ADOPT
    ),
]

CASES = [*RACE, *RIVALS, *PRIMARIES, *REQUESTED, *BACKOFF]


@rows(CASES)
def test_leader_race(row: Case) -> None:
    decision = decide(row.given)
    assert (decision.because.code, decision.actions) == (row.code, row.actions)


def test_asking_is_timed_from_its_beginning_and_ends_with_a_verdict() -> None:
    first = decide(a_free(peers={})).memory
    assert first.asking_since_s == NOW_S
    assert decide(a_free(peers={}, memory=first, now_s=NOW_S + 2)).memory.asking_since_s == NOW_S
    assert decide(a_free(memory=first)).memory.asking_since_s is None
    assert decide(a_free(memory=first, peers=answers(c=an_answer(5001)))).memory.asking_since_s is None
    assert decide(a_view(memory=first)).memory.asking_since_s is None


def test_a_peer_that_ought_to_take_the_key_is_timed_from_when_it_was_seen() -> None:
    seen = decide(a_free(peers=answers(c=an_answer(5001)))).memory
    assert seen.rival_since_s == {"b": NOW_S, "c": NOW_S}
    later = decide(a_free(cluster=a_cluster(None, failover=a_request("d")), memory=seen, now_s=NOW_S + 5)).memory
    assert later.rival_since_s == {"b": NOW_S, "c": NOW_S, "d": NOW_S + 5}
    assert later.key_free_since_s == NOW_S
    assert decide(a_view(memory=later)).memory.rival_since_s == {}


def test_a_waiting_node_looks_again_when_its_patience_ends() -> None:
    given = a_free(peers=answers(c=an_answer(5001)), memory=a_memory(rival_since_s={"b": NOW_S - 40, "c": NOW_S - 27}))
    assert decide(given).wake_at_s == NOW_S + 3


def test_standing_back() -> None:
    assert is_standing_back(a_view(memory=a_memory(released_at_s=NOW_S)))
    assert not is_standing_back(a_view())


def test_the_back_off_is_timed_once_and_ends_with_a_leader() -> None:
    given = a_free(**moving(None))
    noted = decide(given).memory
    assert noted.race_backoff_since_s == NOW_S
    assert decide(replace(given, memory=noted, now_s=NOW_S + 3)).memory.race_backoff_since_s == NOW_S
    assert decide(a_view(memory=noted)).memory.race_backoff_since_s is None
