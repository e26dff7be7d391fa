"""The world itself: clocks, timers, the store's bad behaviour and Postgres' actors do what design.md §7 asks of them."""

from __future__ import annotations

import random

import pytest

from patroni.dcs.store import (
    Create,
    DcsUnavailable,
    LockRef,
    OpenSession,
    ProveLock,
    ReadPrefix,
    Refusal,
    Refused,
    RenewSession,
    Session,
)
from patroni.decision.lease import elapsed_s
from patroni.decision.node import Process
from tests.simulation.engine import Acts, Engine, Place, Signal, Task, Wait
from tests.simulation.host import Host, Network
from tests.simulation.plan import plan_of
from tests.simulation.postgres_model import Data, Postgres, Statement
from tests.simulation.store_model import LEADER, PREFIX, CompareLock, StoreServer
from tests.simulation.wal import FIRST_LSN, Branch
from tests.simulation.world import World


def ran(engine: Engine, until_s: float) -> None:
    while engine.next_s <= until_s:
        engine.step()
    engine.now_s = until_s


def a_host(engine: Engine, boot_rate: float = 1.0) -> Host:
    return Host(engine, "a", random.Random(1), boot_rate)


# --- the engine and the clocks


def test_a_frozen_place_has_its_events_when_it_goes_on() -> None:
    engine = Engine()
    place, seen = Place(engine, "p"), list[float]()
    engine.timer(place, lambda: seen.append(engine.now_s), 1.0)
    place.stop()
    ran(engine, 5.0)
    assert seen == []
    place.go()
    ran(engine, 6.0)
    assert seen == [5.0]


def test_a_dead_place_has_none() -> None:
    engine = Engine()
    place, seen = Place(engine, "p"), list[float]()
    engine.timer(place, lambda: seen.append(engine.now_s), 1.0)
    place.die()
    ran(engine, 5.0)
    assert seen == []


def test_a_timer_does_not_count_a_suspend_and_a_message_does_not_wait_longer_than_it() -> None:
    engine = Engine()
    host, seen = a_host(engine), list[tuple[str, float]]()
    engine.timer(host, lambda: seen.append(("timer", engine.now_s)), 3.0)
    engine.soon(host, lambda: seen.append(("message", engine.now_s)), 3.0)
    ran(engine, 1.0)
    host.suspend()
    ran(engine, 11.0)
    host.resume()
    ran(engine, 20.0)
    assert seen == [("message", 11.0), ("timer", 13.0)]


def test_boottime_counts_a_suspend_and_the_raw_clock_does_not() -> None:
    engine = Engine()
    host = a_host(engine, boot_rate=0.92)
    before = host.now()
    host.suspend()
    ran(engine, 10.0)
    host.resume()
    ran(engine, 11.0)
    now = host.now()
    assert now.boot_s - before.boot_s == pytest.approx(0.92 * 11.0)
    assert now.raw_s - before.raw_s == pytest.approx(1.0, rel=0.002)
    assert elapsed_s(before, now) == pytest.approx(0.92 * 11.0)


def test_a_task_waits_for_a_signal_or_for_its_time() -> None:
    engine = Engine()
    signal, seen = Signal(), list[tuple[float, bool]]()

    def acts() -> Acts[None]:
        for within_s in (5.0, 2.0):
            fired = yield Wait(signal, within_s)
            seen.append((engine.now_s, fired))

    Task(Place(engine, "p"), acts())
    ran(engine, 1.0)
    signal.fire()
    ran(engine, 10.0)
    assert seen == [(1.0, True), (3.0, False)]


# --- the store


def a_store(engine: Engine, rate: float = 1.0, *, is_plain: bool = False) -> StoreServer:
    return StoreServer(engine, Place(engine, "store"), rate, is_plain=is_plain)


def opened(store: StoreServer, ttl_s: float = 10.0) -> Session:
    session = store.handle(OpenSession(ttl_s), "a", "keeper")
    assert isinstance(session, Session)
    store.handle(Create(LEADER, "a", session.id), "a", "chain")
    return session


def test_the_true_expiry_is_that_of_the_stores_own_clock() -> None:
    engine = Engine()
    store = a_store(engine, rate=1.08)
    opened(store)
    lock = store.lock
    assert lock is not None
    assert store.true_expiry_s(lock.name, lock.incarnation) == pytest.approx(10.0 / 1.08)
    ran(engine, 10.0)
    assert lock.gone_s == pytest.approx(10.0 / 1.08, abs=1e-3)
    assert store.lock is None


def test_a_clock_that_stands_still_expires_late() -> None:
    engine = Engine()
    store = a_store(engine)
    opened(store)
    lock = store.lock
    ran(engine, 2.0)
    store.stand(still=True)
    ran(engine, 12.0)
    store.stand(still=False)
    ran(engine, 30.0)
    assert lock is not None
    assert lock.gone_s == pytest.approx(20.0, abs=1e-3)


def test_a_deposed_leader_answers_keepalives_and_compares_and_nothing_that_needs_the_others() -> None:
    engine = Engine()
    store = a_store(engine)
    session = opened(store)
    lock = store.lock
    assert lock is not None
    store.depose({"a"})
    ran(engine, 11.0)
    assert store.lock is None, "the majority has let the lock expire"
    renewed = store.handle(RenewSession(session.id), "a", "keeper")
    assert isinstance(renewed, Session)
    ref = LockRef(key=LEADER, incarnation=lock.incarnation)
    store.handle(CompareLock(ref, renewed, PREFIX), "a", "keeper")
    proof = ProveLock(lock=ref, session=renewed, prefix=PREFIX)
    for needing in (proof, ReadPrefix(PREFIX, is_linearizable=True), OpenSession(5.0)):
        with pytest.raises(DcsUnavailable):
            store.handle(needing, "a", "keeper")
    with pytest.raises(Refused) as refused:
        store.handle(RenewSession(session.id), "b", "keeper")
    assert refused.value.why is Refusal.SESSION_GONE


