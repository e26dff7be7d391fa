"""The loop: one decision a turn, its orders to those who may block, and REST's 503 in the turn that gives up power."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from patroni.agent import order
from patroni.agent.event import (
    ChainEnded,
    ClusterSeen,
    Event,
    JobBegan,
    JobEnded,
    MemberTouched,
    Noted,
    Payload,
    PeerSeen,
    PostmasterExited,
    Signalled,
    TurnWanted,
)
from patroni.agent.lease_keeper import LeaseKeeper, Renewed
from patroni.agent.loop import Loop, Turn
from patroni.agent.order import Order
from patroni.dcs.store import Refusal, Session
from patroni.decision.actions import (
    AcquireLock,
    Demote,
    DemoteKind,
    JobAction,
    Promote,
    ReleaseLock,
    StartAsStandby,
    StopPostgres,
    WriteStatus,
)
from patroni.decision.cluster import Cluster, Leader, Lsn, PostgresState, Revision, Role, Token
from patroni.decision.node import ClusterState, DataDirectory, Process
from patroni.decision.reasons import Code
from patroni.decision.settings import Settings
from patroni.decision.view import GuardState, Silent
from patroni.fence.client import InProcessFence
from tests.agent.builders import (
    LOCK,
    PID,
    SESSION,
    TTL_S,
    WALL,
    at,
    control,
    files_seen,
    primary_seen,
    proof,
    standby_seen,
)
from tests.decision.builders import a_cluster, a_request, an_answer

K = TypeVar("K", bound=Order)
OURS = Leader(name="a", incarnation=LOCK, token=Token("1"), revision=Revision(10), session=SESSION)
FIT = tuple(PeerSeen(name=name, peer=an_answer(age_s=0.0)) for name in "bc")
STANDBY = (files_seen(has_recovery_signal=True), standby_seen())
DOWN = files_seen(Process.DOWN, control=control(ClusterState.SHUT_DOWN))


class Bench:
    """A loop of node `a` with its keeper and fence, without threads, on a clock that only the test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.told: list[Payload] = []
        self.fence = InProcessFence(lambda: None, lambda: None)
        chance = random.Random(1)
        self.keeper = LeaseKeeper("a", self.fence, ttl_s=TTL_S, emit=lambda _, said: self.told.append(said), chance=chance)
        self.settings = Settings(ttl_s=TTL_S)
        self.loop = Loop("a", self.keeper, lambda: self.settings, at(self.now_s), chance=chance)
        self.revision = 10

    def turn(self, *payloads: Payload, later_s: float = 0.01) -> Turn:
        """Take a turn with these events, and with what the keeper has told."""
        self.now_s += later_s
        told, self.told[:] = tuple(self.told), []
        events = [Event(epoch=0, sent=at(self.now_s), payload=payload) for payload in (*told, *payloads)]
        turn = self.loop.turn(at(self.now_s), WALL, events)
        self.loop.carried_out(turn)
        return turn

    def cluster(self, leader: str | Leader | None = OURS, **changes: Any) -> ClusterSeen:  # noqa: ANN401  # any field
        """Return the next view of the store."""
        self.revision += 1
        cluster = a_cluster(leader, **{"revision": Revision(self.revision), **changes})
        return ClusterSeen(cluster=cluster, began=at(self.now_s), is_linearizable=True)

    def renew(self) -> bool:
        """Send the renewal that is due, with the proof of the lock where we lead; return whether one was sent."""
        self.keeper.renew_soon()
        renewal = self.keeper.step(at(self.now_s)).renewal
        if renewal is None:
            return False
        lock = (Token("1"), Revision(10)) if renewal.proof is not None else None
        self.keeper.renewed(renewal, Renewed(sent=at(self.now_s), session=Session(id=SESSION, ttl_s=TTL_S), lock=lock))
        return True

    def take_lock(self) -> None:
        """Win the lock as `AcquireLock` does."""
        self.renew()
        won = proof(self.now_s)
        assert self.fence.arm(won)
        self.keeper.take(won, if_epoch=self.keeper.epoch)

    def led(self) -> Turn:
        """Become a healthy leader whose upkeep is done."""
        self.take_lock()
        turn = self.turn(files_seen(), primary_seen(), self.cluster())
        return self.settled(turn)

    def settled(self, turn: Turn) -> Turn:
        """Let every chain end well, and the member key be written."""
        while found := [each for each in turn.orders if isinstance(each, order.StartChain)]:
            turn = self.turn(ChainEnded(number=found[0].number), MemberTouched(is_ok=True))
        return turn

    def ended(self, action: JobAction, *, is_ok: bool) -> Turn:
        """Let the job end, and look again."""
        seen = (DOWN,) if is_ok else (files_seen(), primary_seen())
        return self.turn(JobEnded(action=action, is_ok=is_ok), *seen)


