"""A rewind that was cut short: nothing is started, and nobody led, with what it left (contract/ha_behaviour.md §5.6)."""

from __future__ import annotations

from dataclasses import replace

from patroni.decision.actions import AskHistory, Demote, DemoteKind, Reinitialize, ReleaseLock, StopPostgres
from patroni.decision.cluster import Role, Timeline
from patroni.decision.decide import decide
from patroni.decision.node import ClusterState, JobKind, Process
from patroni.decision.reasons import Code
from patroni.decision.view import RewindState
from tests.decision.builders import (
    OTHER_SYSTEM,
    TOKEN,
    Case,
    a_cluster,
    a_dead,
    a_free,
    a_leader,
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
    storeless,
    upstream,
    url,
)

MAY = settings(use_pg_rewind=True, remove_data_directory_on_rewind_failure=True)
MAY_TOO = settings(remove_data_directory_on_diverged_timelines=True)
TORN = a_dead(Role.DEMOTED, is_torn=True, control=control(ClusterState.SHUT_DOWN))
CRASHED = a_dead(is_torn=True)
SAID = a_leader_history(4000)
REINIT = Reinitialize(member="b", conn_url=url("b"), upstream=upstream("b"))
ASK = AskHistory(member="b", conn_url=url("b"), ours=(Timeline(1), 4900))
STOP = StopPostgres(is_fast=False)
NO_URL = a_cluster("b", members=members(a_member("b", role=Role.PRIMARY, conn_url=None)))
FOREIGN = a_cluster("b", initialize=None)
CASES = [
    case("it stays down", a_view(TORN), Code.TORN),
    case("with a rewind allowed, too", a_view(TORN, settings=settings(use_pg_rewind=True), leader_history=SAID), Code.TORN),
    case(
        "after the rewind that failed in this life of the agent",
        a_view(
            replace(TORN, last_job=an_outcome(JobKind.REWIND, subject="b", is_ok=False)),
            settings=settings(use_pg_rewind=True),
            memory=a_memory(rewind=RewindState.FAILED),
            leader_history=SAID,
        ),
        Code.TORN,
    ),
    case("a crashed primary is not recovered", a_free(CRASHED), Code.TORN),
    case("nor is it while nobody leads", a_free(TORN), Code.TORN),
    case("it does not found a cluster", a_free(TORN, a_cluster(None, initialize=None)), Code.TORN),
    case("it is cloned anew", a_view(TORN, settings=MAY, leader_history=SAID), Code.REINITIALIZE, REINIT),
    case("by the other setting", a_view(TORN, settings=MAY_TOO, leader_history=SAID), Code.REINITIALIZE, REINIT),
    case(
        "when the leader has said that it is a primary",
        a_view(TORN, settings=MAY, leader_history=None),
        Code.REWIND_WAITING,
        ASK,
    ),
    case(
        "and has said so since the rewind failed",
        a_view(
            replace(TORN, last_job=an_outcome(JobKind.REWIND, subject="b", is_ok=False, age_s=1.0)),
            settings=MAY,
            leader_history=replace(SAID, age_s=1.0),
        ),
        Code.REWIND_WAITING,
        ASK,
    ),
    case(
        "as it has",
        a_view(
            replace(TORN, last_job=an_outcome(JobKind.REWIND, subject="b", is_ok=False, age_s=1.0)),
            settings=MAY,
            leader_history=replace(SAID, age_s=0.9),
        ),
        Code.REINITIALIZE,
        REINIT,
    ),
    case("when somebody leads", a_free(TORN, settings=MAY), Code.TORN_WAITING),
    case("when its address is known", a_view(TORN, NO_URL, settings=MAY, leader_history=SAID), Code.TORN_WAITING),
    case("when it is of our cluster", a_view(TORN, FOREIGN, settings=MAY, leader_history=SAID), Code.TORN_WAITING),
    case("not while the store is silent", storeless(a_view(TORN, settings=MAY, leader_history=SAID)), Code.DCS_DOWN),
    case("the store says nothing: it stays down", storeless(a_view(TORN, memory=a_memory(has_joined=True))), Code.DCS_DOWN),
    case("orphans end first", a_view(replace(TORN, process=Process.ORPHANS), settings=MAY), Code.TORN_STOP, STOP),
    case("somebody has started it", a_view(a_standby(is_torn=True)), Code.TORN_STOP, STOP),
    case("in the race", a_free(a_standby(is_torn=True)), Code.TORN_STOP, STOP),
    case("as the leader", a_leader(a_primary(is_torn=True)), Code.TORN_STOP, STOP),
    case(
        "beside another leader",
        a_view(a_primary(is_torn=True)),
        Code.DEMOTE_OTHER_LEADS,
        Demote(DemoteKind.IMMEDIATE_NOLOCK),
    ),
    case("the lock is released", a_leader(CRASHED), Code.TORN_RELEASED, ReleaseLock(TOKEN)),
    case("one that names us, too", a_view(CRASHED, a_cluster("a")), Code.TORN_RELEASED, ReleaseLock(TOKEN)),
    case(
        "another cluster's comes before",
        a_view(a_standby(is_torn=True, system_id=OTHER_SYSTEM)),
        Code.SHUTDOWN_STOPPING,
        StopPostgres(is_fast=True),
    ),
    case(
        "paused, a running primary takes no lock",
        a_free(a_primary(is_torn=True), settings=settings(is_paused=True)),
        Code.PAUSE_PRIMARY_WITHOUT_LOCK,
    ),
]


@rows(CASES)
def test_torn(row: Case) -> None:
    decision = decide(row.given)
    assert (decision.because.code, decision.actions) == (row.code, row.actions)


def test_the_reason_names_the_cure() -> None:
    said = str(decide(a_view(TORN)).because)
    assert "remove the directory" in said
    assert "remove_data_directory_on_rewind_failure" in said
