"""Fixtures of the driver's tests. Postgres refuses root, and its driver must own the data directory: root's tests drop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from patroni.postgres.request import StopMode
from tests.postgres.node import Node
from tests.support.directories import server_directory, unprivileged_user
from tests.support.identity import running_as
from tests.support.postgres_binaries import PostgresBinaries, installed_postgres

MakeNode = Callable[[str], Node]


@pytest.fixture(scope="package", autouse=True)
def base() -> Iterator[Path]:
    """Return the directory of all nodes; while it is there, tests run as the user that servers run as."""
    with server_directory("postgres") as path, running_as(unprivileged_user()):
        yield path


@pytest.fixture(scope="package", params=installed_postgres(), ids=lambda found: f"postgres{found.major}")
def binaries(request: pytest.FixtureRequest) -> PostgresBinaries:
    """Return each installed Postgres in turn."""
    found: PostgresBinaries = request.param
    return found


@pytest.fixture(scope="package")
def template(base: Path, binaries: PostgresBinaries) -> Node:
    """Return a cluster with all roles, stopped cleanly, for tests to copy."""
    node = Node(f"template{binaries.major}", base, binaries)
    node.bootstrap()
    node.stop(StopMode.FAST)
    return node


@pytest.fixture
def make_node(base: Path, binaries: PostgresBinaries, request: pytest.FixtureRequest) -> Iterator[MakeNode]:
    """Return a maker of nodes by name; what runs of them ends with the test."""
    made: list[Node] = []
    folder = base / f"{binaries.major}-{abs(hash(request.node.nodeid)) % 10**8}"
    folder.mkdir(mode=0o700)

    def make(name: str) -> Node:
        made.append(Node(name, folder, binaries))
        return made[-1]

    yield make
    for node in made:
        node.end()


@pytest.fixture
def primary(make_node: MakeNode, template: Node) -> Node:
    """Return a running primary."""
    node = make_node("a")
    node.copy_of(template)
    node.start(is_standby=False)
    return node
