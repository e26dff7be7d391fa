"""The parts of an agent around a store in memory and a fake Postgres, without loop and keeper threads: tests drive those."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from patroni.agent import clock, order
from patroni.agent.dispatch import Dispatcher, Parts
from patroni.agent.event import Payload
from patroni.agent.lease_keeper import LeaseKeeper, Renewal, send
from patroni.agent.shared import Shared
from patroni.dcs.coordinator import Coordinator, drive
from patroni.dcs.member import Publication
from patroni.dcs.memory import MemoryLink, MemoryServer, MemoryStore
from patroni.decision.actions import Action
from patroni.decision.cluster import Cluster, PostgresState, Role
from patroni.decision.reasons import Code
from patroni.decision.settings import Settings
from patroni.decision.view import Answer, Silent
from patroni.fence.client import InProcessFence
from tests.agent.fake_postgres import FakePostgres
from tests.support.waiting import wait_until

P = TypeVar("P", bound=Payload)
PREFIX = "/service/batman/"
TTL_S = 30.0
PATIENCE_S = 20.0


class Rig:
    """See the module."""

    def __init__(self, postgres: FakePostgres) -> None:
        self.postgres = postgres
        self.server = MemoryServer(clock.now)
        self.link = MemoryLink()
        self.store = MemoryStore(self.server, self.link)
        self.coordinator = Coordinator(prefix=PREFIX, name="a")
        self.told: list[Payload] = []
        self.ended: list[str] = []  # what the fence did
        self.watched: list[int] = []
        self.left: list[int] = []
        self.saves: list[str] = []  # names of the threads that saved
        self.facts = 0
        self.peer: Answer | Silent | Exception = Silent(age_s=0.0)
        self.gate: threading.Event | None = None  # peers answer once it is set
        self.fence = InProcessFence(lambda: self.ended.append("quit"), lambda: self.ended.append("kill"))
        self.keeper = LeaseKeeper(
            "a", self.fence, ttl_s=TTL_S, emit=lambda _, payload: self.told.append(payload), chance=random.Random(1)
        )
        self.shared = Shared(settings=Settings(ttl_s=TTL_S), dynamic_configuration={"ttl": 30})
        self.parts = Parts(
            name="a",
            store=self.store,
            coordinator=self.coordinator,
            driver=postgres,
            peers=self,
            keeper=self.keeper,
            fence=self.fence,
            shared=self.shared,
            post=self.told.append,
            facts=lambda: self.facts,
            watch_exit=self.watched.append,
            publication=lambda touch: Publication(
                conn_url="postgres://a/", api_url="http://a/", state=PostgresState.RUNNING, role=Role.REPLICA, version="4"
            ),
            read_local=lambda: None,
            save_dynamic=lambda: self.saves.append(threading.current_thread().name),
            leave=self.left.append,
        )
        self.dispatcher = Dispatcher(self.parts)
        self.chains = 0

    def ask_peer(self, api_url: str, timeout_s: float = 2.0) -> Answer | Silent:
        if self.gate is not None:
            self.gate.wait(PATIENCE_S)
        if isinstance(self.peer, Exception):
            raise self.peer
        return self.peer

    # --- the keeper, by hand

    def renew(self) -> None:
        """Take the turn that is wanted, and send the renewal that is due then."""
        self.keeper.renew_soon()
        self.keeper.turned(is_against_leading=False)
        renewal = self.keeper.step(clock.now()).renewal
        if renewal is None:
            self.keeper.turned(is_against_leading=False)
            renewal = self.keeper.step(clock.now()).renewal
        assert renewal is not None
        self.send(renewal)

    def send(self, renewal: Renewal) -> None:
        self.keeper.renewed(renewal, drive(send(renewal, self.coordinator), self.store, clock.now, 1.0))

    # --- orders and their outcome

    def run(self, *actions: Action, epoch: int | None = None, is_primary: bool = False) -> None:
        """Order a chain."""
        self.chains += 1
        self.dispatcher.dispatch(
            order.StartChain(
                number=self.chains,
                epoch=self.keeper.epoch if epoch is None else epoch,
                actions=actions,
                code=Code.LEADER_OK,
                facts=0,
                facts_at=clock.now(),
                is_primary=is_primary,
            )
        )

    def await_told(self, kind: type[P], count: int = 1) -> P:
        """Wait until so many of these have been told, and return the last one of that many."""
        said = wait_until(lambda: self.all_told(kind)[count - 1 : count], PATIENCE_S, kind.__name__, lambda: self.told)
        return said[0]

    def all_told(self, kind: type[P]) -> list[P]:
        return [said for said in tuple(self.told) if isinstance(said, kind)]

    def await_asked(self, kind: type, count: int = 1) -> None:
        """Wait until Postgres was asked for this."""
        wait_until(lambda: self.postgres.was_asked(kind) >= count, PATIENCE_S, kind.__name__, lambda: self.postgres.asked)

    def kinds(self) -> list[type[Payload]]:
        return [type(said) for said in self.told]

    def read(self) -> Cluster:
        return drive(self.coordinator.read(is_linearizable=True), self.store, clock.now, 1.0)


@contextmanager
def rigged(**changes: bool) -> Iterator[Rig]:
    """Yield a rig whose threads and processes end with it."""
    postgres = FakePostgres(**changes)
    rig = Rig(postgres)
    try:
        yield rig
    finally:
        postgres.close()
        rig.dispatcher.close(4.0)


@contextmanager
def released(*events: threading.Event) -> Iterator[None]:
    """Set these at the end, so that what waits for them ends."""
    try:
        yield
    finally:
        for event in events:
            event.set()


def on_thread(call: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread
