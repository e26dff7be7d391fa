"""What hangs on a dead disk: the lock runs out, and a shutdown leaves it (safety_rules.md §5, §7.3, §7.6)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from patroni.decision.actions import CancelJob, Demote, DemoteKind, Exit, Promote, ReadFiles, ReleaseLock, WriteStatus
from patroni.decision.cluster import PostgresState, Role, Status
from patroni.decision.decide import decide
from patroni.decision.lease import Lease
from patroni.decision.node import DataDirectory, JobKind, Node, Process
from patroni.decision.reasons import Code
from patroni.decision.view import Chain, GuardState, View
from tests.decision.builders import (
    LSN,
    NOW_S,
    TOKEN,
    Case,
    a_chain,
    a_dead,
    a_job,
    a_leader,
    a_memory,
    a_primary,
    a_standby,
    a_view,
    an_outcome,
    case,
    failed,
    rows,
    settings,
)

RELEASE = ReleaseLock(token=TOKEN, lsn=None)
UNKNOWN = a_dead(process=Process.UNKNOWN)
PAUSED = settings(is_paused=True)


def silent(node: Node = UNKNOWN, for_s: float = 31.0, **changes: Any) -> View:  # noqa: ANN401  # any field
    """Return the view of a leader whose data directory has owed an answer for so long."""
    return a_leader(node, memory=a_memory(unanswered_since_s=NOW_S - for_s), **changes)


def chained(*actions: Promote | ReleaseLock | WriteStatus, age_s: float = 31.0) -> Chain:
    return replace(a_chain(*actions), age_s=age_s)


def busy(kind: JobKind, age_s: float, node: Node | None = None, **changes: Any) -> View:  # noqa: ANN401  # any field
    return a_leader(replace(node or a_dead(), job=a_job(kind, age_s=age_s, **changes)))


def leaving(given: View, for_s: float = 31.0, **changes: Any) -> View:  # noqa: ANN401  # any field
    memory = replace(given.memory, stopping_since_s=NOW_S - for_s)
    return replace(given, is_stopping=True, memory=memory, **changes)


def lapsed(given: View) -> View:
    return replace(given, lease=Lease(session_age_s=40.0))


CASES = [
    case("a look that has just begun", silent(for_s=29.0), Code.FACTS_UNKNOWN, ReadFiles()),
    case("a look without an answer", silent(), Code.LOCK_LAPSING),
    case("… of a blank directory", silent(a_dead(data_directory=DataDirectory.UNKNOWN)), Code.LOCK_LAPSING),
    case("… within a long ttl", silent(settings=settings(ttl_s=60.0)), Code.FACTS_UNKNOWN, ReadFiles()),
    case("… until the lock is gone", lapsed(silent()), Code.LOCK_LAPSING),
    case("… without a lock", a_view(UNKNOWN, memory=silent().memory), Code.FACTS_UNKNOWN, ReadFiles()),
    case("a promotion that hangs", a_leader(a_standby(), chain=chained(Promote())), Code.LOCK_LAPSING),
    case("… not for long", a_leader(a_standby(), chain=chained(Promote(), age_s=29.0)), Code.CHAIN_RUNNING),
    case("an upkeep that hangs", a_leader(chain=chained(WriteStatus(Status(lsn=LSN)))), Code.CHAIN_RUNNING),
    case(
        "a pending promotion without its lock is stopped first",
        a_view(a_standby(role=Role.PROMOTED), chain=chained(Promote())),
        Code.DEMOTE_OTHER_LEADS,
        Demote(DemoteKind.IMMEDIATE_NOLOCK),
    ),
    case("a release without an answer", silent(a_dead(), last_chain=failed(RELEASE)), Code.LOCK_LAPSING),
    case("a start that hangs before its launch", busy(JobKind.START_AS_PRIMARY, 31.0), Code.LOCK_LAPSING),
    case(
        "a start that takes its time",
        busy(JobKind.START_AS_PRIMARY, 301.0, a_dead(state=PostgresState.STARTING)),
        Code.BUSY_LOCK_RENEWED,
    ),
    case(
        "a start whose time is over",
        busy(JobKind.START_AS_PRIMARY, 331.0, a_dead(state=PostgresState.STARTING)),
        Code.LOCK_LAPSING,
    ),
    case("a start whose lock has run out", lapsed(busy(JobKind.START_AS_PRIMARY, 400.0)), Code.BUSY_LOST_LOCK, CancelJob()),
    case("a stop that hangs", busy(JobKind.DEMOTE, 151.0, a_primary()), Code.LOCK_LAPSING),
    case("a crash recovery may last", busy(JobKind.CRASH_RECOVERY, 9000.0), Code.BUSY_LOCK_RENEWED),
    case(
        "a crash recovery that ignores its cancellation",
        busy(JobKind.CRASH_RECOVERY, 331.0, is_cancelled=True),
        Code.LOCK_LAPSING,
    ),
    case("a shutdown waits for the lease to end", leaving(silent()), Code.LOCK_LAPSING),
    case("… and for the fence", leaving(lapsed(silent()), guard=GuardState.ARMED), Code.LOCK_LAPSING),
    case("… and leaves the lock", leaving(lapsed(silent()), guard=GuardState.KILLED), Code.SHUTDOWN_HANGING, Exit(1)),
    case("… not before its own time", leaving(lapsed(silent()), for_s=29.0), Code.FACTS_UNKNOWN, ReadFiles()),
    case("… paused, at once", leaving(lapsed(silent()), settings=PAUSED), Code.SHUTDOWN_PAUSED, Exit(0)),
    case(
        "a shutdown beside a copy that ignores its cancellation",
        leaving(a_view(a_dead(Role.REPLICA, job=a_job(JobKind.CLONE_FROM_LEADER, age_s=900.0, is_cancelled=True)))),
        Code.SHUTDOWN_HANGING,
        Exit(1),
    ),
    case(
        "a shutdown beside a release without an answer",
        leaving(silent(a_dead(), last_chain=failed(RELEASE))),
        Code.SHUTDOWN_DONE,
        Exit(0),
    ),
]


@rows(CASES)
def test_it(row: Case) -> None:
    decision = decide(row.given)
    assert (decision.because.code, decision.actions) == (row.code, row.actions)


def test_since_when_an_answer_is_owed() -> None:
    def since_s(given: View) -> float | None:
        return decide(given).memory.unanswered_since_s

    assert since_s(a_leader(UNKNOWN)) == NOW_S
    assert since_s(silent(for_s=5.0)) == NOW_S - 5.0
    assert since_s(silent(a_dead())) is None
    assert since_s(silent(a_dead(), last_chain=failed(RELEASE, is_refusal=True))) is None
    assert since_s(silent(a_dead(), last_chain=failed(Promote()))) is None
    assert since_s(a_view(a_dead(), last_chain=failed(RELEASE))) is None, "the lock is not ours any more"
    job = a_job(JobKind.START_AS_PRIMARY)
    assert since_s(silent(replace(UNKNOWN, job=job, last_job=an_outcome(JobKind.DEMOTE)))) is None, "a job has its own limit"


def test_since_when_the_agent_is_to_end() -> None:
    assert decide(a_view(is_stopping=True)).memory.stopping_since_s == NOW_S
    assert decide(leaving(a_view(), for_s=5.0)).memory.stopping_since_s == NOW_S - 5.0
    assert decide(a_view()).memory.stopping_since_s is None
