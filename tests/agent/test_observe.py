"""Observed: each event is filed where it belongs, stale ones change nothing, the view says what is known and how old it is."""

from __future__ import annotations

import pytest

from patroni.agent.event import (
    ChainEnded,
    ChainStepped,
    ClusterSeen,
    FilesSeen,
    HistorySeen,
    JobBegan,
    JobEnded,
    MonitoringSeen,
    Noted,
    Payload,
    PeerSeen,
    PostmasterExited,
    Signalled,
    StoreSilent,
    TurnWanted,
    Woken,
)
from patroni.agent.observe import Observed, RunningChain
from patroni.decision.actions import CloneFrom, Demote, DemoteKind, Promote, StartAsStandby, WriteConfig
from patroni.decision.cluster import HistoryRow, Lsn, PostgresState, Role, Timeline
from patroni.decision.lease import Lease
from patroni.decision.node import DataDirectory, JobKind, Process, Upstream
from patroni.decision.reasons import Code
from patroni.decision.view import Answer, Asked, Chain, LeaderHistory, Silent
from tests.agent.builders import (
    PID,
    SYSTEM,
    a_primary_says,
    a_standby_says,
    an_observer,
    at,
    files,
    files_seen,
    primary_seen,
    seen,
    standby_seen,
    take,
    view_of,
)
from tests.decision.builders import a_cluster, a_member, an_answer

START = StartAsStandby(upstream=None, timeout_s=None)
CLONE = CloneFrom(member="b", conn_url="postgres://b:5432/postgres", is_leader=True, upstream=None)
DEMOTE = Demote(DemoteKind.IMMEDIATE)
WALRECEIVER = 4712


# --- views of the store


@pytest.mark.parametrize(
    ("old", "new", "is_taken"),
    [
        pytest.param(seen(10), seen(11, began_s=1.0), True, id="a newer revision"),
        pytest.param(seen(10), seen(11, began_s=-1.0), True, id="a newer revision, asked for earlier"),
        pytest.param(seen(10), seen(9, began_s=-1.0), False, id="an older revision, asked for earlier"),
        pytest.param(seen(10), seen(9, began_s=1.0, is_linearizable=False), False, id="an older one from a replica that lags"),
        pytest.param(seen(10), seen(9, began_s=1.0), True, id="an older one, linearizable: another store"),
        pytest.param(seen(10), seen(10, began_s=1.0), True, id="the same revision, later"),
        pytest.param(seen(10), seen(10, began_s=-1.0), False, id="the same revision, earlier"),
        pytest.param(seen(10), seen(2, began_s=1.0, store_id="other"), True, id="another store, later"),
        pytest.param(seen(10), seen(99, began_s=-1.0, store_id="other"), False, id="another store, earlier"),
        pytest.param(seen(None), seen(None, began_s=1.0), True, id="no revision, later"),
        pytest.param(seen(None), seen(None, began_s=-1.0), False, id="no revision, earlier"),
    ],
)
def test_the_newer_of_two_views_is_kept(old: ClusterSeen, new: ClusterSeen, is_taken: bool) -> None:
    observed = an_observer(old, new)
    assert observed.cluster is (new.cluster if is_taken else old.cluster)


def test_the_age_of_a_view_counts_from_before_its_request() -> None:
    observed = an_observer()
    take(observed, 5.0, seen(10, began_s=3.0))
    assert view_of(observed, 6.0).cluster_age_s == 3.0


def test_the_store_is_silent_from_the_first_silence_until_an_answer() -> None:
    observed = an_observer(seen(10))
    take(observed, 1.0, StoreSilent(detail=""))
    take(observed, 2.0, StoreSilent(detail=""))
    assert view_of(observed, 4.0).store_silent_s == 3.0
    take(observed, 4.0, seen(9, began_s=-1.0))  # too old to be kept, but an answer
    assert view_of(observed, 5.0).store_silent_s == 0.0


def test_the_keepers_silence_counts_where_nobody_else_asks() -> None:
    assert view_of(an_observer(seen(10)), 1.0, Lease(silent_s=7.0)).store_silent_s == 7.0


