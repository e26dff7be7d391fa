"""What a measurement is: a name to be called by, its figures, and how to take them."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.bench.figure import Figure
from tests.bench.software import Software

Measured = Mapping[Figure, list[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much to measure."""

    runs: int | None = None  # None: as many as the goal asks for
    is_quick: bool = False  # a few short runs, to see that it works

    def runs_of(self, wanted: int) -> int:
        """Return how often to measure what the goal asks `wanted` runs for."""
        if self.runs is not None:
            return self.runs
        return min(wanted, 3) if self.is_quick else wanted

    def seconds(self, wanted_s: float) -> float:
        """Return how long to measure what should be looked at for `wanted_s`."""
        return wanted_s / 6 if self.is_quick else wanted_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One measurement on clusters of its own."""

    name: str  # for --only
    figures: tuple[Figure, ...]
    measure: Callable[[Software, Effort], Measured]


def rest(seconds: float) -> None:
    """Let a cluster run undisturbed; nothing is waited for, so nothing could end it sooner."""
    threading.Event().wait(seconds)


def any_moment_s(period_s: float) -> float:
    """Return a time at random, so that runs meet every phase of what goes round with this period."""
    return random.uniform(0.0, period_s)


def say(text: str) -> None:
    """Show progress."""
    print(f"bench: {text}", flush=True)