def of(turn: Turn, kind: type[K]) -> list[K]:
    return [each for each in turn.orders if isinstance(each, kind)]


def job_of(turn: Turn) -> JobAction:
    """Return the job that is started at once."""
    started = of(turn, order.StartJob)
    assert len(started) == 1, turn.orders
    return started[0].action


# --- a leader at work


def test_a_healthy_leader() -> None:
    turn = Bench().led()
    assert (turn.decision.because.code, turn.is_giving_up) == (Code.LEADER_OK, False)
    assert turn.wake_at_s > 1000.0


def test_one_chain_at_a_time() -> None:
    bench = Bench()
    bench.take_lock()
    first = bench.turn(files_seen(), primary_seen(), bench.cluster())
    (chain,) = of(first, order.StartChain)
    assert any(isinstance(action, WriteStatus) for action in chain.actions)
    second = bench.turn(bench.cluster())
    assert (of(second, order.StartChain), second.decision.because.code) == ([], Code.CHAIN_RUNNING)


def test_the_end_of_an_earlier_chain_is_not_the_end_of_this_one() -> None:
    bench = Bench()
    bench.take_lock()
    (chain,) = of(bench.turn(files_seen(), primary_seen(), bench.cluster()), order.StartChain)
    assert bench.turn(ChainEnded(number=chain.number - 1)).decision.because.code is Code.CHAIN_RUNNING
    assert bench.turn(ChainEnded(number=chain.number)).decision.because.code is Code.LEADER_OK


def test_a_chain_carries_what_it_was_decided_on() -> None:
    bench = Bench()
    bench.renew()
    answered_s = bench.now_s + 0.01
    bench.settled(bench.turn(*STANDBY, *FIT, bench.cluster("c")))
    (chain,) = of(bench.turn(*STANDBY, bench.cluster(None), later_s=1.0), order.StartChain)
    assert isinstance(chain.actions[0], AcquireLock)
    assert (chain.facts, chain.epoch, chain.is_primary) == (bench.loop.observed.facts, bench.keeper.epoch, False)
    assert chain.facts_at.boot_s == pytest.approx(answered_s), "when the peers answered, not when it was decided"


def test_questions_go_to_workers_and_begin_no_chain() -> None:
    bench = Bench()
    turn = bench.turn(files_seen(has_recovery_signal=True), standby_seen(), bench.cluster(None))
    assert {each.name for each in of(turn, order.AskPeer)} == {"b", "c"}
    assert of(turn, order.StartChain) == []


def test_a_question_is_under_way_once() -> None:
    bench = Bench()
    bench.turn(files_seen(has_recovery_signal=True), standby_seen(), bench.cluster(None))
    assert of(bench.turn(TurnWanted(), later_s=0.5), order.AskPeer) == []


# --- giving up power


def test_a_lost_lock_voids_the_chain_and_stops_postgres_at_once() -> None:
    bench = Bench()
    bench.take_lock()
    (chain,) = of(bench.turn(files_seen(), primary_seen(), bench.cluster()), order.StartChain)
    turn = bench.turn(bench.cluster("b"))
    assert job_of(turn) == Demote(DemoteKind.IMMEDIATE_NOLOCK)
    assert bench.keeper.epoch > chain.epoch
    assert bench.loop.observed.chain is None
    assert turn.is_giving_up


