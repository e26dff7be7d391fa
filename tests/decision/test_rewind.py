"""Has our history left the leader's, and what then (contract/ha_behaviour.md §5.1-5.4, 5.6)."""

# builders hand any field on to the records

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from patroni.decision.actions import (
    AskHistory,
    CrashRecovery,
    Reinitialize,
    Rewind,
    StartAsStandby,
)
from patroni.decision.cluster import Lsn, PostgresState, Role, Timeline
from patroni.decision.decide import decide
from patroni.decision.node import ClusterState, JobKind, JobOutcome, Node
from patroni.decision.reasons import Code
from patroni.decision.view import LeaderHistory, Memory, RewindState
from tests.decision.builders import (
    LSN,
    NOW_S,
    Case,
    a_cluster,
    a_dead,
    a_job,
    a_leader_history,
    a_member,
    a_memory,
    a_primary,
    a_standby,
    a_view,
    an_outcome,
    case,
    control,
    members,
    rows,
    settings,
    upstream,
    url,
)

REWINDS = settings(use_pg_rewind=True)
REMOVES = settings(remove_data_directory_on_diverged_timelines=True)
ASK = AskHistory(member="b", conn_url=url("b"), ours=(Timeline(1), 5000))
ASK_DOWN = ASK  # up to the begin of its shutdown checkpoint, where the record before ends
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
PASSED = a_cluster(members=members(a_member("b", role=Role.PRIMARY, timeline=Timeline(2))))
CASES = [
    case("compare beside the work", a_view(memory=CHECK, settings=REWINDS, leader_history=None), Code.FOLLOWER_OK, ASK),
    case(
        "the first turn does",
        a_view(memory=Memory(following=upstream("b"), has_followed=True), settings=REWINDS, leader_history=None),
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
    case(
        "diverged, the leader has said nothing",
        a_view(memory=NEEDED, settings=REWINDS, leader_history=None),
        Code.REWIND_WAITING,
        ASK,
    ),
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
    case(
        "clone, but the leader said nothing",
        a_view(memory=NEEDED, settings=REMOVES, leader_history=None),
        Code.REWIND_WAITING,
        ASK,
    ),
    case(
        "clone, but the leader is no primary",
        a_view(cluster=LEADER_NOT_READY, memory=NEEDED, settings=REMOVES, leader_history=LATER),
        Code.REWIND_WAITING,
    ),
    case(
        "the leader's timeline has passed ours",
        a_view(cluster=PASSED, settings=REWINDS, leader_history=a_leader_history(5000, age_s=10.0)),
        Code.FOLLOWER_OK,
        ASK,
    ),
    case(
        "another leader has the same timeline",
        a_view(settings=REWINDS, leader_history=a_leader_history(timeline=1, member="c")),
        Code.FOLLOWER_OK,
        ASK,
    ),
    case(
        "it was asked just now",
        a_view(memory=replace(CHECK, compared_at_s=NOW_S - 0.9), leader_history=None),
        Code.FOLLOWER_OK,
    ),
    case(
        "it was asked, and has not answered",
        a_view(memory=replace(CHECK, compared_at_s=NOW_S - 1.0), leader_history=None),
        Code.FOLLOWER_OK,
        ASK,
    ),
    case(
        "the leader's timeline is older than ours",
        a_view(
            a_standby(timeline=Timeline(3)),
            PASSED,
            settings=REWINDS,
            leader_history=a_leader_history(5000, age_s=10.0),
        ),
        Code.FOLLOWER_OK,
        replace(ASK, ours=(Timeline(3), 5000)),
    ),
    case("down: ask first", a_view(CLEAN, settings=REWINDS, leader_history=None), Code.REWIND_CHECKING, ASK_DOWN),
    case(
        "down: the answer did not help",
        a_view(CLEAN, settings=REWINDS, leader_history=a_leader_history(is_primary=False)),
        Code.RECOVER_REPLICA,
        START,
    ),
    case(
        "down: no answer for too long",
        a_view(CLEAN, settings=REWINDS, memory=a_memory(history_asked_at_s=NOW_S - 10.1), leader_history=None),
        Code.RECOVER_REPLICA,
        START,
    ),
    case(
        "down: not yet",
        a_view(CLEAN, settings=REWINDS, memory=a_memory(history_asked_at_s=NOW_S - 10.0), leader_history=None),
        Code.REWIND_CHECKING,
        ASK_DOWN,
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


@rows(CASES)
def test_rewind(row: Case) -> None:
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
        pytest.param(
            a_standby(control=control(can_rewind=False)), Memory(), RewindState.NEEDED, id="even where nothing can be done"
        ),
        pytest.param(
            a_dead(Role.REPLICA, control=control(ClusterState.SHUT_DOWN, can_rewind=False, checkpoint_lsn=Lsn(3000))),
            NEEDED,
            RewindState.NEEDED,
            id="and then compared anew",
        ),
        pytest.param(a_standby(control=None, replay_lsn=None), Memory(), RewindState.CHECK, id="perhaps something could"),
    ],
)
def test_what_is_known_of_the_history(node: Node, given: Memory, then: RewindState) -> None:
    view = a_view(node, settings=REWINDS, leader_history=LATER, memory=given)
    assert decide(view).memory.rewind is then


@pytest.mark.parametrize(
    ("state", "last", "then"),
    [
        pytest.param(RewindState.NEEDED, an_outcome(JobKind.REINITIALIZE, age_s=5.0), RewindState.NOT_NEEDED, id="copied anew"),
        pytest.param(RewindState.FAILED, an_outcome(JobKind.CLONE_FROM_LEADER, age_s=5.0), RewindState.NOT_NEEDED, id="cloned"),
        pytest.param(RewindState.NEEDED, an_outcome(JobKind.REINITIALIZE, age_s=10.0), RewindState.NEEDED, id="copied before"),
        pytest.param(RewindState.NEEDED, an_outcome(JobKind.REWIND, age_s=10.0), RewindState.NEEDED, id="rewound before"),
        pytest.param(RewindState.FAILED, an_outcome(JobKind.REWIND, age_s=5.0), RewindState.FAILED, id="a failure stands"),
        pytest.param(RewindState.FAILED, an_outcome(JobKind.START_AS_STANDBY, age_s=5.0), RewindState.FAILED, id="started"),
    ],
)
def test_only_a_job_that_ended_later_changes_a_finding(state: RewindState, last: JobOutcome, then: RewindState) -> None:
    memory = a_memory(rewind=state, rewind_at_s=NOW_S - 10.0)
    given = a_view(a_standby(last_job=last), leader_history=a_leader_history(timeline=1), memory=memory)
    first = decide(given).memory
    assert decide(replace(given, memory=first)).memory.rewind is then
    at_work = replace(given, node=a_standby(last_job=last, job=a_job(JobKind.REWIND, subject="b")))
    assert decide(at_work).memory.rewind is state


def test_a_finding_has_its_time() -> None:
    assert decide(a_view(memory=CHECK, settings=REWINDS, leader_history=LATER)).memory.rewind_at_s == NOW_S


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
