"""The keeper's wait: ended by any thread, and never longer than asked."""

from __future__ import annotations

import threading
import time

from patroni.agent.bell import Bell

PATIENCE_S = 20.0


def test_a_ring_before_the_wait_ends_it() -> None:
    bell = Bell()
    bell.ring()
    began_s = time.monotonic()
    assert bell.wait(PATIENCE_S)
    assert time.monotonic() - began_s < PATIENCE_S / 2


def test_rings_that_nobody_waited_for_count_once() -> None:
    bell = Bell()
    bell.ring()
    bell.ring()
    assert bell.wait(0.0)
    assert not bell.wait(0.0)


def test_a_ring_ends_the_wait_of_another_thread() -> None:
    bell = Bell()
    rung: list[bool] = []
    waiting = threading.Thread(target=lambda: rung.append(bell.wait(PATIENCE_S)))
    waiting.start()
    bell.ring()
    waiting.join(PATIENCE_S / 2)
    assert rung == [True]


def test_a_wait_ends_when_its_time_has_passed() -> None:
    bell = Bell()
    began_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert not bell.wait(0.05)
    assert time.clock_gettime(time.CLOCK_BOOTTIME) - began_s >= 0.05 - 0.001


def test_the_timer_that_counts_suspend_ends_a_wait_by_itself() -> None:
    bell = Bell(slack_s=PATIENCE_S)
    began_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert not bell.wait(1.0)
    assert 1.0 - 0.001 <= time.clock_gettime(time.CLOCK_BOOTTIME) - began_s < 2.5


def test_no_wait_at_all() -> None:
    bell = Bell()
    assert not bell.wait(0.0)
    assert not bell.wait(-1.0)