def test_a_restored_store_is_an_older_one_and_nobodys_deadline_foresaw_it() -> None:
    engine = Engine()
    store = a_store(engine)
    store.back_up()
    opened(store)
    lock, revision = store.lock, store.state.revision
    store.restore(is_new=False)
    assert lock is not None
    assert lock.is_by_act
    assert store.lock is None
    assert store.state.revision < revision


def test_a_plain_store_shows_no_revisions() -> None:
    store = a_store(Engine(), is_plain=True)
    session = store.handle(OpenSession(5.0), "a", "keeper")
    assert isinstance(session, Session)
    assert session.revision is None


# --- Postgres


class Bench:
    """One server on one host, with data."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.network = Network(self.engine, random.Random(1))
        self.postgres = Postgres(self.engine, self.network, "a", random.Random(1))
        self.postgres.host = a_host(self.engine)
        branch = Branch(timeline=1, writer="a")
        self.postgres.data = Data(branch=branch, written=FIRST_LSN, flushed=FIRST_LSN, applied=FIRST_LSN)
        self.acknowledged: list[int] = []
        self.postgres.on_acknowledged = lambda statement, _: self.acknowledged.append(statement.number)

    def started(self, *, is_standby: bool = False) -> Postgres:
        assert self.postgres.data is not None
        self.postgres.data.has_signal = is_standby
        self.postgres.launch()
        ran(self.engine, self.engine.now_s + 2.0)
        return self.postgres

    def write(self, number: int, *, is_short: bool = True) -> None:
        statement = Statement(number=number, invoked_s=self.engine.now_s, node="a", is_short=is_short)
        self.postgres.execute(statement, lambda _: None)


def test_a_statement_is_flushed_before_it_is_acknowledged() -> None:
    bench = Bench()
    postgres = bench.started()
    bench.write(1)
    ran(bench.engine, bench.engine.now_s + 1.0)
    assert postgres.data is not None
    assert bench.acknowledged == [1]
    assert postgres.data.branch.statements(postgres.data.flushed) == {1}


def test_an_orphan_goes_on_and_acknowledges_after_the_postmasters_death() -> None:
    bench = Bench()
    postgres = bench.started()
    bench.write(1)
    ran(bench.engine, bench.engine.now_s + 0.0005)
    postgres.kill_postmaster()
    assert postgres.process is Process.ORPHANS
    assert postgres.is_writable
    ran(bench.engine, bench.engine.now_s + 10.0)
    assert bench.acknowledged == [1]
    assert postgres.statements == {}


def test_a_commit_that_was_flushed_and_not_acknowledged_is_there_after_recovery() -> None:
    bench = Bench()
    postgres = bench.started()
    bench.postgres.is_sync = True  # and no standby: it waits for ever
    bench.write(1)
    ran(bench.engine, bench.engine.now_s + 1.0)
    postgres.kill_all()
    postgres.is_sync = False
    bench.started()
    assert bench.acknowledged == []
    assert postgres.data is not None
    assert postgres.data.branch.statements(postgres.data.flushed) == {1}


def test_a_host_that_dies_loses_what_was_not_flushed() -> None:
    bench = Bench()
    postgres = bench.started()
    assert postgres.data is not None
    flushed = postgres.data.flushed
    postgres.data.written = postgres.data.branch.append(100, 1)
    postgres.lose_power()
    assert postgres.data.written == postgres.data.branch.end_lsn == flushed
    assert postgres.data.branch.statements(1 << 60) == set()


def test_a_promotion_takes_time_and_makes_a_branch_of_its_own() -> None:
    bench = Bench()
    postgres = bench.started(is_standby=True)
    assert postgres.data is not None
    old = postgres.data.branch
    postgres.promote()
    assert postgres.is_promotion_pending
    ran(bench.engine, bench.engine.now_s + 3.0)
    assert postgres.is_primary
    assert postgres.data.branch.timeline == 2
    assert postgres.data.branch.left_at(old) == postgres.data.branch.switch_lsn


def test_a_server_that_writes_on_anothers_timeline_is_told_apart() -> None:
    bench = Bench()
    assert bench.postgres.data is not None
    theirs = Branch(timeline=1, writer="b")
    bench.postgres.data.branch = theirs
    postgres = bench.started()
    assert postgres.data is not None
    assert postgres.data.branch is not theirs
    assert postgres.data.branch.timeline == 1


def test_histories_are_the_same_up_to_where_they_part() -> None:
    first = Branch(timeline=1, writer="a")
    first.append(100, 1)
    second = first.fork(first.end_lsn, "b", 2)
    second.append(100, 2)
    first.append(100, 3)
    assert second.left_at(first) == second.switch_lsn
    assert first.left_at(second) is None
    assert second.statements(second.end_lsn) == {1, 2}
    assert [(row.timeline, row.lsn) for row in second.rows()] == [(1, second.switch_lsn)]


# --- the whole


def test_a_quiet_cluster_elects_one_leader_whom_the_others_follow() -> None:
    world = World(plan_of(1))
    world.start()
    world.run_until(10.0)
    assert world.checkers.violations == []
    assert world.checkers.unconverged() is None
    assert world.clients.routed.acknowledged_s
