"""The store is away, the cluster is paused, the agent ends, the guard holds (contract/ha_behaviour.md §2.22, 2.25, 2.27)."""

from __future__ import annotations

from dataclasses import replace

from patroni.decision.actions import (
    AcquireLock,
    AdoptLock,
    CancelJob,
    Demote,
    DemoteKind,
    Exit,
    FinishStop,
    Promote,
    ReadFiles,
    ReleaseLock,
    StartAsStandby,
    StopPostgres,
    WriteStatus,
)
from patroni.decision.cluster import Initialize, Lsn, PostgresState, Role, Status
from patroni.decision.decide import decide
from patroni.decision.lease import Lease
from patroni.decision.node import ClusterState, DataDirectory, JobKind, Process
from patroni.decision.reasons import Code
from patroni.decision.view import GuardState, Memory
from tests.decision.builders import (
    INCARNATION,
    NOW_S,
    OTHER_SYSTEM,
    TOKEN,
    Case,
    a_chain,
    a_cluster,
    a_dead,
    a_free,
    a_history,
    a_job,
    a_leader,
    a_memory,
    a_primary,
    a_standby,
    a_view,
    an_answer,
    an_empty,
    an_outcome,
    answers,
    case,
    control,
    failed,
    held,
    rows,
    settings,
    storeless,
    upstream,
)

READ_ONLY = StartAsStandby(upstream=None, timeout_s=None)
OFFLINE = Demote(DemoteKind.OFFLINE)
NO_LEASE = Lease(silent_s=20.0)

SILENT = [
    case("a standby stays as it is", a_view(store_silent_s=10.1), Code.DCS_DOWN),
    case("a short silence is none", a_view(store_silent_s=10.0), Code.FOLLOWER_OK),
    case("a primary goes on while its lease lasts", a_leader(store_silent_s=20.0, lease=held(4.0)), Code.DCS_LEASE_LASTS),
    case("its lease is over", a_leader(store_silent_s=20.0, lease=NO_LEASE), Code.DCS_DEMOTED, OFFLINE),
    case(
        "even if it does not answer",
        a_leader(a_primary(is_in_recovery=None), store_silent_s=20.0, lease=NO_LEASE),
        Code.DCS_DEMOTED,
        OFFLINE,
    ),
    case(
        "a promotion that may still happen",
        a_leader(a_standby(role=Role.PROMOTED), store_silent_s=20.0, lease=NO_LEASE),
        Code.DCS_DEMOTED,
        OFFLINE,
    ),
    case("nothing was ever read", storeless(a_leader(lease=NO_LEASE), silent_s=9.0), Code.DCS_UNREAD),
    case("for too long", storeless(a_leader(lease=NO_LEASE)), Code.DCS_DEMOTED, OFFLINE),
    case("the fence has ended Postgres", a_leader(a_dead(), store_silent_s=20.0, lease=NO_LEASE), Code.DCS_READONLY, READ_ONLY),
    case(
        "or a demotion of a node that never joined has",
        a_leader(
            a_dead(Role.DEMOTED, last_job=an_outcome(JobKind.DEMOTE)), store_silent_s=20.0, lease=NO_LEASE, memory=Memory()
        ),
        Code.DCS_READONLY,
        READ_ONLY,
    ),
    case("a node that never joined is not started", a_view(a_dead(), store_silent_s=20.0, memory=Memory()), Code.DCS_DOWN),
    case("a crash while the lease lasts", a_leader(a_dead(), store_silent_s=20.0, lease=held(4.0)), Code.DCS_LEASE_LASTS),
    case(
        "a dead replica has its upstream",
        a_view(a_dead(Role.REPLICA), store_silent_s=20.0),
        Code.DCS_READONLY,
        StartAsStandby(upstream=upstream("b"), timeout_s=None),
    ),
    case(
        "from the last healthy view where there is none",
        storeless(a_view(a_dead(Role.REPLICA))),
        Code.DCS_READONLY,
        StartAsStandby(upstream=upstream("b"), timeout_s=None),
    ),
    case("another cluster's node stays down", a_view(a_dead(system_id=OTHER_SYSTEM), store_silent_s=20.0), Code.DCS_DOWN),
    case("an empty directory waits", a_view(an_empty(), store_silent_s=20.0), Code.DCS_DOWN),
    case("work goes on", a_view(a_standby(job=a_job(JobKind.REWIND, subject="b")), store_silent_s=20.0), Code.BUSY),
]

