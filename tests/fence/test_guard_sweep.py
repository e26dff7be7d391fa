"""Holds, thaws and kills of each installed Postgres, under load."""

from __future__ import annotations

import time

import pytest

from patroni.decision.view import GuardState
from patroni.fence import guard_status
from tests.fence.conftest import MakeFence, MakeServer, held, place_of
from tests.fence.server import LIMIT_S, Server, is_alive, kill, now, proof
from tests.support.sql import Session
from tests.support.waiting import wait_until

LONG_S = 60.0
SEEN_S = 0.25  # what runs while it should not is seen and killed within it (fence_facts.md rule 14)
SPARE_S = 1.0  # of a busy machine, for what has no bound of its own


def test_a_hold_under_load_lets_nothing_through_and_a_thaw_loses_nobody(make_server: MakeServer, make_fence: MakeFence) -> None:
    server = make_server()
    fence = make_fence(server)
    assert fence.arm(proof(LONG_S))
    with server.load(sessions=50, stormers=8) as clients:
        for turn in range(3):
            with Session(server.dsn, LIMIT_S) as session:
                session.run("BEGIN")
                fence.adopt(proof(0.0))  # the same lock, over
                wait_until(lambda: fence.state() is GuardState.HELD and _is_complete(server), LIMIT_S, "the hold")
                held_at_s = time.time()
                wait_until(server.is_standing, LIMIT_S, "all standing", server.states)
                quiet_until_s = held_at_s + 0.5
                wait_until(lambda: time.time() >= quiet_until_s, LIMIT_S, "some time held")  # noqa: B023
                assert server.is_standing(), server.states()
                thawed_at_s = time.time()
                assert fence.thaw(proof(LONG_S)), f"turn {turn}"
                session.run("COMMIT")
            assert server.written_between(held_at_s, thawed_at_s) == 0
            after_s = time.time()
            wait_until(lambda: server.written_between(after_s, time.time()), LIMIT_S, "writes after the thaw")  # noqa: B023
        assert [client.poll() for client in clients] == [None, None]
    assert fence.state() is GuardState.ARMED
    assert not [line for line in fence.said() if "killed" in line]


def _is_complete(server: Server) -> bool:
    found = guard_status.status(place_of(server), now())
    return found is not None and found.sweep_ms is not None


@pytest.mark.parametrize("is_held", [True, False], ids=["held", "running"])
def test_the_end_of_a_lease_kills_all(make_server: MakeServer, make_fence: MakeFence, *, is_held: bool) -> None:
    server = make_server()
    fence = make_fence(server)
    with server.load(sessions=10, stormers=2):
        if is_held:
            held(fence, server)
        else:
            assert fence.arm(proof(LONG_S))
        fence.end()
        wait_until(server.is_gone, SPARE_S, "the kill", server.states)
        wait_until(lambda: fence.state() is GuardState.KILLED, SPARE_S, "killed")


def test_orphans_are_killed_and_never_continued(make_server: MakeServer, make_fence: MakeFence) -> None:
    server = make_server()
    fence = make_fence(server)
    assert fence.arm(proof(LONG_S))
    with server.load(sessions=10, stormers=1):
        held(fence, server)
        kill(server.postmaster)
        killed_s = time.time()
        wait_until(server.is_gone, SEEN_S + SPARE_S, "the orphans' end", server.states)
    fence.disarm()
    wait_until(lambda: fence.state() is GuardState.IDLE, LIMIT_S, "idle")
    server.start_again()
    assert server.written_between(killed_s, time.time()) == 0


def test_a_guard_killed_in_a_hold_is_followed_by_one_that_completes(make_server: MakeServer, make_fence: MakeFence) -> None:
    server = make_server()
    fence = make_fence(server)
    with server.load(sessions=20, stormers=4):
        for _ in range(5):
            assert fence.arm(proof(LONG_S))
            first = fence.pid
            assert first is not None
            fence.adopt(proof(0.0))
            wait_until(lambda: fence.state() is GuardState.HELD, LIMIT_S, "the begin of a hold")
            kill(first)
            wait_until(lambda: not is_alive(first), LIMIT_S, "the guard's death")  # noqa: B023
            assert fence.launch() != first
            wait_until(server.is_standing, LIMIT_S, "the hold", server.states)
            assert fence.state() is GuardState.HELD
            assert fence.thaw(proof(LONG_S))
            wait_until(server.answers, LIMIT_S, "the server after the thaw")
