"""Dispatcher: chains, the job's slot and looks on real threads, with a store in memory and a fake Postgres."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from patroni.agent import clock, order
from patroni.agent.event import (
    ChainEnded,
    ChainStepped,
    ClusterSeen,
    FilesSeen,
    JobBegan,
    JobEnded,
    LocalRead,
    MemberTouched,
    MonitoringSeen,
    Noted,
    PeerSeen,
    StoreSilent,
)
from patroni.dcs.store import EndSession
from patroni.decision.actions import (
    AcquireLock,
    Checkpoint,
    ClaimInitialize,
    CloneFrom,
    Demote,
    DemoteKind,
    Promote,
    ReleaseLock,
    StartAsStandby,
    StopPostgres,
    SyncSlots,
    WriteConfig,
)
from patroni.decision.cluster import Role, Timeline, Token
from patroni.decision.node import Node, Process
from patroni.decision.settings import Settings
from patroni.decision.view import GuardState
from patroni.postgres import request as pg
from patroni.postgres.request import PostgresError, PostgresTimeout
from tests.agent.builders import a_standby_says, proof
from tests.agent.rig import Rig, released, rigged
from tests.decision.builders import an_answer
from tests.support.waiting import wait_until

CLONE = CloneFrom(member="b", conn_url="postgres://b/", is_leader=True, upstream=None)
DEMOTE = Demote(DemoteKind.IMMEDIATE)
START = StartAsStandby(upstream=None, timeout_s=None)
STOP = StopPostgres(is_fast=False)
IMMEDIATE = pg.SignalStop(pg.StopMode.IMMEDIATE)
PATIENCE_S = 20.0


@pytest.fixture
def rig() -> Iterator[Rig]:
    with rigged() as made:
        yield made


@pytest.fixture
def full() -> Iterator[Rig]:
    """Return a rig with a data directory."""
    with rigged(has_data=True) as made:
        yield made


# --- chains


def test_a_chain_tells_each_step_and_its_end(rig: Rig) -> None:
    rig.run(ClaimInitialize(), WriteConfig())
    ended = rig.await_told(ChainEnded)
    assert ended == ChainEnded(number=1)
    assert [said for said in rig.told if isinstance(said, ChainStepped)] == [
        ChainStepped(number=1, step=1),
    ]
    assert rig.read().config is not None


def test_what_follows_a_failed_effect_has_no_effect(rig: Rig) -> None:
    rig.run(ClaimInitialize())
    rig.await_told(ChainEnded)
    rig.run(ClaimInitialize(), WriteConfig())
    ended = rig.await_told(ChainEnded, 2)
    assert (ended.number, ended.failed, ended.is_refusal) == (2, ClaimInitialize(), True)
    assert rig.read().config is None


@pytest.mark.parametrize("fault", [PostgresTimeout("no answer"), PostgresError("no")])
def test_a_failure_of_postgres_is_no_refusal(full: Rig, fault: Exception) -> None:
    full.postgres.answers[pg.ChangeSlots] = fault
    full.run(SyncSlots(create=(), drop=()))
    ended = full.await_told(ChainEnded)
    assert (ended.is_refusal, ended.detail) == (False, str(fault))


def test_a_store_without_an_answer_is_no_refusal(rig: Rig) -> None:
    rig.link.is_cut = True
    rig.run(ClaimInitialize())
    ended = rig.await_told(ChainEnded)
    assert ended.failed == ClaimInitialize() and not ended.is_refusal


def test_a_chain_of_an_earlier_epoch_has_no_effect(rig: Rig) -> None:
    epoch = rig.keeper.epoch
    rig.keeper.begin_epoch()
    rig.run(ClaimInitialize(), epoch=epoch)
    ended = rig.await_told(ChainEnded)
    assert ended.is_refusal and rig.read().initialize_token is None


def test_an_epoch_that_begins_between_two_effects_voids_the_second(full: Rig) -> None:
    full.postgres.hooks[pg.ChangeSlots] = lambda: void_by(full)
    full.run(SyncSlots(create=(), drop=()), ClaimInitialize())
    ended = full.await_told(ChainEnded)
    assert ended.failed == ClaimInitialize() and ended.is_refusal
    assert full.read().initialize_token is None


def void_by(rig: Rig) -> None:
    rig.keeper.begin_epoch()


def test_an_unexpected_fault_ends_a_chain_too(full: Rig) -> None:
    """Else the loop would wait for its end for ever."""
    full.postgres.answers[pg.ChangeSlots] = KeyError("a bug")
    full.run(SyncSlots(create=(), drop=()), ClaimInitialize())
    ended = full.await_told(ChainEnded)
    assert ended.failed == SyncSlots(create=(), drop=()) and not ended.is_refusal
    assert full.read().initialize_token is None


def test_a_won_lock_is_kept_and_released_by_its_version(rig: Rig) -> None:
    rig.renew()
    rig.run(AcquireLock())
    rig.await_told(ChainEnded)
    leader = rig.read().leader
    assert leader is not None and leader.name == "a"
    rig.run(ReleaseLock(token=Token("another")))
    assert rig.await_told(ChainEnded, 2).is_refusal
    rig.run(ReleaseLock(token=leader.token))
    assert rig.await_told(ChainEnded, 3).failed is None
    assert rig.read().leader is None


def test_without_a_session_no_lock(rig: Rig) -> None:
    rig.run(AcquireLock())
    assert rig.await_told(ChainEnded).is_refusal
    assert rig.read().leader is None


def test_facts_that_changed_since_the_decision_void_an_acquire(rig: Rig) -> None:
    rig.renew()
    rig.facts += 1
    rig.run(AcquireLock())
    assert rig.await_told(ChainEnded).is_refusal
    assert rig.read().leader is None


def test_a_promotion_arms_the_guard_and_says_so(rig: Rig) -> None:
    rig.renew()
    rig.run(AcquireLock(), Promote())
    assert rig.await_told(ChainEnded).failed is None
    assert rig.fence.state() is GuardState.ARMED
    assert rig.postgres.was_asked(pg.SignalPromote) == 1
    assert rig.await_told(Noted).role is Role.PROMOTED


def test_a_promotion_that_was_signalled_is_told_even_if_the_chain_is_void_by_now(rig: Rig) -> None:
    """Else the guard of a server that is about to become a primary counts as that of a standby, and is disarmed."""
    rig.renew()
    rig.postgres.hooks[pg.SignalPromote] = lambda: void_by(rig)
    rig.run(AcquireLock(), Promote(), ClaimInitialize())
    assert rig.await_told(ChainEnded).failed == ClaimInitialize()
    assert rig.await_told(Noted).role is Role.PROMOTED


def test_a_checkpoint_holds_up_no_chain(full: Rig) -> None:
    """It may take minutes, and nothing waits for it."""
    full.postgres.hold(pg.RunCheckpoint)
    full.run(Checkpoint(), ClaimInitialize())
    assert full.await_told(ChainEnded).failed is None
    full.run(Checkpoint())
    full.await_told(ChainEnded, 2)
    full.await_asked(pg.RunCheckpoint)
    assert full.postgres.was_asked(pg.RunCheckpoint) == 1, "one at a time"


# --- the job's slot


def test_a_job_from_begin_to_end(full: Rig) -> None:
    full.run(START)
    assert full.await_told(JobEnded) == JobEnded(action=START, is_ok=True)
    assert full.kinds().index(JobBegan) < full.kinds().index(Noted) < full.kinds().index(JobEnded)
    assert full.kinds().index(JobBegan) < full.kinds().index(ChainEnded), "or the loop would see neither chain nor job"
    assert full.watched == [full.postgres.pid]


def test_a_job_that_fails_says_why(full: Rig) -> None:
    full.postgres.answers[pg.Launch] = PostgresError("no such program")
    full.run(START)
    assert full.await_told(JobEnded) == JobEnded(action=START, is_ok=False, detail="no such program")


def test_a_job_with_an_unexpected_fault_has_not_succeeded(full: Rig) -> None:
    full.postgres.answers[pg.Launch] = KeyError("a bug")
    full.run(START)
    assert not full.await_told(JobEnded).is_ok


def test_the_slot_is_free_when_the_end_is_told(full: Rig) -> None:
    for count in range(1, 30):
        full.run(STOP)
        assert full.await_told(JobEnded, count).is_ok
        assert full.await_told(ChainEnded, count).failed is None


def test_a_taken_slot_refuses_a_chains_job(rig: Rig) -> None:
    rig.postgres.hold(pg.BaseBackup)
    rig.run(CLONE)
    rig.await_asked(pg.BaseBackup)
    rig.run(START)
    ended = rig.await_told(ChainEnded, 2)
    assert ended.is_refusal and "busy" in ended.detail


def test_a_job_is_cancelled_before_another_begins(rig: Rig) -> None:
    rig.postgres.hold(pg.BaseBackup)
    rig.run(CLONE)
    rig.await_asked(pg.BaseBackup)
    rig.dispatcher.dispatch(order.StartJob(epoch=1, action=DEMOTE))
    assert rig.await_told(JobEnded) == JobEnded(action=CLONE, is_ok=False, detail="cancelled")
    assert rig.await_told(JobEnded, 2) == JobEnded(action=DEMOTE, is_ok=True)


def test_a_cancel_between_order_and_start_is_not_lost(rig: Rig) -> None:
    """The job before it has not ended yet; a base backup would else run for hours before a demotion."""
    rig.postgres.hold(pg.ReadFiles)  # not cancellable: the first job's thread is busy
    rig.run(START)
    rig.await_asked(pg.ReadFiles)
    rig.dispatcher.dispatch(order.CancelRunningJob())
    rig.run(CLONE)
    rig.await_told(JobBegan, 2)
    rig.dispatcher.dispatch(order.StartJob(epoch=1, action=DEMOTE))
    rig.postgres.let_go(pg.ReadFiles)
    assert rig.await_told(JobEnded, 3) == JobEnded(action=DEMOTE, is_ok=True)
    assert rig.postgres.was_asked(pg.BaseBackup) == 0


def test_a_chains_job_that_slips_in_before_a_demotion_is_cancelled_too(rig: Rig) -> None:
    """The demotion is ordered by the loop's thread: it is never refused."""
    cancel = rig.postgres.cancel

    def slip_in() -> None:
        rig.run(START)
        rig.await_told(ChainEnded, 2)
        cancel()

    rig.postgres.hold(pg.BaseBackup)
    rig.run(CLONE)
    rig.await_asked(pg.BaseBackup)
    rig.postgres.cancel = slip_in  # type: ignore[method-assign]  # between the cancellation and the demotion
    rig.dispatcher.dispatch(order.StartJob(epoch=1, action=DEMOTE))
    assert rig.await_told(JobEnded, 3) == JobEnded(action=DEMOTE, is_ok=True)
    assert rig.postgres.was_asked(pg.Launch) == 0