PAUSED = settings(is_paused=True)
OLD = a_memory(status_at_s=NOW_S - 10.0)
UNCHANGED = a_primary(lsn=Lsn(5001))
WRITTEN = WriteStatus(
    Status(lsn=Lsn(5001), slots={"a": Lsn(5001), "b": Lsn(5000), "c": Lsn(5000)}, retain_slots=("a", "b", "c"))
)
PAUSE = [
    case("the leader is well", a_leader(settings=PAUSED), Code.LEADER_OK),
    case("and publishes its position", a_leader(UNCHANGED, memory=OLD, settings=PAUSED), Code.LEADER_OK, WRITTEN),
    case("not on an old view", a_leader(UNCHANGED, memory=OLD, settings=PAUSED, is_fresh=False), Code.LEADER_OK),
    case("so is a standby", a_view(settings=PAUSED), Code.FOLLOWER_OK),
    case("nobody leads, a standby waits", a_free(settings=PAUSED), Code.NO_ACTION),
    case("a dead Postgres stays down", a_free(a_dead(), settings=PAUSED), Code.NO_ACTION),
    case(
        "a dead leader stays down, its lock goes",
        a_leader(a_dead(), settings=PAUSED),
        Code.PAUSE_LOCK_REMOVED,
        ReleaseLock(TOKEN),
    ),
    case(
        "an effect is under way in pause",
        a_view(a_primary(), settings=PAUSED, chain=a_chain(AcquireLock())),
        Code.CHAIN_RUNNING,
    ),
    case("a primary without lock goes on", a_view(a_primary(), settings=PAUSED), Code.PAUSE_PRIMARY_WITHOUT_LOCK),
    case(
        "even if refused",
        a_leader(settings=PAUSED, lease=Lease(is_refused=True), cluster=a_cluster("b")),
        Code.PAUSE_PRIMARY_WITHOUT_LOCK,
    ),
    case("it takes a free lock", a_free(a_primary(), settings=PAUSED), Code.RACE_ACQUIRE, AcquireLock()),
    case(
        "it adopts its own",
        a_view(a_primary(), a_cluster("a"), settings=PAUSED),
        Code.RACE_ADOPT,
        AdoptLock(token=TOKEN, incarnation=INCARNATION),
    ),
    case(
        "not if it slept through a promotion",
        a_free(a_primary(), a_cluster(None, history=a_history(1)), settings=PAUSED),
        Code.PAUSE_PRIMARY_WITHOUT_LOCK,
    ),
    case(
        "not of a cluster that it may not belong to",
        a_free(a_primary(), a_cluster(None, initialize=Initialize.ABSENT), settings=PAUSED),
        Code.PAUSE_PRIMARY_WITHOUT_LOCK,
    ),
    case("not if it does not answer", a_free(a_primary(timeline=None), settings=PAUSED), Code.PAUSE_PRIMARY_WITHOUT_LOCK),
    case("the store is away", a_leader(settings=PAUSED, store_silent_s=20.0, lease=NO_LEASE), Code.DCS_DOWN),
    case("work goes on in pause", a_view(a_standby(job=a_job(JobKind.STOP)), settings=PAUSED), Code.BUSY),
    case("the agent ends, Postgres does not", a_leader(settings=PAUSED, is_stopping=True), Code.SHUTDOWN_PAUSED, Exit(0)),
]

