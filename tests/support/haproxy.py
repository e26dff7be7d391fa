"""A real HAProxy: on a configuration that a test wrote, or on the shipped one before a test's own cluster."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from tests.support.directories import give_to_servers
from tests.support.node import Node
from tests.support.ports import is_listening, reserve_port
from tests.support.process import Process
from tests.support.program import find_program

_START_TIMEOUT_S = 15.0
_SHIPPED = Path(__file__).parents[2] / "haproxy.cfg"
_PORT = re.compile(r"(?<=[: ])(?:5000|5001|7000|543\d|80\d\d)\b")


def shipped_configuration(ports: Mapping[int, int]) -> str:
    """Return haproxy.cfg of the checkout with the ports of a test in place of its own, and without its comments."""
    directives = "\n".join(line.partition("#")[0] for line in _SHIPPED.read_text().splitlines())
    return _PORT.sub(lambda found: str(ports[int(found[0])]), directives) + "\n"


class HaProxy:
    """The shipped configuration before three nodes; as a context manager it starts and ends."""

    def __init__(self, nodes: Sequence[Node], directory: Path) -> None:
        """directory: a `server_directory` or below."""
        self.primary_port, self.replica_port, statistics_port = reserve_port(), reserve_port(), reserve_port()
        ports = {5000: self.primary_port, 5001: self.replica_port, 7000: statistics_port}
        for number, node in enumerate(nodes):
            ports |= {5432 + number: node.postgres_port, 8008 + number: node.rest_port}
        conf_file = directory / "haproxy.cfg"
        conf_file.write_text(shipped_configuration(ports))
        give_to_servers(conf_file)
        self.process = Process([find_program("haproxy"), "-db", "-f", conf_file], directory)

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Kill it."""
        self.process.kill()

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        self.process.start()
        self.process.wait_for(lambda: is_listening(self.primary_port), _START_TIMEOUT_S, "listening")

    def kill(self) -> None:
        """Kill it."""
        self.process.kill()


@contextmanager
def running_haproxy(conf: str, ports: Sequence[int], directory: Path) -> Iterator[Process]:
    """Run HAProxy, which listens on all its ports when the `with` begins; a refused configuration raises EndedEarly.

    ports: those that the configuration binds on loopback. directory: a `server_directory` or below.
    """
    conf_file = directory / "haproxy.cfg"
    conf_file.write_text(conf)
    give_to_servers(conf_file)
    with Process([find_program("haproxy"), "-db", "-f", conf_file], directory) as process:
        process.wait_for(lambda: all(is_listening(port) for port in ports), _START_TIMEOUT_S, "listening")
        yield process