def test_a_cancel_right_before_a_long_step_is_not_lost(rig: Rig) -> None:
    """The step is not under way yet when the driver is told to cancel."""
    rig.postgres.hooks[pg.BaseBackup] = lambda: rig.dispatcher.dispatch(order.CancelRunningJob())
    rig.postgres.hold(pg.BaseBackup)
    rig.run(CLONE)
    assert rig.await_told(JobEnded).detail == "cancelled"


def test_a_cancel_without_a_job_cancels_nothing_later(rig: Rig) -> None:
    rig.dispatcher.dispatch(order.CancelRunningJob())
    rig.run(CLONE)
    assert rig.await_told(JobEnded).is_ok


def test_only_the_last_of_several_stops_waits_for_the_slot(rig: Rig) -> None:
    rig.postgres.hold(pg.ReadFiles)
    rig.run(START)
    rig.await_asked(pg.ReadFiles)
    for _ in range(5):
        rig.dispatcher.dispatch(order.StartJob(epoch=1, action=DEMOTE))
    rig.postgres.let_go(pg.ReadFiles)
    assert rig.await_told(JobEnded, 6).is_ok
    assert rig.postgres.was_asked(pg.SignalStop) == 1


def test_a_hurried_stop_does_not_wait_for_standbys(full: Rig) -> None:
    full.postgres.answers[pg.AwaitDown] = False
    full.dispatcher.dispatch(order.StartJob(epoch=1, action=Demote(DemoteKind.GRACEFUL)))
    full.dispatcher.dispatch(order.HurryJob())
    wait_until(lambda: IMMEDIATE in full.postgres.asked, PATIENCE_S, "the immediate stop")


