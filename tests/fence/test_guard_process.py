"""The guard's process: its life beside an agent and a server that are killed, frozen or continued by others."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Protocol

import pytest

from patroni.decision.view import GuardState
from patroni.fence import guard_status
from patroni.fence.guard_client import GuardFence
from tests.fence.conftest import MakeFence, MakeServer, end_guard, held, is_guard, place_of
from tests.fence.server import LIMIT_S, Server, kill, now, proof
from tests.support.postgres_binaries import PostgresBinaries, installed_postgres
from tests.support.sql import Session
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
TTL_S = 2.0  # its fence time is 1.24 s after the proof
LONG_S = 60.0
SEEN_S = 0.25  # what runs while it should not is seen and killed within it (fence_facts.md rule 14)
SPARE_S = 1.0  # of a busy machine, for what has no bound of its own


@pytest.fixture(scope="module")
def binaries() -> PostgresBinaries:
    """Return one Postgres: what differs between versions is in test_guard_sweep.py."""
    return installed_postgres()[0]


class StandIn(Protocol):
    """Starts an agent's stand-in for a server and returns its process and the guard's pid."""

    def __call__(self, server: Server, ttl_s: float = TTL_S, hold_s: float = 10.0) -> tuple[subprocess.Popen[str], int]: ...


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    with ExitStack() as started:

        def start(server: Server, ttl_s: float = TTL_S, hold_s: float = 10.0) -> tuple[subprocess.Popen[str], int]:
            words = [sys.executable, "-m", "tests.fence.stand_in", str(server.data_dir), str(ttl_s), str(hold_s)]
            agent = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT)
            fence = GuardFence(place_of(server), hold_s)
            started.callback(end_guard, fence)
            started.callback(agent.communicate)
            started.callback(agent.kill)
            assert agent.stdout is not None
            word, _, pid = agent.stdout.readline().partition(" ")
            assert word == "armed"
            fence._pid = int(pid)  # to be ended with the test
            return agent, int(pid)

        yield start


def state(server: Server) -> GuardState | None:
    """Return what a passer-by sees of the guard."""
    found = guard_status.status(place_of(server), now())
    return found.state if found else None


def wait_state(server: Server, wanted: GuardState, timeout_s: float = LIMIT_S) -> None:
    wait_until(lambda: state(server) is wanted, timeout_s, f"a guard that is {wanted.value}", lambda: state(server))


def test_a_renewed_lease_leaves_postgres_alone(make_server: MakeServer, make_fence: MakeFence) -> None:
    server = make_server()
    fence = make_fence(server)
    assert fence.arm(proof(1.0))
    until_s = time.monotonic() + 1.5
    while time.monotonic() < until_s:
        fence.renew(proof(1.0))
        assert server.answers()
        fence.step(now())
    assert fence.state() is GuardState.ARMED


def test_kill_says_when_it_is_done(make_server: MakeServer, make_fence: MakeFence) -> None:
    server = make_server()
    fence = make_fence(server)
    assert fence.arm(proof(LONG_S))
    assert fence.kill()
    assert server.is_gone()
    assert not fence.arm(proof(LONG_S))  # killed is final until it is disarmed
    fence.disarm()
    wait_until(lambda: fence.state() is GuardState.IDLE, LIMIT_S, "idle")
    assert fence.arm(proof(LONG_S, "two"))


def test_a_killed_agent_costs_the_lease_not_more(make_server: MakeServer, stand_in: StandIn) -> None:
    server = make_server()
    agent, guard = stand_in(server)
    with Session(server.dsn, LIMIT_S) as session:
        agent.kill()
        killed_s = time.monotonic()
        wait_until(server.is_standing, LIMIT_S, "the hold", server.states)
        assert time.monotonic() - killed_s <= TTL_S
        fence = GuardFence(place_of(server), 10.0)
        assert fence.launch() == guard
        assert not fence.adopt(proof(LONG_S, "two"))
        assert fence.adopt(proof(LONG_S))  # a newer deadline, but no thaw
        fence.step(now())
        assert fence.state() is GuardState.HELD
        assert server.is_standing()
        assert fence.thaw(proof(LONG_S))
        assert session.run("SELECT 1") == [(1,)]
        fence.close()


def test_a_frozen_agent_is_no_agent(make_server: MakeServer, stand_in: StandIn) -> None:
    server = make_server()
    agent, _ = stand_in(server)
    agent.send_signal(signal.SIGSTOP)
    frozen_s = time.monotonic()
    wait_until(server.is_standing, LIMIT_S, "the hold", server.states)
    assert time.monotonic() - frozen_s <= TTL_S
    agent.send_signal(signal.SIGCONT)  # it renews what is held, which thaws nothing
    renewed_s = now().boot_s
    wait_until(lambda: (_left(server) or 0.0) + now().boot_s > renewed_s + 1.0, LIMIT_S, "a renewal")
    assert server.is_standing()


def _left(server: Server) -> float | None:
    fence = GuardFence(place_of(server), 0.0)
    fence.launch()
    try:
        return fence._page()[4] / 1e9 - now().boot_s
    finally:
        fence.close()


def test_without_an_agent_a_hold_becomes_a_kill_and_the_guard_ends(make_server: MakeServer, stand_in: StandIn) -> None:
    server = make_server()
    agent, guard = stand_in(server, hold_s=0.5)
    agent.kill()
    wait_until(server.is_gone, LIMIT_S, "the kill", server.states)
    assert is_guard(guard)
    wait_until(lambda: not is_guard(guard), LIMIT_S, "the guard's end")
    found = guard_status.status(place_of(server), now())
    assert found is not None
    assert (found.state, found.page_state) == (GuardState.ABSENT, GuardState.IDLE)
    assert "held for too long" in found.note


@pytest.mark.parametrize("whom", ["postmaster", "child"])
def test_who_continues_a_held_process_by_hand_kills_all(make_server: MakeServer, make_fence: MakeFence, whom: str) -> None:
    server = make_server()
    fence = make_fence(server)
    held(fence, server)
    postmaster = server.postmaster
    children = [pid for pid in server.processes() if pid != postmaster]
    continued_s = time.monotonic()
    kill(postmaster if whom == "postmaster" else children[0], signal.SIGCONT)
    wait_until(server.is_gone, LIMIT_S, "the kill", server.states)
    assert time.monotonic() - continued_s <= SEEN_S + 0.25  # the bound, and a busy machine's share
    assert fence.state() is GuardState.KILLED


def test_a_bare_postmaster_is_killed_not_held(make_server: MakeServer, make_fence: MakeFence) -> None:
    server = make_server()
    server.stop()
    server.start_bare()
    fence = make_fence(server)
    fence.arm(proof(LONG_S))
    fence.adopt(proof(0.0))
    wait_until(server.is_gone, LIMIT_S, "the kill", server.states)
    assert fence.state() is GuardState.KILLED
    fence.step(now())
    assert any("leads no session" in line for line in fence.said())


def test_the_guard_says_whom_it_watches(make_server: MakeServer, make_fence: MakeFence) -> None:
    server = make_server()
    fence = make_fence(server)
    assert fence.arm(proof(LONG_S))
    assert fence.postmaster == server.postmaster
    server.stop()
    server.start_again()
    wait_until(lambda: fence.postmaster == server.postmaster, LIMIT_S, "the new postmaster", lambda: fence.postmaster)


def test_two_servers_do_not_interfere(make_server: MakeServer, make_fence: MakeFence) -> None:
    one, two = make_server(), make_server()
    first, second = make_fence(one), make_fence(two)
    assert first.arm(proof(LONG_S))
    held(second, two)
    assert one.answers()
    second.end()
    wait_until(two.is_gone, LIMIT_S, "the kill", two.states)
    assert one.answers()
    assert (first.state(), second.state()) == (GuardState.ARMED, GuardState.KILLED)


def test_a_thaw_for_another_lock_is_not_even_ordered(make_server: MakeServer, make_fence: MakeFence) -> None:
    server = make_server()
    fence = make_fence(server)
    before = proof(LONG_S)
    held(fence, server)
    assert not fence.thaw(before)  # sent before the hold
    assert not fence.thaw(proof(LONG_S, "two"))
    assert server.is_standing()
    assert fence.thaw(proof(LONG_S, "two"), held_under=proof(1.0).incarnation)
    assert fence.is_armed_under(proof(1.0, "two").incarnation)
    assert server.answers()


def test_a_server_that_starts_after_the_kill_is_killed(make_server: MakeServer, make_fence: MakeFence) -> None:
    server = make_server()
    fence = make_fence(server)
    assert fence.arm(proof(LONG_S))
    assert fence.kill()
    with suppress(subprocess.CalledProcessError):  # unless it was ready between two looks
        server.start_again()
    wait_until(server.is_gone, SPARE_S, "the kill", server.states)


def test_a_drill_on_a_running_server(make_server: MakeServer, make_fence: MakeFence) -> None:
    server = make_server()
    fence = make_fence(server)
    with Session(server.dsn, LIMIT_S) as session:
        said = guard_status.drill(fence.place, 200)
        assert said.startswith("complete: "), said
        assert session.run("SELECT 1") == [(1,)]
    assert fence.arm(proof(LONG_S))
    assert guard_status.drill(fence.place, 200) == "refused: not idle"
