"""The shipped haproxy.cfg before three APIs: clients reach the primary, and follow it (contract/rest_api.md §14.1, §17.17)."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from patroni.decision.cluster import Role
from patroni.rest.snapshot import Authority
from tests.rest.builders import PRIMARY, STANDBY, FakeAgent, a_living_snapshot, a_node
from tests.rest.serving import HOST, PATIENCE_S, connected, served
from tests.support.directories import give_to_servers, server_directory
from tests.support.ports import reserve_port
from tests.support.process import Process
from tests.support.waiting import wait_until

CONFIGURATION = Path(__file__).parents[2] / "haproxy.cfg"
NAMES = ("pg-a", "pg-b", "pg-c")


@contextmanager
def a_database(name: str) -> Iterator[int]:
    """Accept sessions, greet each with this name, keep it until the client goes; yields the port."""
    with socket.create_server((HOST, 0)) as listening, ThreadPoolExecutor(200) as pool:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    pool.submit(greet, listening.accept()[0])

        def greet(session: socket.socket) -> None:
            with session, suppress(ConnectionError):
                session.sendall(name.encode())
                session.recv(1)

        pool.submit(serve)
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True)
class Site:
    """Three nodes behind HAProxy."""

    agents: Mapping[str, FakeAgent]
    primary_port: int
    replica_port: int

    def lead(self, leader: str | None) -> None:
        """Make this node the leader, the others replicas."""
        for name, agent in self.agents.items():
            is_leader = name == leader
            agent.monitoring = PRIMARY if is_leader else STANDBY
            agent.snapshot = a_living_snapshot(node=a_node(Role.PRIMARY if is_leader else Role.REPLICA, name=name))
            agent.authority = Authority.HELD if is_leader else Authority.NONE


@contextmanager
def a_site() -> Iterator[Site]:
    agents = {name: FakeAgent(snapshot=a_living_snapshot()) for name in NAMES}
    with ExitStack() as stack:
        directory = stack.enter_context(server_directory("haproxy"))
        ports = {port: reserve_port() for port in (5000, 5001, 7000)}
        for index, (name, agent) in enumerate(agents.items()):
            ports[5432 + index] = stack.enter_context(a_database(name))
            ports[8008 + index] = stack.enter_context(served(agent))
        text = re.sub(r"(?<=[: ])(?:5000|5001|7000|543\d|80\d\d)\b", lambda found: str(ports[int(found[0])]), _directives())
        file = directory / "haproxy.cfg"
        file.write_text(text)
        give_to_servers(file)
        site = Site(agents=agents, primary_port=ports[5000], replica_port=ports[5001])
        site.lead("pg-a")
        program = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin") or "haproxy"
        stack.enter_context(Process([program, "-f", file], directory))
        yield site


def _directives() -> str:
    return "\n".join(line.partition("#")[0] for line in CONFIGURATION.read_text().splitlines()) + "\n"


def greeting(port: int) -> str:
    """Return which database a client comes to; empty: none."""
    try:
        with connected(port) as client:
            return client.recv(100).decode()
    except OSError:
        return ""


def test_clients_follow_the_primary() -> None:
    with a_site() as site:
        wait_until(lambda: greeting(site.primary_port) == "pg-a", PATIENCE_S, "the primary")
        wait_until(lambda: {greeting(site.replica_port) for _ in range(8)} == {"pg-b", "pg-c"}, PATIENCE_S, "the replicas")
        with connected(site.primary_port) as session:
            assert session.recv(100) == b"pg-a"
            site.lead(None)
            assert session.recv(100) == b""  # cut, instead of waiting for a server that takes no writes any more
        wait_until(lambda: greeting(site.primary_port) == "", PATIENCE_S, "nobody while nobody leads")
        site.lead("pg-b")
        wait_until(lambda: greeting(site.primary_port) == "pg-b", PATIENCE_S, "the new primary")
        wait_until(lambda: {greeting(site.replica_port) for _ in range(8)} == {"pg-a", "pg-c"}, PATIENCE_S, "the replicas")