def test_giving_up_waits_for_no_job() -> None:
    bench = Bench()
    bench.led()
    clone = StartAsStandby(upstream=None, timeout_s=None)
    turn = bench.turn(JobBegan(action=clone), Signalled(number=15))
    assert of(turn, order.CancelRunningJob) != []


def test_a_job_is_cancelled_once() -> None:
    bench = Bench()
    bench.led()
    turn = bench.turn(JobBegan(action=StartAsStandby(upstream=None, timeout_s=None)), Signalled(number=15))
    assert of(turn, order.CancelRunningJob) != []
    turn = bench.turn(TurnWanted(), later_s=5.0)
    assert turn.view.node.job is not None and turn.view.node.job.is_cancelled
    assert of(turn, order.CancelRunningJob) == []


def test_a_stop_whose_lock_is_handed_over_is_hurried() -> None:
    bench = Bench()
    bench.led()
    demote = job_of(switchover(bench))
    shut_down = files_seen(control=control(ClusterState.SHUT_DOWN, checkpoint_lsn=Lsn(4000)))
    turn = bench.turn(JobBegan(action=demote), Noted(phase="fast stop", state=PostgresState.STOPPING), shut_down)
    (chain,) = of(turn, order.StartChain)
    assert isinstance(chain.actions[0], ReleaseLock)
    bench.keeper.begin_drop(if_epoch=bench.keeper.epoch)
    assert of(bench.turn(ChainEnded(number=chain.number)), order.HurryJob) == [order.HurryJob()]


def test_a_release_is_a_chain_of_a_new_epoch() -> None:
    bench = Bench()
    bench.led()
    epoch = bench.keeper.epoch
    demote = Demote(DemoteKind.IMMEDIATE)
    bench.turn(JobBegan(action=demote))
    turn = bench.ended(demote, is_ok=True)
    (chain,) = of(turn, order.StartChain)
    assert isinstance(chain.actions[0], ReleaseLock)
    assert chain.epoch == bench.keeper.epoch > epoch
    assert turn.is_giving_up


def switchover(bench: Bench) -> Turn:
    """Ask for a switchover; the others are fit."""
    return bench.turn(*FIT, bench.cluster(failover=a_request("b", "a"), failover_token=Token("f1")))


def test_a_switchover_says_503_and_keeps_the_lock_proved() -> None:
    bench = Bench()
    bench.led()
    turn = switchover(bench)
    assert job_of(turn) == Demote(DemoteKind.GRACEFUL, title="switchover")
    assert turn.is_giving_up
    assert bench.turn(JobBegan(action=job_of(turn))).is_giving_up
    assert bench.renew(), "the standbys get the last WAL under the lock"


def test_an_immediate_demotion_withholds_renewals_until_postgres_is_down() -> None:
    bench = Bench()
    bench.led()
    demote = Demote(DemoteKind.IMMEDIATE)
    bench.turn(JobBegan(action=demote))
    bench.turn(TurnWanted())
    assert not bench.renew()
    bench.ended(demote, is_ok=True)
    assert bench.renew(), "power is given up: the session goes on until the release"


def test_a_failed_demotion_that_is_tried_again_never_says_200_in_between() -> None:
    """The repetition is held back for a moment; that moment is no decision to lead."""
    bench = Bench()
    bench.led()
    demote = job_of(switchover(bench))
    bench.turn(JobBegan(action=demote))
    turn = bench.ended(demote, is_ok=False)
    assert turn.decision.because.code is Code.SWITCHOVER_DEMOTING
    assert turn.decision.actions == () and turn.is_giving_up
    assert job_of(bench.turn(TurnWanted(), later_s=0.2)) == demote


def test_a_demotion_that_is_not_wanted_any_more_makes_the_node_lead_again() -> None:
    bench = Bench()
    bench.led()
    demote = job_of(switchover(bench))
    bench.turn(JobBegan(action=demote))
    turn = bench.turn(JobEnded(action=demote, is_ok=False), files_seen(), primary_seen(), bench.cluster())
    assert (turn.decision.because.code, turn.is_giving_up) == (Code.LEADER_OK, False)