@pytest.mark.parametrize(
    ("payload", "is_new"),
    [
        pytest.param(seen(11, "c"), True, id="another leader"),
        pytest.param(seen(11, None), True, id="no leader"),
        pytest.param(seen(11), False, id="the same leader"),
        pytest.param(PeerSeen(name="c", peer=an_answer(lsn=5001)), True, id="a peer moved"),
        pytest.param(PeerSeen(name="c", peer=an_answer(age_s=0.0)), False, id="a peer says the same"),
        pytest.param(PeerSeen(name="c", peer=Silent(age_s=0.0)), True, id="a peer fell silent"),
        pytest.param(files_seen(), False, id="the own files"),
        pytest.param(standby_seen(), False, id="the own position"),
    ],
)
def test_facts_of_the_election(payload: Payload, is_new: bool) -> None:
    observed = an_observer(seen(10), PeerSeen(name="c", peer=an_answer()))
    before = observed.facts
    take(observed, 1.0, payload)
    assert (observed.facts != before) is is_new


# --- state and role (contract/ha_behaviour.md §2.26, §7.2-7.3)


@pytest.mark.parametrize(
    ("payload", "state", "role"),
    [
        pytest.param(
            files_seen(Process.DOWN, data_directory=DataDirectory.EMPTY, control=None),
            PostgresState.STOPPED,
            Role.UNINITIALIZED,
            id="empty",
        ),
        pytest.param(files_seen(Process.DOWN), PostgresState.STOPPED, Role.DEMOTED, id="down, was primary"),
        pytest.param(
            files_seen(Process.DOWN, has_recovery_signal=True), PostgresState.STOPPED, Role.REPLICA, id="down, was standby"
        ),
        pytest.param(files_seen(), PostgresState.STARTING, Role.PRIMARY, id="running primary"),
        pytest.param(files_seen(has_recovery_signal=True), PostgresState.STARTING, Role.REPLICA, id="running standby"),
    ],
)
def test_what_is_found_at_the_start(payload: Payload, state: PostgresState, role: Role) -> None:
    observed = an_observer(payload)
    assert (observed.state, observed.role) == (state, role)


STANDBY = (files_seen(has_recovery_signal=True), standby_seen())
PRIMARY = (files_seen(), primary_seen())
NOTED = Noted(phase="promotion signalled", role=Role.PROMOTED)


@pytest.mark.parametrize(
    ("events", "state", "role"),
    [
        pytest.param(STANDBY, PostgresState.RUNNING, Role.REPLICA, id="a standby answers"),
        pytest.param(PRIMARY, PostgresState.RUNNING, Role.PRIMARY, id="a primary answers"),
        pytest.param((*STANDBY, MonitoringSeen(monitoring=None)), PostgresState.RUNNING, Role.REPLICA, id="no answer"),
        pytest.param((*STANDBY, NOTED), PostgresState.RUNNING, Role.PROMOTED, id="promotion signalled"),
        pytest.param((*STANDBY, NOTED, standby_seen()), PostgresState.RUNNING, Role.PROMOTED, id="promotion under way"),
        pytest.param((*STANDBY, NOTED, primary_seen()), PostgresState.RUNNING, Role.PRIMARY, id="promoted"),
        pytest.param(
            (*PRIMARY, PostmasterExited(pid=PID)), PostgresState.RUNNING, Role.PRIMARY, id="exited: who lives is unknown"
        ),
        pytest.param(
            (*PRIMARY, PostmasterExited(pid=PID), files_seen(Process.DOWN)),
            PostgresState.CRASHED,
            Role.PRIMARY,
            id="a primary has crashed",
        ),
        pytest.param((*PRIMARY, files_seen(Process.ORPHANS)), PostgresState.CRASHED, Role.PRIMARY, id="only orphans are left"),
        pytest.param(
            (*STANDBY, files_seen(Process.DOWN, has_recovery_signal=True)),
            PostgresState.CRASHED,
            Role.REPLICA,
            id="a standby has crashed",
        ),
        pytest.param((*PRIMARY, FilesSeen(files=None)), PostgresState.RUNNING, Role.PRIMARY, id="a dead disk says nothing"),
        pytest.param(
            (*PRIMARY, files_seen(Process.DOWN), files_seen(Process.DOWN)),
            PostgresState.CRASHED,
            Role.PRIMARY,
            id="seen down twice",
        ),
        pytest.param(
            (
                *PRIMARY,
                JobBegan(action=DEMOTE),
                Noted(phase="fast stop", state=PostgresState.STOPPING),
                files_seen(Process.DOWN),
            ),
            PostgresState.STOPPING,
            Role.PRIMARY,
            id="down in a job's hands is no crash",
        ),
        pytest.param(
            (*PRIMARY, JobBegan(action=DEMOTE), Noted(phase="fast stop", state=PostgresState.STOPPING), primary_seen()),
            PostgresState.STOPPING,
            Role.PRIMARY,
            id="a stopping server that answers is stopping still",
        ),
        pytest.param(
            (
                files_seen(Process.DOWN, has_recovery_signal=True),
                JobBegan(action=START),
                Noted(phase="starting", state=PostgresState.STARTING, role=Role.REPLICA),
                standby_seen(),
            ),
            PostgresState.RUNNING,
            Role.REPLICA,
            id="a starting server that answers is running",
        ),
        pytest.param(
            (*PRIMARY, files_seen(Process.DOWN, data_directory=DataDirectory.EMPTY, control=None)),
            PostgresState.STOPPED,
            Role.UNINITIALIZED,
            id="the data directory vanished",
        ),
    ],
)
def test_state_and_role(events: tuple[Payload, ...], state: PostgresState, role: Role) -> None:
    observed = an_observer(*events)
    assert (observed.state, observed.role) == (state, role)


