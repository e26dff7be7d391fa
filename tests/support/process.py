"""Real processes of tests: each in a session of its own, with a log file, ended by its pid whatever happens."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self, TypeVar

from tests.support.backstop import backstop, kill_group
from tests.support.directories import unprivileged_user
from tests.support.waiting import NotInTime, wait_until

T = TypeVar("T")

_LOG_TAIL_LINES = 40


class EndedEarly(AssertionError):
    """The process ended while a test waited for something else."""


class Process:
    """A server's process, started and ended as often as a test likes with the same arguments.

    It leads a session and process group of its own. It is not reaped before `kill` or `stop`, so its pid names
    nobody else until then. As a context manager it starts and is killed. What it starts in other groups ends
    with its `server_directory`.
    """

    def __init__(
        self,
        arguments: Sequence[str | Path],
        directory: Path,
        environment: Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> None:
        """Prepare a process.

        directory: a `server_directory` or below; the working directory, also of the log NAME.log. name: None: that of
        the program. environment: what differs from ours. When we are root it runs as `postgres`, unless `user` is set
        to None before the start.
        """
        self.arguments = [str(argument) for argument in arguments]
        self.directory = directory
        self.environment = dict(environment or {})
        self.user = unprivileged_user()
        self.name = name or Path(self.arguments[0]).name
        self.log_file = directory / f"{self.name}.log"
        self._popen: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Kill it."""
        self.kill()

    def start(self) -> None:
        """Start it; its output is appended to the log."""
        assert self._popen is None, f"{self} was started already"
        with self.log_file.open("ab") as log:
            self._popen = subprocess.Popen(
                self.arguments,
                cwd=self.directory,
                env={**os.environ, "HOME": str(self.directory), **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=self.user,
                group=self.user,
                extra_groups=None if self.user is None else [],
            )
        backstop.tell("group", self._popen.pid)

    @property
    def pid(self) -> int:
        """Return the pid of the started process."""
        assert self._popen is not None, f"{self} is not started"
        return self._popen.pid

    def is_running(self) -> bool:
        """Tell whether it was started and has not ended. A paused process is running."""
        return self._popen is not None and self._has_ended() is None

    def has_ended_by_itself(self) -> bool:
        """Tell whether it was started, and has ended although nobody here killed or stopped it."""
        return self._popen is not None and self._has_ended() is not None

    def wait_for(self, condition: Callable[[], T], timeout_s: float, what: str) -> T:
        """Wait as `wait_until`; raise EndedEarly as soon as the process ends first. Failures show the log's end."""

        def checked() -> T:
            value = condition()
            status = self._has_ended()
            if not value and status is not None:
                raise EndedEarly(f"{self} ended with status {status}, before {what}\n{self.log_tail()}")
            return value

        return wait_until(checked, timeout_s, f"{what} of {self}", self.log_tail)

    def wait_end(self, timeout_s: float) -> int:
        """Wait until it ends by itself, and return its exit status; a signal's number is negative."""
        with open(os.pidfd_open(self.pid)) as ended:
            if not select.select([ended], [], [], timeout_s)[0]:
                raise NotInTime(f"{self} has not ended in {timeout_s:g} s\n{self.log_tail()}")
        status = self._has_ended()
        assert status is not None
        return status

    def stop(self, timeout_s: float = 10.0) -> int:
        """Ask it to end (SIGTERM) and return its exit status; at the deadline kill it and raise NotInTime."""
        try:
            self.signal(signal.SIGTERM)
            return self.wait_end(timeout_s)
        finally:
            self.kill()

    def kill(self) -> None:
        """Kill it with its process group, paused or not; when it was not started, nothing."""
        popen, self._popen = self._popen, None
        if popen is not None:
            kill_group(popen.pid)
            popen.wait(10.0)
            backstop.tell("no-group", popen.pid)

    def signal(self, number: int) -> None:
        """Send a signal to the process alone; if it has ended, nothing."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def pause(self) -> None:
        """Freeze its process group (SIGSTOP), and wait until the process stands."""
        os.killpg(self.pid, signal.SIGSTOP)
        wait_until(lambda: self._state() in "TZ", 10.0, f"the pause of {self}")

    def go_on(self) -> None:
        """Let it go on after a pause."""
        os.killpg(self.pid, signal.SIGCONT)

    def log_tail(self) -> str:
        """Return the last lines of its log."""
        lines = self.log_file.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
        return "\n".join([f"--- {self.log_file}", *lines])

    def __repr__(self) -> str:
        """Name it and its directory."""
        return f"{self.name} in {self.directory}"

    def _has_ended(self) -> int | None:
        """Return the exit status, or None if it runs; without reaping it."""
        result = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if result is None:
            return None
        return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status

    def _state(self) -> str:
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
