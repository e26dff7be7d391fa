"""The clocks of the agent; nobody else reads one. Everything else gets an `Instant` as an argument."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from patroni.decision.lease import Instant


def now() -> Instant:
    """Read the two clocks that count suspend (safety_rules.md §3)."""
    return Instant(boot_s=time.clock_gettime(time.CLOCK_BOOTTIME), raw_s=time.clock_gettime(time.CLOCK_MONOTONIC_RAW))


def wall() -> datetime:
    """Read the wall clock, with its zone: for schedules and for people, never for durations."""
    return datetime.now(UTC)