def test_a_promotion_counts_as_pending_as_long_as_the_server_lives() -> None:
    """A standby that replays for minutes before it ends its recovery may become writable at any time."""
    observed = an_observer(*STANDBY, NOTED)
    take(observed, 600.0, standby_seen())
    assert observed.role is Role.PROMOTED


def test_a_promotion_ends_with_the_server_that_was_told() -> None:
    observed = an_observer(*STANDBY, NOTED)
    take(observed, 5.0, PostmasterExited(pid=PID), files_seen(postmaster_pid=PID + 1, has_recovery_signal=True), standby_seen())
    assert observed.role is Role.REPLICA


def test_the_age_of_a_state_counts_from_its_change() -> None:
    observed = an_observer(files_seen())
    take(observed, 3.0, primary_seen())
    take(observed, 8.0, primary_seen())
    assert view_of(observed, 10.0).node.state_age_s == 7.0


# --- ends of processes


def test_the_end_of_the_postmaster_makes_everything_unknown() -> None:
    observed = an_observer(*PRIMARY)
    take(observed, 1.0, PostmasterExited(pid=PID))
    node = view_of(observed, 1.0).node
    assert (node.process, node.is_in_recovery, observed.files_at) == (Process.UNKNOWN, None, None)


def test_the_end_of_another_process_says_nothing_of_the_postmaster() -> None:
    observed = an_observer(*PRIMARY)
    take(observed, 1.0, PostmasterExited(pid=PID - 1))
    assert view_of(observed, 1.0).node.process is Process.ALIVE


def test_the_end_of_the_walreceiver_makes_a_leader_suspect_and_forgets_nothing() -> None:
    observed = an_observer(*STANDBY, seen(10))
    assert not view_of(observed, 1.0).is_leader_silent
    take(observed, 1.0, PostmasterExited(pid=WALRECEIVER))
    view = view_of(observed, 1.0)
    assert view.is_leader_silent
    assert view.node.is_in_recovery is True
    assert observed.monitoring_at is None


def test_a_new_walreceiver_makes_the_leader_unsuspected() -> None:
    observed = an_observer(*STANDBY, seen(10), PostmasterExited(pid=WALRECEIVER))
    take(observed, 1.0, standby_seen(walreceiver_pid=None, replication_state=None))
    assert view_of(observed, 1.0).is_leader_silent
    take(observed, 2.0, standby_seen(walreceiver_pid=WALRECEIVER + 1))
    assert not view_of(observed, 2.0).is_leader_silent


def test_a_new_leader_is_not_suspected_because_of_the_old_one() -> None:
    observed = an_observer(*STANDBY, seen(10), PostmasterExited(pid=WALRECEIVER))
    take(observed, 1.0, seen(11, "c", began_s=1.0))
    assert not view_of(observed, 1.0).is_leader_silent


