"""Clients: one goes where `/primary` says 200, as HAProxy sends it; others write to one node each, primary or not.

They reach every node that runs: what an old primary still acknowledges to somebody who talks to it directly is what counts.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from tests.simulation.agent_model import Agent
from tests.simulation.engine import Acts, Engine, Place, Signal, Task, Wait
from tests.simulation.host import Network
from tests.simulation.postgres_model import Postgres, Statement
from tests.simulation.rest_model import check_primary

NAME = "client"
STATEMENT_S = 4.0
CHECK_S = 1.0


class Target(Protocol):
    """A node as a client sees it."""

    name: str
    postgres: Postgres
    agent: Agent | None


@dataclass(slots=True)
class Told:
    """What one client was told, for the summary."""

    acknowledged_s: list[float] = field(default_factory=list)  # when an acknowledgement reached it


class Clients:
    """All clients of one schedule."""

    def __init__(self, engine: Engine, network: Network, nodes: Iterable[Target], chance: random.Random) -> None:
        self.routed = Told()
        self.on_primary: Callable[[Target], None] = lambda _: None  # `/primary` said 200, at this moment
        self._engine = engine
        self._network = network
        self._nodes = list(nodes)
        self._chance = chance
        self._place = Place(engine, NAME)
        self._numbers = 0
        self._up: str | None = None

    def start(self) -> None:
        """Begin."""
        for node in self._nodes:
            Task(self._place, self._write_to(node))
        Task(self._place, self._write_routed())
        Task(self._place, self._check())

    def _write_to(self, node: Target) -> Acts[None]:
        """Write to one node, whatever it is."""
        while True:
            yield self._chance.expovariate(2.0)
            if not (yield from self._write(node)):
                yield self._chance.uniform(0.2, 1.0)

    def _write_routed(self) -> Acts[None]:
        """Write to the node that the last checks found."""
        while True:
            yield self._chance.uniform(0.1, 0.4)
            node = next((node for node in self._nodes if node.name == self._up), None)
            if node is None:
                continue
            if (yield from self._write(node, is_short=True)):
                self.routed.acknowledged_s.append(self._engine.now_s)
            else:
                yield 0.3

    def _write(self, node: Target, *, is_short: bool = False) -> Acts[bool]:
        """Send one statement and wait for its acknowledgement."""
        host = node.postgres.host
        if host is None:
            return False
        self._numbers += 1
        statement = Statement(number=self._numbers, invoked_s=self._engine.now_s, node=node.name, is_short=is_short)
        done = Signal()
        said: list[bool] = []

        def answer(is_acknowledged: bool) -> None:
            def arrive() -> None:
                said.append(is_acknowledged)
                done.fire()

            self._engine.soon(self._place, arrive, self._network.delay_s())

        self._engine.soon(host, lambda: node.postgres.execute(statement, answer), self._network.delay_s())
        yield Wait(done, STATEMENT_S)
        return bool(said) and said[0]

    def _check(self) -> Acts[None]:
        """Ask each node for `/primary` once a second."""
        while True:
            for node in self._nodes:
                yield CHECK_S / len(self._nodes)
                said: list[bool] = []
                agent = node.agent
                if agent is not None:
                    self._engine.soon(agent.place, self._asked(node, agent, said), self._network.delay_s())
                yield 0.05
                if said and said[0]:
                    self._up = node.name
                elif self._up == node.name:
                    self._up = None

    def _asked(self, node: Target, agent: Agent, said: list[bool]) -> Callable[[], None]:
        def tell(is_primary: bool) -> None:
            said.append(is_primary)
            if is_primary:
                self.on_primary(node)

        return lambda: check_primary(agent, tell)
