"""A whole agent on its real threads, with a store in memory and a fake Postgres; ttl 5 s, so that leases end within a test."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from patroni.agent import clock
from patroni.agent.agent import Agent, Plan
from patroni.agent.configure import postgres_config, rest_config
from patroni.agent.event import Signalled
from patroni.agent.logs import Logs
from patroni.agent.member import publication
from patroni.agent.reconfigure import Reconfigurer, Users
from patroni.agent.shared import Shared
from patroni.dcs.coordinator import Coordinator, drive
from patroni.dcs.member import Publication
from patroni.dcs.memory import MemoryLink, MemoryServer, MemoryStore
from patroni.dcs.store import Entry, OpenSession, ReadPrefix, Snapshot, Write
from patroni.decision.cluster import Cluster, FailoverRequest, PostgresState, Role
from patroni.decision.settings import Settings
from patroni.decision.view import Answer, Silent
from patroni.postgres.driver import Driver
from patroni.rest.config import ClientConfig
from patroni.rest.snapshot import Authority
from tests.agent.fake_postgres import FakePostgres
from tests.agent.rig import PREFIX
from tests.config.builders import built
from tests.support.ports import reserve_port
from tests.support.waiting import wait_until

V = TypeVar("V")
TTL_S = 5.0
PATIENCE_S = 30.0
CONFIGURATION = """
name: a
restapi: {listen: '127.0.0.1:%d'}
postgresql: {listen: '127.0.0.1:%d', data_dir: %s}
bootstrap: {dcs: {ttl: 5, loop_wait: 1, retry_timeout: 1}}
"""


class Gate:
    """Holds up threads whose name begins so, while it is closed."""

    def __init__(self, *prefixes: str) -> None:
        self._prefixes = prefixes
        self._is_open = threading.Event()
        self._is_open.set()
        self.held: set[str] = set()  # names of the threads that came to it while it was closed

    def close(self) -> None:
        self._is_open.clear()

    def open(self) -> None:
        self._is_open.set()
        self.held.clear()

    def pass_through(self) -> None:
        name = threading.current_thread().name
        if name.startswith(self._prefixes) and not self._is_open.is_set():
            self.held.add(name)
            self._is_open.wait(PATIENCE_S)


class GatedShared(Shared):
    """Settings that the loop reads in each turn: where a test makes a turn hang."""

    gate: Gate

    @property
    def settings(self) -> Settings:
        self.gate.pass_through()
        return self._settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        self._settings = settings


class GatedStore(MemoryStore):
    """A store in which the workers' reads and writes hang."""

    def __init__(self, server: MemoryServer, link: MemoryLink, gate: Gate) -> None:
        super().__init__(server, link)
        self._gate = gate

    def read_prefix(self, request: ReadPrefix, timeout_s: float) -> Snapshot:
        self._gate.pass_through()
        return super().read_prefix(request, timeout_s)

    def write(self, request: Write, timeout_s: float) -> Entry:
        self._gate.pass_through()
        return super().write(request, timeout_s)


class Living:
    """See the module."""

    def __init__(self, data_dir: str) -> None:
        self.configuration = built(CONFIGURATION % (reserve_port(), reserve_port(), data_dir))
        self.postgres = FakePostgres()
        self.loop_gate, self.worker_gate = Gate("loop"), Gate("worker", "peer")
        self.server = MemoryServer(clock.now)
        self.link = MemoryLink()
        self.store = GatedStore(self.server, self.link, self.worker_gate)
        self.coordinator = Coordinator(prefix=PREFIX, name="a")
        self.status: int | None = None
        self.clients: list[ClientConfig] = []
        GatedShared.gate = self.loop_gate
        shared = GatedShared(settings=self.configuration.settings, dynamic_configuration=self.configuration.dynamic.values)
        driver = Driver(postgres_config(self.configuration), time.monotonic)
        users = Users(shared=shared, driver=driver, store=self.store, logs=Logs())
        self.reconfigurer = Reconfigurer(self.configuration, users)
        self.agent = Agent(
            Plan(
                name="a",
                scope="batman",
                own_version="0",
                store=self.store,
                coordinator=self.coordinator,
                driver=self.postgres,
                peers=self,
                shared=shared,
                rest=rest_config(self.configuration),
                publication=lambda touch, served: publication(touch, self.reconfigurer.configuration, served),
                use_client=self.clients.append,
                reconfigurer=self.reconfigurer,
                data_dir=data_dir,
            )
        )
        self.thread = threading.Thread(target=self._serve, name="loop", daemon=True)

    def _serve(self) -> None:
        self.status = self.agent.serve()

    def ask_peer(self, api_url: str, timeout_s: float = 2.0) -> Answer | Silent:
        self.worker_gate.pass_through()
        return Silent(age_s=0.0)

    def start(self) -> None:
        self.agent.bind()
        self.thread.start()

    def lead(self) -> None:
        """Wait until it has made the cluster and leads."""
        wait_until(lambda: self.authority is Authority.HELD and self.is_published, PATIENCE_S, "a leader", self.said)

    def close(self) -> None:
        for gate in (self.loop_gate, self.worker_gate):
            gate.open()
        self.link.is_cut = False
        self.agent.post(Signalled(number=15))
        self.postgres.close()
        self.thread.join(PATIENCE_S)

    # --- what others do

    def join(self, *names: str) -> None:
        """Let these members come."""
        store = MemoryStore(self.server)
        session = store.open_session(OpenSession(3600.0), 1.0)
        for name in names:
            said = Publication(
                conn_url=f"postgres://{name}:5432/postgres",
                api_url=f"http://{name}:8008/patroni",
                state=PostgresState.RUNNING,
                role=Role.REPLICA,
                version="4.1.4",
            )
            other = Coordinator(prefix=PREFIX, name=name)
            drive(other.touch_member(session.id, said), store, clock.now, 1.0)

    def ask_for_switchover(self) -> None:
        request = FailoverRequest(leader="a")
        drive(self.coordinator.write_failover(request), MemoryStore(self.server), clock.now, 1.0)

    # --- what is seen of it

    @property
    def authority(self) -> Authority:
        return self.agent._answers.authority(clock.now())

    @property
    def is_published(self) -> bool:
        member = self.cluster().members.get("a")
        return member is not None and member.role is not None and member.role.value == "primary"

    def cluster(self) -> Cluster:
        return drive(self.coordinator.read(is_linearizable=True), MemoryStore(self.server), clock.now, 1.0)

    def proved_s(self) -> float:
        """Return when the last proved renewal was sent; 0: no lock is proved."""
        proof = self.agent._keeper.lease(clock.now()).proof
        return proof.sent.boot_s if proof is not None else 0.0

    def await_renewals(self, count: int = 2) -> None:
        """Wait for so many renewals of the lock; it is held all the time."""
        seen_s, renewals = self.proved_s(), 0
        deadline_s = time.monotonic() + PATIENCE_S
        pause = threading.Event()
        while renewals < count:
            assert time.monotonic() < deadline_s, f"{renewals} renewals"
            assert self.authority is Authority.HELD
            now_s = self.proved_s()
            renewals, seen_s = renewals + (now_s != seen_s), now_s
            pause.wait(0.02)

    def said(self) -> list[str]:
        return [f"{record.because}" for record in self.agent._loop.journal.records()]


@contextmanager
def living(data_dir: str) -> Iterator[Living]:
    """Yield an agent that leads; its threads and processes end with it."""
    agent = Living(data_dir)
    try:
        agent.start()
        agent.lead()
        yield agent
    finally:
        agent.close()
