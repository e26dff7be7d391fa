"""The engine: one queue of events in true time, places that can stop and die, and tasks that wait.

Everything that happens is an event at a place (a process, a host). A frozen place collects its events and has them when it
goes on; a dead one loses them. A task is a generator that yields how many seconds to wait, or a `Wait`; between two yields
nothing else happens, so each yield is where a freeze or a death fits. True time is nobody's clock: see `host.py`.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Call = Callable[[], None]
MESSAGE = -1.0  # instead of a timer's count of slept seconds


class Place:
    """Where events happen: stops and goes on, or dies, with all that is inside it."""

    def __init__(self, engine: Engine, name: str, parent: Place | None = None) -> None:
        self.engine = engine
        self.name = name
        self.parent = parent
        self.slept_s = 0.0  # suspended so far: a timer does not count this (CLOCK_MONOTONIC)
        self._is_dead = False
        self._stops = 0
        self._kept: list[_Event] = []

    @property
    def is_dead(self) -> bool:
        """Whether this place, or one around it, has ended."""
        return self._is_dead or (self.parent is not None and self.parent.is_dead)

    @property
    def is_stopped(self) -> bool:
        """Whether this place, or one around it, does nothing now."""
        return self._stops > 0 or (self.parent is not None and self.parent.is_stopped)

    def stop(self) -> None:
        """Let nothing happen here until `go`; stops count."""
        self._stops += 1

    def go(self, slept_s: float = 0.0) -> None:
        """Go on; what was kept happens now. slept_s: for how long even the timers stood still (a suspend)."""
        self._stops -= 1
        self.slept_s += slept_s
        if self._stops == 0:
            kept, self._kept = self._kept, []
            for event in kept:
                self.engine.put_again(event)

    def die(self) -> None:
        """End for good."""
        self._is_dead = True
        self._kept.clear()

    def keep(self, event: _Event) -> bool:
        """Keep the event if this place or one around it is stopped; return whether it was kept."""
        if self._stops > 0:
            self._kept.append(event)
            return True
        return self.parent.keep(event) if self.parent is not None else False

    def all_slept_s(self) -> float:
        """Return the suspended seconds of this place and those around it."""
        return self.slept_s + (self.parent.all_slept_s() if self.parent is not None else 0.0)


_Event = tuple[float, int, Place, Call, float]  # when, in which order, where, what, slept seconds when a timer was set


class Engine:
    """The queue and the true time."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.events = 0
        self._queue: list[_Event] = []
        self._number = 0

    def soon(self, place: Place, call: Call, delay_s: float = 0.0) -> None:
        """Let something reach a place: a message, a death, a wake-up; not held up by a suspend longer than the suspend."""
        self._number += 1
        heapq.heappush(self._queue, (self.now_s + delay_s, self._number, place, call, MESSAGE))

    def timer(self, place: Place, call: Call, delay_s: float) -> None:
        """Let something happen at a place after so many true seconds, in which the place was not suspended."""
        self._number += 1
        heapq.heappush(self._queue, (self.now_s + delay_s, self._number, place, call, place.all_slept_s()))

    def put_again(self, event: _Event) -> None:
        """Take back an event that a stopped place kept; a timer stood still while the place was suspended."""
        at_s, _, place, call, slept_s = event
        if slept_s >= 0.0:
            total_s = place.all_slept_s()
            at_s, slept_s = at_s + total_s - slept_s, total_s
        self._number += 1
        heapq.heappush(self._queue, (max(at_s, self.now_s), self._number, place, call, slept_s))

    def step(self) -> bool:
        """Let the next event happen; return whether there was one that had an effect."""
        at_s, _, place, call, slept_s = event = heapq.heappop(self._queue)
        self.now_s = at_s
        if place.is_dead or place.keep(event):
            return False
        if slept_s >= 0.0:
            late_s = place.all_slept_s() - slept_s
            if late_s > 0.0:
                self._number += 1
                again = (at_s + late_s, self._number, place, call, place.all_slept_s())
                heapq.heappush(self._queue, again)
                return False
        self.events += 1
        call()
        return True

    @property
    def next_s(self) -> float:
        """Return when the next event is due."""
        return self._queue[0][0] if self._queue else float("inf")


class Signal:
    """What tasks wait for; firing wakes all that wait now."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Task[Any], int]] = []

    def add(self, task: Task[Any], turn: int) -> None:
        """Wake this task, if it still waits in this turn."""
        self._waiting.append((task, turn))

    def fire(self) -> None:
        """Wake all that wait."""
        waiting, self._waiting = self._waiting, []
        for task, turn in waiting:
            task.wake(turn)


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for a signal, at most so many true seconds (None: for ever); answers whether it fired."""

    signal: Signal
    within_s: float | None


Acts = Generator["float | Wait", Any, T]  # a float: sleep so many true seconds


class Task(Generic[T]):
    """A generator that runs at a place from now on."""

    def __init__(self, place: Place, acts: Acts[T], on_end: Callable[[T], None] | None = None) -> None:
        self.place = place
        self.is_over = False
        self.ended = Signal()
        self._acts = acts
        self._on_end = on_end
        self._turn = 0
        self._is_running = False
        self._pending: BaseException | None = None
        self.wake(0)

    def wake(self, turn: int, *, value: bool = True) -> None:
        """Go on soon, if it still waits in this turn."""
        if turn == self._turn and not self.is_over:
            self.place.engine.soon(self.place, lambda: self._resume(turn, value))

    def kill(self) -> None:
        """End it where it stands; nothing of it happens any more."""
        if not self.is_over:
            self.is_over = True
            self._turn += 1
            if not self._is_running:
                self._acts.close()

    def interrupt(self, error: BaseException) -> None:
        """Raise an error where it waits, as soon as it goes on."""
        if not self.is_over:
            self._pending = error
            self.wake(self._turn)

    def _resume(self, turn: int, value: bool) -> None:  # the answer of a wait
        if turn != self._turn or self.is_over:
            return
        self._turn += 1
        error, self._pending = self._pending, None
        self._is_running = True
        try:
            wanted = self._acts.send(value if self._turn > 1 else None) if error is None else self._acts.throw(error)
        except StopIteration as end:
            self._end(end.value)
            return
        finally:
            self._is_running = False
        self._wait(wanted)

    def _wait(self, wanted: float | Wait) -> None:
        if self.is_over:
            self._acts.close()
            return
        turn, engine = self._turn, self.place.engine
        if isinstance(wanted, Wait):
            wanted.signal.add(self, turn)
            if wanted.within_s is not None:
                engine.timer(self.place, lambda: self._resume(turn, False), max(0.0, wanted.within_s))
        else:
            engine.timer(self.place, lambda: self._resume(turn, True), wanted)

    def _end(self, value: T) -> None:
        self.is_over = True
        self.ended.fire()
        if self._on_end is not None:
            self._on_end(value)
