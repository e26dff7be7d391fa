"""Hosts: two clocks each that nobody set right, and the network between them.

CLOCK_BOOTTIME runs up to 8 % fast or slow while a time daemon slews it and counts a suspend; CLOCK_MONOTONIC_RAW is off by
up to 0.1 % and does not. Both have offsets of their own (safety_rules.md §3).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from patroni.decision.lease import Instant
from tests.simulation.engine import Call, Engine, Place

SLEW = 0.08
RAW_ERROR = 0.001
_WALL = datetime(2026, 1, 1, tzinfo=UTC)


class Host(Place):
    """A machine. Its crash is the death of one `Host` and, at its boot, the birth of another."""

    def __init__(self, engine: Engine, name: str, chance: random.Random, boot_rate: float = 1.0) -> None:
        super().__init__(engine, name)
        self.chance = chance
        self.boot_rate = boot_rate
        self._boot = (engine.now_s, chance.uniform(1.0, 1e6))
        self.raw_rate = chance.uniform(1.0 - RAW_ERROR, 1.0 + RAW_ERROR)
        self._raw_offset_s = chance.uniform(1.0, 1e6)
        self._suspended_at_s: float | None = None
        self.resumed_boot_s = 0.0  # CLOCK_BOOTTIME at the last end of a suspend; 0: there was none
        self._wall_offset_s = chance.uniform(-5.0, 5.0)

    def now(self) -> Instant:
        """Read the two clocks."""
        now_s = self.engine.now_s
        awake_s = now_s - self.slept_s
        return Instant(boot_s=self._boot_at(now_s), raw_s=self._raw_offset_s + self.raw_rate * awake_s)

    def wall(self) -> datetime:
        """Read the wall clock."""
        return _WALL + timedelta(seconds=self.engine.now_s + self._wall_offset_s)

    def lasts_s(self, seconds: float) -> float:
        """Return how many true seconds pass while this host's timers count so many."""
        return seconds / self.boot_rate

    def slew(self, boot_rate: float) -> None:
        """Let CLOCK_BOOTTIME run at another rate from now on."""
        self._boot = (self.engine.now_s, self._boot_at(self.engine.now_s))
        self.boot_rate = boot_rate

    def suspend(self) -> None:
        """Stand still: processes, timers and CLOCK_MONOTONIC_RAW; CLOCK_BOOTTIME counts."""
        if self._suspended_at_s is None:
            self._suspended_at_s = self.engine.now_s
            self.stop()

    def resume(self) -> None:
        """Go on."""
        if self._suspended_at_s is not None:
            slept_s = self.engine.now_s - self._suspended_at_s
            self._suspended_at_s = None
            self.resumed_boot_s = self.now().boot_s
            self.go(slept_s)

    def lag_s(self) -> float:
        """Return how late a process of this host wakes up (fence_facts.md §3): mostly at once, seldom much later."""
        return 0.0002 if self.chance.random() < 0.97 else self.chance.choice((0.005, 0.02, 0.05, 0.15))

    def _boot_at(self, now_s: float) -> float:
        since_s, boot_s = self._boot
        return boot_s + self.boot_rate * (now_s - since_s)


@dataclass(slots=True)
class Weather:
    """How messages fare now, all ways alike; a fault makes it worse for a while."""

    delay_s: float = 0.0005
    tail: float = 0.002  # share of messages that take much longer
    tail_s: float = 0.3


class Network:
    """Which host reaches which, one way at a time, and how long it takes."""

    def __init__(self, engine: Engine, chance: random.Random) -> None:
        self.engine = engine
        self.weather = Weather()
        self._chance = chance
        self._cuts: dict[tuple[str, str], int] = {}  # by names of sender and receiver; cuts count
        self._on_change: list[Call] = []

    def is_open(self, sender: str, receiver: str) -> bool:
        """Whether something sent now arrives."""
        return (sender, receiver) not in self._cuts

    def is_open_both(self, one: str, other: str) -> bool:
        """Whether two hosts hear each other."""
        return self.is_open(one, other) and self.is_open(other, one)

    def cut(self, sender: str, receiver: str) -> None:
        """Let nothing through this way; cuts count."""
        self._cuts[sender, receiver] = self._cuts.get((sender, receiver), 0) + 1
        self._changed()

    def mend(self, sender: str, receiver: str) -> None:
        """Take one cut back."""
        left = self._cuts.get((sender, receiver), 0) - 1
        if left > 0:
            self._cuts[sender, receiver] = left
        else:
            self._cuts.pop((sender, receiver), None)
        self._changed()

    def delay_s(self) -> float:
        """Return how long the next message takes."""
        weather = self.weather
        if self._chance.random() < weather.tail:
            return weather.delay_s + self._chance.expovariate(1.0 / weather.tail_s)
        return weather.delay_s * self._chance.uniform(0.5, 2.0)

    def send(self, sender: str, receiver: Place, name: str, call: Call) -> None:
        """Send one message to a place on the host of this name; it is lost where the way is cut when it would arrive."""
        if not self.is_open(sender, name):
            return

        def arrive() -> None:
            if self.is_open(sender, name):
                call()

        self.engine.soon(receiver, arrive, self.delay_s())

    def on_change(self, call: Callable[[], None]) -> None:
        """Tell this whenever a way is cut or mended."""
        self._on_change.append(call)

    def _changed(self) -> None:
        for call in list(self._on_change):
            call()