def test_a_failed_demotion_keeps_saying_503_while_nothing_is_known_of_postgres() -> None:
    bench = Bench()
    bench.led()
    demote = job_of(switchover(bench))
    bench.turn(JobBegan(action=demote))
    assert bench.turn(JobEnded(action=demote, is_ok=False), bench.cluster()).is_giving_up


def test_a_lock_that_was_given_up_and_won_again_is_a_new_one() -> None:
    bench = Bench()
    bench.led()
    demote = job_of(switchover(bench))
    bench.turn(JobBegan(action=demote))
    (chain,) = of(bench.ended(demote, is_ok=True), order.StartChain)
    bench.keeper.begin_drop(if_epoch=bench.keeper.epoch)
    free = bench.turn(ChainEnded(number=chain.number), bench.cluster(None))
    assert not free.is_giving_up
    bench.settled(free)
    bench.take_lock()
    won = bench.turn(*STANDBY, bench.cluster())
    assert not won.is_giving_up, "a leader that is being promoted says 200"
    assert any(isinstance(action, Promote) for each in of(won, order.StartChain) for action in each.actions)


def test_a_vanished_data_directory_says_503_in_the_same_turn() -> None:
    bench = Bench()
    bench.led()
    gone = files_seen(data_directory=DataDirectory.EMPTY, control=None)
    turn = bench.turn(gone, primary_seen())
    assert job_of(turn) == StopPostgres(is_fast=False)
    assert turn.is_giving_up
    assert bench.turn(JobBegan(action=job_of(turn))).is_giving_up


def test_the_end_of_the_agent_says_503_until_the_end() -> None:
    bench = Bench()
    bench.led()
    turn = bench.turn(Signalled(number=15))
    stop = job_of(turn)
    assert stop == StopPostgres(is_fast=True) and turn.is_giving_up
    assert bench.turn(JobBegan(action=stop), Noted(phase="fast stop", state=PostgresState.STOPPING)).is_giving_up
    assert bench.renew(), "standbys get the last WAL under the lock"
    released = bench.ended(stop, is_ok=True)
    (chain,) = of(released, order.StartChain)
    assert isinstance(chain.actions[0], ReleaseLock)
    bench.keeper.begin_drop(if_epoch=bench.keeper.epoch)
    last = bench.turn(ChainEnded(number=chain.number))
    assert of(last, order.Leave) == [order.Leave(0)] and last.is_giving_up


def test_a_crashed_primary_that_is_started_in_place_stays_200() -> None:
    bench = Bench()
    bench.led()
    turn = bench.turn(files_seen(Process.DOWN))
    assert turn.decision.because.code is Code.RECOVER_AS_PRIMARY and not turn.is_giving_up
    (chain,) = of(turn, order.StartChain)
    turn = bench.turn(JobBegan(action=chain.actions[0]), ChainEnded(number=chain.number))  # type: ignore[arg-type]  # a job
    assert not turn.is_giving_up
    starting = Noted(phase="starting", state=PostgresState.STARTING, role=Role.PRIMARY)
    assert not bench.turn(starting, files_seen()).is_giving_up


def test_a_refusal_is_answered_in_the_next_turn_and_the_guard_has_acted_before() -> None:
    bench = Bench()
    bench.led()
    bench.keeper.renew_soon()
    bench.turn(TurnWanted())
    renewal = bench.keeper.step(at(bench.now_s)).renewal
    assert renewal is not None
    bench.keeper.refused(renewal, Refusal.NOT_OURS, "", at(bench.now_s))
    turn = bench.turn(TurnWanted())
    assert job_of(turn) == Demote(DemoteKind.IMMEDIATE_NOLOCK)


@pytest.mark.parametrize("seen", [DOWN, files_seen(Process.ORPHANS)], ids=["down", "orphans"])
def test_whether_the_lock_was_ours_in_this_life_of_postgres(seen: Payload) -> None:
    bench = Bench()
    assert not bench.turn(files_seen(), primary_seen()).has_led, "a primary that was found running"
    bench.led()
    bench.keeper.begin_drop(if_epoch=bench.keeper.epoch)
    assert bench.turn(TurnWanted()).has_led
    assert bench.turn(PostmasterExited(pid=PID)).has_led, "who lives is not known yet"
    assert bench.turn(seen).has_led is (seen is not DOWN)


