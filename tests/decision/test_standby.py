"""Another node leads: follow it (contract/ha_behaviour.md §2.17, 2.18)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from patroni.decision.actions import (
    AskPeers,
    Follow,
    ResumeReplay,
    SyncSlots,
)
from patroni.decision.cluster import PostgresState, SlotName, Tags
from patroni.decision.decide import decide
from patroni.decision.fact import address_of, slot_name
from patroni.decision.node import Upstream
from patroni.decision.reasons import Code
from patroni.decision.view import Memory, Silent
from tests.decision.builders import (
    NOW_S,
    Case,
    a_cluster,
    a_free,
    a_member,
    a_memory,
    a_slot,
    a_standby,
    a_view,
    an_answer,
    case,
    members,
    rows,
    settings,
    tagged,
    upstream,
)


def told(ago_s: float, following: Upstream) -> Memory:
    return a_memory(following=following, told_at_s=NOW_S - ago_s, followed_at_s=NOW_S - ago_s)


CASES = [
    case("all is well", a_view(), Code.FOLLOWER_OK),
    case(
        "the first turn writes our configuration",
        a_view(memory=a_memory(has_followed=False)),
        Code.FOLLOWER_OK,
        Follow(upstream("b")),
    ),
    case("another leader", a_view(cluster=a_cluster("c")), Code.FOLLOWER_OK, Follow(upstream("c"))),
    case(
        "another port", a_view(a_standby(upstream=replace(upstream("b"), port=5433))), Code.FOLLOWER_OK, Follow(upstream("b"))
    ),
    case(
        "no slot any more",
        a_view(settings=settings(use_slots=False)),
        Code.FOLLOWER_OK,
        Follow(replace(upstream("b"), slot=None)),
    ),
    case("it does not say, but was told", a_view(a_standby(upstream=None)), Code.FOLLOWER_OK),
    case(
        "it does not say, and was told else",
        a_view(a_standby(upstream=None), memory=a_memory(following=upstream("c"))),
        Code.FOLLOWER_OK,
        Follow(upstream("b")),
    ),
    case("it does not say what it is", a_view(a_standby(is_in_recovery=None)), Code.PG_UNREACHABLE),
    case(
        "the leader has no member key",
        a_view(cluster=a_cluster(members=members(a_member("b", conn_url=None)))),
        Code.FOLLOWER_OK,
    ),
    case(
        "the leader's address is none",
        a_view(cluster=a_cluster(members=members(a_member("b", conn_url="postgres://[::1")))),
        Code.FOLLOWER_OK,
    ),
    case("the leader is not there", a_view(cluster=a_cluster(members={})), Code.FOLLOWER_OK),
    case("nobody leads: the upstream stays", a_free(settings=tagged(nofailover=True)), Code.RACE_NOT_ALLOWED),
    case("not streaming by its tag", a_view(settings=tagged(nostream=True)), Code.FOLLOWER_OK, Follow(None)),
    case(
        "it was told so",
        a_view(a_standby(upstream=None), settings=tagged(nostream=True), memory=a_memory(following=None)),
        Code.FOLLOWER_OK,
    ),
    case("from c by its tag", a_view(settings=tagged(replicatefrom="c")), Code.FOLLOWER_OK, Follow(upstream("c"))),
    case("from a member that is none", a_view(settings=tagged(replicatefrom="x")), Code.FOLLOWER_OK),
    case("from itself", a_view(settings=tagged(replicatefrom="a")), Code.FOLLOWER_OK),
    case(
        "just turned to its leader and refused",
        a_view(a_standby(replication_state=None), memory=a_memory(followed_at_s=NOW_S - 10.0)),
        Code.FOLLOWER_OK,
        Follow(upstream("b")),
    ),
    case(
        "turned to it longer ago",
        a_view(a_standby(replication_state=None), memory=a_memory(followed_at_s=NOW_S - 10.1)),
        Code.FOLLOWER_OK,
    ),
    case(
        "its stream was cut just now: ask ahead, and try again",
        a_view(a_standby(replication_state=None), is_leader_silent=True, memory=a_memory(followed_at_s=NOW_S - 10.0)),
        Code.FOLLOWER_OK,
        AskPeers(("b", "c")),
        Follow(upstream("b")),
    ),
    case(
        "cut, and Postgres itself may be connecting: ask ahead",
        a_view(
            a_standby(replication_state=None, probe_age_s=0.1),
            is_leader_silent=True,
            memory=a_memory(followed_at_s=NOW_S - 0.24),
        ),
        Code.FOLLOWER_OK,
        AskPeers(("b", "c")),
    ),
    case(
        "cut, and it has not come back by itself",
        a_view(a_standby(replication_state=None, probe_age_s=0.1), memory=a_memory(followed_at_s=NOW_S - 0.25)),
        Code.FOLLOWER_OK,
        Follow(upstream("b")),
    ),
    case(
        "told just now: it has not said yet whether it streams",
        a_view(a_standby(replication_state=None, probe_age_s=0.1), memory=told(0.24, following=upstream("b"))),
        Code.FOLLOWER_OK,
    ),
    case(
        "told just now: what it says is of before",
        a_view(a_standby(upstream=upstream("c"), probe_age_s=0.1), memory=told(0.24, following=upstream("b"))),
        Code.FOLLOWER_OK,
    ),
    case(
        "told, and it still follows somebody else",
        a_view(a_standby(upstream=upstream("c"), probe_age_s=0.1), memory=told(0.25, following=upstream("b"))),
        Code.FOLLOWER_OK,
        Follow(upstream("b")),
    ),
    case(
        "told, and it has not answered at all",
        a_view(a_standby(replication_state=None, probe_age_s=None), memory=told(9.0, following=upstream("b"))),
        Code.FOLLOWER_OK,
    ),
    case(
        "told just now of a leader that was followed by another",
        a_view(a_standby(upstream=upstream("c"), probe_age_s=0.1), memory=told(0.01, following=upstream("c"))),
        Code.FOLLOWER_OK,
        Follow(upstream("b")),
    ),
    case(
        "a longer time ago: ask ahead",
        a_view(a_standby(replication_state=None), is_leader_silent=True, memory=a_memory(followed_at_s=NOW_S - 10.1)),
        Code.FOLLOWER_OK,
        AskPeers(("b", "c")),
    ),
    case("just turned to it and streaming", a_view(memory=a_memory(followed_at_s=NOW_S)), Code.FOLLOWER_OK),
    case(
        "just told to stream from nobody",
        a_view(
            a_standby(replication_state=None, upstream=None),
            settings=tagged(nostream=True),
            memory=a_memory(following=None, followed_at_s=NOW_S),
        ),
        Code.FOLLOWER_OK,
    ),
    case("replay is paused", a_view(a_standby(is_replay_paused=True)), Code.FOLLOWER_OK, ResumeReplay()),
    case("so it is in an election", a_free(a_standby(is_replay_paused=True)), Code.NO_ACTION, ResumeReplay()),
    case("before 14 Postgres does not pause by itself", a_view(a_standby(is_replay_paused=True, major=13)), Code.FOLLOWER_OK),
    case("its version is unknown", a_view(a_standby(is_replay_paused=True, major=None)), Code.FOLLOWER_OK),
    case("it is starting", a_view(a_standby(is_replay_paused=True, state=PostgresState.STARTING)), Code.FOLLOWER_OK),
    case(
        "c streams from us",
        a_view(cluster=a_cluster("b", a_member("c", tags=Tags(replicatefrom="a")))),
        Code.FOLLOWER_OK,
        SyncSlots(create=(SlotName("c"),), drop=()),
    ),
    case(
        "the leader does not",
        a_view(cluster=a_cluster(members=members(a_member("b", tags=Tags(replicatefrom="a"))))),
        Code.FOLLOWER_OK,
    ),
    case(
        "a former leader keeps no slots",
        a_view(a_standby(slots=(a_slot("c", is_active=False),))),
        Code.FOLLOWER_OK,
        SyncSlots(create=(), drop=(SlotName("c"),)),
    ),
    case(
        "a starting one does not say its slots",
        a_view(a_standby(state=PostgresState.STARTING, is_in_recovery=None, slots=(a_slot("c", is_active=False),))),
        Code.FOLLOWER_OK,
    ),
    case("the leader is silent: ask ahead", a_view(is_leader_silent=True), Code.FOLLOWER_OK, AskPeers(("b", "c"))),
    case(
        "not those who are silent",
        a_view(is_leader_silent=True, peers={"b": Silent(age_s=9.0)}),
        Code.FOLLOWER_OK,
        AskPeers(("c",)),
    ),
    case(
        "again when the answer grows old",
        a_view(is_leader_silent=True, peers={"b": Silent(age_s=9.0), "c": an_answer(age_s=2.0)}),
        Code.FOLLOWER_OK,
        AskPeers(("c",)),
    ),
    case(
        "not before", a_view(is_leader_silent=True, peers={"b": Silent(age_s=9.0), "c": an_answer(age_s=1.9)}), Code.FOLLOWER_OK
    ),
    case("not if it will not race", a_view(is_leader_silent=True, settings=tagged(nofailover=True)), Code.FOLLOWER_OK),
]


@rows(CASES)
def test_standby(row: Case) -> None:
    decision = decide(row.given)
    assert (decision.because.code, decision.actions) == (row.code, row.actions)


@pytest.mark.parametrize(
    ("given", "then"),
    [
        ("postgres://h:5433/postgres", ("h", 5433)),
        ("postgres://h/postgres", ("h", 5432)),
        ("postgres://[::1]:5433/postgres", ("::1", 5433)),
        ("postgres://:5432/postgres", None),
        ("postgres://h:x/postgres", None),
        ("postgres://[::1", None),
        ("", None),
        (None, None),
    ],
)
def test_address_of(given: str | None, then: tuple[str, int] | None) -> None:
    assert address_of(given) == then


@pytest.mark.parametrize(
    ("given", "then"),
    [("a", "a"), ("Node-1.x", "node_1_x"), ("a_b", "a_b"), ("a b", "au0032b"), ("é", "u0233"), ("n" * 70, "n" * 63)],
)
def test_slot_name(given: str, then: str) -> None:
    assert slot_name(given) == then


@pytest.mark.parametrize(("state", "noted_s"), [("streaming", NOW_S), (None, NOW_S - 3.0)])
def test_the_last_moment_of_streaming_is_remembered(state: str | None, noted_s: float) -> None:
    given = a_view(a_standby(replication_state=state), memory=a_memory(followed_at_s=NOW_S - 3.0))
    assert decide(given).memory.followed_at_s == noted_s
