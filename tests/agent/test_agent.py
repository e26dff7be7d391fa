"""The agent's loop on its real parts: what fails in one turn costs no order of that turn, and no later turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import pytest

from patroni.agent import clock
from patroni.agent.agent import Agent, Plan
from patroni.agent.dispatch import Dispatcher
from patroni.agent.event import ClusterSeen
from patroni.agent.order import Order, StartChain
from patroni.agent.reconfigure import Reconfigurer
from patroni.decision.cluster import Cluster
from patroni.rest.config import RestConfig
from tests.agent.rig import Rig, rigged
from tests.agent.test_loop import STANDBY, Bench


@dataclass
class Recorder:
    """Takes the orders and carries out none; the first ends the agent after its turn."""

    agent: Agent
    is_broken: bool = False
    orders: list[Order] = field(default_factory=list)
    published: list[int] = field(default_factory=list)  # at each order: how many decisions REST knew of

    def dispatch(self, wanted: Order) -> None:
        self.orders.append(wanted)
        self.published.append(len(self.agent._answers.snapshot().decisions))
        self.agent._leave(0)
        if self.is_broken:
            raise KeyError("a bug")

    def turns(self) -> Recorder:
        self.agent._take_turns(cast(Dispatcher, self))
        return self


@dataclass
class Unusable:
    """A reconfigurer that no configuration of the store is good for."""

    is_asked: Callable[[], None]

    def take_view(self, cluster: Cluster) -> bool:
        self.is_asked()
        raise KeyError("a bug")

    def read(self) -> None:
        """Nothing is read."""

    def save(self, data_dir: str) -> None:
        """Nothing is saved."""


def an_agent(rig: Rig, is_asked: Callable[[], None] = lambda: None) -> Agent:
    return Agent(
        Plan(
            name="a",
            scope="batman",
            own_version="0",
            store=rig.store,
            coordinator=rig.coordinator,
            driver=rig.postgres,
            peers=rig,
            shared=rig.shared,
            rest=RestConfig(host="127.0.0.1", port=0),
            publication=lambda touch, served: None,
            use_client=lambda client: None,
            reconfigurer=cast(Reconfigurer, Unusable(is_asked)),
            data_dir="/nowhere",
        )
    )


def test_orders_are_handed_out_before_the_configuration_is_taken_over() -> None:
    """Else the loop would wait for ever for the end of a chain that nobody began."""
    with rigged() as rig:
        handed_out: list[int] = []
        agent = an_agent(rig, lambda: handed_out.append(len(recorder.orders)))
        recorder = Recorder(agent)
        agent.post(ClusterSeen(cluster=Cluster(), began=clock.now(), is_linearizable=True))
        recorder.turns()
        assert recorder.orders and handed_out[:1] == [len(recorder.orders)]


def test_rest_hears_of_a_turn_before_it_has_an_effect() -> None:
    """Else `/primary` says 200 while Postgres is being stopped already."""
    with rigged() as rig:
        agent = an_agent(rig)
        assert not agent._answers.snapshot().decisions
        assert set(Recorder(agent).turns().published) == {1}


def test_a_chain_of_a_turn_that_broke_off_is_waited_for_no_more() -> None:
    bench = Bench()
    bench.take_lock()
    turn = bench.turn(*STANDBY, bench.cluster())
    assert any(isinstance(wanted, StartChain) for wanted in turn.orders)
    epoch = bench.keeper.epoch
    bench.loop.broke_off()
    assert bench.loop.observed.chain is None
    assert bench.keeper.epoch > epoch


def test_an_order_that_cannot_be_handed_out_ends_no_agent() -> None:
    with rigged() as rig:
        assert Recorder(an_agent(rig), is_broken=True).turns().orders


@pytest.mark.parametrize("is_broken", [False, True], ids=["handed out", "broken off"])
def test_a_turn_whose_orders_were_not_handed_out_permits_no_renewal_and_leaves_no_chain(is_broken: bool) -> None:
    """Else a leader would keep its lock for ever, waiting for the end of a chain that nobody began."""
    with rigged() as rig:
        agent = an_agent(rig)
        epoch = agent._keeper.epoch
        permitted: list[bool] = []
        agent._loop.carried_out = lambda turn: permitted.append(turn.is_against_leading)  # type: ignore[method-assign]  # watched
        Recorder(agent, is_broken=is_broken).turns()
        assert len(permitted) == (0 if is_broken else 1)
        assert (agent._keeper.epoch > epoch) is is_broken
        assert agent._loop.observed.chain is None