# --- renewals belong to turns


def test_a_loop_that_takes_turns_gets_its_renewals_and_one_that_hangs_does_not() -> None:
    bench = Bench()
    bench.led()
    assert bench.renew()
    assert not bench.renew(), "the keeper waits for a turn"
    bench.turn(TurnWanted())
    assert bench.renew()


def test_a_changed_ttl_reaches_the_keeper() -> None:
    bench = Bench()
    bench.led()
    bench.settings = Settings(ttl_s=40.0)
    bench.turn(TurnWanted())
    renewal = bench.keeper.step(at(bench.now_s)).renewal
    assert renewal is not None and renewal.ttl_s == 40.0


# --- the guard


def armed(bench: Bench) -> Bench:
    assert bench.fence.arm(proof(bench.now_s))
    return bench


def test_the_guard_is_disarmed_where_it_protects_nobody() -> None:
    assert of(armed(Bench()).turn(DOWN), order.DisarmFence) != [], "Postgres is down"
    assert of(armed(Bench()).turn(*STANDBY), order.DisarmFence) != [], "Postgres is in recovery"


def test_the_guard_stays_armed_where_something_may_become_writable() -> None:
    assert of(armed(Bench()).turn(files_seen(), primary_seen()), order.DisarmFence) == []
    promised = Noted(phase="promotion signalled", role=Role.PROMOTED)
    assert of(armed(Bench()).turn(*STANDBY, promised), order.DisarmFence) == [], "a promotion is pending"
    bench = armed(Bench())
    assert of(bench.turn(DOWN, JobBegan(action=StartAsStandby(upstream=None, timeout_s=None))), order.DisarmFence) == []
    bench = Bench()
    bench.take_lock()
    assert of(bench.turn(*STANDBY), order.DisarmFence) == [], "the lock is ours"
    assert of(armed(Bench()).turn(), order.DisarmFence) == [], "nothing is known"


def test_an_idle_guard_is_left_alone() -> None:
    assert of(Bench().turn(DOWN), order.DisarmFence) == []


def test_paused_the_guard_is_disarmed() -> None:
    bench = Bench()
    bench.led()
    bench.settings = replace(bench.settings, is_paused=True)
    assert of(bench.turn(TurnWanted()), order.DisarmFence) != []


def test_the_end_of_a_pause_arms_the_guard_of_the_leader() -> None:
    bench = Bench()
    bench.led()
    bench.settings = replace(bench.settings, is_paused=True)
    bench.turn(TurnWanted())
    bench.fence.disarm()
    assert of(bench.turn(TurnWanted()), order.ArmFence) == [], "still paused"
    bench.settings = replace(bench.settings, is_paused=False)
    turn = bench.turn(TurnWanted())
    assert turn.view.lease.proof is not None
    assert of(turn, order.ArmFence) == [order.ArmFence(turn.view.lease.proof)]
    assert of(bench.turn(*STANDBY), order.ArmFence) == [], "no primary"


def test_nobody_without_the_lock_is_armed_for() -> None:
    assert of(Bench().turn(files_seen(), primary_seen(), TurnWanted()), order.ArmFence) == []


def test_the_view_says_what_the_guard_does() -> None:
    assert armed(Bench()).turn().view.guard is GuardState.ARMED


# --- elections


def test_a_silent_peer_counts_in_an_election() -> None:
    bench = Bench()
    bench.renew()
    turn = bench.turn(*STANDBY, bench.cluster(None))
    assert of(turn, order.StartChain) == []
    turn = bench.turn(PeerSeen(name="b", peer=Silent(age_s=0.0)), PeerSeen(name="c", peer=an_answer(age_s=0.0)))
    (chain,) = of(turn, order.StartChain)
    assert isinstance(chain.actions[0], AcquireLock)


def test_a_torn_view_ends_no_turn() -> None:
    bench = Bench()
    turn = bench.turn(*STANDBY, ClusterSeen(cluster=Cluster(), began=at(bench.now_s), is_linearizable=True))
    assert turn.decision.because is not None
