"""Looks: what is due when, and that an answer that was filed away together with something else still counts as one."""

from __future__ import annotations

from patroni.agent import order
from patroni.agent.event import Event, FilesSeen, MonitoringSeen, Noted, Payload
from patroni.agent.look import Looks
from patroni.agent.observe import Observed
from patroni.decision.cluster import Lsn, Timeline
from patroni.decision.lease import Instant
from patroni.decision.node import DataDirectory, Process
from patroni.decision.settings import Settings
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
    assert order.LookAtFiles in kinds(looks.orders(observed, settings, at(0.0)))
    assert order.LookAtFiles not in kinds(looks.orders(observed, settings, at(9.9)))
    assert order.LookAtFiles in kinds(looks.orders(observed, settings, at(10.1)))
