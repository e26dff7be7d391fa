"""A cluster of real agents with real Postgres servers on a real store, for tests, the demo and the random-kill run.

Each node has its own configuration file, directory, ports, and, on etcd, its own proxy to the store. What it started
ends with `close` and in any case with the `server_directory` in which it lives.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Self, cast

from tests.support.backstop import end_processes_in
from tests.support.etcd import Etcd
from tests.support.keys import Keys
from tests.support.node import PASSWORD, SUPERUSER, Node
from tests.support.ports import reserve_port
from tests.support.postgres_binaries import PostgresBinaries, installed_postgres
from tests.support.process import EndedEarly
from tests.support.proxy import Proxy
from tests.support.waiting import wait_until

PATIENCE_S = 60.0  # for a condition that is never waited out; a busy machine may take long
_LOG_TAIL_LINES = 40
_LOCK_TIMEOUT_S = 10.0  # for the embedded store's file, which others lock for milliseconds
_NOISE = re.compile("no action\\.|Lock owner|could not connect to the primary|Is the server running|waiting for WAL|checkpoint")


class StoreKind(StrEnum):
    """The store, by the name of its section."""

    LOCAL = "local"
    ETCD3 = "etcd3"


FAST = {"ttl": 8, "loop_wait": 2, "retry_timeout": 3}  # short, but with room for a machine of two busy cores


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a cluster is made of."""

    store: StoreKind = StoreKind.LOCAL
    size: int = 3
    scope: str = "batman"
    names: str = "node{number}"  # of the nodes
    dynamic: Mapping[str, object] = field(default_factory=lambda: dict(FAST))  # bootstrap.dcs, its postgresql apart
    parameters: Mapping[str, object] = field(default_factory=dict)  # of Postgres, in bootstrap.dcs
    binaries: PostgresBinaries = field(default_factory=lambda: installed_postgres()[0])


