"""Postgres is down, is starting, or a job works on it (contract/ha_behaviour.md §2.3, 2.4, 2.6, 2.10)."""

from __future__ import annotations

from dataclasses import replace

from patroni.decision.actions import (
    AskHistory,
    AskPeers,
    CancelJob,
    CrashRecovery,
    Demote,
    DemoteKind,
    FinishStop,
    ReadFiles,
    ReleaseLock,
    StartAsPrimary,
    StartAsStandby,
    StopPostgres,
)
from patroni.decision.cluster import Incarnation, Lsn, PostgresState, Role, Timeline
from patroni.decision.decide import decide
from patroni.decision.node import ClusterState, JobKind, Node, Process
from patroni.decision.reasons import Code
from patroni.decision.view import Asked, RewindState, Silent
from tests.decision.builders import (
    INCARNATION,
    NOW_S,
    TOKEN,
    Case,
    a_cluster,
    a_dead,
    a_free,
    a_job,
    a_leader,
    a_leader_key,
    a_member,
    a_memory,
    a_primary,
    a_standby,
    a_view,
    an_answer,
    an_outcome,
    answers,
    case,
    control,
    failed,
    held,
    rows,
    settings,
    storeless,
    tagged,
    upstream,
    url,
)

START_B = StartAsStandby(upstream=upstream("b"), timeout_s=None)
START_ALONE = StartAsStandby(upstream=None, timeout_s=300.0)
RELEASE = ReleaseLock(TOKEN)
AT_ONCE = settings(primary_start_timeout_s=0.0)
REWINDS = settings(use_pg_rewind=True)
FAILED_START = an_outcome(JobKind.START_AS_PRIMARY, is_ok=False)
STOP_NOW = StopPostgres(is_fast=False)
ASK = AskPeers(("b", "c"))
CLEAN = control(ClusterState.SHUT_DOWN, previous_lsn=Lsn(4890))
DEMOTED = a_dead(Role.DEMOTED, state=PostgresState.STOPPED, control=CLEAN, last_job=an_outcome(JobKind.DEMOTE))
REPLICA = a_dead(Role.REPLICA)

