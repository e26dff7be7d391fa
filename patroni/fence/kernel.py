"""What a sweep asks for, from the kernel: processes as /proc shows them, and kill(2) (fence_facts.md rules 1, 8-11, 21).

Touches no disk: who belongs to a server is told by user and by the *names* of executable and working directory, which the
kernel has in memory. A directory that was renamed under its server is therefore not found; one that was removed is.
Imported by the guard: nothing heavy here (see page.py). One system call is about 1 µs; a look at one process 20.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the module behind `signal`, which imports enum; no types exist for it
import os

from patroni.fence import sweep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from patroni.fence.sweep import Answer, Request, Seen

_STOP_BIT = 1 << (sweep.SIGSTOP - 1)
_DELETED = " (deleted)"
_CHUNK = 4096  # more than any stat or status; a larger buffer would be memory for nothing


class Kernel:
    """Answers all requests of sweep.py but Pause, for one data directory."""

    def __init__(self, directory: str, executables: frozenset[str]) -> None:
        """directory: its real path. executables: base names of Postgres."""
        self._directory = directory
        self._executables = executables
        self._user = os.geteuid()
        self._proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def answer(self, request: Request) -> Answer:
        """Answer one request."""
        match request:
            case sweep.FindProcesses():
                return tuple(self._found())
            case sweep.ListChildren():
                return tuple(self._children(request.pid))
            case sweep.Look():
                return self._look(request.pid)
            case sweep.Send():
                return self._send(request)
            case _:
                return None

    def close(self) -> None:
        """Let go of /proc."""
        os.close(self._proc)

    def _found(self) -> Iterator[Seen]:
        for name in os.listdir(self._proc):
            if name.isdigit() and self._is_server(name):
                seen = self._look(int(name))
                if seen is not None and seen.letter not in sweep.ZOMBIE:
                    yield seen

    def _is_server(self, pid: str) -> bool:
        """Return whether a process is one of the server's. One that ends meanwhile, and a zombie, has no executable."""
        try:
            if os.stat(pid, dir_fd=self._proc).st_uid != self._user:
                return False
            executable = os.readlink(pid + "/exe", dir_fd=self._proc)
            if executable.removesuffix(_DELETED).rpartition("/")[2] not in self._executables:
                return False
            return os.readlink(pid + "/cwd", dir_fd=self._proc).removesuffix(_DELETED) == self._directory
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return False

    def _children(self, pid: int) -> list[int]:
        words = self._read(f"{pid}/task/{pid}/children", is_long=True)
        if words is not None:
            return [int(word) for word in words.split()]
        if self._look(pid) is None:
            return []
        return [other for other in self._own_pids() if self._parent(other) == pid]  # a kernel without the file

    def _own_pids(self) -> Iterator[int]:
        for name in os.listdir(self._proc):
            if name.isdigit():
                try:
                    is_own = os.stat(name, dir_fd=self._proc).st_uid == self._user
                except (FileNotFoundError, ProcessLookupError):
                    continue
                if is_own:
                    yield int(name)

    def _parent(self, pid: int) -> int | None:
        stat = self._stat(pid)
        return int(stat[1]) if stat else None

    def _look(self, pid: int) -> Seen | None:
        """Look at one process. A stop is taken between two looks, so a state is read again after the signals were (row 4a)."""
        seen = self._seen(pid)
        if seen is None or seen.is_stopped:
            return seen
        is_stopping = self._has_stop_pending(pid)
        if not is_stopping:
            return self._seen(pid)
        seen.is_stopping = True
        return seen

    def _seen(self, pid: int) -> Seen | None:
        stat = self._stat(pid)
        if stat is None:
            return None
        return sweep.Seen(pid, int(stat[19]), int(stat[1]), int(stat[3]), stat[0].decode())

    def _stat(self, pid: int) -> list[bytes] | None:
        """Return the fields of stat from the state on (0: state, 1: parent, 3: session, 19: start); None: there is none."""
        text = self._read(f"{pid}/stat")
        return text.rpartition(b")")[2].split() if text else None

    def _has_stop_pending(self, pid: int) -> bool:
        for line in (self._read(f"{pid}/status") or b"").split(b"\n"):
            if line.startswith((b"SigPnd:", b"ShdPnd:")) and int(line[7:], 16) & _STOP_BIT:
                return True
        return False

    def _send(self, request: sweep.Send) -> bool:
        """Send a signal. One that may not be sent was not: its process is found running, and the hold incomplete."""
        try:
            if request.started is None:
                os.kill(request.pid, request.number)
                return True
            return self._send_to_known(request)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True

    def _send_to_known(self, request: sweep.Send) -> bool:
        """Send a signal to the process that began then: its start is read while a pidfd pins it (rule 1)."""
        pidfd = os.pidfd_open(request.pid)
        try:
            stat = self._stat(request.pid)
            if stat is None or int(stat[19]) != request.started:
                return False
            _signal.pidfd_send_signal(pidfd, request.number)
        finally:
            os.close(pidfd)
        return True

    def _read(self, path: str, *, is_long: bool = False) -> bytes | None:
        """Read a file of /proc; None: there is none, or its process ended. is_long: more than one call may return."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return None
        try:
            text = os.read(fd, _CHUNK)
            while is_long and (more := os.read(fd, _CHUNK)):
                text += more
        except ProcessLookupError:
            return None
        finally:
            os.close(fd)
        return text