def test_a_hurry_belongs_to_the_job_it_was_meant_for(full: Rig) -> None:
    with released(gate := threading.Event()):
        full.postgres.answers[pg.AwaitDown] = False
        full.postgres.hooks[pg.AwaitDown] = lambda: wait_at(gate) if full.postgres.was_asked(pg.AwaitDown) == 3 else None
        full.dispatcher.dispatch(order.HurryJob())
        full.dispatcher.dispatch(order.StartJob(epoch=1, action=Demote(DemoteKind.GRACEFUL)))
        full.await_asked(pg.AwaitDown, 3)
        assert IMMEDIATE not in full.postgres.asked
        full.dispatcher.dispatch(order.HurryJob())
    wait_until(lambda: IMMEDIATE in full.postgres.asked, PATIENCE_S, "the immediate stop")
    assert full.postgres.was_asked(pg.AwaitDown) <= 6


def test_the_end_cancels_what_runs() -> None:
    with rigged() as rig:
        rig.postgres.hold(pg.BaseBackup)
        rig.run(CLONE)
        rig.await_asked(pg.BaseBackup)
        rig.dispatcher.close(4.0)
        assert rig.await_told(JobEnded).detail == "cancelled"


# --- the orders that are carried out at once


def test_arm_disarm_and_leave(rig: Rig) -> None:
    rig.dispatcher.dispatch(order.ArmFence(proof()))
    assert rig.fence.state() is GuardState.ARMED
    rig.dispatcher.dispatch(order.DisarmFence())
    rig.dispatcher.dispatch(order.Leave(3))
    assert (rig.fence.state(), rig.left) == (GuardState.IDLE, [3])


