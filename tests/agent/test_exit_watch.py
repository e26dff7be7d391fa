"""Exit watch: each end of a real process is told once, at once, whether it was watched before its end or after."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from patroni.agent.exit_watch import ExitWatch
from tests.support.waiting import wait_until

PATIENCE_S = 20.0


class Told:
    """What a watch has told."""

    def __init__(self) -> None:
        self.pids: list[int] = []
        self.watch = ExitWatch(self.pids.append)

    def wait(self, *pids: int) -> None:
        wait_until(lambda: sorted(self.pids) == sorted(pids), PATIENCE_S, f"the ends of {pids}", lambda: self.pids)


@pytest.fixture
def told() -> Iterator[Told]:
    made = Told()
    yield made
    made.watch.close()


@contextmanager
def process() -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that does nothing; it is not reaped before the end."""
    running = subprocess.Popen(["sleep", "600"])
    try:
        yield running
    finally:
        running.kill()
        running.wait(PATIENCE_S)


def gone_pid() -> int:
    """Return the pid of a process that has ended and been reaped."""
    ended = subprocess.Popen(["true"])
    ended.wait(PATIENCE_S)
    return ended.pid


def test_an_end_is_told_before_anybody_reaps_the_process(told: Told) -> None:
    with process() as running:
        told.watch.watch(running.pid)
        running.kill()
        told.wait(running.pid)


def test_a_process_that_is_gone_already_is_told_at_once(told: Told) -> None:
    pid = gone_pid()
    told.watch.watch(pid)
    assert told.pids == [pid]


def test_a_process_that_has_ended_and_was_not_reaped_is_told(told: Told) -> None:
    with process() as running:
        running.kill()
        os.waitid(os.P_PID, running.pid, os.WEXITED | os.WNOWAIT)
        told.watch.watch(running.pid)
        told.wait(running.pid)


def test_watching_twice_tells_once(told: Told) -> None:
    with process() as first, process() as second:
        for _ in range(3):
            told.watch.watch(first.pid)
        told.watch.watch(second.pid)
        first.kill()
        told.wait(first.pid)
        second.kill()
        told.wait(first.pid, second.pid)


def test_an_end_is_told_once_and_the_pid_is_free_for_another_process(told: Told) -> None:
    """A pidfd names one process, not its number: whoever gets that number later has to be watched anew."""
    with process() as running:
        told.watch.watch(running.pid)
        running.kill()
        told.wait(running.pid)
        running.wait(PATIENCE_S)
        told.watch.watch(running.pid)
        told.wait(running.pid, running.pid)
    with process() as other:
        told.watch.watch(other.pid)
        other.kill()
        told.wait(running.pid, running.pid, other.pid)


def test_many_processes(told: Told) -> None:
    running = [subprocess.Popen(["sleep", "600"]) for _ in range(20)]
    for each in running:
        told.watch.watch(each.pid)
    for each in running:
        each.kill()
    told.wait(*(each.pid for each in running))
    for each in running:
        each.wait(PATIENCE_S)


def test_what_cannot_be_watched_ends_neither_the_watch_nor_the_caller(told: Told) -> None:
    """A thread's number is no process; the periodic look at the files finds out what this watch does not tell."""
    with process() as running, other_thread() as number:
        told.watch.watch(number)
        told.watch.watch(running.pid)
        running.kill()
        told.wait(running.pid)


@contextmanager
def other_thread() -> Iterator[int]:
    """Yield the kernel's number of a thread that is not the first one of its process."""
    may_end, began = threading.Event(), threading.Event()
    numbers: list[int] = []

    def run() -> None:
        numbers.append(threading.get_native_id())
        began.set()
        may_end.wait(PATIENCE_S)

    thread = threading.Thread(target=run)
    thread.start()
    began.wait(PATIENCE_S)
    try:
        yield numbers[0]
    finally:
        may_end.set()
        thread.join(PATIENCE_S)


def test_after_the_end_nothing_is_told() -> None:
    made = Told()
    with process() as running:
        made.watch.watch(running.pid)
        made.watch.close()
    assert made.pids == []
