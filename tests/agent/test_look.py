"""Looks: what is due when, and that an answer that was filed away together with something else still counts as one."""

from __future__ import annotations

import pytest

from patroni.agent import order
from patroni.agent.event import ClusterSeen, Event, FilesSeen, MonitoringSeen, Noted, Payload, PeerSeen
from patroni.agent.look import Looks
from patroni.agent.observe import Observed
from patroni.decision.cluster import Cluster, Incarnation, Leader, Lsn, Timeline, Token
from patroni.decision.lease import Instant
from patroni.decision.node import DataDirectory, Process
from patroni.decision.settings import Settings
from patroni.decision.view import Answer, Silent
from patroni.postgres.request import Files, Monitoring

ALIVE = Files(data_directory=DataDirectory.PRESENT, process=Process.ALIVE, postmaster_pid=1)
STANDBY = Monitoring(is_in_recovery=True, timeline=Timeline(1), lsn=Lsn(1), replication_state="streaming")


def at(seconds: float) -> Instant:
    return Instant(boot_s=seconds, raw_s=seconds)


def take(observed: Observed, seconds: float, *payloads: Payload) -> None:
    for payload in payloads:
        observed.take(Event(epoch=0, sent=at(seconds), payload=payload), at(seconds))


def kinds(orders: list[order.Order]) -> set[type[order.Order]]:
    return {type(each) for each in orders}


def test_an_answer_that_arrives_with_a_reason_to_look_again_does_not_block_the_next_look() -> None:
    observed, looks, settings = Observed(name="a", started=at(0.0)), Looks(), Settings()
    take(observed, 0.0, FilesSeen(files=ALIVE))
    assert order.QueryPostgres in kinds(looks.orders(observed, settings, at(0.0)))
    take(observed, 0.1, MonitoringSeen(monitoring=STANDBY), Noted(phase="a phase that began in the same turn"))
    assert kinds(looks.orders(observed, settings, at(0.1))) >= {order.QueryPostgres, order.LookAtFiles}


def test_a_look_is_under_way_once() -> None:
    observed, looks, settings = Observed(name="a", started=at(0.0)), Looks(), Settings()
    assert {order.LookAtFiles, order.ReadStore} <= set(kinds(looks.orders(observed, settings, at(0.0))))
    assert not kinds(looks.orders(observed, settings, at(9.9)))
    assert kinds(looks.orders(observed, settings, at(10.1))) == {order.ReadStore}, "a look at files is never lost"


def seen(name: str | None, seconds: float) -> ClusterSeen:
    """Return a view of a cluster that this node leads; None: nobody."""
    leader = Leader(name=name, incarnation=Incarnation("i"), token=Token("t"), revision=None) if name else None
    return ClusterSeen(cluster=Cluster(leader=leader), began=at(seconds), is_linearizable=True)


@pytest.mark.parametrize(("ttl_s", "age_s"), [(8.0, 6.0), (30.0, 22.5), (100.0, 30.0)])
def test_the_store_is_read_before_the_view_is_too_old_to_count(ttl_s: float, age_s: float) -> None:
    observed, looks, settings = Observed(name="a", started=at(0.0)), Looks(), Settings(ttl_s=ttl_s, loop_wait_s=2.0)
    take(observed, 0.0, seen("b", 0.0))
    assert order.ReadStore not in kinds(looks.orders(observed, settings, at(age_s - 0.1)))
    assert order.ReadStore in kinds(looks.orders(observed, settings, at(age_s)))


def test_what_a_leader_said_while_it_led_is_forgotten_with_its_lock() -> None:
    """Else nobody races for a released lock before that answer is 3 s old: `b still runs as a primary`."""
    observed = Observed(name="a", started=at(0.0))
    primary, standby = (Answer(age_s=0.0, is_in_recovery=is_standby, lsn=None, timeline=None) for is_standby in (False, True))
    take(observed, 0.0, seen("b", 0.0), PeerSeen(name="b", peer=primary), PeerSeen(name="c", peer=standby))
    take(observed, 0.1, seen("b", 0.1))
    assert set(observed.peers) == {"b", "c"}
    take(observed, 0.2, seen(None, 0.2))
    assert set(observed.peers) == {"c"}


def test_the_silence_of_the_leader_before_is_kept() -> None:
    observed = Observed(name="a", started=at(0.0))
    take(observed, 0.0, seen("b", 0.0), PeerSeen(name="b", peer=Silent(age_s=0.0)), seen(None, 0.1))
    assert set(observed.peers) == {"b"}


def test_a_look_that_is_soon_due_is_made_together_with_one_that_is() -> None:
    observed, looks, settings = Observed(name="a", started=at(0.0)), Looks(), Settings()
    looks.orders(observed, settings, at(0.0))
    take(observed, 0.0, FilesSeen(files=ALIVE))
    looks.orders(observed, settings, at(1.0))
    take(observed, 1.0, MonitoringSeen(monitoring=STANDBY))
    take(observed, 1.0, seen("a", 1.0))
    assert looks.due_at_s(observed, settings, at(5.0)) == 10.0
    assert kinds(looks.orders(observed, settings, at(9.9))) == set()
    assert kinds(looks.orders(observed, settings, at(10.0))) == {order.LookAtFiles, order.QueryPostgres}