# --- looks


def test_a_reload_is_none_of_a_start(full: Rig) -> None:
    full.dispatcher.dispatch(order.ReloadPostgres(is_standby=False, upstream=None))
    full.await_asked(pg.Reload)
    assert pg.WriteConfiguration(is_standby=False, is_running=True) in full.postgres.asked


def test_files_are_told_and_the_postmaster_is_watched(full: Rig) -> None:
    full.run(START)
    full.await_told(JobEnded)
    full.dispatcher.dispatch(order.LookAtFiles())
    seen = full.await_told(FilesSeen).files
    assert seen is not None and seen.process is Process.ALIVE
    assert full.watched == [full.postgres.pid] * 2


def test_a_disk_that_does_not_answer_is_told(rig: Rig) -> None:
    rig.postgres.answers[pg.ReadFiles] = PostgresTimeout("no answer")
    rig.dispatcher.dispatch(order.LookAtFiles())
    assert rig.await_told(FilesSeen).files is None


def when_asked(seen: MonitoringSeen) -> MonitoringSeen:
    """Return the same without when it was asked, which was said."""
    assert seen.began is not None and seen.began.boot_s <= clock.now().boot_s
    return replace(seen, began=None)


def test_a_query_with_all_that_is_wanted(rig: Rig) -> None:
    rig.postgres.answers |= {pg.ReadMonitoring: a_standby_says(), pg.ReadLocalTimeline: Timeline(7), pg.ReadLocalHistory: ()}
    rig.dispatcher.dispatch(order.QueryPostgres(asks_timeline=True, history_of=Timeline(7)))
    said = MonitoringSeen(monitoring=a_standby_says(), timeline=Timeline(7), local_history=())
    assert when_asked(rig.await_told(MonitoringSeen)) == said
    assert rig.watched == [4712], "the walreceiver"


def test_a_query_without_an_answer_and_one_whose_extras_have_none(rig: Rig) -> None:
    rig.dispatcher.dispatch(order.QueryPostgres())
    assert when_asked(rig.await_told(MonitoringSeen)) == MonitoringSeen(monitoring=None, detail="nobody listens")
    rig.postgres.answers |= {pg.ReadMonitoring: a_standby_says(), pg.ReadLocalTimeline: PostgresTimeout("no answer")}
    rig.dispatcher.dispatch(order.QueryPostgres(asks_timeline=True))
    assert when_asked(rig.await_told(MonitoringSeen, 2)) == MonitoringSeen(monitoring=a_standby_says())


