"""The slot of the background job: one job at a time (design.md §3, contract/ha_behaviour.md §2.2).

Promised: a job belongs to the slot from the moment it is taken, so that a cancellation between its order and its start is not
lost: it then ends without having begun. Mechanism: each job has flags of its own; a cancelled one makes room for the next,
which waits on the same thread for its end. Not promised: that a cancelled step ends at once; that is the driver's part.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from patroni.agent.job import kind_of
from patroni.agent.lane import Lane
from patroni.agent.request import Void
from patroni.decision.actions import JobAction


@dataclass(slots=True, eq=False)
class Occupant:
    """One job in the slot, or on its way out of it."""

    action: JobAction
    is_cancelled: bool = False
    is_hurried: bool = False


class JobSlot:
    """See the module; any thread may call."""

    def __init__(self, carry_out: Callable[[Occupant], None]) -> None:
        """carry_out: does the job on the slot's thread and calls `free` at its end."""
        self._carry_out = carry_out
        self._lane = Lane("job")
        self._lock = threading.Lock()
        self._job: Occupant | None = None  # the last one taken, while it has not ended

    def take(self, action: JobAction, begin: Callable[[], None], *, is_forced: bool = False) -> None:
        """Put a job into the slot, or raise Void if one is in it that nobody cancelled. begin: called before it starts.

        is_forced: whatever is in the slot is cancelled, also what came there only now.
        """
        job = Occupant(action)
        with self._lock:
            if self._job is not None and is_forced:
                self._job.is_cancelled = True
            elif self._job is not None and not self._job.is_cancelled:
                raise Void(f"busy: {kind_of(self._job.action)[0]}")
            self._job = job
        begin()
        self._lane.do(lambda: self._carry_out(job))

    def free(self, job: Occupant) -> None:
        """Let go of the slot, unless another job has it already."""
        with self._lock:
            if self._job is job:
                self._job = None

    def cancel(self) -> bool:
        """Cancel the job in the slot, begun or not; return whether there is one."""
        with self._lock:
            if self._job is None:
                return False
            self._job.is_cancelled = True
            return True

    def hurry(self) -> None:
        """Let a stop that waits for standbys end."""
        with self._lock:
            if self._job is not None:
                self._job.is_hurried = True

    def close(self, timeout_s: float) -> None:
        """End the thread after what is queued."""
        self._lane.close(timeout_s)
