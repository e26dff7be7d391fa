"""All that the demo runs: a store, three nodes, HAProxy; started together, and ended together whatever happens."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.demo.node import Node
from tests.demo.sample import (
    HOST,
    LOOP_WAIT_S,
    NODES,
    POSTGRES_PORTS,
    PRIMARY_PORT,
    REPLICA_PORT,
    REST_PORTS,
    RETRY_TIMEOUT_S,
    STATISTICS_PORT,
    TTL_S,
    haproxy_configuration,
)
from tests.demo.screen import say
from tests.demo.status import Status, are_healthy, leader_of
from tests.support.directories import server_directory, subdirectory
from tests.support.etcd import Etcd
from tests.support.haproxy import running_haproxy
from tests.support.ports import reserve_port
from tests.support.process import EndedEarly, Process
from tests.support.waiting import wait_until

STORES = ("local", "etcd3")
HEALTHY_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Site:
    """What runs."""

    directory: Path
    nodes: list[Node]
    primary_port: int
    replica_port: int
    statistics_port: int
    processes: Mapping[str, Process]  # by what it is: those that somebody may kill

    def statuses(self) -> list[Status]:
        """Ask all nodes."""
        return [node.status() for node in self.nodes]

    def node(self, name: str) -> Node:
        """Return a node by its name."""
        return next(node for node in self.nodes if node.name == name)

    def wait_healthy(self) -> Status:
        """Wait until one node leads and all others stream from it; return the leader."""
        statuses = wait_until(self._healthy, HEALTHY_S, "three healthy nodes", self.logs)
        leader = leader_of(statuses)
        assert leader is not None
        return leader

    def logs(self) -> str:
        """Return the end of each agent's log."""
        return "\n".join(node.agent.log_tail() for node in self.nodes)

    def _healthy(self) -> list[Status]:
        """Return what all nodes say if they are healthy, else nothing."""
        for node in self.nodes:
            if not node.agent.is_running():
                raise EndedEarly(f"the agent of {node.name} ended\n{node.agent.log_tail()}")
        statuses = self.statuses()
        return statuses if are_healthy(statuses) else []


@contextmanager
def running_site(store: str) -> Iterator[Site]:
    """Run it with a store; it is healthy when the block begins, and gone after it."""
    with ExitStack() as stack:
        directory = stack.enter_context(server_directory("demo"))
        say(f"everything lives in {directory} and goes away with it at the end")
        processes: dict[str, Process] = {}
        section = stack.enter_context(_running_store(store, directory, processes))
        nodes = [Node(number, directory) for number in range(NODES)]
        began_s = time.monotonic()
        for node in nodes:
            node.write(section)
            processes[f"the agent of {node.name}"] = stack.enter_context(node.agent)
        say(f"three agents started, with ttl {TTL_S}, loop_wait {LOOP_WAIT_S}, retry_timeout {RETRY_TIMEOUT_S} s")
        say(f"  (the samples have 30/10/10; with ttl {TTL_S} a dead leader is replaced sooner, and the agents warn below 20)")
        ports = _haproxy_ports(nodes)
        proxy_directory = subdirectory(directory, "haproxy")
        frontends = [ports[PRIMARY_PORT], ports[REPLICA_PORT], ports[STATISTICS_PORT]]
        haproxy = running_haproxy(haproxy_configuration(ports), frontends, proxy_directory)
        processes["HAProxy"] = stack.enter_context(haproxy)
        say(f"HAProxy started, ports {frontends[0]} (primary), {frontends[1]} (replicas), {frontends[2]} (its page)")
        site = Site(
            directory=directory,
            nodes=nodes,
            primary_port=frontends[0],
            replica_port=frontends[1],
            statistics_port=frontends[2],
            processes=processes,
        )
        _report_progress(site, began_s)
        try:
            yield site
        finally:
            say("ending everything that was started ...")


def _report_progress(site: Site, began_s: float) -> None:
    """Say of each node when it is there, until all are healthy."""
    said: set[str] = set()

    def is_complete() -> bool:
        for status in site.statuses():
            is_there = status.is_primary or status.state == "streaming"
            if is_there and status.name not in said:
                said.add(status.name)
                what = "made the cluster and leads" if status.is_primary else "was copied from the leader and streams"
                say(f"{status.name} {what}, after {time.monotonic() - began_s:.1f} s")
        return len(said) == len(site.nodes)

    say("one node makes the cluster (initdb), the others copy it (pg_basebackup) ...")
    wait_until(is_complete, HEALTHY_S, "all nodes", site.logs)
    leader = site.wait_healthy()
    say(f"three healthy nodes after {time.monotonic() - began_s:.1f} s, {leader.name} leads")


@contextmanager
def _running_store(store: str, directory: Path, processes: dict[str, Process]) -> Iterator[Mapping[str, object]]:
    """Run a store; yield its section of the configuration."""
    if store == "local":
        path = subdirectory(directory, "store") / "demo.db"
        say("the store is the embedded one, a file for agents on one machine")
        yield {"local": {"path": str(path)}}
        return
    say("starting etcd ...")
    with Etcd(directory) as etcd:
        processes["etcd"] = etcd.members[0].process
        say(f"the store is etcd, on {etcd.endpoints[0]}")
        yield {"etcd3": {"host": etcd.endpoints[0]}}


def _haproxy_ports(nodes: list[Node]) -> dict[int, int]:
    """Return by each port of the sample the one to use: the sample's own for clients where it is free."""
    ports = {port: port if _is_free(port) else reserve_port() for port in (PRIMARY_PORT, REPLICA_PORT, STATISTICS_PORT)}
    for port, used in ports.items():
        if used != port:
            say(f"port {port} is in use here; taking {used} instead")
    for node, postgres_port, rest_port in zip(nodes, POSTGRES_PORTS, REST_PORTS, strict=True):
        ports[postgres_port] = node.place.postgres_port
        ports[rest_port] = node.place.rest_port
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections in TIME_WAIT don't count
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
