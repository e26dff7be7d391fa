"""A scripted Postgres for the guard's generators: processes that stop, go on and die, one request at a time."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TypeVar

from patroni.fence import guard as g
from patroni.fence import page as p
from patroni.fence import sweep
from patroni.fence.sweep import SIGCONT, SIGKILL, SIGSTOP

V = TypeVar("V")

POSTMASTER = 100
BACKENDS = (101, 102, 103)
SECOND_NS = 1_000_000_000
NOW_NS = 1000 * SECOND_NS
A, B = 0xAAAA, 0xBBBB  # incarnations


@dataclass(slots=True)
class Simulated:
    """One process."""

    pid: int
    parent: int
    started: int
    session: int
    letter: str = "S"
    is_stopping: bool = False
    stops_after: int = 0  # looks until a SIGSTOP is taken: in the kernel until then
    is_in_directory: bool = True


@dataclass(slots=True)
class World:
    """Answers requests; counts what the guard did."""

    processes: dict[int, Simulated] = field(default_factory=dict)
    boot_ns: int = NOW_NS
    raw_ns: int = NOW_NS
    forks: int = 0  # of the postmaster that complete although it was told to stop
    sent: list[tuple[int, int]] = field(default_factory=list)  # pid, signal
    on_request: Callable[[World], None] | None = None  # called before each answer

    def answer(self, request: object) -> object:
        """Answer one request."""
        if self.on_request is not None:
            self.on_request(self)
        match request:
            case g.ReadClock():
                return g.Clock(self.boot_ns, self.raw_ns)
            case sweep.FindProcesses():
                return tuple(_seen(each) for each in self.processes.values() if each.is_in_directory and each.letter != "Z")
            case sweep.ListChildren(pid=pid):
                return tuple(each.pid for each in self.processes.values() if each.parent == pid)
            case sweep.Look(pid=pid):
                return self._look(pid)
            case sweep.Send(pid=pid, started=started, number=number):
                return self._send(pid, started, number)
            case sweep.Pause(seconds=seconds):
                self.pass_ns(int(seconds * 1e9))
        return None

    def pass_ns(self, ns: int) -> None:
        """Let time pass on both clocks."""
        self.boot_ns += ns
        self.raw_ns += ns

    def running(self) -> list[int]:
        """Return who could still acknowledge something."""
        return [each.pid for each in self.processes.values() if each.letter in "RSD" and not each.is_stopping]

    def stopped(self) -> list[int]:
        """Return who stands, or will."""
        return [each.pid for each in self.processes.values() if each.letter == "T" or each.is_stopping]

    def add(self, pid: int, parent: int = POSTMASTER, letter: str = "S") -> Simulated:
        """Add a process."""
        self.processes[pid] = Simulated(pid, parent, started=pid * 10, session=pid, letter=letter)
        return self.processes[pid]

    def crash(self, pid: int) -> None:
        """End a process as the kernel does: its children go to init."""
        self.processes.pop(pid, None)
        for each in self.processes.values():
            each.parent = 1 if each.parent == pid else each.parent

    def _look(self, pid: int) -> sweep.Seen | None:
        each = self.processes.get(pid)
        if each is None:
            return None
        if each.is_stopping:
            each.stops_after -= 1
            if each.stops_after < 0:
                self._fork_late(each)
                each.letter, each.is_stopping = "T", False
        return _seen(each)

    def _fork_late(self, each: Simulated) -> None:
        if each.pid == POSTMASTER and self.forks:
            self.forks -= 1
            self.add(200 + self.forks)

    def _send(self, pid: int, started: int | None, number: int) -> bool:
        each = self.processes.get(pid)
        if each is None or (started is not None and each.started != started):
            return False
        self.sent.append((pid, number))
        if number == SIGKILL:
            self.crash(pid)
        elif number == SIGCONT:
            each.letter, each.is_stopping = "S", False
        elif number == SIGSTOP and each.letter != "T":
            each.is_stopping = True
            each.letter = "D" if each.stops_after else "R"
        return True


def a_server() -> World:
    """Return a postmaster with three children."""
    world = World()
    world.add(POSTMASTER, parent=1)
    for pid in BACKENDS:
        world.add(pid)
    return world


def a_page(state: int = p.STATE_IDLE, *, left_ns: int = SECOND_NS, incarnation: int = A) -> p.Page:
    """Return a page whose deadline is so far ahead, with a hold that was complete where one is under way."""
    page = p.Page(memoryview(bytearray(p.SIZE)))
    page.clear()
    page[p.STATE] = state
    page[p.DEADLINE_BOOT_NS] = page[p.DEADLINE_RAW_NS] = NOW_NS + left_ns
    page[p.INCARNATION] = page[p.ARMED_INCARNATION] = incarnation
    page[p.HOLD_NS] = 10 * SECOND_NS
    if state == p.STATE_HELD:
        page[p.HELD_BOOT_NS], page[p.SWEEP_NS] = NOW_NS, 1
    return page


def order(page: p.Page, word: int) -> None:
    """Give the next order."""
    page[p.ORDER] = p.numbered(p.number_of(page[p.ORDER]) + 1, word)


class Died(Exception):
    """The guard was killed between two requests."""


def drive(steps: Generator[object, object, V], world: World, requests: int | None = None) -> V:
    """Answer a generator to its end; raise Died after so many requests."""
    answer: object = None
    while True:
        try:
            request = steps.send(answer)
        except StopIteration as end:
            value: V = end.value
            return value
        if requests is not None:
            if requests == 0:
                raise Died
            requests -= 1
        answer = world.answer(request)


def turn(guard: g.Guard, world: World, requests: int | None = None) -> int:
    """Take one turn of the guard."""
    return drive(guard.turn(), world, requests)  # type: ignore[arg-type]  # the world answers what is asked


def _seen(each: Simulated) -> sweep.Seen:
    seen = sweep.Seen(each.pid, each.started, each.parent, each.session, each.letter)
    seen.is_stopping = each.is_stopping
    return seen
