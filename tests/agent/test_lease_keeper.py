"""The lease keeper and the fence in the agent: every deadline, refusal and silence, on clocks that the tests move."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from patroni.agent.event import LeaseSeen, TurnWanted
from patroni.agent.lease_keeper import Renewed
from patroni.agent.request import Void
from patroni.dcs.store import Refusal, Session
from patroni.decision.cluster import Cluster, Incarnation, Leader, Revision, SessionId, Token
from patroni.decision.lease import Instant, fence_left_s, margin_s
from patroni.decision.view import GuardState
from tests.agent.bench import OURS, SESSION, TTL_S, Bench

PATIENCE_S = 20.0


def test_the_deadline_counts_from_before_the_renewal_was_sent() -> None:
    bench = Bench()
    bench.leading()
    bench.now_s += 2.0
    renewal, sent = bench.renewal(), bench.now()
    bench.now_s += 1.5  # the answer is late
    bench.keeper.renewed(renewal, Renewed(sent=sent, session=SESSION, lock=(Token("2"), Revision(2))))
    assert bench.keeper.lease(bench.now()).left_s == TTL_S - 1.5


def test_a_lock_inherits_the_deadline_of_the_renewal_before_it() -> None:
    bench = Bench()
    bench.opened()
    bench.keeper.take(bench.proof(sent_s=bench.now_s - 7.0), if_epoch=bench.keeper.epoch)
    assert bench.keeper.lease(bench.now()).left_s == TTL_S - 7.0


def test_the_ttl_that_the_server_granted_is_used() -> None:
    bench = Bench()
    bench.leading()
    bench.now_s += 2.0
    granted = Session(id=SESSION.id, ttl_s=4.0)
    bench.keeper.renewed(bench.renewal(), Renewed(sent=bench.now(), session=granted, lock=(Token("2"), Revision(2))))
    assert bench.keeper.lease(bench.now()).left_s == 4.0


def test_the_faster_of_the_two_clocks_counts() -> None:
    bench = Bench()
    bench.leading()
    suspended = Instant(boot_s=bench.now_s + TTL_S, raw_s=bench.now_s + 1.0)
    assert not bench.keeper.lease(suspended).is_held


def test_postgres_is_ended_at_the_deadline_less_the_margin_and_killed_after_a_moment() -> None:
    bench = Bench()
    bench.leading()
    bench.keeper.silent(bench.renewal(), "no answer", bench.now())
    bench.now_s += TTL_S - margin_s(TTL_S) - 0.01
    bench.keeper.step(bench.now())
    assert bench.done == []
    bench.now_s += 0.01
    bench.keeper.step(bench.now())
    assert bench.done == ["quit"]
    bench.now_s += 0.2
    bench.keeper.step(bench.now())
    assert bench.done == ["quit", "kill"]
    assert bench.fence.state() is GuardState.KILLED


def test_what_appears_after_the_kill_is_killed_too() -> None:
    """A start that was under way when the deadline passed launches its postmaster later (safety_rules.md §4.3)."""
    bench = Bench()
    bench.leading()
    bench.now_s += TTL_S
    bench.keeper.step(bench.now())
    bench.now_s += 0.2
    bench.keeper.step(bench.now())
    bench.now_s += 0.3
    wait_s = bench.fence.step(bench.now())
    assert bench.done == ["quit", "kill", "kill"]
    assert wait_s <= 0.25
    bench.fence.disarm()
    bench.now_s += 0.3
    bench.fence.step(bench.now())
    assert bench.done == ["quit", "kill", "kill"]


def test_the_lease_is_over_before_postgres_is_ended() -> None:
    bench = Bench()
    bench.leading()
    seen: list[bool] = []
    bench.fence._quit = lambda: seen.append(bench.keeper.lease(bench.now()).is_held)
    bench.now_s += TTL_S
    bench.keeper.step(bench.now())
    assert seen == [False]


def test_a_silence_ends_nothing() -> None:
    bench = Bench()
    bench.leading()
    bench.keeper.silent(bench.renewal(), "timed out", bench.now())
    lease = bench.keeper.lease(bench.now())
    assert lease.is_held and not lease.is_refused
    bench.now_s += 3.0
    assert bench.keeper.lease(bench.now()).silent_s == 3.0


def test_a_refusal_ends_the_lease_in_the_thread_that_sees_it() -> None:
    bench = Bench()
    bench.leading()
    bench.keeper.refused(bench.renewal(), Refusal.NOT_OURS, "", bench.now())
    lease = bench.keeper.lease(bench.now())
    assert not lease.is_held and lease.is_refused
    assert bench.done == ["quit"]


def test_a_vanished_lock_is_no_refusal_and_is_not_proved_again() -> None:
    bench = Bench()
    bench.leading()
    bench.keeper.refused(bench.renewal(), Refusal.GONE, "", bench.now())
    lease = bench.keeper.lease(bench.now())
    assert lease.is_held
    assert lease.is_gone
    assert bench.done == []
    bench.now_s += 1.0
    bench.keeper.renewed(bench.renewal(), Renewed(sent=bench.now(), session=SESSION))
    assert bench.keeper.lease(bench.now()).left_s == TTL_S - 1.0


def test_a_refusal_of_an_earlier_epoch_ends_nothing() -> None:
    bench = Bench()
    bench.leading()
    stale = bench.renewal()
    bench.keeper.begin_epoch()
    bench.keeper.refused(stale, Refusal.NOT_OURS, "", bench.now())
    assert bench.keeper.lease(bench.now()).is_held and bench.done == []


def test_a_proof_of_an_earlier_epoch_prolongs_nothing() -> None:
    bench = Bench()
    bench.leading()
    bench.now_s += 2.0
    stale = bench.renewal()
    bench.keeper.begin_epoch()
    bench.keeper.renewed(stale, Renewed(sent=bench.now(), session=SESSION, lock=(Token("2"), Revision(2))))
    assert bench.keeper.lease(bench.now()).left_s == TTL_S - 2.0


def test_a_lost_session_is_opened_anew_and_the_lock_counts_as_gone() -> None:
    bench = Bench()
    bench.leading()
    bench.keeper.refused(bench.renewal(), Refusal.SESSION_GONE, "", bench.now())
    assert bench.keeper.lease(bench.now()).is_gone
    bench.now_s += 0.1
    assert bench.renewal().session is None


def test_a_hung_loop_gets_no_renewal() -> None:
    bench = Bench()
    bench.leading()
    bench.prove()
    bench.now_s += 2.0
    assert bench.keeper.step(bench.now()).renewal is None
    assert isinstance(bench.told[-1], TurnWanted)
    bench.now_s += 5.0
    assert bench.keeper.step(bench.now()).renewal is None
    bench.now_s += TTL_S
    bench.keeper.step(bench.now())
    assert bench.done == ["quit"]


def test_a_loop_that_hangs_while_the_store_is_silent_gets_no_renewal() -> None:
    bench = Bench()
    bench.leading()
    bench.prove()
    bench.now_s += 2.0
    bench.keeper.silent(bench.renewal(), "timed out", bench.now())
    for _ in range(20):
        bench.now_s += 0.3
        assert bench.keeper.step(bench.now()).renewal is None


def test_a_silence_is_followed_by_another_try_after_a_turn() -> None:
    bench = Bench()
    bench.leading()
    for _ in range(3):
        bench.keeper.silent(bench.renewal(), "timed out", bench.now())
        assert bench.keeper.step(bench.now()).renewal is None
        bench.now_s += 1.0
        assert bench.renewal().proof is not None


def lapsed() -> Bench:
    """Return a bench whose lease has run out although the session could still be renewed."""
    bench = Bench()
    bench.leading()
    bench.prove()
    bench.now_s += TTL_S - margin_s(TTL_S)
    bench.keeper.step(bench.now())
    assert not bench.keeper.lease(bench.now()).is_held
    return bench


def test_the_lock_of_a_hung_loop_runs_out_with_its_session() -> None:
    """Renewed without a lease, the session would keep a lock that nobody uses and nobody releases."""
    bench = lapsed()
    for _ in range(20):
        bench.now_s += 1.0
        assert bench.keeper.step(bench.now()).renewal is None


def test_a_loop_that_turns_after_its_lease_keeps_the_session_for_the_release() -> None:
    bench = lapsed()
    for _ in range(3):
        renewal = bench.renewal()
        assert renewal.proof is None and renewal.session is not None
        bench.keeper.renewed(renewal, Renewed(sent=bench.now(), session=SESSION))
        bench.now_s += TTL_S / 5
        assert bench.keeper.step(bench.now()).renewal is None, "each renewal needs a turn"


def test_a_lock_that_nobody_can_release_runs_out_with_its_session() -> None:
    """On a dead disk nobody can say that Postgres is down, however often the loop turns."""
    bench = lapsed()
    end_s = bench.now_s + TTL_S
    while bench.now_s < end_s:
        bench.keeper.renewed(bench.renewal(), Renewed(sent=bench.now(), session=SESSION))
        bench.now_s += TTL_S / 5 + 0.01
    for _ in range(10):
        bench.keeper.turned(is_against_leading=False)
        assert bench.keeper.step(bench.now()).renewal is None
        bench.now_s += 1.0
    bench.keeper.saw(Cluster(revision=Revision(9)), bench.now())
    assert bench.keeper.step(bench.now()).renewal is not None


@pytest.mark.parametrize("is_released", [True, False], ids=["released", "another one leads"])
def test_a_session_that_no_lock_hangs_on_needs_no_turn(is_released: bool) -> None:
    bench = lapsed()
    if is_released:
        bench.keeper.begin_drop(if_epoch=bench.keeper.epoch)
    else:
        other = Leader(name="b", incarnation=Incarnation("lock 2"), token=Token("9"), session=SessionId("s2"))
        bench.keeper.saw(Cluster(leader=other, revision=Revision(9)), bench.now())
    bench.now_s += TTL_S / 5
    assert bench.keeper.step(bench.now()).renewal is not None


def test_a_lost_session_is_opened_anew_without_a_turn() -> None:
    bench = lapsed()
    bench.keeper.refused(bench.renewal(), Refusal.SESSION_GONE, "", bench.now())
    renewal = bench.keeper.step(bench.now()).renewal
    assert renewal is not None and renewal.session is None


def test_a_replica_renews_its_session_without_a_turn() -> None:
    bench = Bench()
    bench.opened()
    bench.now_s += 2.0
    renewal = bench.keeper.step(bench.now()).renewal
    assert renewal is not None and renewal.proof is None


def test_no_renewal_keeps_the_thread_beyond_the_time_of_a_fence_that_is_armed_meanwhile() -> None:
    """A promotion arms it with max(2 s, ttl/4) of lease left (safety_rules.md §6)."""
    bench = Bench()
    assert bench.renewal().timeout_s <= 2.5 - margin_s(TTL_S)


def test_renewals_are_withheld_after_a_decision_against_leading() -> None:
    bench = Bench()
    bench.leading()
    bench.keeper.turned(is_against_leading=True)
    assert bench.keeper.step(bench.now()).renewal is None
    bench.keeper.begin_drop(if_epoch=bench.keeper.epoch)
    renewal = bench.keeper.step(bench.now()).renewal
    assert renewal is not None and renewal.proof is None


def test_a_drop_waits_for_the_answer_under_way() -> None:
    bench = Bench()
    bench.leading()
    renewal = bench.renewal()
    bench.keeper.begin_drop(if_epoch=bench.keeper.epoch)
    assert not bench.keeper.await_dropped(0.0)
    bench.keeper.renewed(renewal, Renewed(sent=bench.now(), session=SESSION, lock=(Token("2"), Revision(2))))
    assert bench.keeper.await_dropped(0.0)
    assert not bench.keeper.lease(bench.now()).is_held


def test_a_drop_of_an_epoch_that_is_over_drops_nothing() -> None:
    bench = Bench()
    bench.leading()
    epoch = bench.keeper.epoch
    bench.keeper.begin_epoch()
    with pytest.raises(Void):
        bench.keeper.begin_drop(if_epoch=epoch)
    assert bench.keeper.lease(bench.now()).is_held and bench.keeper.epoch == epoch + 1


def test_a_lock_that_was_won_for_an_epoch_that_is_over_is_not_kept() -> None:
    bench = Bench()
    bench.opened()
    epoch = bench.keeper.epoch
    bench.keeper.begin_epoch()
    bench.keeper.take(bench.proof(), if_epoch=epoch)
    assert not bench.keeper.lease(bench.now()).is_held


def test_the_fence_ignores_a_renewal_of_another_lock() -> None:
    bench = Bench()
    bench.leading()
    later = bench.proof(sent_s=bench.now_s + 100.0)
    bench.fence.renew(replace(later, incarnation=Incarnation("lock 2")))
    bench.now_s += TTL_S
    bench.keeper.step(bench.now())
    assert bench.done == ["quit"]


def test_a_fence_that_is_ending_postgres_acknowledges_nothing() -> None:
    bench = Bench()
    bench.leading()
    bench.fence.end()
    bench.fence.step(bench.now())
    assert not bench.fence.arm(bench.proof())
    bench.fence.disarm()
    assert bench.fence.arm(bench.proof())


def test_every_change_is_told() -> None:
    bench = Bench()
    bench.leading()
    bench.keeper.refused(bench.renewal(), Refusal.NOT_OURS, "it names b", bench.now())
    said = bench.told[-1]
    assert isinstance(said, LeaseSeen) and said.is_refused and said.proof is None and said.detail == "it names b"


def test_a_changed_ttl_moves_the_lock_to_a_session_of_that_ttl() -> None:
    bench = Bench()
    bench.leading()
    bench.prove()
    bench.keeper.set_ttl(20.0)
    renewal = bench.renewal()
    assert (renewal.session, renewal.ttl_s, renewal.proof) == (None, 20.0, bench.keeper.lease(bench.now()).proof)
    moved = Session(id=SessionId("s2"), ttl_s=20.0)
    bench.keeper.renewed(renewal, Renewed(sent=bench.now(), session=moved, lock=(Token("3"), Revision(3))))
    proof = bench.keeper.lease(bench.now()).proof
    assert proof is not None and (proof.session, proof.ttl_s) == (moved.id, 20.0)
    bench.now_s += 20.0 / 3
    assert bench.renewal().session == moved


def test_a_ttl_that_is_changed_back_after_a_move_without_an_answer_moves_the_lock_again() -> None:
    """The lock may hang on the session that nobody has heard of: proved under the old one, it would be refused."""
    bench = Bench()
    bench.leading()
    bench.prove()
    bench.keeper.set_ttl(20.0)
    bench.keeper.silent(bench.renewal(), "the answer was lost", bench.now())
    bench.keeper.set_ttl(TTL_S)
    moved = replace(OURS, session=SessionId("s2"), token=Token("3"), revision=Revision(3))
    bench.keeper.saw(Cluster(leader=moved, revision=Revision(3)), bench.now())
    assert bench.keeper.lease(bench.now()).is_held
    bench.now_s += 1.0
    renewal = bench.renewal()
    assert (renewal.session, renewal.ttl_s) == (None, TTL_S)
    back = Session(id=SessionId("s3"), ttl_s=TTL_S)
    bench.keeper.renewed(renewal, Renewed(sent=bench.now(), session=back, lock=(Token("4"), Revision(4))))
    bench.now_s += TTL_S / 3
    assert bench.renewal().session == back


def test_a_lock_that_was_won_after_a_move_without_an_answer_stays_on_its_session() -> None:
    bench = Bench()
    bench.leading()
    bench.keeper.set_ttl(20.0)
    bench.keeper.silent(bench.renewal(), "the answer was lost", bench.now())
    bench.keeper.set_ttl(TTL_S)
    bench.keeper.begin_drop(if_epoch=bench.keeper.epoch)
    bench.keeper.take(bench.proof(), if_epoch=bench.keeper.epoch)
    assert bench.renewal().session == SESSION


def test_a_turn_that_changes_nothing_does_not_wake_the_keeper() -> None:
    bench = Bench()
    bench.leading()
    bench.prove()
    bench.keeper.turned(is_against_leading=False)
    bench.keeper.step(bench.now())
    before = bench.keeper._state
    bench.keeper.turned(is_against_leading=False)
    assert bench.keeper._state is before


@pytest.mark.parametrize("rate", [1.0, 1.0 / 0.92])
def test_no_wait_goes_beyond_the_time_of_the_fence(rate: float) -> None:
    """rate: seconds of the lease's faster clock in each second that a timer counts."""
    bench = Bench()
    bench.leading()
    bench.prove()
    bench.keeper.begin_drop(if_epoch=bench.keeper.epoch)
    end_s = bench.now_s + fence_left_s(bench.proof(), bench.now())
    steps = 0
    while not bench.done:
        assert bench.now_s <= end_s + 0.03
        order = bench.keeper.step(bench.now())
        if order.renewal is not None:
            bench.keeper.silent(order.renewal, "", bench.now())
        bench.now_s += order.wait_s * rate
        steps += 1
    assert steps < 100


def test_arming_ends_a_wait() -> None:
    """The fence is armed by another thread: a wait that knew of none would last too long."""
    bench = Bench()
    bench.keeper.step(bench.now())
    assert bench.keeper.arm(bench.proof())
    began_s = time.monotonic()
    bench.keeper.wait(PATIENCE_S)
    assert time.monotonic() - began_s < PATIENCE_S / 2
    assert bench.keeper.step(bench.now()).wait_s <= fence_left_s(bench.proof(), bench.now())
