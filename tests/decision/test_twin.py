"""Two timelines of one number: this node was promoted to timeline 2, and so was b, which leads (beyond §5.3 row 7)."""

from __future__ import annotations

from dataclasses import replace

from patroni.decision.actions import AskHistory, Reinitialize, Rewind, StartAsStandby, StopPostgres
from patroni.decision.cluster import Role, Timeline, Twin
from patroni.decision.decide import decide
from patroni.decision.node import ClusterState, JobKind
from patroni.decision.reasons import Code
from patroni.decision.view import RewindState
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
REWIND = Rewind(member="b", conn_url=url("b"))
REINIT = Reinitialize(member="b", conn_url=url("b"), upstream=upstream("b"), is_twin=True)
START = StartAsStandby(upstream=upstream("b"), timeout_s=None)
CHECK = a_memory(rewind=RewindState.CHECK)
NEEDED = a_memory(rewind=RewindState.NEEDED)
NO_URL = a_cluster("b", members=members(a_member("b", role=Role.PRIMARY, conn_url=None)))
THIRD = a_leader_history(4000, 6000).rows
STOP_FAST = StopPostgres(is_fast=True)
SECOND = control(ClusterState.SHUT_DOWN, checkpoint_lsn=LSN, timeline=Timeline(2))
CLEAN_2 = a_dead(Role.DEMOTED, control=SECOND)
STANDBY_2 = a_standby(timeline=Timeline(2))
OTHER_BEGIN = a_leader_history(4000, compared=Timeline(2), twin=Twin.BY_BEGIN)
OTHER_WAL = replace(OTHER_BEGIN, twin=Twin.BY_WAL)
SAME = replace(OTHER_BEGIN, twin=Twin.NONE)
TWIN = a_memory(rewind=RewindState.TWIN)
ON_FAILURE = settings(use_pg_rewind=True, remove_data_directory_on_rewind_failure=True)
ASK_2 = AskHistory(member="b", conn_url=url("b"), ours=(Timeline(2), 5000))
CASES = [
    case(
        "a twin by its begin is cloned",
        a_view(CLEAN_2, settings=REMOVES, leader_history=OTHER_BEGIN),
        Code.REINITIALIZE,
        REINIT,
    ),
    case("by its WAL", a_view(CLEAN_2, settings=REMOVES, leader_history=OTHER_WAL), Code.REINITIALIZE, REINIT),
    case("by the other setting", a_view(CLEAN_2, settings=ON_FAILURE, leader_history=OTHER_WAL), Code.REINITIALIZE, REINIT),
    case("no rewind helps it: it stays down", a_view(CLEAN_2, settings=REWINDS, leader_history=OTHER_WAL), Code.TWIN),
    case("with nothing allowed", a_view(CLEAN_2, leader_history=OTHER_BEGIN), Code.TWIN),
    case("it is no twin", a_view(CLEAN_2, leader_history=SAME), Code.RECOVER_REPLICA, START),
    case("it runs: stop it", a_view(STANDBY_2, leader_history=OTHER_BEGIN, memory=CHECK), Code.TWIN_STOP, STOP_FAST),
    case(
        "it runs: clone",
        a_view(STANDBY_2, settings=REMOVES, leader_history=OTHER_BEGIN, memory=CHECK),
        Code.REINITIALIZE,
        REINIT,
    ),
    case(
        "by WAL that may be still to come it is not",
        a_view(STANDBY_2, leader_history=OTHER_WAL, memory=CHECK),
        Code.FOLLOWER_OK,
    ),
    case(
        "nor is it removed",
        a_view(STANDBY_2, settings=REMOVES, leader_history=OTHER_WAL, memory=CHECK),
        Code.FOLLOWER_OK,
    ),
    case(
        "nor if it was a twin before",
        a_view(STANDBY_2, settings=REMOVES, leader_history=OTHER_WAL, memory=TWIN),
        Code.FOLLOWER_OK,
    ),
    case(
        "the leader was asked about another timeline of ours: ask again",
        a_view(CLEAN_2, leader_history=replace(OTHER_WAL, compared=Timeline(1))),
        Code.REWIND_CHECKING,
        ASK_2,
    ),
    case(
        "so it runs on",
        a_view(STANDBY_2, leader_history=replace(OTHER_WAL, compared=None), memory=CHECK),
        Code.FOLLOWER_OK,
    ),
    case("known: not started again", a_view(CLEAN_2, memory=TWIN, leader_history=replace(OTHER_WAL, age_s=9.9)), Code.TWIN),
    case(
        "known: the leader is asked again",
        a_view(CLEAN_2, memory=TWIN, leader_history=replace(OTHER_WAL, age_s=10.0)),
        Code.TWIN,
        ASK_2,
    ),
    case("known: another leader is asked", a_view(CLEAN_2, memory=TWIN, leader_history=None), Code.TWIN, ASK_2),
    case("known: without its address", a_view(CLEAN_2, NO_URL, memory=TWIN, leader_history=None), Code.TWIN),
    case("known: another leader says no", a_view(CLEAN_2, memory=TWIN, leader_history=SAME), Code.RECOVER_REPLICA, START),
    case(
        "known: nobody leads any more",
        a_free(CLEAN_2, memory=TWIN, leader_history=OTHER_WAL),
        Code.RECOVER_REPLICA,
        StartAsStandby(upstream=None, timeout_s=None),
    ),
    case(
        "an older timeline with another begin can be rewound",
        a_view(CLEAN_2, settings=REWINDS, leader_history=replace(OTHER_BEGIN, timeline=Timeline(3), rows=THIRD)),
        Code.REWIND,
        REWIND,
    ),
    case(
        "so can one with other WAL, which was not compared",
        a_view(CLEAN_2, settings=REWINDS, leader_history=replace(OTHER_WAL, timeline=Timeline(3), rows=THIRD)),
        Code.REWIND,
        REWIND,
    ),
    case(
        "a rewind was found to be needed, and is not enough",
        a_view(CLEAN_2, settings=REWINDS, memory=NEEDED, leader_history=OTHER_WAL),
        Code.TWIN,
    ),
    case(
        "what was said before a copy does not count after it",
        a_view(
            replace(CLEAN_2, last_job=an_outcome(JobKind.REINITIALIZE, age_s=0.5)),
            memory=a_memory(rewind=RewindState.TWIN, rewind_at_s=NOW_S - 10.0),
            leader_history=OTHER_WAL,
        ),
        Code.REWIND_CHECKING,
        ASK_2,
    ),
]


@rows(CASES)
def test_twin(row: Case) -> None:
    decision = decide(row.given)
    assert (decision.because.code, decision.actions) == (row.code, row.actions)


def test_the_reason_names_the_cure() -> None:
    said = str(decide(a_view(CLEAN_2, leader_history=OTHER_WAL)).because)
    assert "remove the directory" in said
    assert "remove_data_directory_on_diverged_timelines" in said
