"""The file worker: the one thread that touches the data directory beside the job slot (safety_rules.md §7.3).

Promised: whoever asks it gets an answer in time, or `PostgresTimeout`; what was not begun by then is never begun. On a dead
disk this thread hangs alone, with one question behind it at most: who asks next is told at once that there is no answer.
Not promised: that what has begun has no effect when its time is over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from patroni.agent.lane import Lane
from patroni.postgres.request import PostgresTimeout

T = TypeVar("T")


class FileWorker:
    """See the module; any thread may call."""

    def __init__(self) -> None:
        self._lane = Lane("files")
        self._late: threading.Event | None = None  # set once the thread has come to the question that got no answer

    def do(self, call: Callable[[], None]) -> None:
        """Queue a call; returns at once."""
        self._lane.do(call)

    def ask(self, call: Callable[[], T], timeout_s: float) -> T:
        """Return or raise what the call does on the worker's thread."""
        if self._late is not None and not self._late.is_set():
            raise PostgresTimeout("the data directory does not answer")
        answer: Future[T] = Future()
        reached = threading.Event()

        def carry_out() -> None:
            try:
                if answer.set_running_or_notify_cancel():
                    _settle(answer, call)
            finally:
                reached.set()

        self._lane.do(carry_out)
        try:
            return answer.result(timeout_s)
        except TimeoutError as silence:
            self._late = reached
            answer.cancel()
            raise PostgresTimeout("the data directory does not answer") from silence

    def close(self, timeout_s: float) -> None:
        """End the thread after what is queued."""
        self._lane.close(timeout_s)


def _settle(answer: Future[T], call: Callable[[], T]) -> None:
    try:
        result = call()
    except Exception as failure:  # noqa: BLE001  # raised where it was asked for
        answer.set_exception(failure)
    else:
        answer.set_result(result)
