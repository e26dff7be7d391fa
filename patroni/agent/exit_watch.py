"""Exit watch: tells at once when a process that is no child of ours ends, by its pidfd. No polling."""

from __future__ import annotations

import logging
import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress

logger = logging.getLogger(__name__)


class ExitWatch:
    """Watches any number of pids; each exit is told once, from the watch's own thread."""

    def __init__(self, on_exit: Callable[[int], None]) -> None:
        """on_exit: takes the pid; must not block."""
        self._on_exit = on_exit
        self._lock = threading.Lock()
        self._watched: dict[int, int] = {}  # pid -> pidfd
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="exits", daemon=True)
        self._thread.start()

    def watch(self, pid: int) -> None:
        """Watch this process from now on; one that is gone already is told at once. Watching it twice is watching it once."""
        with self._lock:
            if pid in self._watched:
                return
            try:
                self._watched[pid] = os.pidfd_open(pid)
            except ProcessLookupError:
                is_gone = True
            except OSError as error:  # no file descriptor is left, say: the periodic looks find its end out later
                logger.warning("the end of process %d cannot be watched: %s", pid, error.strerror)
                return
            else:
                is_gone = False
        if is_gone:
            self._on_exit(pid)
        self._wake()

    def close(self) -> None:
        """End the watch."""
        self._is_closed = True
        self._wake()
        self._thread.join(1.0)

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # a full pipe wakes as well
            os.write(self._wake_write, b"x")

    def _run(self) -> None:
        while not self._is_closed:
            poller = select.poll()
            poller.register(self._wake_read, select.POLLIN)
            with self._lock:
                pids = {fd: pid for pid, fd in self._watched.items()}
            for fd in pids:
                poller.register(fd, select.POLLIN)
            ready = {fd for fd, _ in poller.poll()}
            if self._wake_read in ready:
                os.read(self._wake_read, 4096)
            for fd in ready & pids.keys():
                with self._lock:
                    del self._watched[pids[fd]]
                os.close(fd)
                self._on_exit(pids[fd])