def test_a_read_of_the_store(rig: Rig) -> None:
    rig.dispatcher.dispatch(order.ReadStore(is_linearizable=True))
    assert rig.await_told(ClusterSeen).is_linearizable
    rig.link.is_cut = True
    rig.dispatcher.dispatch(order.ReadStore(is_linearizable=True))
    assert "cut off" in rig.await_told(StoreSilent).detail


def test_a_peers_answer_carries_its_age(rig: Rig) -> None:
    rig.peer = an_answer(age_s=0.0)
    rig.dispatcher.dispatch(order.AskPeer(name="b", api_url="http://b/"))
    seen = rig.await_told(PeerSeen)
    assert seen.name == "b" and 0.0 < seen.peer.age_s < 5.0
    assert replace(seen.peer, age_s=0.0) == rig.peer


def test_the_member_key_hangs_on_the_session(rig: Rig) -> None:
    touch = order.TouchMember(node=Node(name="a"), is_leader=False)
    rig.dispatcher.dispatch(touch)
    assert not rig.await_told(MemberTouched).is_ok, "no session is open"
    rig.renew()
    rig.dispatcher.dispatch(touch)
    assert rig.await_told(MemberTouched, 2).is_ok
    session = rig.keeper.session
    assert session is not None and rig.read().members["a"].session == session.id


def test_a_member_key_whose_session_is_gone_wakes_the_keeper(rig: Rig) -> None:
    rig.renew()
    session = rig.keeper.session
    assert session is not None
    rig.store.end_session(EndSession(session.id), 1.0)
    assert rig.keeper.step(clock.now()).renewal is None, "none is due"
    rig.dispatcher.dispatch(order.TouchMember(node=Node(name="a"), is_leader=False))
    assert not rig.await_told(MemberTouched).is_ok
    assert rig.keeper.step(clock.now()).renewal is not None


def test_a_reload_writes_the_files_of_what_postgres_is_now(full: Rig) -> None:
    full.dispatcher.dispatch(order.ReloadPostgres(is_standby=True, upstream=None))
    full.await_asked(pg.Reload)
    written = pg.WriteConfiguration(is_standby=True, upstream=None, is_running=True)
    assert full.postgres.asked == [written, pg.Reload()]


def test_a_reload_that_fails_ends_with_the_step_that_failed(full: Rig, caplog: pytest.LogCaptureFixture) -> None:
    full.postgres.answers[pg.WriteConfiguration] = PostgresError("disk full")
    full.dispatcher.dispatch(order.ReloadPostgres(is_standby=False, upstream=None))
    wait_until(lambda: "Postgres was not reloaded: disk full" in caplog.text, PATIENCE_S, "the line")
    assert full.postgres.was_asked(pg.Reload) == 0


def test_files_of_the_agent_are_read_and_written_beside_the_loop(rig: Rig) -> None:
    rig.dispatcher.dispatch(order.SaveDynamic())
    rig.dispatcher.dispatch(order.ReadLocal())
    assert rig.await_told(LocalRead).local is None
    assert rig.saves == ["files"]


def test_a_checkpoint_that_fails_lets_the_next_one_begin(full: Rig) -> None:
    full.postgres.answers[pg.RunCheckpoint] = PostgresTimeout("no answer")

    def was_asked_twice() -> bool:
        full.run(Checkpoint())
        return full.postgres.was_asked(pg.RunCheckpoint) > 1

    wait_until(was_asked_twice, PATIENCE_S, "the second one")


def test_a_worker_that_hangs_holds_up_no_other(rig: Rig) -> None:
    with released(gate := threading.Event()):
        rig.postgres.hooks[pg.ReadMonitoring] = lambda: wait_at(gate)
        rig.dispatcher.dispatch(order.QueryPostgres())
        rig.dispatcher.dispatch(order.ReadStore(is_linearizable=True))
        rig.dispatcher.dispatch(order.LookAtFiles())
        rig.await_told(ClusterSeen)
        rig.await_told(FilesSeen)
        assert MonitoringSeen not in rig.kinds()


def wait_at(gate: threading.Event) -> None:
    gate.wait(PATIENCE_S)


def test_the_store_gets_what_the_settings_allow(rig: Rig) -> None:
    rig.shared.settings = Settings(retry_timeout_s=0.0)
    rig.run(ClaimInitialize())
    assert rig.await_told(ChainEnded).failed is None, "the shortest try is still a try"