def test_a_leader_that_does_not_answer_is_suspected_and_we_are_not() -> None:
    observed = an_observer(seen(10), PeerSeen(name="b", peer=Silent(age_s=0.0)))
    assert view_of(observed, 1.0).is_leader_silent
    take(observed, 1.0, seen(11, "a", began_s=1.0), PeerSeen(name="a", peer=Silent(age_s=0.0)))
    assert not view_of(observed, 1.0).is_leader_silent


# --- jobs


def test_a_job_with_its_phase_and_age() -> None:
    observed = an_observer()
    take(observed, 1.0, JobBegan(action=CLONE), Noted(phase="base backup", state=PostgresState.CREATING_REPLICA))
    job = view_of(observed, 4.0).node.job
    assert job is not None
    assert (job.kind, job.subject, job.phase, job.age_s) == (JobKind.CLONE_FROM_LEADER, "b", "base backup", 3.0)


def test_after_a_job_everything_is_looked_at_anew() -> None:
    observed = an_observer(*PRIMARY, JobBegan(action=DEMOTE))
    take(observed, 2.0, JobEnded(action=DEMOTE, is_ok=False, detail="why"))
    node = view_of(observed, 5.0).node
    assert (node.job, node.process, node.control, node.is_in_recovery) == (None, Process.UNKNOWN, None, None)
    last = node.last_job
    assert last is not None
    assert (last.kind, last.is_ok, last.detail, last.age_s) == (JobKind.DEMOTE, False, "why", 3.0)
    assert observed.files_at is None and observed.monitoring_at is None


def test_the_end_of_a_cancelled_job_does_not_end_the_one_that_waited_for_it() -> None:
    observed = an_observer(JobBegan(action=CLONE))
    take(observed, 1.0, JobBegan(action=DEMOTE), JobEnded(action=CLONE, is_ok=False, detail="cancelled"))
    job = view_of(observed, 1.0).node.job
    assert job is not None and job.kind is JobKind.DEMOTE
    take(observed, 2.0, JobEnded(action=DEMOTE, is_ok=True))
    assert view_of(observed, 2.0).node.job is None


def test_of_two_jobs_that_do_the_same_the_later_one_runs_on() -> None:
    again = Demote(DemoteKind.IMMEDIATE)
    observed = an_observer(JobBegan(action=DEMOTE), JobBegan(action=again), JobEnded(action=DEMOTE, is_ok=False))
    assert view_of(observed, 1.0).node.job is not None


# --- chains


def a_running(observed: Observed, number: int) -> None:
    chain = Chain(actions=(WriteConfig(), Promote()), step=0, code=Code.LEADER_OK)
    observed.chain = RunningChain(number=number, chain=chain, began=at(0.0))


def test_a_chain_tells_its_step_and_its_end() -> None:
    observed = an_observer()
    a_running(observed, 2)
    take(observed, 1.0, ChainStepped(number=2, step=1))
    chain = view_of(observed, 3.0).chain
    assert chain is not None and (chain.step, chain.age_s) == (1, 3.0)
    take(observed, 4.0, ChainEnded(number=2, failed=Promote(), is_refusal=True, detail="why"))
    view = view_of(observed, 6.0)
    assert view.chain is None and view.last_chain is not None
    last = view.last_chain
    assert (last.code, last.failed, last.is_refusal, last.detail, last.age_s) == (Code.LEADER_OK, Promote(), True, "why", 2.0)


@pytest.mark.parametrize("late", [ChainStepped(number=1, step=1), ChainEnded(number=1, failed=Promote())])
def test_what_an_earlier_chain_says_late_is_ignored(late: Payload) -> None:
    observed = an_observer()
    a_running(observed, 2)
    take(observed, 1.0, late)
    view = view_of(observed, 1.0)
    assert view.chain is not None and view.chain.step == 0 and view.last_chain is None


# --- peers


def test_a_peer_that_is_being_asked() -> None:
    observed = an_observer(seen(10))
    observed.asked["c"] = at(1.0)
    assert view_of(observed, 2.0).peers == {"c": Asked(age_s=1.0)}
    take(observed, 2.0, PeerSeen(name="c", peer=an_answer()))
    assert isinstance(view_of(observed, 2.0).peers["c"], Answer)