WITH_LOCK = [
    case("a crashed primary starts in place", a_leader(a_dead()), Code.RECOVER_AS_PRIMARY, StartAsPrimary(timeout_s=300.0)),
    case(
        "its state is not noted yet",
        a_leader(a_dead(state=PostgresState.RUNNING)),
        Code.RECOVER_AS_PRIMARY,
        StartAsPrimary(timeout_s=300.0),
    ),
    case(
        "its orphans are ended by the start",
        a_leader(a_dead(process=Process.ORPHANS)),
        Code.RECOVER_AS_PRIMARY,
        StartAsPrimary(timeout_s=300.0),
    ),
    case(
        "just enough of the lease is left",
        a_leader(a_dead(), lease=held(7.5)),
        Code.RECOVER_AS_PRIMARY,
        StartAsPrimary(timeout_s=300.0),
    ),
    case("too little of the lease is left", a_leader(a_dead(), lease=held(7.4)), Code.RECOVER_LEASE_SHORT),
    case(
        "stopped by somebody, not crashed",
        a_leader(a_dead(state=PostgresState.STOPPED)),
        Code.RECOVER_READONLY_WITH_LOCK,
        START_ALONE,
    ),
    case(
        "it was in recovery",
        a_leader(a_dead(control=control(ClusterState.IN_ARCHIVE_RECOVERY))),
        Code.RECOVER_READONLY_WITH_LOCK,
        START_ALONE,
    ),
    case("its control data are gone", a_leader(a_dead(control=None)), Code.RECOVER_READONLY_WITH_LOCK, START_ALONE),
    case("it has a recovery file", a_leader(a_dead(has_recovery_signal=True)), Code.RECOVER_READONLY_WITH_LOCK, START_ALONE),
    case("it died in the middle of a promotion", a_leader(a_dead(Role.PROMOTED)), Code.RECOVER_READONLY_WITH_LOCK, START_ALONE),
    case(
        "agent and Postgres are new, the lock names us",
        a_view(a_dead(Role.DEMOTED, state=PostgresState.STOPPED), a_cluster("a")),
        Code.RECOVER_READONLY_WITH_LOCK,
        StartAsStandby(upstream=None, timeout_s=None),
    ),
    case("no start at all: who could lead?", a_leader(a_dead(), settings=AT_ONCE), Code.RECOVER_FAILOVER, ASK),
    case(
        "no start at all: they have not answered",
        a_leader(a_dead(), settings=AT_ONCE, peers={"b": Asked(age_s=1.0), "c": Silent(age_s=1.0)}),
        Code.RECOVER_FAILOVER,
    ),
    case("no start at all: b can", a_leader(a_dead(), settings=AT_ONCE, peers=answers()), Code.RECOVER_FAILOVER, RELEASE),
    case(
        "no start at all: b can, but orphans may write",
        a_leader(a_dead(process=Process.ORPHANS), settings=AT_ONCE, peers=answers()),
        Code.RECOVER_ORPHANS,
        STOP_NOW,
    ),
    case(
        "no start at all, and nobody can lead",
        a_leader(a_dead(), settings=AT_ONCE, peers={"b": Silent(age_s=1.0), "c": an_answer(nofailover=True)}),
        Code.RECOVER_READONLY_WITH_LOCK,
        StartAsStandby(upstream=None, timeout_s=0.0),
    ),
    case(
        "a standby cluster lets nobody take over",
        a_leader(a_dead(), settings=settings(is_standby_cluster=True, primary_start_timeout_s=0.0), peers=answers()),
        Code.RECOVER_READONLY_WITH_LOCK,
        StartAsStandby(upstream=None, timeout_s=0.0),
    ),
    case("the start failed", a_leader(a_dead(last_job=FAILED_START)), Code.RECOVER_GAVE_UP_LOCK, RELEASE),
    case(
        "the start in recovery failed",
        a_leader(a_dead(last_job=an_outcome(JobKind.START_AS_STANDBY, is_ok=False))),
        Code.RECOVER_GAVE_UP_LOCK,
        RELEASE,
    ),
    case(
        "demoted: the lock goes with the last position", a_leader(DEMOTED), Code.DEMOTE_RELEASED, ReleaseLock(TOKEN, Lsn(4890))
    ),
    case(
        "demoted without a clean end: the published position stands",
        a_leader(replace(DEMOTED, control=control())),
        Code.DEMOTE_RELEASED,
        RELEASE,
    ),
    case(
        "crash recovery took too long and was ended",
        a_leader(
            a_dead(last_job=an_outcome(JobKind.CRASH_RECOVERY, is_ok=False)),
            memory=a_memory(crash_recovery_at_s=NOW_S - 300.0),
        ),
        Code.BUSY_CRASH_RECOVERY_TIMEOUT,
        RELEASE,
    ),
    case(
        "crash recovery failed in time",
        a_leader(
            a_dead(Role.DEMOTED, last_job=an_outcome(JobKind.CRASH_RECOVERY, is_ok=False)),
            memory=a_memory(crash_recovery_at_s=NOW_S - 299.0),
        ),
        Code.RECOVER_READONLY_WITH_LOCK,
        START_ALONE,
    ),
    case(
        "a demoted primary with the lock of the agent before is recovered first",
        a_leader(a_dead(Role.DEMOTED, state=PostgresState.STOPPED), settings=REWINDS),
        Code.RECOVER_SINGLE_USER,
        CrashRecovery(),
    ),
]

RELEASED = a_memory(released=INCARNATION, release_asked_s=NOW_S - 0.5)
AFTERWARDS = [
    case(
        "an earlier release had none",
        a_view(DEMOTED, a_cluster("a"), memory=RELEASED, last_chain=failed(RELEASE, age_s=0.6)),
        Code.DEMOTE_RELEASED,
    ),
    case(
        "when it was ordered is forgotten",
        a_view(DEMOTED, a_cluster("a"), memory=replace(RELEASED, release_asked_s=None)),
        Code.DEMOTE_RELEASED,
        ReleaseLock(TOKEN, Lsn(4890)),
    ),
    case("a view that still shows the released lock", a_view(DEMOTED, a_cluster("a"), memory=RELEASED), Code.DEMOTE_RELEASED),
    case(
        "it shows it too long",
        a_view(DEMOTED, a_cluster("a"), memory=replace(RELEASED, release_asked_s=NOW_S - 1.0)),
        Code.DEMOTE_RELEASED,
        ReleaseLock(TOKEN, Lsn(4890)),
    ),
    case(
        "the release had no answer",
        a_view(DEMOTED, a_cluster("a"), memory=RELEASED, last_chain=failed(RELEASE, age_s=0.4)),
        Code.DEMOTE_RELEASED,
        ReleaseLock(TOKEN, Lsn(4890)),
    ),
    case(
        "another lock of ours, not yet proved",
        a_view(DEMOTED, a_cluster(a_leader_key("a", Incarnation("i2"))), memory=RELEASED),
        Code.RECOVER_READONLY_WITH_LOCK,
        StartAsStandby(upstream=None, timeout_s=None),
    ),
    case(
        "somebody else has it",
        a_view(DEMOTED, memory=RELEASED),
        Code.RECOVER_REPLICA,
        replace(START_B, is_after_demotion=True),
    ),
]

