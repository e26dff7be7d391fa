"""Another node leads: follow it, and is our history its own (contract/ha_behaviour.md §2.17, 2.18, §5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from patroni.decision.actions import (
    AskHistory,
    AskPeers,
    CrashRecovery,
    Follow,
    Reinitialize,
    ResumeReplay,
    Rewind,
    StartAsStandby,
    SyncSlots,
)
from patroni.decision.cluster import Lsn, PostgresState, Role, SlotName, Tags, Timeline
from patroni.decision.decide import decide
from patroni.decision.fact import address_of, slot_name
from patroni.decision.node import ClusterState, JobKind, Node
from patroni.decision.reasons import Code
from patroni.decision.view import LeaderHistory, Memory, RewindState, Silent
from tests.decision.builders import (
    LSN,
    NOW_S,
    Case,
    a_cluster,
    a_dead,
    a_free,
    a_leader_history,
    a_member,
    a_memory,
    a_primary,
    a_slot,
    a_standby,
    a_view,
    an_answer,
    an_outcome,
    case,
    control,
    members,
    rows,
    settings,
    tagged,
    upstream,
    url,
)

FOLLOW = [
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

REWINDS = settings(use_pg_rewind=True)
REMOVES = settings(remove_data_directory_on_diverged_timelines=True)
ASK = AskHistory(member="b", conn_url=url("b"))
REWIND = Rewind(member="b", conn_url=url("b"))
REINIT = Reinitialize(member="b", conn_url=url("b"), upstream=upstream("b"))
CHECK = a_memory(rewind=RewindState.CHECK)
NEEDED = a_memory(rewind=RewindState.NEEDED)
FAILED = a_memory(rewind=RewindState.FAILED)
LATER = a_leader_history(4000)  # timeline 1 ended at 4000: we are beyond
CLEAN = a_dead(Role.DEMOTED, state=PostgresState.STOPPED, control=control(ClusterState.SHUT_DOWN, checkpoint_lsn=LSN))
START = StartAsStandby(upstream=upstream("b"), timeout_s=None)
NOT_CHECKPOINTED = a_cluster("b", members=members(a_member("b", role=Role.PRIMARY, checkpoint_after_promote=False)))
LEADER_NOT_READY = a_cluster("b", members=members(a_member("b")))
NO_URL = a_cluster("b", members=members(a_member("b", role=Role.PRIMARY, conn_url=None)))
REWOUND = an_outcome(JobKind.REWIND, subject="b")
UNREWOUND = an_outcome(JobKind.REWIND, subject="b", is_ok=False, age_s=1.0)
DIVERGED = [
    case("compare beside the work", a_view(memory=CHECK, settings=REWINDS), Code.FOLLOWER_OK, ASK),
    case(
        "the first turn does",
        a_view(memory=Memory(following=upstream("b"), has_followed=True), settings=REWINDS),
        Code.FOLLOWER_OK,
        ASK,
    ),
    case(
        "the answer did not help: later",
        a_view(memory=CHECK, settings=REWINDS, leader_history=a_leader_history(is_primary=False)),
        Code.FOLLOWER_OK,
    ),
    case(
        "later",
        a_view(memory=CHECK, settings=REWINDS, leader_history=a_leader_history(is_primary=False, age_s=1.0)),
        Code.FOLLOWER_OK,
        ASK,
    ),
    case("the leader is no primary yet", a_view(cluster=LEADER_NOT_READY, memory=CHECK, settings=REWINDS), Code.FOLLOWER_OK),
    case("the leader has no address", a_view(cluster=NO_URL, memory=CHECK, settings=REWINDS), Code.FOLLOWER_OK),
    case("diverged: rewind", a_view(memory=CHECK, settings=REWINDS, leader_history=LATER), Code.REWIND, REWIND),
    case("not diverged", a_view(memory=CHECK, settings=REWINDS, leader_history=a_leader_history(5000)), Code.FOLLOWER_OK),
    case("diverged, nothing is allowed", a_view(memory=NEEDED), Code.FOLLOWER_OK),
    case(
        "diverged, its checkpoint is not made",
        a_view(cluster=NOT_CHECKPOINTED, memory=NEEDED, settings=REWINDS, leader_history=LATER),
        Code.REWIND_WAITING,
    ),
    case("diverged, the leader has said nothing", a_view(memory=NEEDED, settings=REWINDS), Code.REWIND_WAITING, ASK),
    case(
        "diverged, its answer is old",
        a_view(memory=NEEDED, settings=REWINDS, leader_history=replace(LATER, age_s=3.1)),
        Code.REWIND_WAITING,
        ASK,
    ),
    case(
        "diverged, it is somebody else's",
        a_view(memory=NEEDED, settings=REWINDS, leader_history=replace(LATER, member="c")),
        Code.REWIND_WAITING,
        ASK,
    ),
    case(
        "diverged, it is no primary",
        a_view(memory=NEEDED, settings=REWINDS, leader_history=replace(LATER, is_primary=False)),
        Code.REWIND_WAITING,
    ),
    case(
        "diverged, no control data",
        a_view(a_standby(control=None), memory=NEEDED, settings=REMOVES, leader_history=LATER),
        Code.FOLLOWER_OK,
    ),
    case("diverged, no address of the leader", a_view(cluster=NO_URL, memory=NEEDED, settings=REWINDS), Code.FOLLOWER_OK),
    case(
        "diverged, no checksums, clone",
        a_view(a_standby(control=control(can_rewind=False)), memory=NEEDED, settings=REMOVES, leader_history=LATER),
        Code.REINITIALIZE,
        REINIT,
    ),
    case("clone, but the leader said nothing", a_view(memory=NEEDED, settings=REMOVES), Code.REWIND_WAITING, ASK),
    case(
        "clone, but the leader is no primary",
        a_view(cluster=LEADER_NOT_READY, memory=NEEDED, settings=REMOVES, leader_history=LATER),
        Code.REWIND_WAITING,
    ),
    case(
        "the leader's timeline has passed ours",
        a_view(cluster=a_cluster(members=members(a_member("b", role=Role.PRIMARY, timeline=Timeline(2)))), settings=REWINDS),
        Code.FOLLOWER_OK,
        ASK,
    ),
    case("down: ask first", a_view(CLEAN, settings=REWINDS), Code.REWIND_CHECKING, ASK),
    case(
        "down: the answer did not help",
        a_view(CLEAN, settings=REWINDS, leader_history=a_leader_history(is_primary=False)),
        Code.RECOVER_REPLICA,
        START,
    ),
    case(
        "down: no answer for too long",
        a_view(CLEAN, settings=REWINDS, memory=a_memory(history_asked_at_s=NOW_S - 10.1)),
        Code.RECOVER_REPLICA,
        START,
    ),
    case(
        "down: not yet",
        a_view(CLEAN, settings=REWINDS, memory=a_memory(history_asked_at_s=NOW_S - 10.0)),
        Code.REWIND_CHECKING,
        ASK,
    ),
    case("down: the leader is no primary yet", a_view(CLEAN, LEADER_NOT_READY, settings=REWINDS), Code.RECOVER_REPLICA, START),
    case(
        "down: the own end is unknown",
        a_view(a_dead(Role.REPLICA, control=control(None)), settings=REWINDS),
        Code.RECOVER_REPLICA,
        START,
    ),
    case("down: diverged", a_view(CLEAN, settings=REWINDS, leader_history=a_leader_history(4000)), Code.REWIND, REWIND),
    case(
        "down: ended where the leader went on",
        a_view(
            replace(CLEAN, control=control(ClusterState.SHUT_DOWN, checkpoint_lsn=Lsn(3900), checkpoint_end_lsn=Lsn(4000))),
            settings=REWINDS,
            leader_history=a_leader_history(4000),
        ),
        Code.RECOVER_REPLICA,
        START,
    ),
    case(
        "down: a replica that died is recovered first",
        a_view(a_dead(Role.REPLICA), settings=REWINDS, memory=NEEDED, leader_history=LATER),
        Code.REWIND_SINGLE_USER,
        CrashRecovery(),
    ),
    case(
        "down: once",
        a_view(a_dead(Role.REPLICA), settings=REWINDS, memory=replace(NEEDED, crash_recovery_at_s=NOW_S), leader_history=LATER),
        Code.REWIND,
        REWIND,
    ),
    case(
        "down: not with a backup label",
        a_view(a_dead(Role.REPLICA, has_backup_label=True), settings=REWINDS, memory=NEEDED, leader_history=LATER),
        Code.REWIND,
        REWIND,
    ),
    case(
        "rewound: start",
        a_view(replace(CLEAN, last_job=REWOUND), settings=REWINDS, memory=NEEDED, leader_history=LATER),
        Code.RECOVER_REPLICA,
        START,
    ),
    case(
        "failed, the leader is well: start as it is",
        a_view(replace(CLEAN, last_job=UNREWOUND), settings=REWINDS, memory=NEEDED, leader_history=LATER),
        Code.RECOVER_REPLICA,
        START,
    ),
    case(
        "failed, the leader has not spoken since",
        a_view(replace(CLEAN, last_job=UNREWOUND), settings=REWINDS, memory=NEEDED, leader_history=replace(LATER, age_s=1.0)),
        Code.REWIND,
        REWIND,
    ),
    case(
        "failed, the leader came back later",
        a_view(replace(CLEAN, last_job=replace(UNREWOUND, age_s=5.1)), settings=REWINDS, memory=NEEDED, leader_history=LATER),
        Code.REWIND,
        REWIND,
    ),
    case(
        "failed, and nothing can be rewound any more",
        a_view(
            replace(CLEAN, last_job=UNREWOUND, control=control(ClusterState.SHUT_DOWN, can_rewind=False)),
            settings=REWINDS,
            memory=NEEDED,
        ),
        Code.RECOVER_REPLICA,
        START,
    ),
    case(
        "failed: clone",
        a_view(
            CLEAN,
            settings=settings(use_pg_rewind=True, remove_data_directory_on_rewind_failure=True),
            memory=FAILED,
            leader_history=LATER,
        ),
        Code.REINITIALIZE,
        REINIT,
    ),
    case(
        "failed: clone, by the other setting",
        a_view(CLEAN, settings=REMOVES, memory=FAILED, leader_history=LATER),
        Code.REINITIALIZE,
        REINIT,
    ),
    case(
        "not yet tried: another job was last",
        a_view(replace(CLEAN, last_job=an_outcome(JobKind.DEMOTE)), settings=REWINDS, memory=NEEDED, leader_history=LATER),
        Code.REWIND,
        REWIND,
    ),
]

CASES = [*FOLLOW, *DIVERGED]


@rows(CASES)
def test_standby(row: Case) -> None:
    decision = decide(row.given)
    assert (decision.because.code, decision.actions) == (row.code, row.actions)


RECOVERING = ClusterState.SHUT_DOWN_IN_RECOVERY
MINIMUM = {"minimum_recovery_lsn": Lsn(4500), "minimum_recovery_timeline": Timeline(1)}


@pytest.mark.parametrize(
    ("control_changes", "history", "then"),
    [
        pytest.param({}, a_leader_history(timeline=1), RewindState.NOT_NEEDED, id="the same timeline"),
        pytest.param(
            {"timeline": Timeline(3)}, a_leader_history(timeline=2), RewindState.NEEDED, id="a newer timeline than the leader's"
        ),
        pytest.param({}, a_leader_history(timeline=None), RewindState.NOT_NEEDED, id="the leader names no timeline"),
        pytest.param({}, a_leader_history(), RewindState.NOT_NEEDED, id="the leader names no switch"),
        pytest.param(
            {"timeline": Timeline(2)},
            a_leader_history(4000, timeline=3),
            RewindState.NEEDED,
            id="a timeline that the leader never had",
        ),
        pytest.param(
            {"timeline": Timeline(1)},
            replace(a_leader_history(1, 2, timeline=3), rows=a_leader_history(1, 2).rows[1:]),
            RewindState.NEEDED,
            id="one that it has forgotten",
        ),
        pytest.param({}, a_leader_history(4900), RewindState.NEEDED, id="the checkpoint begins at the switch"),
        pytest.param({}, a_leader_history(4901), RewindState.NEEDED, id="the end of the checkpoint is unknown"),
        pytest.param(
            {"checkpoint_end_lsn": Lsn(4950)}, a_leader_history(4950), RewindState.NOT_NEEDED, id="it ends at the switch"
        ),
        pytest.param(
            {"checkpoint_end_lsn": Lsn(4950)}, a_leader_history(4951), RewindState.NEEDED, id="it ends before the switch"
        ),
        pytest.param(
            {"cluster_state": RECOVERING, **MINIMUM},
            a_leader_history(4500),
            RewindState.NOT_NEEDED,
            id="a standby at the switch",
        ),
        pytest.param(
            {"cluster_state": RECOVERING, **MINIMUM},
            a_leader_history(4499),
            RewindState.NEEDED,
            id="a standby beyond the switch",
        ),
        pytest.param(
            {"cluster_state": RECOVERING},
            a_leader_history(4900),
            RewindState.NEEDED,
            id="without a minimum it counts as a primary",
        ),
        pytest.param({"cluster_state": ClusterState.STARTING_UP}, a_leader_history(1), RewindState.CHECK, id="no known end"),
    ],
)
def test_comparison(control_changes: Mapping[str, Any], history: LeaderHistory, then: RewindState) -> None:
    node = replace(CLEAN, control=control(**{"state": ClusterState.SHUT_DOWN, **control_changes}))
    assert decide(a_view(node, settings=REWINDS, leader_history=history, memory=CHECK)).memory.rewind is then


@pytest.mark.parametrize(
    ("node", "given", "then"),
    [
        pytest.param(a_standby(timeline=None), CHECK, RewindState.CHECK, id="a running one does not say its timeline"),
        pytest.param(a_standby(replay_lsn=None), CHECK, RewindState.CHECK, id="nor where it is"),
        pytest.param(a_standby(replay_lsn=Lsn(4001)), CHECK, RewindState.NEEDED, id="a running one beyond the switch"),
        pytest.param(a_standby(replay_lsn=Lsn(4000)), CHECK, RewindState.NOT_NEEDED, id="a running one at the switch"),
        pytest.param(a_standby(), a_memory(rewind=RewindState.SUCCESS), RewindState.INITIAL, id="rewound and running"),
        pytest.param(a_dead(Role.REPLICA), a_memory(rewind=RewindState.SUCCESS), RewindState.SUCCESS, id="rewound and down"),
        pytest.param(a_dead(Role.REPLICA), a_memory(rewind=RewindState.FAILED), RewindState.FAILED, id="failed and down"),
        pytest.param(a_primary(), CHECK, RewindState.INITIAL, id="a primary compares nothing"),
        pytest.param(a_standby(control=control(can_rewind=False)), Memory(), RewindState.INITIAL, id="nothing could be done"),
        pytest.param(a_standby(control=None, replay_lsn=None), Memory(), RewindState.CHECK, id="perhaps something could"),
    ],
)
def test_what_is_known_of_the_history(node: Node, given: Memory, then: RewindState) -> None:
    view = a_view(node, settings=REWINDS, leader_history=LATER, memory=given)
    assert decide(view).memory.rewind is then


def test_a_timeline_that_was_passed_is_compared_once_a_loop_wait() -> None:
    passed = a_cluster(members=members(a_member("b", role=Role.PRIMARY, timeline=Timeline(2))))
    ahead = a_leader_history(5000, age_s=9.9)
    assert decide(a_view(cluster=passed, settings=REWINDS, leader_history=ahead)).memory.rewind is RewindState.INITIAL
    assert (
        decide(a_view(cluster=passed, settings=REWINDS, leader_history=replace(ahead, age_s=10.0))).memory.rewind
        is RewindState.CHECK
    )
    unknown = a_cluster(members=members(a_member("b", role=Role.PRIMARY, timeline=None)))
    assert decide(a_view(cluster=unknown, settings=REWINDS)).memory.rewind is RewindState.INITIAL


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