STOPPED = a_dead(state=PostgresState.STOPPED, control=control(ClusterState.SHUT_DOWN, previous_lsn=Lsn(4890)))
STOPPING = a_primary(
    state=PostgresState.STOPPING, job=a_job(JobKind.STOP), control=control(ClusterState.SHUT_DOWN, previous_lsn=Lsn(4890))
)
UNSTOPPED = an_outcome(JobKind.STOP, is_ok=False)
SHUTDOWN = [
    case("a leader stops Postgres", a_leader(is_stopping=True), Code.SHUTDOWN_STOPPING, StopPostgres(is_fast=True)),
    case("so does a standby", a_view(is_stopping=True), Code.SHUTDOWN_STOPPING, StopPostgres(is_fast=True)),
    case(
        "even while effects are under way",
        a_leader(is_stopping=True, chain=a_chain(Promote())),
        Code.SHUTDOWN_STOPPING,
        StopPostgres(is_fast=True),
    ),
    case(
        "orphans are ended",
        a_view(a_dead(process=Process.ORPHANS), is_stopping=True),
        Code.SHUTDOWN_STOPPING,
        StopPostgres(is_fast=False),
    ),
    case(
        "b has the last WAL",
        a_leader(STOPPING, is_stopping=True, peers=answers(b=an_answer(4901))),
        Code.DEMOTE_HANDED_OVER,
        ReleaseLock(TOKEN, Lsn(4890)),
    ),
    case(
        "a release is under way", a_view(STOPPING, is_stopping=True, chain=a_chain(ReleaseLock(TOKEN))), Code.SHUTDOWN_RELEASED
    ),
    case(
        "handed over",
        a_view(STOPPING, a_cluster(None), is_stopping=True, memory=a_memory(handed_over_lsn=Lsn(4900))),
        Code.BUSY,
        FinishStop(),
    ),
    case("a stop without lock runs on", a_view(STOPPING, is_stopping=True), Code.BUSY),
    case(
        "other work is cancelled",
        a_view(a_standby(job=a_job(JobKind.REWIND, subject="b")), is_stopping=True),
        Code.BUSY,
        CancelJob(),
    ),
    case("once", a_view(a_standby(job=a_job(JobKind.REWIND, subject="b", is_cancelled=True)), is_stopping=True), Code.BUSY),
    case("down: the lock goes", a_leader(STOPPED, is_stopping=True), Code.SHUTDOWN_RELEASED, ReleaseLock(TOKEN, Lsn(4890))),
    case(
        "its release had no answer",
        a_leader(STOPPED, is_stopping=True, last_chain=failed(ReleaseLock(TOKEN))),
        Code.SHUTDOWN_DONE,
        Exit(0),
    ),
    case("down, and the store is away", a_leader(STOPPED, is_stopping=True, store_silent_s=20.0), Code.SHUTDOWN_DONE, Exit(0)),
    case("down without lock: end", a_view(STOPPED, is_stopping=True), Code.SHUTDOWN_DONE, Exit(0)),
    case(
        "not known whether it is down",
        a_view(a_dead(process=Process.UNKNOWN), is_stopping=True),
        Code.FACTS_UNKNOWN,
        ReadFiles(),
    ),
    case("it can't be stopped", a_leader(a_primary(last_job=UNSTOPPED), is_stopping=True), Code.SHUTDOWN_STOP_FAILED, Exit(1)),
    case("it could in the end", a_view(a_dead(last_job=UNSTOPPED), is_stopping=True), Code.SHUTDOWN_DONE, Exit(0)),
]

HELD = [
    case("a held leader is left alone", a_leader(a_primary(is_in_recovery=None), guard=GuardState.HELD), Code.HELD),
    case("even at the end", a_leader(is_stopping=True, guard=GuardState.HELD), Code.HELD),
    case("an effect is under way", a_view(chain=a_chain(Promote())), Code.CHAIN_RUNNING),
    case(
        "another leader shows up meanwhile",
        a_view(a_primary(), chain=a_chain(AcquireLock())),
        Code.DEMOTE_OTHER_LEADS,
        Demote(DemoteKind.IMMEDIATE_NOLOCK),
    ),
    case(
        "nothing is known of the directory of a live server",
        a_view(a_standby(data_directory=DataDirectory.UNKNOWN)),
        Code.FOLLOWER_OK,
    ),
]

CASES = [*SILENT, *PAUSE, *SHUTDOWN, *HELD]


@rows(CASES)
def test_store_silent(row: Case) -> None:
    decision = decide(row.given)
    assert (decision.because.code, decision.actions) == (row.code, row.actions)


def test_what_lasts_with_the_lease_is_looked_at_when_it_ends() -> None:
    assert decide(a_leader(store_silent_s=20.0, lease=held(4.0))).wake_at_s == NOW_S + 4.0


def test_a_mismatch_leaves_with_one() -> None:
    given = replace(a_view(STOPPED), is_stopping=False, cluster=a_cluster(initialize="7000000000000000002"))
    assert decide(given).actions == (Exit(1),)
