"""A view that is not older than our lock (safety_rules.md §6)."""

from __future__ import annotations

import pytest

from patroni.agent.event import ClusterSeen
from patroni.decision.cluster import Cluster, Incarnation, Leader, SessionId, Token
from tests.agent.builders import LOCK, SESSION, an_observer, at, held, lease_seen, proof, seen, take, view_of


def of_ours(session: SessionId) -> ClusterSeen:
    leader = Leader(name="a", incarnation=LOCK, token=Token("t"), session=session)
    return ClusterSeen(cluster=Cluster(leader=leader), began=at(-1.0), is_linearizable=False)


@pytest.mark.parametrize(
    ("view", "lock", "is_fresh"),
    [
        pytest.param(seen(9, began_s=-1.0), 10, False, id="revision below the lock's"),
        pytest.param(seen(10, began_s=-1.0), 10, True, id="the lock's own revision"),
        pytest.param(seen(10, began_s=-1.0, is_linearizable=False), 10, True, id="a revision proves by itself"),
        pytest.param(seen(None, began_s=1.0), None, True, id="no revision: linearizable and began after the win"),
        pytest.param(seen(None, began_s=-1.0), None, False, id="no revision: began before the win"),
        pytest.param(seen(None, began_s=1.0, is_linearizable=False), None, False, id="no revision: a plain read"),
        pytest.param(of_ours(SESSION), None, True, id="no revision: an event that shows our lock"),
        pytest.param(of_ours(SessionId("s0")), None, False, id="no revision: an event that shows it before its adoption"),
    ],
)
def test_a_view_is_fresh_if_it_is_not_older_than_the_lock(view: ClusterSeen, lock: int | None, is_fresh: bool) -> None:
    ours = proof(revision=lock)
    observed = an_observer(lease_seen(ours), view)
    assert view_of(observed, 2.0, held(proof=ours)).is_fresh is is_fresh
    other = proof(revision=lock, store_id="another")
    assert not view_of(observed, 2.0, held(proof=other)).is_fresh, "revisions of two stores tell nothing"


def test_without_a_lock_any_view_is_fresh_and_none_is_not() -> None:
    assert view_of(an_observer(seen(None)), 1.0).is_fresh
    assert not view_of(an_observer(), 1.0).is_fresh


def test_a_view_from_before_the_next_lock_is_not_fresh_although_the_loss_of_the_last_one_was_told_too_late() -> None:
    """Two threads tell of the lease; what the slower one says of the lock before may come last."""
    first, second = proof(revision=None), proof(revision=None, incarnation=Incarnation("lock 2"))
    observed = an_observer(lease_seen(first))
    take(observed, 5.0, lease_seen(None), lease_seen(first))
    take(observed, 6.0, seen(None, began_s=6.0))
    take(observed, 9.0, lease_seen(second))
    assert not view_of(observed, 9.0, held(proof=second)).is_fresh
