"""Lanes: threads that do what they are given, in order. A lane that hangs on a dead disk holds up no other."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue

logger = logging.getLogger(__name__)


class Lane:
    """Daemon threads with one queue of calls. What a call raises is logged; the lane goes on."""

    def __init__(self, name: str, threads: int = 1) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        names = [name] if threads == 1 else [f"{name}-{number}" for number in range(threads)]
        self._threads = [threading.Thread(target=self._run, name=each, daemon=True) for each in names]
        for thread in self._threads:
            thread.start()

    def do(self, call: Callable[[], None]) -> None:
        """Queue a call; returns at once."""
        self._calls.put(call)

    def close(self, timeout_s: float) -> None:
        """Let the threads end after what is queued; wait at most so long (a daemon thread never keeps the process)."""
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join(timeout_s / len(self._threads))

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                call()
            except Exception:  # the outermost frame of a lane: one call's fault must not end the others'
                logger.exception("a task of the agent failed")