WITHOUT_LOCK = [
    case("a dead replica", a_view(REPLICA), Code.RECOVER_REPLICA, START_B),
    case(
        "its cascade",
        a_view(REPLICA, settings=tagged(replicatefrom="c")),
        Code.RECOVER_REPLICA,
        StartAsStandby(upstream=upstream("c"), timeout_s=None),
    ),
    case("nobody to follow", a_free(REPLICA), Code.RECOVER_REPLICA, StartAsStandby(upstream=None, timeout_s=None)),
    case("orphans end before anything else", a_view(a_dead(process=Process.ORPHANS)), Code.RECOVER_ORPHANS, STOP_NOW),
    case("a former primary, nobody leads", a_free(a_dead()), Code.RECOVER_SINGLE_USER, CrashRecovery()),
    case("a former primary of another leader", a_view(a_dead()), Code.RECOVER_REPLICA, START_B),
    case("that could be rewound", a_view(a_dead(), settings=REWINDS), Code.RECOVER_SINGLE_USER, CrashRecovery()),
    case(
        "that can't be rewound: no checksums",
        a_view(a_dead(control=control(can_rewind=False)), settings=REWINDS),
        Code.RECOVER_REPLICA,
        START_B,
    ),
    case("with a backup label", a_view(a_dead(has_backup_label=True), settings=REWINDS), Code.RECOVER_REPLICA, START_B),
    case(
        "crash recovery was tried",
        a_view(a_dead(), settings=REWINDS, memory=a_memory(crash_recovery_at_s=NOW_S - 5)),
        Code.RECOVER_REPLICA,
        START_B,
    ),
    case(
        "a former primary that ended cleanly compares first",
        a_view(DEMOTED, settings=REWINDS, leader_history=None),
        Code.REWIND_CHECKING,
        AskHistory(member="b", conn_url=url("b"), ours=(Timeline(1), 4900)),
    ),
    case("the control data are unknown", a_view(a_dead(control=None)), Code.RECOVER_REPLICA, START_B),
    case("not known whether it lives", a_view(a_dead(process=Process.UNKNOWN)), Code.FACTS_UNKNOWN, ReadFiles()),
]


def starting(**changes: float) -> Node:
    return a_primary(state=PostgresState.STARTING, is_in_recovery=None, timeline=None, state_age_s=changes.get("age_s", 10.0))


STARTING = [
    case("a leader waits", a_leader(starting()), Code.START_WAITING),
    case("until its time is over: who could lead?", a_leader(starting(age_s=300.0)), Code.START_NO_CANDIDATE, ASK),
    case(
        "b could",
        a_leader(starting(age_s=300.0), peers=answers()),
        Code.START_TIMEOUT,
        Demote(DemoteKind.IMMEDIATE),
    ),
    case("b could, but there is time", a_leader(starting(age_s=299.9), peers=answers()), Code.START_WAITING),
    case(
        "nobody could",
        a_leader(starting(age_s=300.0), peers={"b": Silent(age_s=1.0), "c": Silent(age_s=3.0)}),
        Code.START_NO_CANDIDATE,
    ),
    case("another node leads", a_view(starting()), Code.DEMOTE_OTHER_LEADS, Demote(DemoteKind.IMMEDIATE_NOLOCK)),
    case("an adopted server, not asked yet", a_view(starting(), a_cluster("a")), Code.RACE_STARTING),
    case(
        "a standby is no candidate yet",
        a_free(a_standby(state=PostgresState.STARTING, is_in_recovery=None)),
        Code.RACE_STARTING,
    ),
    case(
        "a standby of another leader",
        a_view(a_standby(state=PostgresState.STARTING, is_in_recovery=None, timeline=None)),
        Code.FOLLOWER_OK,
    ),
]

