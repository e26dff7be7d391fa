"""The coordinator on the reference store: every request takes its time, and any of them may get no answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar, cast

import pytest

from patroni.dcs.coordinator import Coordinator, drive, lock_of
from patroni.dcs.member import Publication
from patroni.dcs.memory import MemoryServer, MemoryState, MemoryStore
from patroni.dcs.store import (
    Create,
    DcsUnavailable,
    Delete,
    EndSession,
    LockRef,
    ProveLock,
    Refusal,
    Refused,
    RenewSession,
    Session,
    Write,
)
from patroni.decision.cluster import (
    Cluster,
    FailoverRequest,
    Initialize,
    Lsn,
    PostgresState,
    Role,
    Status,
    SyncState,
    SystemId,
)
from patroni.decision.lease import Instant, Proof, lease_left_s
from patroni.decision.request import ReadInstant, Request, Steps

T = TypeVar("T")

PREFIX = "/service/batman/"
A = Coordinator(prefix=PREFIX, name="a")
B = Coordinator(prefix=PREFIX, name="b")
PUBLICATION = Publication(conn_url="c", api_url="u", state=PostgresState.RUNNING, role=Role.PRIMARY, version="4.1.4")


class World:
    """A store, a clock, and a driver: a request takes `delay_s`, half of it on its way there."""

    def __init__(self) -> None:
        self.state = MemoryState()
        self.now_s = 100.0
        self.delay_s = 0.0
        self.is_lost: Callable[[Request[Any]], bool] = lambda request: False  # its answer does not arrive
        self.asked: list[Request[Any]] = []

    def run(self, steps: Steps[T]) -> T:
        """Drive one operation to its end."""
        try:
            request = next(steps)
            while True:
                try:
                    reply = self._answer(request)
                except (DcsUnavailable, Refused) as error:
                    request = steps.throw(error)
                else:
                    request = steps.send(reply)
        except StopIteration as end:
            return cast(T, end.value)

    def _answer(self, request: Request[Any]) -> object:
        if isinstance(request, ReadInstant):
            return self.instant()
        self.asked.append(request)
        self.now_s += self.delay_s / 2
        try:
            return self.state.apply(request, self.now_s)
        finally:
            self.now_s += self.delay_s / 2
            if self.is_lost(request):
                raise DcsUnavailable("lost")

    def instant(self) -> Instant:
        """Return the time."""
        return Instant(boot_s=self.now_s, raw_s=self.now_s)

    def cluster(self) -> Cluster:
        """Return what the store shows."""
        return self.run(A.read(is_linearizable=True))

    def session(self, ttl_s: float = 10.0) -> Session:
        """Open a session."""
        return self.run(A.open_session(ttl_s))

    def lead(self) -> tuple[Session, Proof]:
        """Make `a` the leader."""
        session = self.session()
        return session, self.run(A.acquire(session)).proof

    def refused(self, steps: Steps[T], why: Refusal) -> None:
        """Check that an operation is refused."""
        with pytest.raises(Refused) as caught:
            self.run(steps)
        assert caught.value.why is why


@pytest.fixture
def world() -> World:
    """Return an empty store at some time."""
    return World()


def _under(proof: Proof) -> LockRef:
    return LockRef(key=A.leader_key, incarnation=proof.incarnation)


# --- acquire


def test_a_lock_inherits_the_deadline_of_the_renewal_before_it(world: World) -> None:
    session = world.session(ttl_s=10.0)
    world.now_s += 7.0
    world.delay_s = 0.8
    sent_s = world.now_s
    proof = world.run(A.acquire(session)).proof
    assert proof.sent == Instant(boot_s=sent_s, raw_s=sent_s)
    assert lease_left_s(proof, world.instant()) == pytest.approx(10.0 - 2.4)
    assert [type(request) for request in world.asked[-3:]] == [RenewSession, Create, ProveLock]


def test_the_deadline_is_never_later_than_the_expiry_in_the_store(world: World) -> None:
    session = world.session(ttl_s=10.0)
    world.delay_s = 0.9
    proof = world.run(A.acquire(session)).proof
    world.delay_s = 0.0
    world.now_s = proof.sent.boot_s + proof.ttl_s - 0.001
    assert world.cluster().leader_name == "a"


def test_acquire_never_overwrites(world: World) -> None:
    world.lead()
    before = world.cluster().leader
    for coordinator in (A, B):
        world.refused(coordinator.acquire(world.session()), Refusal.EXISTS)
    assert world.cluster().leader == before


def test_a_slow_store_wins_no_lock(world: World) -> None:
    """A lock that is created long after its renewal would be gone too soon."""
    session = world.session()
    world.delay_s = 1.1
    with pytest.raises(DcsUnavailable):
        world.run(A.acquire(session))
    assert not [request for request in world.asked if isinstance(request, Create)]


def test_a_renewal_that_was_slow_once_is_repeated(world: World) -> None:
    session = world.session()
    world.delay_s = 1.1
    steps = A.acquire(session)
    request = next(steps)
    for _ in range(3):  # the time, the slow renewal, the time
        request = steps.send(world._answer(request))
    world.delay_s = 0.0
    quick_s = world.now_s
    for _ in range(3):  # the time, the quick renewal, the time
        request = steps.send(world._answer(request))
    request = steps.send(world._answer(request))  # the lock is created; now it is proved
    with pytest.raises(StopIteration) as ended:
        steps.send(world._answer(request))
    assert ended.value.value.proof.sent.boot_s == quick_s


def test_a_renewal_by_another_authority_than_the_create_gives_no_deadline(world: World) -> None:
    """A deposed leader of the store answered the renewal: its successor, which made the key, knows nothing of it."""
    session = world.session()
    steps = A.acquire(session)
    request = next(steps)
    for _ in range(3):  # the time, the renewal, the time
        request = steps.send(world._answer(request))
    world.state.witness = "2"
    request = steps.send(world._answer(request))
    with pytest.raises(DcsUnavailable):
        steps.send(world._answer(request))


def test_acquire_with_a_session_that_is_gone(world: World) -> None:
    session = world.session(ttl_s=10.0)
    world.now_s += 10.0
    world.refused(A.acquire(session), Refusal.SESSION_GONE)
    assert world.cluster().leader is None


def test_an_acquire_without_an_answer_is_settled_by_a_view(world: World) -> None:
    session = world.session()
    world.is_lost = lambda request: isinstance(request, Create)
    with pytest.raises(DcsUnavailable):
        world.run(A.acquire(session))
    lock = lock_of(world.cluster(), "a", session.id)
    assert lock is not None
    renewed = world.run(A.renew(session.id, lock))
    assert renewed.lock == (lock.token, lock.revision)


def test_a_lock_is_ours_by_name_and_session(world: World) -> None:
    session, proof = world.lead()
    cluster = world.cluster()
    assert lock_of(cluster, "a", session.id) == cluster.leader
    assert cluster.leader is not None
    assert cluster.leader.token == proof.token
    assert lock_of(cluster, "b", session.id) is None
    assert lock_of(cluster, "a", world.session().id) is None
    assert lock_of(Cluster(), "a", session.id) is None


# --- renew


def test_a_renewal_without_a_lock_looks_at_nothing(world: World) -> None:
    session = world.session(ttl_s=10.0)
    world.delay_s = 0.5
    renewed = world.run(A.renew(session.id, None))
    assert (renewed.sent.boot_s, renewed.session.ttl_s, renewed.cluster, renewed.lock) == (100.0, 10.0, None, None)


def test_a_renewal_with_the_lock_brings_the_view(world: World) -> None:
    session, proof = world.lead()
    world.now_s += 3.0
    world.delay_s = 0.5
    renewed = world.run(A.renew(session.id, proof))
    assert renewed.sent.boot_s == 103.0
    assert renewed.cluster is not None
    assert renewed.cluster.leader_name == "a"
    assert renewed.lock == (proof.token, proof.revision)
    assert [type(request) for request in world.asked[-2:]] == [RenewSession, ProveLock]


def test_a_lock_that_is_gone(world: World) -> None:
    session, proof = world.lead()
    world.state.apply(Delete(A.leader_key), world.now_s)
    world.refused(A.renew(session.id, proof), Refusal.GONE)


def test_a_lock_that_another_holds(world: World) -> None:
    session, proof = world.lead()
    world.state.apply(Delete(A.leader_key), world.now_s)
    world.run(B.acquire(world.session()))
    world.refused(A.renew(session.id, proof), Refusal.NOT_OURS)


def test_a_lock_of_our_next_life_is_not_this_one(world: World) -> None:
    session, proof = world.lead()
    world.state.apply(Delete(A.leader_key), world.now_s)
    world.run(A.acquire(session))
    world.refused(A.renew(session.id, proof), Refusal.NOT_OURS)


def test_a_lock_whose_value_was_overwritten_by_hand(world: World) -> None:
    session, proof = world.lead()
    world.state.apply(Write(A.leader_key, "b", session.id), world.now_s)
    world.refused(A.renew(session.id, proof), Refusal.NOT_OURS)


def test_a_session_that_is_gone(world: World) -> None:
    session, proof = world.lead()
    world.state.apply(EndSession(session.id), world.now_s)
    world.refused(A.renew(session.id, proof), Refusal.SESSION_GONE)


def test_a_proof_under_another_authority_is_no_answer(world: World) -> None:
    session, proof = world.lead()
    steps = A.renew(session.id, proof)
    request = next(steps)
    for _ in range(2):  # the time and the renewal
        request = steps.send(world._answer(request))
    world.state.witness = "another"
    with pytest.raises(DcsUnavailable):
        world._answer(request)


def test_a_proof_that_contradicts_its_view_is_no_answer(world: World) -> None:
    session, proof = world.lead()
    steps = A.renew(session.id, proof)
    request = next(steps)
    for _ in range(2):
        request = steps.send(world._answer(request))
    snapshot = cast(Any, world._answer(request))
    with pytest.raises(DcsUnavailable):
        steps.send(replace(snapshot, entries={}))


# --- adopt


def test_adopt_moves_the_lock_to_the_new_session(world: World) -> None:
    old, proof = world.lead()
    new = world.session()
    world.now_s += 1.0
    won = world.run(A.adopt(new, proof.token, proof.incarnation)).proof
    assert (won.session, won.incarnation, won.sent.boot_s) == (new.id, proof.incarnation, 101.0)
    assert won.token != proof.token
    world.state.apply(EndSession(old.id), world.now_s)
    assert world.run(A.renew(new.id, won)).lock == (won.token, won.revision)


def test_a_late_release_misses_an_adopted_lock(world: World) -> None:
    _, proof = world.lead()
    world.run(A.adopt(world.session(), proof.token, proof.incarnation))
    world.refused(A.release(proof.token, None), Refusal.CHANGED)
    assert world.cluster().leader_name == "a"


def test_adopt_only_what_was_judged(world: World) -> None:
    old, proof = world.lead()
    world.state.apply(EndSession(old.id), world.now_s)
    new = world.session()
    for why in (Refusal.NOT_OURS, Refusal.NOT_OURS):
        world.refused(A.adopt(new, proof.token, proof.incarnation), why)
        if world.cluster().leader is None:
            world.run(B.acquire(world.session()))
    assert world.cluster().leader_name == "b"


# --- release


def test_release_publishes_the_position_and_keeps_the_slots(world: World) -> None:
    _, proof = world.lead()
    world.run(A.write_status(Status(lsn=Lsn(5), slots={"b": Lsn(4)}, retain_slots=("a", "b")), under=_under(proof)))
    world.run(A.release(proof.token, Lsn(9)))
    cluster = world.cluster()
    assert cluster.leader is None
    assert cluster.status == Status(lsn=Lsn(9), slots={"b": Lsn(4)}, retain_slots=("a", "b"))


def test_release_without_a_position_writes_none(world: World) -> None:
    _, proof = world.lead()
    world.run(A.release(proof.token, None))
    assert world.cluster().status == Status()
    assert not [request for request in world.asked if isinstance(request, Write)]


@pytest.mark.parametrize("step", [0, 1])
def test_release_does_not_depend_on_the_position(world: World, step: int) -> None:
    _, proof = world.lead()
    began = len(world.asked)
    world.is_lost = lambda request: len(world.asked) == began + step + 1
    world.run(A.release(proof.token, Lsn(9)))
    world.is_lost = lambda request: False
    assert world.cluster().leader is None


def test_release_of_another_version_has_no_effect(world: World) -> None:
    old, proof = world.lead()
    world.state.apply(EndSession(old.id), world.now_s)
    world.run(A.acquire(world.session()))
    world.refused(A.release(proof.token, Lsn(9)), Refusal.CHANGED)
    cluster = world.cluster()
    assert (cluster.leader_name, cluster.status) == ("a", Status())


# --- the other keys


def test_the_race_to_initialize(world: World) -> None:
    token = world.run(A.claim_initialize())
    assert world.cluster().initialize is Initialize.RUNNING
    world.refused(B.claim_initialize(), Refusal.EXISTS)
    world.refused(B.write_initialize(SystemId("7358219046127743210"), is_new=True), Refusal.EXISTS)
    world.run(A.write_initialize(SystemId("7358219046127743210"), is_new=False))
    assert world.cluster().system_id == "7358219046127743210"
    world.refused(A.cancel_initialize(token), Refusal.CHANGED)
    world.run(A.cancel_initialize())
    assert world.cluster().initialize is Initialize.ABSENT


def test_a_deposed_leader_publishes_nothing(world: World) -> None:
    old, proof = world.lead()
    world.run(A.write_status(Status(lsn=Lsn(5)), under=_under(proof)))
    state = world.run(A.write_sync(SyncState(leader="a"), under=_under(proof)))
    world.state.apply(EndSession(old.id), world.now_s)
    world.run(B.acquire(world.session()))
    before = world.cluster()
    world.refused(A.write_status(Status(lsn=Lsn(6)), under=_under(proof)), Refusal.NOT_OURS)
    world.refused(A.write_history([(1, 5, "x")], under=_under(proof)), Refusal.NOT_OURS)
    world.refused(A.write_failsafe({"a": "u"}, under=_under(proof)), Refusal.NOT_OURS)
    world.refused(A.write_sync(replace(state, voters=("c",)), under=_under(proof)), Refusal.NOT_OURS)
    assert world.cluster() == before


def test_sync_is_written_twice_in_one_turn(world: World) -> None:
    _, proof = world.lead()
    first = world.run(A.write_sync(SyncState(leader="a"), under=_under(proof)))
    world.refused(A.write_sync(SyncState(leader="a"), under=_under(proof)), Refusal.EXISTS)
    second = world.run(A.write_sync(replace(first, voters=("b",)), under=_under(proof)))
    assert world.cluster().sync == second
    world.refused(A.write_sync(first, under=_under(proof)), Refusal.CHANGED)
    world.refused(A.delete_sync(cast(Any, first.token)), Refusal.CHANGED)
    world.run(A.delete_sync(cast(Any, second.token)))
    assert world.cluster().sync == SyncState()


def test_history_and_failsafe(world: World) -> None:
    _, proof = world.lead()
    world.run(A.write_history([(1, 5, "r", "2031-04-01T10:11:12+00:00", "a")], under=_under(proof)))
    world.run(A.write_failsafe({"a": "u"}, under=_under(proof)))
    cluster = world.cluster()
    assert (cluster.history.cluster_timeline, cluster.failsafe) == (2, {"a": "u"})


def test_config_is_overwritten_or_compared(world: World) -> None:
    first = world.run(A.write_config({"ttl": 30}))
    second = world.run(A.write_config({"ttl": 20}, first))
    world.refused(A.write_config({"ttl": 10}, first), Refusal.CHANGED)
    config = world.cluster().config
    assert config is not None
    assert (config.values, config.token) == ({"ttl": 20}, second)


def test_a_failover_request_is_cleared_as_judged(world: World) -> None:
    world.run(A.write_failover(FailoverRequest(candidate="b")))
    first = world.cluster()
    assert first.failover is not None
    world.run(A.write_failover(FailoverRequest(leader="a", candidate="b")))
    world.refused(A.clear_failover(cast(Any, first.failover_token)), Refusal.CHANGED)
    second = world.cluster()
    assert second.failover is not None
    assert second.failover.leader == "a"
    world.run(A.clear_failover(cast(Any, second.failover_token)))
    cleared = world.cluster()
    assert cleared.failover is None
    assert cleared.failover_token not in (None, second.failover_token)


def test_the_member_key_hangs_on_the_session(world: World) -> None:
    session, other = world.session(), world.session()
    world.run(A.touch_member(session.id, PUBLICATION))
    assert world.cluster().members["a"].session == session.id
    world.run(A.touch_member(other.id, PUBLICATION))
    world.state.apply(EndSession(session.id), world.now_s)
    assert "a" in world.cluster().members
    world.refused(A.touch_member(session.id, PUBLICATION), Refusal.SESSION_GONE)


def test_delete_cluster(world: World) -> None:
    world.lead()
    world.run(A.claim_initialize())
    world.run(Coordinator(prefix="/service/batman2/", name="x").claim_initialize())
    world.run(A.delete_cluster())
    assert world.cluster() == Cluster(revision=world.cluster().revision, store_id="memory")
    assert world.run(Coordinator(prefix="/service/batman2/", name="x").read()).initialize is Initialize.RUNNING


# --- drive


def test_drive_answers_and_throws(world: World) -> None:
    store = MemoryStore(MemoryServer(world.instant))
    session = drive(A.open_session(10.0), store, world.instant, 5.0)
    won = drive(A.acquire(session), store, world.instant, 5.0)
    assert drive(A.read(), store, world.instant, 5.0).leader_name == "a"
    with pytest.raises(Refused):
        drive(A.acquire(session), store, world.instant, 5.0)
    drive(A.release(won.proof.token, Lsn(5)), store, world.instant, 5.0)
    assert drive(A.read(), store, world.instant, 5.0).status.lsn == 5


def test_drive_has_one_deadline_for_all_requests(world: World) -> None:
    store = MemoryStore(MemoryServer(world.instant))
    session = drive(A.open_session(10.0), store, world.instant, 5.0)

    def slow_clock() -> Instant:
        world.now_s += 0.4
        return world.instant()

    with pytest.raises(DcsUnavailable, match="no time"):
        drive(A.acquire(session), store, slow_clock, 1.5)
    assert drive(A.read(), store, world.instant, 5.0).leader is None
