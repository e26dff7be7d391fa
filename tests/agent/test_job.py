"""Jobs: their preconditions in the step of the effect, their bounded stops, and that nothing follows a failure (§5-6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from patroni.agent.job import kind_of, work
from patroni.agent.request import ArmFence, IsHurried, Note, ReadLease, Void
from patroni.decision import actions as act
from patroni.decision.actions import DemoteKind, JobAction
from patroni.decision.cluster import PostgresState, Role, Timeline, Twin
from patroni.decision.lease import Lease
from patroni.decision.node import ClusterState, ControlData, JobKind, Process
from patroni.decision.request import Request
from patroni.postgres import request as pg
from patroni.postgres.request import PostgresError, Readiness, StopMode
from tests.agent.builders import control, files, held, proof
from tests.agent.play import EMPTY, FAULTS, FREE, Played, play

URL = "postgres://b:5432/postgres"
PRIMARY = act.StartAsPrimary(timeout_s=300.0)
STANDBY = act.StartAsStandby(upstream=None, timeout_s=None)
CLONE = act.CloneFrom(member="b", conn_url=URL, is_leader=True, upstream=None)
REWIND = act.Rewind(member="b", conn_url=URL)
REINITIALIZE = act.Reinitialize(member="b", conn_url=URL, upstream=None)
GRACEFUL = act.Demote(DemoteKind.GRACEFUL, title="switchover")
IMMEDIATE = act.Demote(DemoteKind.IMMEDIATE)

DOWN = files(Process.DOWN)
ALIVE = files()
ORPHANS = files(Process.ORPHANS)

Answers = Mapping[type[Request[Any]], object]
LAUNCHED = ["WriteConfiguration", "Launch", "AwaitReady"]
COPIED = ["ReadLease", "ReadFiles", "ReadFiles", "BaseBackup", "ReadFiles", *LAUNCHED]
AWAIT_SHUTDOWN = ["SignalStop", "AwaitDown"]

ALL: list[tuple[JobAction, Answers, list[str]]] = [
    (act.Bootstrap(), {}, ["Initdb", *LAUNCHED, "CreateRoles"]),
    (act.AbortBootstrap(), {}, [*AWAIT_SHUTDOWN, "MoveDataDirectoryAway"]),
    (
        CLONE,
        {ReadLease: FREE, pg.ReadFiles: EMPTY},
        ["ReadLease", "ReadFiles", "ReadFiles", "BaseBackup", "ReadFiles", *LAUNCHED],
    ),
    (PRIMARY, {}, ["ReadFiles", "ReadLease", "ArmFence", "WriteConfiguration", "ReadLease", "Launch", "AwaitReady"]),
    (STANDBY, {}, ["ReadFiles", *LAUNCHED]),
    (STANDBY, {pg.ReadFiles: ORPHANS}, ["ReadFiles", "KillAll", "AwaitDown", *LAUNCHED]),
    (REWIND, {ReadLease: FREE}, ["ReadLease", "ReadFiles", "ReadLease", "RunRewind"]),
    (REWIND, {ReadLease: FREE, pg.ReadFiles: ALIVE}, ["ReadLease", "ReadFiles", *AWAIT_SHUTDOWN, "ReadLease", "RunRewind"]),
    (
        REINITIALIZE,
        {ReadLease: FREE, pg.ReadFiles: EMPTY},
        [
            *("ReadLease", *AWAIT_SHUTDOWN, "ReadLease", "AskRemoteHistory", "RemoveDataDirectory"),
            *COPIED,
        ],
    ),
    (act.CrashRecovery(), {}, ["ReadFiles", "RunSingleUser"]),
    (GRACEFUL, {}, ["RunCheckpoint", *AWAIT_SHUTDOWN]),
    (IMMEDIATE, {}, AWAIT_SHUTDOWN),
    (act.Demote(DemoteKind.IMMEDIATE_NOLOCK), {}, AWAIT_SHUTDOWN),
    (act.Demote(DemoteKind.OFFLINE), {}, AWAIT_SHUTDOWN),
    (act.StopPostgres(is_fast=True), {}, AWAIT_SHUTDOWN),
    (act.StopPostgres(is_fast=False), {}, AWAIT_SHUTDOWN),
]
EACH = pytest.mark.parametrize(
    ("action", "answers", "kinds"), ALL, ids=[f"{type(row[0]).__name__}-{number}" for number, row in enumerate(ALL)]
)


def played(action: JobAction, answers: Answers | None = None, failing: tuple[int, Exception] | None = None) -> Played:
    return play(work(action), answers, failing)


@EACH
def test_what_a_job_asks_for(action: JobAction, answers: Answers, kinds: list[str]) -> None:
    result = played(action, answers)
    assert (result.kinds, result.fault) == (kinds, None)


@EACH
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_nothing_but_a_note_follows_a_failure(action: JobAction, answers: Answers, kinds: list[str], fault: Exception) -> None:
    """Only a checkpoint before a stop may fail: the shutdown makes one itself."""
    for index, request in enumerate(played(action, answers).asked):
        if isinstance(request, pg.RunCheckpoint) and isinstance(fault, PostgresError):
            continue
        result = played(action, answers, (index, fault))
        assert result.fault is fault
        assert all(isinstance(later, Note) for later in result.asked[index + 1 :])


@pytest.mark.parametrize("action", [PRIMARY, STANDBY, act.CrashRecovery(), REWIND])
def test_nothing_is_begun_on_a_torn_directory(action: JobAction) -> None:
    result = played(action, {ReadLease: FREE if action is REWIND else held(), pg.ReadFiles: files(Process.DOWN, is_torn=True)})
    assert isinstance(result.fault, Void)
    assert {"Launch", "RunRewind", "RunSingleUser"}.isdisjoint(result.kinds)


def test_nothing_is_removed_when_its_source_is_no_primary_any_more() -> None:
    said = pg.RemoteHistory(is_primary=False, system_id=None, timeline=None)
    result = played(REINITIALIZE, {ReadLease: FREE, pg.AskRemoteHistory: said})
    assert isinstance(result.fault, Void)
    assert "RemoveDataDirectory" not in result.kinds


TWIN_OF_2 = replace(REINITIALIZE, is_twin=True)
OWN = pg.OwnTimeline(timeline=Timeline(2), rows=(), wal=None)


def twin_said(twin: Twin, timeline: int = 2) -> pg.RemoteHistory:
    return pg.RemoteHistory(is_primary=True, system_id=None, timeline=Timeline(timeline), twin=twin)


@pytest.mark.parametrize("twin", [Twin.BY_BEGIN, Twin.BY_WAL])
def test_a_twin_is_removed_if_it_is_one_once_it_is_down(twin: Twin) -> None:
    stopped = files(Process.DOWN, control=control(ClusterState.SHUT_DOWN))
    answers = {ReadLease: FREE, pg.ReadFiles: [stopped, EMPTY], pg.ReadOwnTimeline: OWN, pg.AskRemoteHistory: twin_said(twin)}
    result = played(TWIN_OF_2, answers)
    own = ("ReadLease", *AWAIT_SHUTDOWN, "ReadLease", "ReadFiles", "ReadOwnTimeline", "AskRemoteHistory", "RemoveDataDirectory")
    assert (result.kinds, result.fault) == ([*own, *COPIED], None)
    assert pg.AskRemoteHistory(TWIN_OF_2.conn_url, OWN) in result.asked


@pytest.mark.parametrize(
    ("control_seen", "said"),
    [
        (control(ClusterState.SHUT_DOWN), twin_said(Twin.NONE)),
        (control(ClusterState.SHUT_DOWN), twin_said(Twin.UNKNOWN)),
        (control(ClusterState.SHUT_DOWN), twin_said(Twin.BY_BEGIN, 3)),
        (control(ClusterState.IN_PRODUCTION), twin_said(Twin.BY_WAL)),
        (None, twin_said(Twin.BY_WAL)),
    ],
    ids=["the same", "not known", "an older one", "without a known end", "without control data"],
)
def test_a_node_that_is_no_twin_once_it_is_down_is_kept(control_seen: ControlData | None, said: pg.RemoteHistory) -> None:
    stopped = files(Process.DOWN, control=control_seen)
    answers = {ReadLease: FREE, pg.ReadFiles: stopped, pg.ReadOwnTimeline: OWN, pg.AskRemoteHistory: said}
    result = played(TWIN_OF_2, answers)
    assert isinstance(result.fault, Void)
    assert "RemoveDataDirectory" not in result.kinds


def test_every_job_stands_in_the_table() -> None:
    assert {type(row[0]) for row in ALL} == set(act.JOBS)


@pytest.mark.parametrize(
    ("action", "kind", "subject"),
    [
        (act.Bootstrap(), JobKind.BOOTSTRAP, None),
        (act.AbortBootstrap(), JobKind.STOP, None),
        (CLONE, JobKind.CLONE_FROM_LEADER, "b"),
        (act.CloneFrom(member="c", conn_url=URL, is_leader=False, upstream=None), JobKind.CLONE_FROM_REPLICA, "c"),
        (PRIMARY, JobKind.START_AS_PRIMARY, None),
        (STANDBY, JobKind.START_AS_STANDBY, None),
        (act.StartAsStandby(upstream=None, timeout_s=1.0, is_after_demotion=True), JobKind.START_AFTER_DEMOTION, None),
        (REWIND, JobKind.REWIND, "b"),
        (REINITIALIZE, JobKind.REINITIALIZE, None),
        (act.CrashRecovery(), JobKind.CRASH_RECOVERY, None),
        (GRACEFUL, JobKind.DEMOTE, "switchover"),
        (act.StopPostgres(is_fast=True), JobKind.STOP, None),
    ],
)
def test_what_operators_see(action: JobAction, kind: JobKind, subject: str | None) -> None:
    assert kind_of(action) == (kind, subject)


# --- starting as primary


@pytest.mark.parametrize(
    ("leases", "ttl_s", "is_launched"),
    [
        pytest.param([7.5, 7.5], 30.0, True, id="a quarter of the ttl"),
        pytest.param([7.49], 30.0, False, id="less than a quarter"),
        pytest.param([7.5, 7.49], 30.0, False, id="less than a quarter right before the launch"),
        pytest.param([2.0, 2.0], 5.0, True, id="2 s of a short ttl"),
        pytest.param([1.99], 5.0, False, id="less than 2 s of a short ttl"),
    ],
)
def test_a_primary_is_started_under_enough_of_the_lease(leases: list[float], ttl_s: float, is_launched: bool) -> None:
    result = played(PRIMARY, {ReadLease: [held(left_s, proof=proof(ttl_s=ttl_s)) for left_s in leases]})
    assert (result.count(pg.Launch), isinstance(result.fault, Void)) == ((1, False) if is_launched else (0, True))


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param({ReadLease: Lease()}, id="no lease"),
        pytest.param({ReadLease: [held(), Lease()]}, id="none any more"),
        pytest.param({ReadLease: held(is_refused=True)}, id="a refused one"),
        pytest.param({ArmFence: False}, id="no guard"),
        pytest.param({pg.ReadFiles: ALIVE}, id="one runs already"),
    ],
)
def test_no_primary_is_started(answers: Answers) -> None:
    result = played(PRIMARY, answers)
    assert isinstance(result.fault, Void) and result.count(pg.Launch) == 0


def test_no_server_is_started_beside_orphans_that_cannot_be_killed() -> None:
    result = played(STANDBY, {pg.ReadFiles: ORPHANS, pg.AwaitDown: False})
    assert isinstance(result.fault, PostgresError) and result.count(pg.Launch) == 0


def test_a_start_whose_time_is_up_goes_on() -> None:
    result = played(STANDBY, {pg.AwaitReady: Readiness.NO_RESPONSE})
    assert result.fault is None
    assert states(result) == [PostgresState.STARTING]


def test_a_start_that_ended_has_failed() -> None:
    result = played(STANDBY, {pg.AwaitReady: Readiness.GONE})
    assert isinstance(result.fault, PostgresError)
    assert states(result) == [PostgresState.STARTING, PostgresState.START_FAILED]


def test_a_start_waits_as_long_as_it_was_told() -> None:
    waits = [request for request in played(PRIMARY).asked if isinstance(request, pg.AwaitReady)]
    assert waits == [pg.AwaitReady(within_s=300.0)]


@pytest.mark.parametrize("action", [STANDBY, act.Bootstrap()], ids=lambda action: type(action).__name__)
def test_a_start_that_was_told_nothing_waits_as_long_as_the_configuration_says(action: JobAction) -> None:
    waits = [request for request in played(action).asked if isinstance(request, pg.AwaitReady)]
    assert waits == [pg.AwaitReady(within_s=None)]


# --- where data may be lost


@pytest.mark.parametrize("action", [CLONE, REWIND, REINITIALIZE], ids=lambda action: type(action).__name__)
def test_who_holds_the_lock_keeps_its_data(action: JobAction) -> None:
    result = played(action, {ReadLease: held(), pg.ReadFiles: EMPTY})
    assert isinstance(result.fault, Void) and result.kinds == ["ReadLease"]


@pytest.mark.parametrize(
    ("action", "effect"), [(REWIND, pg.RunRewind), (REINITIALIZE, pg.RemoveDataDirectory)], ids=["rewind", "removal"]
)
def test_a_lock_that_was_won_during_the_stop_keeps_the_data(action: JobAction, effect: type[Request[Any]]) -> None:
    result = played(action, {ReadLease: [FREE, held()], pg.ReadFiles: ALIVE})
    assert isinstance(result.fault, Void) and result.count(effect) == 0


def test_nothing_is_copied_over_data() -> None:
    result = played(CLONE, {ReadLease: FREE, pg.ReadFiles: DOWN})
    assert isinstance(result.fault, Void) and result.count(pg.BaseBackup) == 0


@pytest.mark.parametrize("seen", [ALIVE, files(Process.ALIVE, data_directory=EMPTY.data_directory)], ids=["data", "no data"])
def test_nothing_is_copied_beside_a_server(seen: object) -> None:
    result = played(CLONE, {ReadLease: FREE, pg.ReadFiles: seen})
    assert isinstance(result.fault, Void) and result.count(pg.BaseBackup) == 0


@pytest.mark.parametrize("action", [REWIND, REINITIALIZE], ids=lambda action: type(action).__name__)
def test_data_of_a_server_that_cannot_be_stopped_is_not_touched(action: JobAction) -> None:
    result = played(action, {ReadLease: FREE, pg.ReadFiles: ALIVE, pg.AwaitDown: False})
    assert isinstance(result.fault, PostgresError)
    assert result.count(pg.RunRewind) + result.count(pg.RemoveDataDirectory) == 0


def test_crash_recovery_waits_for_nobody_and_runs_beside_nobody() -> None:
    result = played(act.CrashRecovery(), {pg.ReadFiles: ALIVE})
    assert isinstance(result.fault, Void) and result.count(pg.RunSingleUser) == 0


def test_a_failed_bootstrap_and_a_failed_copy_say_so() -> None:
    assert states(played(act.Bootstrap(), {pg.Initdb: PostgresError("no")}))[-1] is PostgresState.INITDB_FAILED
    result = played(CLONE, {ReadLease: FREE, pg.ReadFiles: EMPTY, pg.BaseBackup: PostgresError("no")})
    assert states(result)[-1] is PostgresState.STOPPED


# --- stopping


FAST, QUIT = pg.SignalStop(StopMode.FAST), pg.SignalStop(StopMode.IMMEDIATE)


def stops(result: Played) -> list[Request[Any]]:
    return [request for request in result.asked if isinstance(request, pg.SignalStop | pg.EndBackends | pg.KillAll)]


@pytest.mark.parametrize(
    ("action", "answers", "then"),
    [
        pytest.param(GRACEFUL, {}, [FAST], id="down at once"),
        pytest.param(GRACEFUL, {pg.AwaitDown: [False, True]}, [FAST, pg.EndBackends()], id="clients are ended after a moment"),
        pytest.param(
            GRACEFUL,
            {pg.AwaitDown: [False, False, True], IsHurried: [True]},
            [FAST, pg.EndBackends(), QUIT],
            id="hurried: immediate",
        ),
        pytest.param(
            GRACEFUL,
            {pg.AwaitDown: [False] * 601 + [True]},
            [FAST, pg.EndBackends(), QUIT],
            id="out of time: immediate",
        ),
        pytest.param(
            GRACEFUL,
            {pg.AwaitDown: [False] * 602 + [True]},
            [FAST, pg.EndBackends(), QUIT, pg.KillAll()],
            id="immediate did not help: kill",
        ),
        pytest.param(IMMEDIATE, {}, [QUIT], id="immediate"),
        pytest.param(IMMEDIATE, {pg.AwaitDown: [False, True]}, [QUIT, pg.KillAll()], id="immediate, then kill"),
        pytest.param(GRACEFUL, {pg.RunCheckpoint: PostgresError("disk full")}, [FAST], id="a failed checkpoint hinders none"),
        pytest.param(act.StopPostgres(is_fast=False), {}, [QUIT], id="stop at once"),
        pytest.param(act.StopPostgres(is_fast=True), {}, [FAST], id="stop"),
    ],
)
def test_a_stop_is_bounded(action: JobAction, answers: Answers, then: list[Request[Any]]) -> None:
    result = played(action, answers)
    assert (stops(result), result.fault) == (then, None)


@pytest.mark.parametrize("action", [GRACEFUL, IMMEDIATE, act.StopPostgres(is_fast=False)], ids=str)
def test_a_stop_that_leaves_somebody_is_no_stop(action: JobAction) -> None:
    result = played(action, {pg.AwaitDown: False})
    assert isinstance(result.fault, PostgresError)
    assert PostgresState.STOPPED not in states(result) and Role.DEMOTED not in roles(result)


def test_a_demotion_has_no_precondition() -> None:
    """Not the lease, not the guard, not the files: giving up power never waits for a fact."""
    for kind in DemoteKind:
        asked = {type(request) for request in played(act.Demote(kind)).asked}
        assert asked.isdisjoint({ReadLease, ArmFence, pg.ReadFiles})


def test_who_was_demoted_is_called_so_when_it_is_down() -> None:
    result = played(GRACEFUL)
    assert states(result) == [PostgresState.STOPPING, PostgresState.STOPPED]
    assert roles(result) == [Role.DEMOTED]


def states(result: Played) -> list[PostgresState]:
    return [request.state for request in result.asked if isinstance(request, Note) and request.state is not None]


def roles(result: Played) -> list[Role]:
    return [request.role for request in result.asked if isinstance(request, Note) and request.role is not None]


def test_the_end_of_a_stop_is_said_once() -> None:
    for action in (GRACEFUL, IMMEDIATE, act.StopPostgres(is_fast=True)):
        said = [request.phase for request in played(action).asked if isinstance(request, Note)]
        assert said.count("stopped") == 1
    assert roles(played(IMMEDIATE)) == [Role.DEMOTED]
