"""End what a run started, however the run ends: also by SIGKILL, and also what left its process group.

The run starts this file as a small process and tells it through a pipe what it started; the pipe's end, which the
kernel brings about even after a SIGKILL, is the order to end what is still there. Only the standard library: it runs
with `python -I -S`.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

_IMMEDIATE_STOP_S = 3.0  # for Postgres to end itself and remove its shared memory
_KILL_ROUNDS = 5  # more than one, since a process may have been about to fork


def kill_group(group: int) -> None:
    """Kill all processes of a group; none left is fine."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def end_processes_in(directory: Path) -> None:
    """End all processes whose working directory is there or below: servers, and what they or agents started.

    A process with a terminal is a person's, and is left alone. Postmasters get an immediate stop first, after all that
    could start them again is dead. A killed one leaves its System V shared memory behind, of which a machine has room
    for 4096; so that is removed. Its dynamic shared memory stays in /dev/shm; tests that kill postmasters set
    dynamic_shared_memory_type to mmap, which is in the data directory.
    """
    found = processes_in(directory)
    postgres = [pid for pid in found if _name(pid) == "postgres"]
    for pid in found:
        if pid not in postgres:
            _signal(pid, signal.SIGKILL)
    # A child may still be under the guard's hold; the postmaster would wait for it.
    for pid in postgres:
        _signal(pid, signal.SIGCONT)
    for pid in postgres:
        if _parent(pid) not in postgres:
            _signal(pid, signal.SIGQUIT)
            _await_end(pid, _IMMEDIATE_STOP_S)
    left = processes_in(directory)
    for _ in range(_KILL_ROUNDS):
        for pid in left:
            _signal(pid, signal.SIGKILL)
        for pid in left:
            _await_end(pid, 1.0)
        left = processes_in(directory)
    if left:
        raise RuntimeError(f"processes {left} in {directory} outlive their kill")
    for pid_file in directory.rglob("postmaster.pid"):
        _remove_shared_memory(pid_file)


class Backstop:
    """The run's line to its backstop process, which starts with the first thing told."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def tell(self, verb: str, what: object) -> None:
        """Tell `group`, `no-group` (a process group) or `directory`, `no-directory`."""
        with self._lock:
            print(verb, what, file=self._pipe(), flush=True)

    def close(self) -> None:
        """Have the rest ended now, and wait for it."""
        with self._lock:
            if self._process is not None:
                self._process.communicate(timeout=60.0)
                self._process = None

    def _pipe(self) -> IO[str]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__], stdin=subprocess.PIPE, text=True, start_new_session=True
            )
            atexit.register(self.close)
        assert self._process.stdin is not None
        return self._process.stdin


def _main() -> None:
    os.chdir("/")
    groups: set[str] = set()
    directories: set[str] = set()
    for line in sys.stdin:
        verb, _, what = line.rstrip("\n").partition(" ")
        known = groups if verb.endswith("group") else directories
        if verb.startswith("no-"):
            known.discard(what)
        else:
            known.add(what)
    for group in groups:
        kill_group(int(group))
    for directory in directories:
        end_processes_in(Path(directory))


def processes_in(directory: Path) -> list[int]:
    """Return the processes whose working directory is there or below, but for those with a terminal."""
    inside = str(directory.resolve())
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                where = os.readlink(entry / "cwd").removesuffix(" (deleted)")
                has_terminal = _status(int(entry.name))[4] != "0"
            except OSError:  # gone, or another user's
                continue
            if (where == inside or where.startswith(inside + "/")) and not has_terminal:
                found.append(int(entry.name))
    return found


def _remove_shared_memory(pid_file: Path) -> None:
    """Remove the segment that a dead postmaster's file names (line 7: key and id), if nobody is attached to it."""
    named = pid_file.read_text().splitlines()[6:7]
    for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]:
        key, segment, _, _, _, _, attached, *_ = line.split()
        if named and named[0].split() == [key, segment] and attached == "0":
            subprocess.run(["ipcrm", "-m", segment], timeout=10.0, check=False)


def _status(pid: int) -> list[str]:
    """Return /proc/PID/stat after the name: state, parent, group, session, terminal ..."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _parent(pid: int) -> int | None:
    try:
        return int(_status(pid)[1])
    except OSError:
        return None


def _name(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return None


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _await_end(pid: int, timeout_s: float) -> None:
    try:
        ended = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        select.select([ended], [], [], timeout_s)
    finally:
        os.close(ended)


if __name__ == "__main__":
    _main()
else:
    backstop = Backstop()
