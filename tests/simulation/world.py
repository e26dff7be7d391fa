"""The world of one schedule: hosts, network, store, nodes, clients, and the one queue that drives them all."""

from __future__ import annotations

import json
import random

from patroni.agent.loop import Turn
from patroni.dcs.store import Create, Write
from patroni.decision.node import ClusterState
from patroni.decision.request import Request
from tests.simulation.agent_model import CONFIGURATION, Agent, Site
from tests.simulation.checkers import Checkers
from tests.simulation.clients import Clients
from tests.simulation.engine import Engine
from tests.simulation.faults import Faults
from tests.simulation.host import Host, Network
from tests.simulation.lanes import Lanes
from tests.simulation.node import Node
from tests.simulation.parts import REAL, Parts
from tests.simulation.plan import Plan
from tests.simulation.postgres_model import SYSTEM_ID, Data, Postgres
from tests.simulation.store_link import StoreLink
from tests.simulation.store_model import NAME as STORE
from tests.simulation.store_model import PREFIX, StoreServer
from tests.simulation.wal import FIRST_LSN, Branch

AGENT_START_S = (0.2, 0.8)


class World:
    """See the module."""

    def __init__(self, plan: Plan, parts: Parts = REAL) -> None:
        self.plan = plan
        self.parts = parts
        self.chance = random.Random(plan.seed ^ 0x5EED)
        self.engine = Engine()
        self.network = Network(self.engine, self._part())
        self.store_host = Host(self.engine, STORE, self._part())
        self.store = StoreServer(self.engine, self.store_host, plan.store_rate, is_plain=plan.is_plain_store)
        self.link = StoreLink(self.engine, self.network, self.store, self._part())
        self.agents: dict[str, Agent | None] = dict.fromkeys(plan.names)
        self.nodes = {name: self._node(name, rate) for name, rate in zip(plan.names, plan.boot_rates, strict=True)}
        for node in self.nodes.values():
            node.postgres.peers = {name: other.postgres for name, other in self.nodes.items()}
        self.clients = Clients(self.engine, self.network, self.nodes.values(), self._part())
        self.faults = Faults(self, self._part())
        self.checkers = Checkers(self)

    def _part(self) -> random.Random:
        return random.Random(self.chance.getrandbits(64))

    def _node(self, name: str, boot_rate: float) -> Node:
        postgres = Postgres(self.engine, self.network, name, self._part())
        postgres.is_sync = self.plan.is_sync
        postgres.speed.replay_lag_s = self.plan.replay_lag_s
        driver = self.parts.driver(postgres, lambda who, how: self.checkers.discarded(who, how))  # noqa: PLW0108  # they are made later
        return Node(name=name, postgres=postgres, driver=driver, boot_rate=boot_rate)

    # --- from the beginning to the end

    def start(self) -> None:
        """Make the cluster and start everything."""
        if not self.plan.is_new:
            self._make_cluster()
        for name, node in self.nodes.items():
            node.postgres.host = Host(self.engine, name, self._part(), node.boot_rate)
            self.start_agent(node)
        self.clients.start()
        self.faults.start()

    def _make_cluster(self) -> None:
        """Leave what a cluster that was stopped cleanly leaves: its keys, and a copy of the data on each node."""
        branch = Branch(timeline=1, writer=self.plan.names[0])
        self.store.apply(Create(f"{PREFIX}initialize", SYSTEM_ID), STORE)
        self.store.apply(Write(f"{PREFIX}config", json.dumps(CONFIGURATION)), STORE)
        for name, node in self.nodes.items():
            data = Data(branch=branch, written=FIRST_LSN, flushed=FIRST_LSN, applied=FIRST_LSN)
            data.checkpoint_lsn = FIRST_LSN
            if name != branch.writer:
                data.has_signal, data.state = True, ClusterState.SHUT_DOWN_IN_RECOVERY
            node.postgres.data = data

    def step(self) -> None:
        """Let one event happen and check."""
        if self.engine.step():
            self.checkers.after_step()

    def run_until(self, end_s: float) -> None:
        """Go on until this true time, or the first violation."""
        while self.engine.next_s <= end_s and not self.checkers.violations:
            self.step()

    # --- agents and hosts

    def start_agent(self, node: Node) -> None:
        """Start the agent of a node; it takes a moment."""
        host = node.postgres.host
        if host is not None and not host.is_dead:
            self.engine.soon(host, lambda: self._start_agent(node, host), self.chance.uniform(*AGENT_START_S))

    def _start_agent(self, node: Node, host: Host) -> None:
        if node.agent is not None or node.postgres.host is not host:
            return
        site = Site(
            name=node.name,
            host=host,
            network=self.network,
            link=self.link,
            driver=node.driver,
            parts=self.parts,
            settings=self.plan.settings,
            chance=self._part(),
            agents=self.agents,
            on_step=self.faults.at_step,
            on_request=self._on_request,
            on_turn=self._on_turn,
            on_view=self.checkers.viewed,
            on_leave=self._on_leave,
        )
        agent = Agent(site)
        node.agent = self.agents[node.name] = agent
        self.checkers.note(node, "agent started")
        agent.start(Lanes(agent).dispatch)

    def kill_agent(self, node: Node) -> None:
        """The agent dies; Postgres lives on."""
        if node.agent is not None:
            node.agent.place.die()
            node.agent = self.agents[node.name] = None
            self.checkers.agent_died(node)

    def stop_agent(self, node: Node) -> None:
        """Send SIGTERM."""
        agent = node.agent
        if agent is not None:
            self.engine.soon(agent.place, agent.stop)

    def crash_host(self, node: Node) -> None:
        """Everything on the host dies, and what was not flushed with it."""
        host = node.postgres.host
        if host is not None:
            self.kill_agent(node)
            node.postgres.lose_power()
            host.die()

    def boot_host(self, node: Node) -> None:
        """Start the host again, with new clocks; its agent starts by itself, Postgres does not."""
        if node.postgres.host is None:
            node.postgres.host = Host(self.engine, node.name, self._part(), node.boot_rate)
            self.start_agent(node)

    def leader(self) -> Node | None:
        """Return the node that the leader key names."""
        lock = self.store.lock
        return self.nodes.get(lock.name) if lock is not None else None

    # --- what agents tell

    def _on_request(self, agent: Agent, actor: str, request: Request[object]) -> None:
        self.checkers.requested(agent, actor, request)

    def _on_turn(self, agent: Agent, turn: Turn) -> None:
        self.checkers.turned(self.nodes[agent.name], turn)

    def _on_leave(self, agent: Agent, status: int) -> None:
        node = self.nodes[agent.name]
        if node.agent is agent:
            node.agent = self.agents[node.name] = None
            self.checkers.note(node, f"agent left with status {status}")
            self.checkers.agent_died(node)
            self.faults.left(node)
