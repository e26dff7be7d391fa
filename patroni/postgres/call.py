"""One request under way: until when it may take, and whether somebody wants it to end.

Every wait of this room goes through `Call.wait`, so that each is bounded and ends when the request is cancelled.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Mapping

from patroni.postgres.request import PostgresError, PostgresTimeout

Clock = Callable[[], float]  # monotonic seconds


class Call:
    """The deadline and the cancellation of one request. Used by one thread; `cancel` by any until `close`."""

    def __init__(self, timeout_s: float, now_s: Clock) -> None:
        self._now_s = now_s
        self._deadline_s = now_s() + timeout_s
        self._cancelled = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def now_s(self) -> float:
        """Return the time on the clock of `until`."""
        return self._now_s()

    def left_s(self) -> float:
        """Return how many seconds this request still has; never negative."""
        return max(0.0, self._deadline_s - self._now_s())

    def until(self, within_s: float) -> float:
        """Return the moment `within_s` from now, but not after the request's own deadline."""
        return min(self._deadline_s, self._now_s() + within_s)

    def check(self, doing: str) -> None:
        """Raise PostgresTimeout if the request's time is over; `doing` says what it was doing."""
        if self.left_s() <= 0:
            raise PostgresTimeout(f"{doing}: no answer in time")

    def wait(self, events: Mapping[int, int], within_s: float) -> Mapping[int, int]:
        """Wait for poll events (by descriptor) and return those that came; empty: `within_s` or the request's time is over."""
        poller = select.poll()
        poller.register(self._cancelled, select.POLLIN)
        for descriptor, mask in events.items():
            poller.register(descriptor, mask)
        came = dict(poller.poll(1000 * min(within_s, self.left_s())))
        if self._cancelled in came:
            raise PostgresError("cancelled")
        return came

    def cancel(self) -> None:
        """End the request's present and later waits with a PostgresError."""
        os.eventfd_write(self._cancelled, 1)

    def close(self) -> None:
        """Give up the descriptor."""
        os.close(self._cancelled)