STOPPING = a_primary(
    state=PostgresState.STOPPING,
    job=a_job(JobKind.DEMOTE, subject="switchover"),
    control=control(ClusterState.SHUT_DOWN, previous_lsn=Lsn(4890)),
    is_in_recovery=None,
)
STOP = replace(STOPPING, job=a_job(JobKind.STOP))
BEYOND = an_answer(4901)
BEHIND = an_answer(4900)
NOBODY = a_cluster("a", members={"a": a_member("a")})
SINGLE_USER = a_dead(job=a_job(JobKind.CRASH_RECOVERY))
LONG = a_memory(crash_recovery_at_s=NOW_S - 300.0)
BUSY = [
    case(
        "b is beyond, but on a timeline that has ended",
        a_leader(
            replace(STOPPING, timeline=None, control=control(ClusterState.SHUT_DOWN, timeline=Timeline(2))),
            peers=answers(b=BEYOND, c=BEHIND),
        ),
        Code.DEMOTE_WAITING,
        ASK,
    ),
    case("work without the lock", a_view(a_standby(job=a_job(JobKind.REWIND, subject="b"))), Code.BUSY),
    case("work with the lock", a_leader(a_dead(job=a_job(JobKind.START_AS_PRIMARY))), Code.BUSY_LOCK_RENEWED),
    case("its lock is lost", a_view(a_dead(job=a_job(JobKind.START_AS_PRIMARY))), Code.BUSY_LOST_LOCK, CancelJob()),
    case(
        "its lock is lost, and that is known",
        a_view(a_dead(job=a_job(JobKind.START_AS_PRIMARY, is_cancelled=True))),
        Code.BUSY,
    ),
    case("the demotion has not shut down", a_leader(replace(STOPPING, control=control())), Code.BUSY_LOCK_RENEWED, ReadFiles()),
    case(
        "a shut-down of an earlier life proves nothing",
        a_leader(STOPPING, memory=a_memory(was_in_production=False), peers=answers(b=BEYOND)),
        Code.BUSY_LOCK_RENEWED,
        ReadFiles(),
    ),
    case("its control data can't be read", a_leader(replace(STOPPING, control=None)), Code.BUSY_LOCK_RENEWED),
    case("it has: who received that?", a_leader(STOPPING), Code.DEMOTE_WAITING, ASK),
    case("nobody to receive it", a_leader(STOPPING, NOBODY), Code.DEMOTE_WAITING),
    case("nobody is known", storeless(a_leader(STOPPING)), Code.DEMOTE_WAITING),
    case(
        "b has not received the record itself",
        a_leader(STOPPING, peers=answers(b=BEHIND, c=BEHIND)),
        Code.DEMOTE_WAITING,
        ASK,
    ),
    case(
        "b has",
        a_leader(STOPPING, peers=answers(b=BEYOND, c=BEHIND)),
        Code.DEMOTE_HANDED_OVER,
        ReleaseLock(TOKEN, Lsn(4890)),
    ),
    case(
        "b has, but can't lead",
        a_leader(STOPPING, peers=answers(b=an_answer(4901, failover_priority=0), c=BEHIND)),
        Code.DEMOTE_WAITING,
        ASK,
    ),
    case(
        "handed over: the stop ends",
        a_view(STOPPING, a_cluster(None), memory=a_memory(handed_over_lsn=Lsn(4900))),
        Code.BUSY,
        FinishStop(),
    ),
    case("a stop without the lock runs on", a_view(STOP), Code.BUSY),
    case(
        "crash recovery of a leader, in time",
        a_leader(SINGLE_USER, memory=a_memory(crash_recovery_at_s=NOW_S)),
        Code.BUSY_LOCK_RENEWED,
    ),
    case("crash recovery takes long: who could lead?", a_leader(SINGLE_USER, memory=LONG), Code.BUSY_LOCK_RENEWED, ASK),
    case(
        "crash recovery takes long, and b could",
        a_leader(SINGLE_USER, memory=LONG, peers=answers()),
        Code.BUSY_CRASH_RECOVERY_TIMEOUT,
        CancelJob(),
    ),
    case(
        "crash recovery takes long, and nobody could",
        a_leader(SINGLE_USER, memory=LONG, peers={"b": Silent(age_s=1.0), "c": Silent(age_s=1.0)}),
        Code.BUSY_LOCK_RENEWED,
    ),
]

CASES = [*WITH_LOCK, *AFTERWARDS, *WITHOUT_LOCK, *STARTING, *BUSY]


@rows(CASES)
def test_recovery(row: Case) -> None:
    decision = decide(row.given)
    assert (decision.because.code, decision.actions) == (row.code, row.actions)


def test_a_release_is_remembered() -> None:
    assert decide(a_leader(DEMOTED)).memory.released == INCARNATION


def test_starting_with_the_lock_forgets_the_comparison() -> None:
    given = a_leader(a_dead(Role.PROMOTED), settings=settings(remove_data_directory_on_diverged_timelines=True))
    assert decide(given).memory.rewind is RewindState.INITIAL


def test_a_stopped_job_is_asked_again_after_a_tenth_of_a_second() -> None:
    assert decide(a_leader(STOPPING)).wake_at_s == NOW_S + 0.1