def test_an_answer_counts_while_its_peer_is_asked_anew() -> None:
    observed = an_observer(PeerSeen(name="c", peer=an_answer(age_s=0.0)))
    observed.asked["c"] = at(1.0)
    assert view_of(observed, 3.0).peers["c"] == an_answer(age_s=3.0)
    assert view_of(observed, 3.1).peers["c"] == Asked(age_s=2.1)


def test_the_age_of_an_answer_counts_from_before_the_question() -> None:
    observed = an_observer(PeerSeen(name="c", peer=an_answer(age_s=1.5)))
    assert view_of(observed, 1.0).peers["c"].age_s == 2.5


def test_what_a_leader_said_of_its_history() -> None:
    observed = an_observer(HistorySeen(history=LeaderHistory(member="b", age_s=0.0, is_primary=True)))
    said = view_of(observed, 4.0).leader_history
    assert said is not None and said.age_s == 4.0


# --- the node


def test_a_primarys_node() -> None:
    observed = an_observer(*PRIMARY)
    node = view_of(observed, 2.0).node
    assert (node.name, node.process, node.is_running_primary, node.lsn, node.system_id) == (
        "a",
        Process.ALIVE,
        True,
        Lsn(5000),
        SYSTEM,
    )
    assert (node.is_checkpointed, node.probe_age_s, node.major) == (True, 2.0, 15)


def test_a_new_primary_is_not_checkpointed_before_its_control_file_says_so() -> None:
    observed = an_observer(files_seen(), primary_seen(timeline=Timeline(2)))
    assert not view_of(observed, 1.0).node.is_checkpointed


def test_a_standby_whose_receiver_does_not_say_its_timeline() -> None:
    said = MonitoringSeen(monitoring=a_standby_says(timeline=None), timeline=Timeline(3))
    observed = an_observer(files_seen(has_recovery_signal=True), said)
    take(observed, 1.0, standby_seen(timeline=None))
    assert view_of(observed, 1.0).node.timeline == 3


def test_the_history_file_belongs_to_the_timeline_it_was_read_for() -> None:
    rows = (HistoryRow(timeline=Timeline(1), lsn=Lsn(1), reason="r"),)
    said = MonitoringSeen(monitoring=a_primary_says(timeline=Timeline(2)), local_history=rows)
    observed = an_observer(files_seen(), said)
    assert (observed.history_timeline, view_of(observed, 1.0).node.local_history) == (2, rows)


@pytest.mark.parametrize(
    ("host", "port", "member"),
    [("b", 5432, "b"), ("b", 5433, None), ("elsewhere", 5432, None)],
)
def test_whose_address_the_upstream_is(host: str, port: int, member: str | None) -> None:
    upstream = Upstream(member=None, host=host, port=port)
    observed = an_observer(files_seen(has_recovery_signal=True), seen(10), standby_seen(upstream=upstream))
    found = view_of(observed, 1.0).node.upstream
    assert found is not None and found.member == member


def test_a_member_key_with_a_torn_address_names_nobody() -> None:
    torn = ClusterSeen(
        cluster=a_cluster("b", a_member("c", conn_url="postgres://c:port/postgres")), began=at(0.0), is_linearizable=True
    )
    upstream = Upstream(member=None, host="c", port=5432)
    observed = an_observer(files_seen(has_recovery_signal=True), torn, standby_seen(upstream=upstream))
    assert view_of(observed, 1.0).node.upstream == upstream


# --- the rest


def test_a_signal_ends_the_agent() -> None:
    assert view_of(an_observer(Signalled(number=15)), 1.0).is_stopping


def test_a_call_for_a_turn_changes_nothing() -> None:
    observed = an_observer(*PRIMARY, seen(10))
    before = view_of(observed, 1.0)
    take(observed, 1.0, TurnWanted(), Woken(why="somebody asked"))
    assert view_of(observed, 1.0) == before


def test_a_disk_that_does_not_answer_leaves_what_was_known() -> None:
    observed = an_observer(files_seen())
    take(observed, 5.0, FilesSeen(files=None))
    assert observed.files == files() and observed.files_answered_at == at(5.0)
