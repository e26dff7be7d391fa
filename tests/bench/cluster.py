"""A cluster to be measured: three nodes, etcd, and HAProxy where clients write. Either software gets the same files."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml

from tests.bench.api import ask, is_healthy
from tests.bench.software import Software
from tests.support.directories import give_to_servers, server_directory, subdirectory
from tests.support.etcd import Etcd
from tests.support.haproxy import running_haproxy
from tests.support.ports import reserve_port
from tests.support.postgres_binaries import installed_postgres
from tests.support.process import Process
from tests.support.proxy import Proxy
from tests.support.waiting import wait_until

SIZE = 3
LOOP_WAIT_S = 10
TTL_S = 30
PASSWORD = "bench"
_HEALTHY_TIMEOUT_S = 180.0
_HAPROXY = """\
defaults
    mode tcp
    retries 0
    timeout connect 4s
    timeout client 30m
    timeout server 30m
    timeout check 5s

listen primary
    bind 127.0.0.1:{port}
    option httpchk
    http-check expect status 200
    default-server inter 500ms fall 2 rise 1 on-marked-down shutdown-sessions
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How a cluster is built."""

    software: Software
    dynamic: Mapping[str, Any] = field(default_factory=dict)  # over `bootstrap.dcs`
    parameters: Mapping[str, str] = field(default_factory=dict)  # of Postgres
    counts_requests: bool = False  # every node reaches the store through a proxy of its own
    has_haproxy: bool = True


class Node:
    """One node: its files, its agent's process, and what the agent started."""

    def __init__(self, name: str, directory: Path, shape: Shape, store_port: int) -> None:
        """Write its configuration.

        store_port: where the store is for this node, behind its own proxy if requests are to be counted.
        """
        self.name = name
        self.rest_port = reserve_port()
        self.postgres_port = reserve_port()
        self.proxy = Proxy(port=reserve_port(), target_port=store_port) if shape.counts_requests else None
        self.directory = subdirectory(directory, name)
        file = self.directory / "patroni.yml"
        file.write_text(yaml.safe_dump(self._settings(shape, self.proxy.port if self.proxy else store_port)))
        give_to_servers(file)
        self.process = Process([*shape.software.command, file], self.directory, name="agent")

    def _settings(self, shape: Shape, store_port: int) -> dict[str, Any]:
        timing = {"ttl": TTL_S, "loop_wait": LOOP_WAIT_S, "retry_timeout": 10, "maximum_lag_on_failover": 1048576}
        shared = {"use_pg_rewind": True, "parameters": {"dynamic_shared_memory_type": "mmap", **shape.parameters}}
        return {
            "scope": "bench",
            "name": self.name,
            "restapi": {"listen": f"127.0.0.1:{self.rest_port}", "connect_address": f"127.0.0.1:{self.rest_port}"},
            "etcd3": {"host": f"127.0.0.1:{store_port}", "use_proxies": True},
            "bootstrap": {
                "dcs": {**timing, **shape.dynamic, "postgresql": shared},
                "initdb": [{"encoding": "UTF8"}, {"auth": "scram-sha-256"}, "data-checksums"],
            },
            "postgresql": {
                "listen": f"127.0.0.1:{self.postgres_port}",
                "connect_address": f"127.0.0.1:{self.postgres_port}",
                "bin_dir": str(installed_postgres()[0].bin_dir),
                "data_dir": str(self.directory / "data"),
                "pgpass": str(self.directory / "pgpass"),
                "pg_hba": [
                    "host replication replicator 127.0.0.1/32 scram-sha-256",
                    "host all all 127.0.0.1/32 scram-sha-256",
                ],
                "authentication": {
                    "superuser": {"username": "postgres", "password": PASSWORD},
                    "replication": {"username": "replicator", "password": PASSWORD},
                    "rewind": {"username": "rewinder", "password": PASSWORD},
                },
                "parameters": {"unix_socket_directories": str(self.directory)},
            },
        }

    @property
    def postmaster_pid(self) -> int:
        """Return the postmaster's pid."""
        return int((self.directory / "data" / "postmaster.pid").read_text().split("\n", 1)[0])

    def is_leader(self) -> bool:
        """Tell whether its agent says that it is the primary."""
        return ask(self.rest_port, "GET", "/primary").status == 200

    def kill(self) -> None:
        """Kill everything of the node at once: the agent, then Postgres, then whatever was just being forked."""
        self.process.signal(signal.SIGKILL)
        while pids := [*self._pids()]:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.kill()

    def restart(self) -> None:
        """Start the agent again after its end."""
        self.process.kill()
        self.process.start()

    def _pids(self) -> list[int]:
        """Return the living processes that work in the node's directory: the agent and all of its Postgres."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and os.readlink(entry / "cwd").startswith(f"{self.directory}"):
                    found.append(int(entry.name))
        return found


class Cluster:
    """A running cluster; as a context manager it starts, and everything ends with it."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.nodes: list[Node] = []
        self.port = reserve_port()  # of HAProxy
        self._running = ExitStack()

    def __enter__(self) -> Self:
        """Start everything and wait until all nodes stream."""
        with ExitStack() as starting:
            directory = starting.enter_context(server_directory("bench"))
            etcd = starting.enter_context(Etcd(directory))
            store_port = etcd.members[0].port
            self.nodes = [Node(f"node{number}", directory, self.shape, store_port) for number in range(SIZE)]
            for node in self.nodes:
                if node.proxy is not None:
                    starting.enter_context(node.proxy)
                starting.enter_context(node.process)
            self.wait_healthy()
            if self.shape.has_haproxy:
                starting.enter_context(running_haproxy(self._haproxy(), [self.port], directory))
            self._running = starting.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        """End everything."""
        self._running.close()

    def _haproxy(self) -> str:
        servers = [
            f"    server {node.name} 127.0.0.1:{node.postgres_port} maxconn 100 check port {node.rest_port}"
            for node in self.nodes
        ]
        return "\n".join([_HAPROXY.format(port=self.port), *servers, ""])

    @property
    def leader(self) -> Node:
        """Return the node whose agent says that it is the primary, once there is one."""
        found = wait_until(self._leader, _HEALTHY_TIMEOUT_S, "a leader")
        assert found is not None
        return found

    @property
    def replicas(self) -> list[Node]:
        """Return the others."""
        leader = self.leader
        return [node for node in self.nodes if node is not leader]

    def _leader(self) -> Node | None:
        return next((node for node in self.nodes if node.is_leader()), None)

    def is_healthy(self) -> bool:
        """Tell whether the leader sees the other nodes stream without lag."""
        leader = self._leader()
        return leader is not None and is_healthy(leader.rest_port, SIZE)

    def wait_healthy(self) -> None:
        """Wait until all nodes stream; the failure shows the end of each agent's log."""
        wait_until(self.is_healthy, _HEALTHY_TIMEOUT_S, "a healthy cluster", self.describe)

    def describe(self) -> str:
        """Return the end of each agent's log."""
        return "\n".join(node.process.log_tail() for node in self.nodes)
