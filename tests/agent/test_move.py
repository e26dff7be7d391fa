"""Moving the lock to a new session: what becomes of it when an answer is lost, or somebody else was there first."""

from __future__ import annotations

import pytest

from patroni.agent.lease_keeper import Renewal, send
from patroni.dcs.coordinator import Coordinator
from patroni.dcs.store import DcsUnavailable, Refusal, Refused, Write
from patroni.decision.lease import Proof
from tests.dcs.test_coordinator import A, World


def moving(proof: Proof) -> Renewal:
    return Renewal(epoch=1, session=None, proof=proof, ttl_s=20.0, timeout_s=3.0)


def test_a_move_whose_answer_was_lost_is_carried_on() -> None:
    world = World()
    _, proof = world.lead()
    world.is_lost = lambda request: isinstance(request, Write)
    with pytest.raises(DcsUnavailable):
        world.run(send(moving(proof), A))
    world.is_lost = lambda request: False
    renewed = world.run(send(moving(proof), A))
    leader = world.cluster().leader
    assert leader is not None
    assert (leader.session, leader.incarnation) == (renewed.session.id, proof.incarnation)
    assert renewed.lock == (leader.token, leader.revision)


def test_a_lock_that_another_holds_is_not_moved() -> None:
    world = World()
    _, proof = world.lead()
    other = Coordinator(prefix=A.prefix, name="b")
    session = world.session()
    world.run(A.release(proof.token, None))
    world.run(other.acquire(session))
    world.refused(send(moving(proof), A), Refusal.NOT_OURS)


def test_a_lock_that_vanished_is_not_moved() -> None:
    world = World()
    _, proof = world.lead()
    world.run(A.release(proof.token, None))
    with pytest.raises(Refused) as caught:
        world.run(send(moving(proof), A))
    assert caught.value.why is Refusal.GONE
