"""Fixtures: a real Postgres, and the agent's side of a guard for it. Root's tests run as the user that servers run as."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from patroni.decision.view import GuardState
from patroni.fence import guard_launch
from patroni.fence.guard_client import GuardFence
from patroni.fence.guard_launch import Place
from patroni.fence.page_file import DIRECTORY
from tests.fence.server import LIMIT_S, Server, is_alive, proof
from tests.support.directories import server_directory, unprivileged_user
from tests.support.identity import running_as
from tests.support.postgres_binaries import PostgresBinaries, installed_postgres
from tests.support.waiting import wait_until

MakeServer = Callable[[], Server]
MakeFence = Callable[..., GuardFence]


@pytest.fixture(scope="module")
def unprivileged() -> Iterator[Path]:
    """Return a directory for servers; while it is there, tests run as its user."""
    with server_directory("fence") as path, running_as(unprivileged_user()):
        yield path


@pytest.fixture(scope="module", params=installed_postgres(), ids=lambda found: f"postgres{found.major}")
def binaries(request: pytest.FixtureRequest) -> PostgresBinaries:
    """Return each installed Postgres in turn."""
    found: PostgresBinaries = request.param
    return found


@pytest.fixture(scope="module")
def template(unprivileged: Path, binaries: PostgresBinaries) -> Server:
    """Return a server that was never started, to be copied."""
    server = Server(unprivileged / f"template{binaries.major}", binaries)
    server.initialize()
    return server


@pytest.fixture
def make_server(template: Server) -> Iterator[MakeServer]:
    """Return a maker of running servers; all of their processes end with the test."""
    with ExitStack() as made:
        names = iter(range(100))

        def make() -> Server:
            server = template.copy(template.directory.parent / f"{os.urandom(4).hex()}-{next(names)}")
            made.callback(server.remove)
            server.start()
            return server

        yield make


@pytest.fixture
def make_fence(unprivileged: Path) -> Iterator[MakeFence]:
    """Return a maker of fences with a running guard; the guards end with the test."""
    with ExitStack() as made:

        def make(server: Server, hold_s: float = 10.0) -> GuardFence:
            fence = GuardFence(place_of(server), hold_s)
            made.callback(end_guard, fence)
            fence.launch()
            return fence

        yield make


def place_of(server: Server) -> Place:
    """Return where the guard of a server works."""
    return guard_launch.place(str(server.data_dir), frozenset({"postgres"}), os.geteuid())


def end_guard(fence: GuardFence) -> None:
    """Kill a guard whatever it guards, and remove its page."""
    fence.close()
    if fence.pid is not None and is_guard(fence.pid):
        os.kill(fence.pid, signal.SIGKILL)
    with suppress(FileNotFoundError):
        os.unlink(os.path.join(DIRECTORY, fence.place.name))


def is_guard(pid: int) -> bool:
    """Whether a guard's process lives."""
    with suppress(OSError):
        return is_alive(pid) and Path(f"/proc/{pid}/comm").read_text() == "patroni guard\n"
    return False


def held(fence: GuardFence, server: Server) -> None:
    """Arm for a lease that is over, and wait for the hold."""
    fence.arm(proof(0.5))
    wait_until(lambda: fence.state() is GuardState.HELD, LIMIT_S, "the hold", fence.state)
    wait_until(server.is_standing, LIMIT_S, "all standing", server.states)
