"""Wait for a condition with a deadline: the one place of the tests that pauses."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_PERIOD_S = 0.02


class NotInTime(AssertionError):
    """The condition did not come true before its deadline."""


def wait_until(condition: Callable[[], T], timeout_s: float, what: str, describe: Callable[[], object] | None = None) -> T:
    """Ask every 20 ms until the condition is true, and return its value; raise NotInTime at the deadline.

    what: completes "waited in vain for ...". describe: called at the deadline, for what a reader of the failure
    wants to see beside the condition's last value. The condition is asked at least once; what it raises ends the wait at once.
    """
    deadline_s = time.monotonic() + timeout_s
    pause = threading.Event()
    while not (value := condition()):
        if time.monotonic() >= deadline_s:
            seen = f"\n{describe()}" if describe else ""
            raise NotInTime(f"waited in vain for {what}: {timeout_s:g} s; last value {value!r}{seen}")
        pause.wait(_PERIOD_S)
    return value
