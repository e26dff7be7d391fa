"""A real etcd of one member or three, each behind a proxy, with the v2 and the v3 API.

What members tell clients as their address is the proxy's, since clients that look for other members would go around it.
"""

from __future__ import annotations

import http.client
import json
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from tests.support.directories import subdirectory
from tests.support.ports import reserve_port
from tests.support.process import Process
from tests.support.program import find_program
from tests.support.proxy import Proxy

_START_TIMEOUT_S = 30.0
_HEALTH_TIMEOUT_S = 3.0


class EtcdMember:
    """One member: its process, to be killed, paused and started again on the same data, and the proxy before it."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.directory = subdirectory(directory, name)
        self.port = reserve_port()
        self.peer_url = f"http://127.0.0.1:{reserve_port()}"
        self.proxy = Proxy(port=reserve_port(), target_port=self.port)
        self.process: Process

    @property
    def direct_endpoint(self) -> str:
        """Return host:port beside the proxy."""
        return f"127.0.0.1:{self.port}"

    @property
    def endpoint(self) -> str:
        """Return host:port through the proxy."""
        return f"127.0.0.1:{self.proxy.port}"

    def prepare(self, initial_cluster: str) -> None:
        """Set up the process, once the addresses of all members are known."""
        client_url = f"http://{self.direct_endpoint}"
        self.process = Process(
            [
                find_program("etcd"),
                f"--name={self.name}",
                f"--data-dir={self.directory / 'data'}",
                f"--listen-client-urls={client_url}",
                f"--advertise-client-urls=http://{self.endpoint}",
                f"--listen-peer-urls={self.peer_url}",
                f"--initial-advertise-peer-urls={self.peer_url}",
                f"--initial-cluster={initial_cluster}",
                "--enable-v2",
            ],
            self.directory,
        )

    def restart(self) -> None:
        """Kill it if it runs, start it on the same data, and wait until it answers, for which a majority has to run."""
        self.process.kill()
        self.process.start()
        self.wait_healthy()

    def wait_healthy(self) -> None:
        """Wait until it serves reads that its cluster agreed on."""
        self.process.wait_for(self._is_healthy, _START_TIMEOUT_S, "health")

    def _is_healthy(self) -> bool:
        connection = http.client.HTTPConnection(self.direct_endpoint, timeout=_HEALTH_TIMEOUT_S)
        try:
            connection.request("GET", "/health")
            return bool(json.load(connection.getresponse())["health"] == "true")
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


class Etcd:
    """A cluster of one member or three; as a context manager it starts and ends."""

    def __init__(self, directory: Path, size: int = 1) -> None:
        """Prepare it in a `server_directory`."""
        self.members = [EtcdMember(f"etcd{number}", directory) for number in range(size)]
        initial_cluster = ",".join(f"{member.name}={member.peer_url}" for member in self.members)
        for member in self.members:
            member.prepare(initial_cluster)
        self._running = ExitStack()

    def __enter__(self) -> Self:
        """Start all members and wait until each serves."""
        with ExitStack() as starting:
            for member in self.members:
                starting.enter_context(member.proxy)
                starting.enter_context(member.process)
            for member in self.members:
                member.wait_healthy()
            self._running = starting.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        """Kill all members."""
        self._running.close()

    @property
    def endpoints(self) -> list[str]:
        """Return host:port of each member, through its proxy."""
        return [member.endpoint for member in self.members]
