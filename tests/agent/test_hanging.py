"""A disk that hangs under the lock: renewals end, and so does the agent if it is to (safety_rules.md §5, §7.3, §7.6)."""

from __future__ import annotations

import pytest

from patroni.agent import order
from patroni.agent.event import ChainEnded, JobBegan, MemberTouched, Noted, Payload, PostmasterExited, Signalled
from patroni.agent.loop import Turn
from patroni.decision.actions import CancelJob, Promote
from patroni.decision.cluster import Leader
from patroni.decision.node import ClusterState, Process
from patroni.decision.reasons import Code
from patroni.decision.view import GuardState
from tests.agent.builders import PID, TTL_S, control, files_seen
from tests.agent.test_loop import OURS, STANDBY, Bench, of

LIMIT_S = 30.0
DIED = files_seen(Process.DOWN, control=control(ClusterState.IN_PRODUCTION))


class DeadDisk:
    """A bench on whose data directory nothing is answered any more, while all else goes on, second by second."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.renewed_s = 0.0  # the last renewal of the session, after the start
        self.left_s: float | None = None  # when the agent ended

    def run(self, seconds: int, leader: Leader | None = OURS) -> Turn:
        """Let time pass; chains end well if they touch no file."""
        bench, began_s = self.bench, self.bench.now_s
        turn = bench.turn(bench.cluster(leader))
        while bench.now_s < began_s + seconds and self.left_s is None:
            touched = (MemberTouched(is_ok=True),) * len(of(turn, order.TouchMember))
            turn = bench.turn(*touched, *chains_ended(turn), bench.cluster(leader), later_s=1.0)
            if bench.renew():
                self.renewed_s = bench.now_s - began_s
            if of(turn, order.Leave):
                self.left_s = bench.now_s - began_s
        return turn

    def crashed(self, *events: Payload) -> None:
        """Lead, with a look under way that will have no answer, and let the postmaster die."""
        bench = self.bench
        bench.led()
        turn = bench.turn(bench.cluster(), later_s=11.0)
        assert of(turn, order.LookAtFiles)
        bench.turn(*chains_ended(turn), PostmasterExited(pid=PID), *events, bench.cluster())


def chains_ended(turn: Turn) -> list[ChainEnded]:
    chains = [chain for chain in of(turn, order.StartChain) if Promote() not in chain.actions]
    return [ChainEnded(number=chain.number) for chain in chains]


@pytest.fixture
def disk() -> DeadDisk:
    return DeadDisk()


def test_the_lock_of_a_crashed_leader_runs_out(disk: DeadDisk) -> None:
    disk.crashed()
    turn = disk.run(200)
    assert disk.renewed_s <= LIMIT_S + 1.0, "of the session neither"
    assert (turn.decision.because.code, turn.is_giving_up) == (Code.LOCK_LAPSING, True)
    assert disk.bench.fence.state() is GuardState.KILLED
    gone = disk.run(30, leader=None)
    assert gone.decision.because.code is Code.FACTS_UNKNOWN
    assert disk.renewed_s > 25.0, "the member key stands again"


def test_a_disk_that_comes_back_in_time_costs_nothing(disk: DeadDisk) -> None:
    disk.crashed()
    disk.run(int(LIMIT_S + 3.0))
    turn = disk.bench.turn(DIED, disk.bench.cluster())
    assert turn.decision.because.code is Code.RECOVER_AS_PRIMARY
    disk.bench.renew()
    disk.bench.turn(disk.bench.cluster())
    assert disk.bench.renew(), "after the turn that the keeper has asked for"


def test_a_promotion_that_hangs_gives_the_lock_back(disk: DeadDisk) -> None:
    disk.bench.take_lock()
    turn = disk.bench.turn(*STANDBY, disk.bench.cluster())
    assert Promote() in of(turn, order.StartChain)[0].actions
    turn = disk.run(200)
    assert disk.renewed_s <= LIMIT_S + 1.0
    assert turn.decision.because.code is Code.LOCK_LAPSING


def test_a_start_that_hangs_gives_the_lock_back(disk: DeadDisk) -> None:
    bench = disk.bench
    bench.led()
    bench.turn(PostmasterExited(pid=PID), bench.cluster())
    (chain,) = of(bench.turn(DIED, bench.cluster()), order.StartChain)
    (start,) = chain.actions
    bench.turn(JobBegan(action=start), ChainEnded(number=chain.number), Noted(phase="ending orphans"))  # type: ignore[arg-type]  # a job
    turn = disk.run(200)
    assert disk.renewed_s <= LIMIT_S + 1.0
    assert turn.view.node.job is not None and turn.view.node.job.is_cancelled, CancelJob()


def test_sigterm_ends_the_agent_in_bounded_time_and_leaves_the_lock(disk: DeadDisk) -> None:
    disk.crashed(Signalled(number=15))
    turn = disk.run(200)
    assert disk.left_s is not None and LIMIT_S < disk.left_s <= LIMIT_S + TTL_S + 2.0
    assert of(turn, order.Leave) == [order.Leave(1)]
    assert turn.decision.because.code is Code.SHUTDOWN_HANGING
    assert disk.bench.fence.state() is GuardState.KILLED


# --- turns that fail


class Broken(Exception):
    """What nobody foresaw."""


def test_what_a_failed_turn_did_not_hand_out_is_asked_for_again() -> None:
    bench = Bench()
    bench.led()
    turn = bench.turn(PostmasterExited(pid=PID), later_s=1.0)
    asked = {type(wanted) for wanted in turn.orders}
    assert order.LookAtFiles in asked
    bench.loop.broke_off()
    again = bench.turn(bench.cluster(), later_s=1.0)
    assert asked <= {type(wanted) for wanted in again.orders}


def test_what_was_handed_out_before_is_not_asked_for_twice() -> None:
    bench = Bench()
    bench.led()
    turn = bench.turn(PostmasterExited(pid=PID), later_s=1.0)
    assert of(turn, order.LookAtFiles)
    bench.turn(bench.cluster(), later_s=1.0)
    bench.loop.broke_off()
    assert of(bench.turn(bench.cluster(), later_s=1.0), order.LookAtFiles) == []


def test_a_cancellation_that_was_not_handed_out_is_ordered_again() -> None:
    bench = Bench()
    bench.led()
    bench.turn(PostmasterExited(pid=PID), bench.cluster())
    (chain,) = of(bench.turn(DIED, bench.cluster()), order.StartChain)
    bench.turn(JobBegan(action=chain.actions[0]), ChainEnded(number=chain.number))  # type: ignore[arg-type]  # a job
    bench.now_s += 2 * TTL_S
    assert of(bench.turn(bench.cluster(None)), order.CancelRunningJob)
    bench.loop.broke_off()
    assert of(bench.turn(bench.cluster(None), later_s=1.0), order.CancelRunningJob)
