"""The guard's logic: every state, order and deadline, and a guard that dies between any two requests."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from patroni.fence import guard as g
from patroni.fence import page as p
from patroni.fence.sweep import SIGCONT, SIGKILL
from tests.fence.world import (
    BACKENDS,
    NOW_NS,
    POSTMASTER,
    SECOND_NS,
    A,
    B,
    Died,
    World,
    a_page,
    a_server,
    drive,
    order,
    turn,
)

IDLE, ARMED, HELD, KILLED = p.STATE_IDLE, p.STATE_ARMED, p.STATE_HELD, p.STATE_KILLED
NONE = 0
PAST, AHEAD = -1, 2 * SECOND_NS
RUNS, STANDS, GONE = "runs", "stands", "gone"

# state, order, deadline -> state after one turn, and what became of the server. Held servers stand before, killed ones ran on.
TABLE = {
    (IDLE, NONE): {AHEAD: (IDLE, RUNS), PAST: (IDLE, RUNS)},
    (IDLE, p.ORDER_DISARM): {AHEAD: (IDLE, RUNS), PAST: (IDLE, RUNS)},
    (IDLE, p.ORDER_ARM): {AHEAD: (ARMED, RUNS), PAST: (HELD, STANDS)},
    (IDLE, p.ORDER_THAW): {AHEAD: (IDLE, RUNS), PAST: (IDLE, RUNS)},
    (IDLE, p.ORDER_KILL): {AHEAD: (IDLE, RUNS), PAST: (IDLE, RUNS)},
    (ARMED, NONE): {AHEAD: (ARMED, RUNS), PAST: (HELD, STANDS)},
    (ARMED, p.ORDER_DISARM): {AHEAD: (IDLE, RUNS), PAST: (IDLE, RUNS)},
    (ARMED, p.ORDER_ARM): {AHEAD: (ARMED, RUNS), PAST: (HELD, STANDS)},
    (ARMED, p.ORDER_THAW): {AHEAD: (ARMED, RUNS), PAST: (HELD, STANDS)},
    (ARMED, p.ORDER_KILL): {AHEAD: (KILLED, GONE), PAST: (KILLED, GONE)},
    (HELD, NONE): {AHEAD: (HELD, STANDS), PAST: (HELD, STANDS)},
    (HELD, p.ORDER_DISARM): {AHEAD: (IDLE, GONE), PAST: (IDLE, GONE)},
    (HELD, p.ORDER_ARM): {AHEAD: (HELD, STANDS), PAST: (HELD, STANDS)},
    (HELD, p.ORDER_THAW): {AHEAD: (ARMED, RUNS), PAST: (HELD, STANDS)},
    (HELD, p.ORDER_KILL): {AHEAD: (KILLED, GONE), PAST: (KILLED, GONE)},
    (KILLED, NONE): {AHEAD: (KILLED, GONE), PAST: (KILLED, GONE)},
    (KILLED, p.ORDER_DISARM): {AHEAD: (IDLE, GONE), PAST: (IDLE, GONE)},
    (KILLED, p.ORDER_ARM): {AHEAD: (KILLED, GONE), PAST: (KILLED, GONE)},
    (KILLED, p.ORDER_THAW): {AHEAD: (KILLED, GONE), PAST: (KILLED, GONE)},
    (KILLED, p.ORDER_KILL): {AHEAD: (KILLED, GONE), PAST: (KILLED, GONE)},
}
CASES = [(*key, deadline) for key in TABLE for deadline in TABLE[key]]


def prepared(state: int, word: int, left_ns: int) -> tuple[World, p.Page]:
    world, page = a_server(), a_page(state, left_ns=left_ns)
    if state == HELD:
        for each in world.processes.values():
            each.letter = "T"
    if word:
        order(page, word)
    return world, page


def outcome(world: World) -> str:
    if not world.processes:
        return GONE
    assert not (world.running() and world.stopped()), f"half stopped: {world.processes}"
    return RUNS if world.running() else STANDS


def test_the_table_is_complete() -> None:
    words = (NONE, p.ORDER_DISARM, p.ORDER_ARM, p.ORDER_THAW, p.ORDER_KILL)
    assert set(TABLE) == set(itertools.product((IDLE, ARMED, HELD, KILLED), words))


@pytest.mark.parametrize(("state", "word", "left_ns"), CASES)
def test_one_turn(state: int, word: int, left_ns: int) -> None:
    world, page = prepared(state, word, left_ns)
    guard = g.Guard(page)
    turn(guard, world)
    assert (guard.state, outcome(world)) == TABLE[state, word][left_ns]
    assert page[p.DONE] == page[p.ORDER]
    assert page[p.LOOKED_BOOT_NS] == NOW_NS


@pytest.mark.parametrize(("state", "word", "left_ns"), CASES)
def test_a_guard_that_dies_at_any_moment_is_followed_by_one_that_finishes(state: int, word: int, left_ns: int) -> None:
    for requests in itertools.count():
        world, page = prepared(state, word, left_ns)
        try:
            turn(g.Guard(page), world, requests)
        except Died:
            after = g.Guard(page)
            turn(after, world)
            turn(after, world)
            expected_state, expected = TABLE[state, word][left_ns]
            assert (after.state, outcome(world)) == (expected_state, expected), f"after {requests} requests"
            assert not world.running() or not orphans(world)
        else:
            return


def orphans(world: World) -> list[int]:
    return [each.pid for each in world.processes.values() if each.pid != POSTMASTER and each.parent == 1]


def test_while_armed_it_looks_four_times_a_second_or_when_the_lease_is_over() -> None:
    world, page = a_server(), a_page(ARMED, left_ns=SECOND_NS)
    guard = g.Guard(page)
    assert turn(guard, world) == g.LOOK_NS
    page[p.DEADLINE_RAW_NS] = NOW_NS + 7
    assert turn(guard, world) == 7
    page[p.DEADLINE_RAW_NS] = NOW_NS + 9 * SECOND_NS
    world.raw_ns = world.boot_ns = NOW_NS + SECOND_NS - 1
    assert turn(guard, world) == 1


@pytest.mark.parametrize("clock", [p.DEADLINE_BOOT_NS, p.DEADLINE_RAW_NS])
def test_the_lease_is_over_when_either_clock_says_so(clock: int) -> None:
    world, page = a_server(), a_page(ARMED, left_ns=SECOND_NS)
    page[clock] = NOW_NS
    guard = g.Guard(page)
    turn(guard, world)
    assert guard.state == HELD
    assert not world.running()


@pytest.mark.parametrize("field", [p.DEADLINE_BOOT_NS, p.DEADLINE_RAW_NS])
def test_a_deadline_of_0_is_now(field: int) -> None:
    world, page = a_server(), a_page(ARMED)
    page[field] = 0
    turn(g.Guard(page), world)
    assert not world.running()


def test_a_newer_deadline_alone_does_not_thaw() -> None:
    world, page = a_server(), a_page(ARMED, left_ns=PAST)
    guard = g.Guard(page)
    turn(guard, world)
    page[p.DEADLINE_BOOT_NS] = page[p.DEADLINE_RAW_NS] = NOW_NS + 60 * SECOND_NS
    for _ in range(5):
        turn(guard, world)
    assert (guard.state, outcome(world)) == (HELD, STANDS)


def test_a_thaw_for_another_lock_kills() -> None:
    world, page = prepared(HELD, p.ORDER_THAW, AHEAD)
    page[p.INCARNATION] = B
    guard = g.Guard(page)
    turn(guard, world)
    assert (guard.state, outcome(world)) == (KILLED, GONE)
    assert SIGCONT not in [number for _, number in world.sent]


def test_children_go_on_before_the_postmaster() -> None:
    world, page = prepared(HELD, p.ORDER_THAW, AHEAD)
    turn(g.Guard(page), world)
    assert [pid for pid, number in world.sent if number == SIGCONT] == [*BACKENDS, POSTMASTER]


def test_children_are_killed_before_the_postmaster() -> None:
    world, page = prepared(HELD, p.ORDER_KILL, AHEAD)
    turn(g.Guard(page), world)
    assert [pid for pid, number in world.sent if number == SIGKILL] == [*BACKENDS, POSTMASTER]


def test_arming_again_while_armed_takes_the_newer_lock() -> None:
    world, page = prepared(ARMED, p.ORDER_ARM, AHEAD)
    page[p.INCARNATION] = B
    turn(g.Guard(page), world)
    assert page[p.ARMED_INCARNATION] == B


@pytest.mark.parametrize("state", [HELD, KILLED])
def test_arming_does_not_rename_what_is_held_or_killed(state: int) -> None:
    world, page = prepared(state, p.ORDER_ARM, AHEAD)
    page[p.INCARNATION] = B
    turn(g.Guard(page), world)
    assert page[p.ARMED_INCARNATION] == A


def test_a_hold_that_lasts_too_long_becomes_a_kill() -> None:
    world, page = prepared(HELD, NONE, PAST)
    guard = g.Guard(page)
    world.pass_ns(10 * SECOND_NS - 1)
    turn(guard, world)
    assert outcome(world) == STANDS
    world.pass_ns(1)
    turn(guard, world)
    assert (guard.state, outcome(world)) == (KILLED, GONE)


def go_on(pid: int) -> Callable[[World], None]:
    def disturb(world: World) -> None:
        world.processes[pid].letter, world.processes[pid].is_stopping = "R", False

    return disturb


def new_child(world: World) -> None:
    world.add(300, letter="R")


def foreign_child(world: World) -> None:
    world.add(300, letter="R").is_in_directory = False


def postmaster_dies(world: World) -> None:
    world.crash(POSTMASTER)


@pytest.mark.parametrize(
    "disturb",
    [
        pytest.param(go_on(POSTMASTER), id="postmaster continued"),
        pytest.param(go_on(BACKENDS[0]), id="backend continued"),
        pytest.param(new_child, id="new child"),
        pytest.param(foreign_child, id="child that left the directory"),
        pytest.param(postmaster_dies, id="postmaster killed"),
    ],
)
def test_what_happens_to_a_held_server_without_our_thaw_kills_it(disturb: Callable[[World], None]) -> None:
    world, page = a_server(), a_page(ARMED, left_ns=PAST)
    guard = g.Guard(page)
    turn(guard, world)
    assert guard.state == HELD
    disturb(world)
    turn(guard, world)
    assert (guard.state, outcome(world)) == (KILLED, GONE)
    assert SIGCONT not in [number for _, number in world.sent]


def test_a_backend_in_the_kernel_counts_as_held_and_is_not_waited_for() -> None:
    world, page = a_server(), a_page(ARMED, left_ns=PAST)
    world.processes[BACKENDS[1]].stops_after = 10**9
    guard = g.Guard(page)
    for _ in range(3):
        turn(guard, world)
    assert guard.state == HELD
    assert not world.running()


@pytest.mark.parametrize("looks", [0, 1, 30])
def test_a_fork_under_way_does_not_escape(looks: int) -> None:
    world, page = a_server(), a_page(ARMED, left_ns=PAST)
    world.processes[POSTMASTER].stops_after, world.forks = looks, 1
    turn(g.Guard(page), world)
    assert 200 in world.processes
    assert not world.running()


def test_a_postmaster_that_does_not_stop_is_killed_with_all() -> None:
    world, page = a_server(), a_page(ARMED, left_ns=PAST)
    world.processes[POSTMASTER].stops_after = 10**9
    guard = g.Guard(page)
    turn(guard, world)
    assert (guard.state, outcome(world)) == (KILLED, GONE)


def test_a_postmaster_that_leads_no_session_is_killed_not_held() -> None:
    world, page = prepared(IDLE, p.ORDER_ARM, AHEAD)
    world.processes[POSTMASTER].session = 1
    guard = g.Guard(page)
    turn(guard, world)
    assert "leads no session" in guard.said[0]
    page[p.DEADLINE_BOOT_NS] = 0
    turn(guard, world)
    assert (guard.state, outcome(world)) == (KILLED, GONE)


@pytest.mark.parametrize("has_looked", [True, False])
def test_orphans_are_killed_never_held(has_looked: bool) -> None:
    world, page = a_server(), a_page(ARMED)
    guard = g.Guard(page)
    if has_looked:
        turn(guard, world)
    world.crash(POSTMASTER)
    page[p.DEADLINE_BOOT_NS] = 0
    turn(guard, world)
    assert (guard.state, outcome(world)) == (KILLED, GONE)
    assert SIGCONT not in [number for _, number in world.sent]


def test_a_postmaster_started_since_the_last_look_is_held() -> None:
    world, page = a_server(), a_page(ARMED)
    guard = g.Guard(page)
    turn(guard, world)
    world.processes.clear()
    world.add(500, parent=1)
    world.add(501, parent=500)
    page[p.DEADLINE_BOOT_NS] = 0
    turn(guard, world)
    assert guard.state == HELD
    assert sorted(world.stopped()) == [500, 501]


def test_another_process_with_the_postmasters_pid_is_left_alone() -> None:
    world, page = a_server(), a_page(ARMED)
    guard = g.Guard(page)
    turn(guard, world)
    world.processes.clear()
    other = world.add(POSTMASTER, parent=1)
    other.started, other.is_in_directory = 1, False
    page[p.DEADLINE_BOOT_NS] = 0
    turn(guard, world)
    assert world.sent == []


def test_two_postmasters_in_one_directory_are_killed() -> None:
    world, page = a_server(), a_page(ARMED, left_ns=PAST)
    world.add(500, parent=1)
    world.add(501, parent=500)
    guard = g.Guard(page)
    turn(guard, world)
    assert (guard.state, outcome(world)) == (KILLED, GONE)


def test_a_grandchild_is_not_stopped_and_ends_no_hold() -> None:
    world, page = a_server(), a_page(ARMED, left_ns=PAST)
    world.add(300, parent=BACKENDS[0])  # between fork and exec it looks like a Postgres
    guard = g.Guard(page)
    turn(guard, world)
    turn(guard, world)
    assert guard.state == HELD
    assert world.running() == [300]


def test_a_child_that_left_the_directory_is_killed_too() -> None:
    world, page = prepared(ARMED, p.ORDER_KILL, AHEAD)
    world.processes[BACKENDS[2]].is_in_directory = False
    turn(g.Guard(page), world)
    assert outcome(world) == GONE


@pytest.mark.parametrize("state", [ARMED, HELD])
def test_a_server_whose_directory_was_renamed_is_ended_too(state: int) -> None:
    world, page = a_server(), a_page(ARMED)
    guard = g.Guard(page)
    turn(guard, world)
    if state == HELD:
        page[p.DEADLINE_BOOT_NS] = 0
        turn(guard, world)
    for each in world.processes.values():
        each.is_in_directory = False
    page[p.DEADLINE_BOOT_NS] = 0
    turn(guard, world)
    assert (guard.state, outcome(world)) == (KILLED, GONE)


def test_what_appears_after_the_kill_is_killed() -> None:
    world, page = prepared(ARMED, p.ORDER_KILL, AHEAD)
    guard = g.Guard(page)
    assert turn(guard, world) == g.WATCH_NS
    world.add(500, parent=1)
    turn(guard, world)
    assert world.processes == {}
    assert "appeared" in guard.said[-1]


def test_a_killed_guard_is_disarmed_when_nothing_is_left() -> None:
    world, page = prepared(ARMED, p.ORDER_KILL, AHEAD)
    guard = g.Guard(page)
    turn(guard, world)
    assert guard.is_empty
    order(page, p.ORDER_DISARM)
    turn(guard, world)
    assert guard.state == IDLE


def test_a_half_done_hold_is_completed_by_the_next_guard_even_with_a_newer_deadline() -> None:
    world, page = prepared(HELD, NONE, AHEAD)
    page[p.SWEEP_NS] = 0
    world.processes[BACKENDS[0]].letter = "R"
    guard = g.Guard(page)
    turn(guard, world)
    assert (guard.state, outcome(world)) == (HELD, STANDS)


def test_a_half_done_thaw_is_ended_by_a_hold_when_the_lease_is_over() -> None:
    world, page = a_server(), a_page(ARMED, left_ns=PAST)
    page[p.THAWING] = 1
    world.processes[POSTMASTER].letter = "T"
    guard = g.Guard(page)
    turn(guard, world)
    assert (guard.state, outcome(world), page[p.THAWING]) == (HELD, STANDS, 0)


def torn(page_memory: bytearray) -> p.Page:
    """Return a page no pair of which matches."""
    for word in range(1, 64, 2):
        page_memory[8 * word] ^= 1
    return p.Page(memoryview(page_memory))


@pytest.mark.parametrize("state", [IDLE, ARMED, HELD, KILLED])
def test_a_page_of_torn_pairs_is_read_as_what_was_to_be_written(state: int) -> None:
    memory = bytearray(p.SIZE)
    page = p.Page(memoryview(memory))
    page.clear()
    page[p.STATE] = state
    page[p.DEADLINE_BOOT_NS] = 77
    page.close()
    read = torn(memory)
    assert (read[p.STATE], read[p.DEADLINE_BOOT_NS]) == (state, 77)


def test_a_page_that_makes_no_sense_ends_postgres() -> None:
    page = p.Page(memoryview(bytearray(b"\xa5" * p.SIZE)))
    world = a_server()
    guard = g.Guard(page)
    for _ in range(3):
        turn(guard, world)
    assert not world.running()


@pytest.mark.parametrize("requests", range(1, 40, 3))
def test_an_order_to_kill_that_comes_during_a_hold_is_obeyed(requests: int) -> None:
    world, page = a_server(), a_page(ARMED, left_ns=PAST)
    left = [requests]

    def interfere(_: World) -> None:
        left[0] -= 1
        if left[0] == 0:
            order(page, p.ORDER_KILL)

    world.on_request = interfere
    guard = g.Guard(page)
    for _ in range(20):
        turn(guard, world)
    assert (guard.state, outcome(world)) == (KILLED, GONE)


# --- drills


def test_a_drill_holds_and_lets_go_on() -> None:
    world, page = a_server(), a_page(IDLE)
    guard = g.Guard(page)
    said = drive(guard.drill(100_000_000), world)  # type: ignore[arg-type]  # the world answers what is asked
    assert said.startswith("complete: 4 processes in")
    assert said.endswith("held for 100 ms")
    assert (guard.state, outcome(world), page[p.THAWING]) == (IDLE, RUNS, 0)


@pytest.mark.parametrize("state", [ARMED, HELD, KILLED])
def test_a_drill_is_refused_where_something_is_guarded(state: int) -> None:
    world, page = a_server(), a_page(state)
    assert drive(g.Guard(page).drill(1), world) == "refused: not idle"  # type: ignore[arg-type]  # the same
    assert world.sent == []


def test_an_order_of_the_agent_ends_a_drill() -> None:
    world, page = a_server(), a_page(IDLE)
    guard = g.Guard(page)

    def arm(world: World) -> None:
        if world.stopped() and page[p.ORDER] == 0:
            order(page, p.ORDER_ARM)

    world.on_request = arm
    drive(guard.drill(10**12), world)  # type: ignore[arg-type]  # the same
    assert outcome(world) == RUNS
    assert world.boot_ns < NOW_NS + SECOND_NS


def test_a_drill_whose_guard_dies_is_ended_by_the_next_one() -> None:
    for requests in itertools.count():
        world, page = a_server(), a_page(IDLE)
        try:
            drive(g.Guard(page).drill(50_000_000), world, requests)  # type: ignore[arg-type]  # the same
        except Died:
            turn(g.Guard(page), world)
            assert outcome(world) == RUNS, f"after {requests} requests"
        else:
            return


def test_a_postmaster_that_dies_in_a_drill_takes_its_stopped_children_along() -> None:
    world, page = a_server(), a_page(IDLE)

    def crash(world: World) -> None:
        if len(world.stopped()) == 4:
            world.crash(POSTMASTER)

    world.on_request = crash
    drive(g.Guard(page).drill(50_000_000), world)  # type: ignore[arg-type]  # the same
    assert not world.processes