class Cluster:
    """Prepared at construction; a store runs from `open` (or the `with`) on, agents from `start` on."""

    def __init__(self, directory: Path, shape: Shape | None = None) -> None:
        """directory: a `server_directory` or below it."""
        self.directory = directory
        self.shape = shape or Shape()
        self._store_file = directory / "store" / "store.db"  # of the embedded store
        self.etcd = Etcd(directory) if self.shape.store is StoreKind.ETCD3 else None
        self.nodes = [self._node(number) for number in range(self.shape.size)]
        self._next_number = self.shape.size
        self._running = ExitStack()

    def __enter__(self) -> Self:
        """Start the store."""
        self.open()
        return self

    def __exit__(self, *exception: object) -> None:
        """End all."""
        self.close()

    def open(self) -> None:
        """Start the store and the links to it."""
        with ExitStack() as starting:
            if self.etcd is not None:
                starting.enter_context(self.etcd)
            for node in self.nodes:
                if node.link is not None:
                    starting.enter_context(node.link)
            self._running = starting.pop_all()

    def keys(self) -> Keys:
        """Return a client of the store, beside all links, that ends with the cluster."""
        if self.etcd is None:
            keys = Keys("local", {"path": str(self._store_file)}, self.shape.scope)
        else:
            section: dict[str, object] = {"host": self.etcd.members[0].direct_endpoint, "use_proxies": True}
            keys = Keys("etcd3", section, self.shape.scope)
        self._running.callback(keys.close)
        return keys

    @contextmanager
    def frozen_store(self) -> Iterator[None]:
        """Let the store answer nobody, and nothing expire in it, while the `with` lasts."""
        if self.etcd is not None:
            self.etcd.members[0].process.pause()
            yield
            self.etcd.members[0].process.go_on()
            return
        with closing(sqlite3.connect(self._store_file, timeout=_LOCK_TIMEOUT_S, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield

    def close(self) -> None:
        """Kill the agents, end their servers, then the store."""
        with self._running:
            for node in self.nodes:
                node.agent.kill()
            for node in self.nodes:
                end_processes_in(node.directory)

    def start(self, nodes: Sequence[Node] | None = None) -> None:
        """Start the agents, all if none is named."""
        for node in self.nodes if nodes is None else nodes:
            node.start_agent()

    def bootstrap(self, timeout_s: float = PATIENCE_S) -> Node:
        """Start all agents, wait until the cluster is healthy, and return the leader."""
        self.start()
        return self.wait_healthy(timeout_s)

    def add_node(self) -> Node:
        """Prepare one more node, with its link running; its agent is not started."""
        node = self._node(self._next_number)
        self._next_number += 1
        self.nodes.append(node)
        if node.link is not None:
            self._running.enter_context(node.link)
        return node

    # What the cluster looks like.

    def leader(self) -> Node | None:
        """Return the node that says clients may write; None: none does. Two would be a failure."""
        leaders = [node for node in self.nodes if node.is_leader()]
        assert len(leaders) <= 1, f"two nodes say they lead: {leaders}\n{self.describe()}"
        return leaders[0] if leaders else None

    def replicas(self) -> list[Node]:
        """Return the nodes other than the leader."""
        leader = self.leader()
        return [node for node in self.nodes if node is not leader]

    def wait_for_leader(self, *, other_than: Node | None = None, timeout_s: float = PATIENCE_S) -> Node:
        """Wait for a leader that is not this node, and return it."""

        def found() -> Node | None:
            leader = self.leader()
            return None if leader is other_than else leader

        leader = self.wait(found, timeout_s, "a leader" if other_than is None else f"a leader other than {other_than}")
        assert leader is not None
        return leader

    def wait_healthy(self, timeout_s: float = PATIENCE_S, nodes: Sequence[Node] | None = None) -> Node:
        """Wait until one node leads and the others stream on its timeline; return the leader. nodes: those that count."""
        wanted = self.nodes if nodes is None else nodes
        leader = self.wait(lambda: self._healthy_leader(wanted), timeout_s, "a leader and streaming replicas")
        assert leader is not None
        return leader

    def wait_streaming(self, node: Node, timeout_s: float = PATIENCE_S) -> None:
        """Wait until this node streams on the leader's timeline."""
        self.wait(lambda: self._streams(node, self.leader()), timeout_s, f"{node} streaming")

    def wait(self, condition: Callable[[], object], timeout_s: float, what: str) -> Node | None:
        """Wait as `wait_until`; a failure, or an agent that ended by itself, shows what each node says and logged."""
        started = [node for node in self.nodes if node.is_agent_running()]

        def checked() -> object:
            value = condition()
            ended = [node for node in started if node.agent.has_ended_by_itself()]
            if not value and ended:
                raise EndedEarly(f"the agents of {ended} ended before {what}\n{self.describe()}")
            return value

        value = wait_until(checked, timeout_s, what, self.describe)
        return value if isinstance(value, Node) else None

    def describe(self) -> str:
        """Return what each node says and the last lines of its log."""
        return "\n".join(self._described(node) for node in self.nodes)

    def _healthy_leader(self, nodes: Sequence[Node]) -> Node | None:
        leader = self.leader()
        others = [node for node in nodes if node is not leader]
        return leader if leader in nodes and all(self._streams(node, leader) for node in others) else None

    def _streams(self, node: Node, leader: Node | None) -> bool:
        return leader is not None and node.is_streaming() and node.timeline() == leader.timeline()

    def _described(self, node: Node) -> str:
        lines = [line for line in node.log().splitlines() if not _NOISE.search(line)][-_LOG_TAIL_LINES:]
        return "\n".join([f"--- {node}: {node.status() or 'does not answer'}", *lines])

    # How it is made.

    def _node(self, number: int) -> Node:
        link = None
        if self.etcd is not None:
            link = Proxy(port=reserve_port(), target_port=self.etcd.members[0].port)
        name = self.shape.names.format(number=number)
        return Node(name, self.directory, self._configuration(link), link)

    def _configuration(self, link: Proxy | None) -> dict[str, object]:
        """Return what the files of all nodes say. Discovery of etcd members would lead around the link, so there is none."""
        if link is None:
            store: dict[str, object] = {"local": {"path": str(self._store_file)}}
        else:
            store = {"etcd3": {"host": f"127.0.0.1:{link.port}", "use_proxies": True}}
        return {
            "scope": self.shape.scope,
            **store,
            "bootstrap": {"dcs": self._dynamic(), "initdb": _INITDB},
            "postgresql": {
                "bin_dir": str(self.shape.binaries.bin_dir),
                "authentication": {
                    "superuser": {"username": SUPERUSER, "password": PASSWORD},
                    "replication": {"username": "replicator", "password": "replicator-password"},
                    "rewind": {"username": "rewinder", "password": "rewinder-password"},
                },
                "basebackup": [{"checkpoint": "fast"}, "no-sync"],
                "parameters": _PARAMETERS,
            },
        }

    def _dynamic(self) -> dict[str, object]:
        own = cast("Mapping[str, object]", self.shape.dynamic.get("postgresql", {}))
        section = {"use_pg_rewind": True, "pg_hba": _HBA, "parameters": dict(self.shape.parameters), **own}
        return {**self.shape.dynamic, "postgresql": section}


_INITDB = [{"encoding": "UTF8"}, {"auth": "scram-sha-256"}, {"wal-segsize": "1"}, "data-checksums", "no-sync"]
_HBA = ["host replication replicator 127.0.0.1/32 scram-sha-256", "host all all 127.0.0.1/32 scram-sha-256"]
# Small, and nothing that outlives a killed server. No fsync: processes are killed here, never the machine.
_PARAMETERS = {
    "fsync": "off",
    "shared_buffers": "16MB",
    "dynamic_shared_memory_type": "mmap",
    "password_encryption": "scram-sha-256",
    "wal_retrieve_retry_interval": "500ms",
    "log_line_prefix": "%m [%p] ",
}
