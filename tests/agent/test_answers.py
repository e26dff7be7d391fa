"""Answers: what REST is given: the authority of this very moment, views that it waits for, and operations on the store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from patroni.agent import clock
from patroni.agent.answers import Answers, Clocks
from patroni.agent.event import Woken
from patroni.decision.cluster import FailoverRequest, Role
from patroni.decision.lease import Proof
from patroni.decision.node import Node, Process
from patroni.decision.view import Answer, Silent
from patroni.postgres import request as pg
from patroni.postgres.request import PostgresTimeout
from patroni.rest.operations import FailsafeCall, FailsafeVerdict
from patroni.rest.snapshot import Authority, Snapshot
from tests.agent.builders import a_primary_says, proof
from tests.agent.rig import Rig, on_thread, rigged
from tests.decision.builders import a_member, an_answer
from tests.rest.builders import a_snapshot
from tests.support.waiting import wait_until

PATIENCE_S = 20.0
PRIMARY = Node(name="a", process=Process.ALIVE, role=Role.PRIMARY, is_in_recovery=False)
STANDBY = Node(name="a", process=Process.ALIVE, role=Role.REPLICA, is_in_recovery=True)
UNCERTAIN = Node(name="a", process=Process.ALIVE, role=Role.PRIMARY)  # the query got no answer
DOWN = Node(name="a", process=Process.DOWN, role=Role.PRIMARY)


@pytest.fixture
def rig() -> Iterator[Rig]:
    with rigged() as made:
        yield made


def snapshot(node: Node = PRIMARY) -> Snapshot:
    return a_snapshot(node=node)


def answers(rig: Rig, node: Node = PRIMARY, *, is_giving_up: bool = False, has_led: bool = False) -> Answers:
    made = Answers(rig.parts, snapshot(node))
    made.publish(snapshot(node), is_giving_up=is_giving_up, has_led=has_led)
    return made


def fresh_proof(ttl_s: float = 30.0) -> Proof:
    return replace(proof(), sent=clock.now(), ttl_s=ttl_s)


def lead(rig: Rig, ttl_s: float = 30.0) -> None:
    rig.keeper.take(fresh_proof(ttl_s), if_epoch=rig.keeper.epoch)


# --- authority


@pytest.mark.parametrize("node", [PRIMARY, STANDBY, UNCERTAIN, DOWN], ids=["primary", "promoting", "no answer", "down"])
def test_the_holder_of_the_lock_leads_whatever_its_postgres_does(rig: Rig, node: Node) -> None:
    """A restart in place and a promotion say 200 (contract/rest_api.md §8.5)."""
    lead(rig)
    assert answers(rig, node, has_led=True).authority(clock.now()) is Authority.HELD


def test_a_decision_to_give_up_ends_it_while_the_lease_still_lasts(rig: Rig) -> None:
    lead(rig)
    assert answers(rig, is_giving_up=True, has_led=True).authority(clock.now()) is Authority.OVER


@pytest.mark.parametrize(
    ("node", "has_led", "then"),
    [
        pytest.param(PRIMARY, True, Authority.OVER, id="a primary whose lease is over"),
        pytest.param(UNCERTAIN, True, Authority.OVER, id="one that does not answer"),
        pytest.param(STANDBY, True, Authority.NONE, id="in recovery again"),
        pytest.param(DOWN, True, Authority.NONE, id="down"),
        pytest.param(PRIMARY, False, Authority.NONE, id="a primary that was found running: its lock is not adopted yet"),
        pytest.param(STANDBY, False, Authority.NONE, id="a standby"),
    ],
)
def test_without_a_lease(rig: Rig, node: Node, has_led: bool, then: Authority) -> None:
    assert answers(rig, node, has_led=has_led).authority(clock.now()) is then


def test_a_lease_that_ends_is_seen_without_a_turn(rig: Rig) -> None:
    made = answers(rig, has_led=True)
    lead(rig)
    assert made.authority(clock.now()) is Authority.HELD
    rig.keeper.begin_drop(if_epoch=rig.keeper.epoch)
    assert made.authority(clock.now()) is Authority.OVER


def test_a_lease_less_its_margin_is_no_lease(rig: Rig) -> None:
    made = answers(rig, has_led=True)
    lead(rig, ttl_s=0.6)  # the margin is more than that
    assert made.authority(clock.now()) is Authority.OVER


# --- Postgres


def test_a_probe_and_one_without_an_answer(rig: Rig) -> None:
    made = answers(rig)
    rig.postgres.answers[pg.ReadMonitoring] = a_primary_says()
    assert made.probe() == a_primary_says()
    assert rig.postgres.asked == [pg.ReadMonitoring(is_for_rest=True)]
    rig.postgres.answers[pg.ReadMonitoring] = PostgresTimeout("no answer")
    assert made.probe() is None


# --- the store


def test_a_read_and_one_without_an_answer(rig: Rig) -> None:
    made = answers(rig)
    assert made.read_cluster() is not None
    rig.link.is_cut = True
    assert made.read_cluster() is None


def test_a_request_is_written_over_the_version_that_was_judged_and_cleared(rig: Rig) -> None:
    made = answers(rig)
    assert made.write_failover(FailoverRequest(candidate="b"), None)
    written = rig.read()
    assert written.failover is not None and written.failover.candidate == "b"
    token = written.failover_token
    assert made.write_failover(FailoverRequest(candidate="c"), token)
    assert not made.write_failover(FailoverRequest(candidate="d"), token), "somebody else wrote"
    assert made.write_failover(None, rig.read().failover_token)
    assert rig.read().failover is None
    assert made.write_failover(None, None), "nothing is there to clear"


def test_a_request_that_the_store_does_not_take(rig: Rig) -> None:
    rig.link.is_cut = True
    assert not answers(rig).write_failover(FailoverRequest(candidate="b"), None)


def test_a_wait_for_a_view_ends_with_the_next_one(rig: Rig) -> None:
    made = answers(rig)
    seen: list[object] = []
    thread = on_thread(lambda: seen.append(made.await_cluster(10 * PATIENCE_S)))

    def has_ended() -> bool:
        made.publish(snapshot(), is_giving_up=False, has_led=False)
        return not thread.is_alive()

    wait_until(has_ended, PATIENCE_S, "the end of the wait")
    assert seen == [rig.read()]


def test_a_wait_for_a_view_that_does_not_come_reads_all_the_same(rig: Rig) -> None:
    assert answers(rig).await_cluster(0.0) is not None


# --- peers and the loop


def test_members_are_asked_and_whoever_has_no_address_is_silent(rig: Rig) -> None:
    rig.peer = an_answer()
    said = answers(rig).ask_members([a_member("b"), a_member("c", api_url=None)])
    assert isinstance(said["b"], Answer) and isinstance(said["c"], Silent)
    assert answers(rig).ask_members([]) == {}


def test_the_loop_is_woken_and_failsafe_is_off(rig: Rig) -> None:
    made = answers(rig)
    made.wake("somebody asked")
    assert rig.told == [Woken(why="somebody asked")]
    call = FailsafeCall(name="b", conn_url="", api_url="")
    assert made.accept_failsafe(call).verdict is FailsafeVerdict.OFF


def test_the_clocks_of_rest_are_the_agents() -> None:
    clocks = Clocks()
    assert clocks.now().boot_s <= clock.now().boot_s
    assert clocks.wall().tzinfo is not None
