"""Faults: what goes wrong in a schedule, when, and how it is taken back. After the last one all is mended and started again."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from patroni.dcs.codec import failover_value
from patroni.dcs.store import Write
from patroni.decision.cluster import FailoverRequest
from tests.simulation.agent_model import Agent
from tests.simulation.checkers import RESUME_S, THAW_S
from tests.simulation.engine import Call, Place
from tests.simulation.host import Host, Weather
from tests.simulation.node import Node
from tests.simulation.plan import FAULTS_END_S, HIDING, Fault, Kind
from tests.simulation.postgres_model import Speed
from tests.simulation.store_link import Trouble
from tests.simulation.store_model import NAME as STORE
from tests.simulation.store_model import PREFIX

if TYPE_CHECKING:
    from tests.simulation.world import World

OPERATOR = "operator"


@dataclass(slots=True)
class Trap:
    """Strikes at a step of an actor of whoever it is set for."""

    fault: Fault
    left: int  # steps that pass before it strikes


class Faults:
    """Carries out the plan's faults."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self.is_over = False
        self.candidates: dict[str, float] = {}  # whom an operator asked for, and when
        self.may_hide = any(fault.kind in HIDING for fault in world.plan.faults)  # a node from others that run well
        self._world = world
        self._chance = chance
        self._place = Place(world.engine, OPERATOR)
        self._traps: list[Trap] = []
        self._undo: list[Call] = []  # what is still to be taken back
        self._methods: dict[Kind, Callable[[Fault, Node], None]] = {
            Kind.AGENT_KILL: self._kill_agent,
            Kind.AGENT_FREEZE: self._freeze_agent,
            Kind.AGENT_STOP: self._stop_agent,
            Kind.HOST_SUSPEND: self._suspend,
            Kind.HOST_CRASH: self._crash,
            Kind.POSTMASTER_KILL: lambda _, node: node.postgres.kill_postmaster(),
            Kind.POSTGRES_KILL: lambda _, node: node.postgres.kill_all(),
            Kind.ISOLATE: self._isolate,
            Kind.CUT_STORE: lambda fault, node: self._cut(fault, node.name, (STORE,), (True, True)),
            Kind.CUT_STORE_ONE_WAY: lambda fault, node: self._cut(fault, node.name, (STORE,), self._one_way(fault)),
            Kind.CUT_PEER: lambda fault, node: self._cut(fault, node.name, self._peer(fault, node), (True, True)),
            Kind.CUT_PEER_ONE_WAY: lambda fault, node: self._cut(
                fault, node.name, self._peer(fault, node), self._one_way(fault)
            ),
            Kind.STORE_TROUBLE: self._trouble,
            Kind.STORE_FREEZE: self._freeze_store,
            Kind.STORE_STILL: self._stand_still,
            Kind.STORE_DEPOSED: self._depose,
            Kind.STORE_RESTORE: self._restore,
            Kind.SESSION_END: lambda fault, _: world.store.end_session(fault.chance),
            Kind.LOCK_DELETE: lambda _, __: world.store.delete_lock(),
            Kind.SLEW: self._slew,
            Kind.SLOW_POSTGRES: self._slow_postgres,
            Kind.SLOW_NETWORK: self._slow_network,
            Kind.SWITCHOVER: self._switch_over,
            Kind.TRAP_FREEZE: self._trap,
            Kind.TRAP_KILL: self._trap,
            Kind.TRAP_CRASH: self._trap,
        }

    def start(self) -> None:
        """Set the clock for each fault, and for the end of all."""
        for fault in self._world.plan.faults:
            self._later(fault.at_s, lambda fault=fault: self._strike(fault))  # type: ignore[misc]  # binds this turn's fault
        self._later(FAULTS_END_S, self._end)
        if any(fault.kind is Kind.STORE_RESTORE for fault in self._world.plan.faults):
            self._later(5.0, self._back_up)

    def at_step(self, agent: Agent, actor: str) -> None:
        """An actor is about to take a step: a trap may strike."""
        if not self._traps:
            return
        for trap in list(self._traps):
            node = self._world.nodes[agent.name]
            if trap.fault.step == actor and node is self._target(trap.fault):
                trap.left -= 1
                if trap.left < 0:
                    self._traps.remove(trap)
                    self._spring(trap.fault, node)

    def left(self, node: Node) -> None:
        """An agent has ended by itself: its supervisor starts it again."""
        self._later_in(self._chance.uniform(0.5, 10.0), lambda: self._world.start_agent(node))

    # --- when

    def _later(self, at_s: float, call: Call) -> None:
        self._later_in(at_s - self._world.engine.now_s, call)

    def _later_in(self, delay_s: float, call: Call) -> None:
        self._world.engine.soon(self._place, call, delay_s)

    def _for(self, fault: Fault, undo: Call) -> None:
        """Take something back after the fault's time, or at the end of all faults."""
        done: list[bool] = []

        def once() -> None:
            if not done:
                done.append(True)
                undo()

        self._undo.append(once)
        self._later_in(fault.for_s, once)

    def _strike(self, fault: Fault) -> None:
        node = self._target(fault)
        if node is not None and not self.is_over:
            self._world.checkers.note(node, f"FAULT {fault.kind} for {fault.for_s:.2f} s")
            self._methods[fault.kind](fault, node)

    def _end(self) -> None:
        """Mend and start everything."""
        world = self._world
        self.is_over = True
        self._traps.clear()
        undo, self._undo = self._undo, []
        for call in undo:
            call()
        world.checkers.note(None, "FAULTS END")
        for node in world.nodes.values():
            if node.postgres.host is None:
                world.boot_host(node)
            elif node.agent is None:
                world.start_agent(node)

    def _target(self, fault: Fault) -> Node | None:
        world = self._world
        leader = world.leader()
        if fault.target == "leader":
            return leader
        if fault.target == "standby":
            others = [node for node in world.nodes.values() if node is not leader]
            return others[fault.chance % len(others)]
        return world.nodes.get(fault.target)

    # --- agents and hosts

    def _kill_agent(self, fault: Fault, node: Node) -> None:
        self._world.kill_agent(node)
        self._later_in(fault.for_s, lambda: self._world.start_agent(node))

    def _freeze_agent(self, fault: Fault, node: Node) -> None:
        agent = node.agent
        if agent is not None:
            agent.place.stop()
            self._for(fault, lambda: self._thaw(node, agent))

    def _thaw(self, node: Node, agent: Agent) -> None:
        if not agent.place.is_dead:
            node.excused_until_s = self._world.engine.now_s + THAW_S
            agent.place.go()

    def _stop_agent(self, fault: Fault, node: Node) -> None:
        self._world.stop_agent(node)

    def _suspend(self, fault: Fault, node: Node) -> None:
        host = node.postgres.host
        if host is not None and not host.is_stopped:
            host.suspend()
            self._for(fault, lambda: self._resume(node, host))

    def _resume(self, node: Node, host: Host) -> None:
        if not host.is_dead:
            node.excused_until_s = self._world.engine.now_s + RESUME_S
            host.resume()

    def _crash(self, fault: Fault, node: Node) -> None:
        self._world.crash_host(node)
        self._later_in(fault.for_s + 1.0, lambda: self._world.boot_host(node))

    # --- the network

    def _isolate(self, fault: Fault, node: Node) -> None:
        others = tuple(name for name in (*self._world.nodes, STORE) if name != node.name)
        self._cut(fault, node.name, others, (True, True))

    def _peer(self, fault: Fault, node: Node) -> tuple[str]:
        others = [name for name in self._world.nodes if name != node.name]
        return (others[(fault.chance >> 8) % len(others)],)

    def _one_way(self, fault: Fault) -> tuple[bool, bool]:
        return (True, False) if fault.chance & 1 else (False, True)

    def _cut(self, fault: Fault, name: str, others: tuple[str, ...], ways: tuple[bool, bool]) -> None:
        """Cut from a node to others, from the others to it, or both."""
        network = self._world.network
        pairs = [(name, other) for other in others if ways[0]] + [(other, name) for other in others if ways[1]]
        for sender, receiver in pairs:
            network.cut(sender, receiver)
            self._for(fault, lambda sender=sender, receiver=receiver: network.mend(sender, receiver))  # type: ignore[misc]  # the same

    def _slow_network(self, fault: Fault, node: Node) -> None:
        network = self._world.network
        network.weather = Weather(delay_s=0.02, tail=0.2, tail_s=1.5)

        def mend() -> None:
            network.weather = Weather()

        self._for(fault, mend)

    # --- the store

    def _trouble(self, fault: Fault, node: Node) -> None:
        chance, link = random.Random(fault.chance), self._world.link
        link.trouble = Trouble(
            lost=chance.choice((0.0, 0.1, 0.5)),
            lost_answer=chance.choice((0.0, 0.1, 0.5)),
            doubled=chance.choice((0.0, 0.3)),
            late=chance.choice((0.0, 0.1, 0.5)),
            late_s=chance.choice((0.5, 3.0, 15.0)),
        )

        def mend() -> None:
            link.trouble = Trouble()

        self._for(fault, mend)

    def _freeze_store(self, fault: Fault, node: Node) -> None:
        host = self._world.store_host
        host.stop()
        self._for(fault, host.go)

    def _stand_still(self, fault: Fault, node: Node) -> None:
        self._world.store.stand(still=True)
        self._for(fault, lambda: self._world.store.stand(still=False))

    def _depose(self, fault: Fault, node: Node) -> None:
        store = self._world.store
        others = [name for name in self._world.nodes if name != node.name]
        extra = {others[(fault.chance >> 4) % len(others)]} if fault.chance & 2 else set()
        store.depose({node.name} | extra)
        self._for(fault, store.end_deposed)

    def _back_up(self) -> None:
        self._world.store.back_up()
        if not self.is_over:
            self._later_in(self._chance.uniform(5.0, 25.0), self._back_up)

    def _restore(self, fault: Fault, node: Node) -> None:
        self._world.store.restore(is_new=bool(fault.chance & 1))

    # --- clocks, Postgres, operators

    def _slew(self, fault: Fault, node: Node) -> None:
        host = node.postgres.host
        if host is not None:
            host.slew(random.Random(fault.chance).choice((0.92, 1.08)))

    def _slow_postgres(self, fault: Fault, node: Node) -> None:
        postgres = node.postgres
        usual = replace(postgres.speed)
        postgres.speed = Speed(
            flush=(0.005, 0.3),
            long_statement=0.2,
            start=(3.0, 25.0),
            promote=(2.0, 9.0),
            checkpoint=(1.0, 12.0),
            die=(0.01, 1.5),
            stubborn=0.5,
            query=(0.01, 0.5),
            replay_lag_s=usual.replay_lag_s,
        )

        def mend() -> None:
            postgres.speed = usual

        self._for(fault, mend)

    def _switch_over(self, fault: Fault, node: Node) -> None:
        """Write what `POST /switchover` or `/failover` writes."""
        world, chance = self._world, random.Random(fault.chance)
        leader = world.leader()
        if leader is None:
            return
        names = [name for name in world.nodes if name != leader.name]
        candidate = chance.choice(names) if chance.random() < 0.7 else None
        is_manual = candidate is not None and chance.random() < 0.3
        request = FailoverRequest(leader=None if is_manual else leader.name, candidate=candidate)
        if candidate is not None:
            self.candidates[candidate] = world.engine.now_s
        world.engine.soon(world.store.place, lambda: self._ask(request))

    def _ask(self, request: FailoverRequest) -> None:
        self._world.store.apply(Write(f"{PREFIX}failover", failover_value(request)), OPERATOR)

    # --- traps

    def _trap(self, fault: Fault, node: Node) -> None:
        self._traps.append(Trap(fault=fault, left=fault.skip))

    def _spring(self, fault: Fault, node: Node) -> None:
        kinds = {Kind.TRAP_FREEZE: self._freeze_agent, Kind.TRAP_KILL: self._kill_agent, Kind.TRAP_CRASH: self._crash}
        self._world.checkers.note(node, f"TRAP {fault.kind} {fault.step} for {fault.for_s:.2f} s")
        kinds[fault.kind](fault, node)
