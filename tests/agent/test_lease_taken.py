"""What a view of the store tells the lease keeper: another leader, or another store (safety_rules.md §1.6-1.7)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from patroni.agent.lease_keeper import Renewed
from patroni.decision.cluster import Cluster, Incarnation, Leader, Revision, SessionId, Token
from patroni.decision.lease import Instant
from tests.agent.bench import OURS, SESSION, TTL_S, Bench


def test_a_newer_view_that_names_another_leader_ends_the_lease_at_once() -> None:
    bench = Bench()
    bench.leading()
    other = Leader(name="b", incarnation=Incarnation("lock 2"), token=Token("9"), revision=Revision(9))
    bench.keeper.saw(Cluster(leader=other, revision=Revision(9)), bench.now())
    bench.keeper.step(bench.now())
    assert bench.keeper.lease(bench.now()).is_refused and bench.done == ["quit"]


def test_the_keepers_thread_cannot_look_at_the_fence_between_a_refusing_view_and_its_end() -> None:
    """It would wait for the old deadline, its bell used up."""
    bench = Bench()
    bench.leading()
    was_excluded: list[bool] = []
    bench.fence.end = lambda: was_excluded.append(bench.keeper._changed.locked())  # type: ignore[method-assign]  # a spy
    other = Leader(name="b", incarnation=Incarnation("lock 2"), token=Token("9"), revision=Revision(9))
    bench.keeper.saw(Cluster(leader=other, revision=Revision(9)), bench.now())
    assert was_excluded == [True]


def test_a_view_ends_postgres_although_the_keepers_thread_waits_for_the_store() -> None:
    bench = Bench()
    bench.leading()
    bench.renewal()  # under way: its thread takes no step before the answer
    other = Leader(name="b", incarnation=Incarnation("lock 2"), token=Token("9"), revision=Revision(9))
    bench.keeper.saw(Cluster(leader=other, revision=Revision(9)), bench.now())
    assert bench.done == ["quit"]


def test_a_view_of_our_own_new_lock_takes_nothing_away() -> None:
    """The watch may show it before the answer to its creation has come."""
    bench = Bench()
    bench.leading()
    anew = replace(OURS, incarnation=Incarnation("lock 2"), token=Token("9"), revision=Revision(9))
    bench.keeper.saw(Cluster(leader=anew, revision=Revision(9)), bench.now())
    assert bench.keeper.lease(bench.now()).is_held and bench.done == []


def test_an_older_view_that_names_another_leader_takes_nothing_away() -> None:
    bench = Bench()
    bench.leading()
    other = Leader(name="b", incarnation=Incarnation("lock 0"), token=Token("0"), revision=Revision(0))
    bench.keeper.saw(Cluster(leader=other, revision=Revision(1)), bench.now())
    assert bench.keeper.lease(bench.now()).is_held


@pytest.mark.parametrize(
    ("leader", "revision", "is_held"),
    [
        pytest.param(replace(OURS, name="b"), 9, False, id="by another name"),
        pytest.param(replace(OURS, session=SessionId("s9")), 9, False, id="by our name under another session"),
        pytest.param(replace(OURS, session=None), 9, False, id="by our name for ever"),
        pytest.param(replace(OURS, token=Token("9")), 9, True, id="by us"),
        pytest.param(replace(OURS, name="b"), 1, True, id="before the lock was ours"),
    ],
)
def test_a_lock_that_was_overwritten_in_place(leader: Leader, revision: int, is_held: bool) -> None:
    """Its incarnation is the same (safety_rules.md §1.7)."""
    bench = Bench()
    bench.leading()
    bench.keeper.saw(Cluster(leader=leader, revision=Revision(revision)), bench.now())
    assert bench.keeper.lease(bench.now()).is_held is is_held
    assert bench.done == ([] if is_held else ["quit"])


def test_a_view_of_the_lock_under_the_session_that_it_is_being_moved_to_takes_nothing_away() -> None:
    """The watch may show it before the answer to the move has come, or that answer was lost."""
    bench = Bench()
    bench.leading()
    bench.prove()
    bench.keeper.set_ttl(20.0)
    bench.renewal()
    moved = replace(OURS, token=Token("9"), revision=Revision(9), session=SessionId("s2"))
    bench.keeper.saw(Cluster(leader=moved, revision=Revision(9)), bench.now())
    assert bench.keeper.lease(bench.now()).is_held


@pytest.mark.parametrize(
    ("revision", "store_id", "began_s", "is_held"),
    [
        pytest.param(20, "x", 0.1, True, id="the same"),
        pytest.param(19, "x", 0.1, False, id="went back"),
        pytest.param(99, "y", 0.1, False, id="made anew"),
        pytest.param(19, "x", -0.1, True, id="an answer to what was asked before"),
        pytest.param(19, "x", None, True, id="a copy that lags"),
        pytest.param(99, "y", -0.1, True, id="another store, asked before: which is the newer is not known"),
    ],
)
def test_a_restored_store_ends_the_lease_at_once(revision: int, store_id: str, began_s: float | None, is_held: bool) -> None:
    """Incarnations from before prove nothing, even where the lock is there (safety_rules.md §1.6)."""
    bench = Bench()
    bench.leading()
    bench.keeper.saw(Cluster(leader=OURS, revision=Revision(20), store_id="x"), bench.now())
    began = None if began_s is None else Instant(boot_s=bench.now_s + began_s, raw_s=bench.now_s + began_s)
    bench.now_s += 1.0
    bench.keeper.saw(Cluster(leader=OURS, revision=Revision(revision), store_id=store_id), bench.now(), began)
    lease = bench.keeper.lease(bench.now())
    assert (lease.is_held, lease.is_refused) == (is_held, not is_held)
    assert bench.done == ([] if is_held else ["quit"])


def test_a_wiped_store_ends_the_lease_at_once() -> None:
    bench = Bench()
    bench.leading()
    bench.keeper.saw(Cluster(leader=OURS, revision=Revision(20)), bench.now())
    bench.keeper.saw(Cluster(revision=Revision(1)), bench.now(), bench.now())
    assert bench.keeper.lease(bench.now()).is_refused and bench.done == ["quit"]


def test_the_proof_of_another_store_prolongs_nothing() -> None:
    bench = Bench()
    bench.leading()
    bench.now_s += 2.0
    renewal, lock = bench.renewal(), (Token("2"), Revision(2))
    bench.keeper.renewed(renewal, Renewed(sent=bench.now(), session=SESSION, lock=lock, store_id="another"))
    assert bench.keeper.lease(bench.now()).left_s == TTL_S - 2.0
    assert bench.keeper.step(bench.now()).renewal is None, "asked again after a pause"
    bench.now_s += 1.0
    assert bench.renewal().proof is not None


def test_a_hung_loop_keeps_no_lock_of_a_restored_store() -> None:
    bench = Bench()
    bench.leading()
    bench.prove()
    bench.keeper.saw(Cluster(leader=OURS, revision=Revision(20)), bench.now())
    bench.keeper.saw(Cluster(leader=OURS, revision=Revision(10)), bench.now(), bench.now())
    bench.now_s += TTL_S / 2
    assert bench.keeper.step(bench.now()).renewal is None


def test_proofs_from_another_store_are_asked_for_with_a_pause_and_a_turn() -> None:
    """The mark may stand on that store already: then no view of it ends the lease, and nothing that it says prolongs it."""
    bench = Bench()
    bench.leading()
    sent = 0
    while bench.keeper.lease(bench.now()).is_held:
        sent += 1
        lock = (Token("7"), Revision(7))
        bench.keeper.renewed(bench.renewal(), Renewed(sent=bench.now(), session=SESSION, lock=lock, store_id="other"))
        assert bench.keeper.step(bench.now()).renewal is None
        bench.now_s += 1.0
    assert sent <= TTL_S
