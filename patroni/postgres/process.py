"""Postgres' processes as /proc shows them: which one is the postmaster, who else lives on the data directory, who is dead.

Identity of a process = (pid, start time), held by a pidfd (fence_facts.md rule 1). "Down" is that of safety_rules.md §5: nobody
is attached to the shared memory that postmaster.pid names, and no process of our user lives whose executable is Postgres and
whose working directory is the data directory. A zombie is dead: it has no memory, and a new postmaster is told to ignore
its pid (`launch.py`). Reads nothing of the data directory but postmaster.pid.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from dataclasses import dataclass

_START_TOLERANCE_S = 3.0  # contract/ha_behaviour.md §6.2 row 4
_TOOLS = frozenset({"initdb", "pg_basebackup", "pg_rewind"})  # change a data directory without sitting in it


class Living:
    """One process, pinned by a pidfd: signals never reach another one that got its pid."""

    def __init__(self, pid: int, started_ticks: int, pidfd: int) -> None:
        self.pid = pid
        self.started_ticks = started_ticks
        self.pidfd = pidfd  # readable once it is dead; closed with this object

    def __del__(self) -> None:
        os.close(self.pidfd)

    def is_alive(self) -> bool:
        """Return whether it runs, or is stopped; a zombie is dead."""
        poller = select.poll()
        poller.register(self.pidfd, select.POLLIN)
        return not poller.poll(0)

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal; return whether it was there to get it."""
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class PidFile:
    """What postmaster.pid says; None: that line is not there (yet)."""

    pid: int  # negative: a single-user server
    started_at_s: float | None = None  # wall clock
    port: int | None = None
    socket_dir: str | None = None
    shared_memory: tuple[int, int] | None = None  # SysV key and id
    status: str | None = None  # `starting`, `stopping`, `ready`, `standby`


def read_pid_file(data_dir: str) -> PidFile | None:
    """Read postmaster.pid; None: there is none, or its first line is no pid."""
    try:
        with open(os.path.join(data_dir, "postmaster.pid"), encoding="utf-8", errors="replace") as file:
            lines = [line.strip() for line in file.read(4096).split("\n")]
    except OSError:  # none; one that cannot be read is none, too: who lives is found by directory and executable
        return None
    lines += [""] * 8
    try:
        pid = int(lines[0])
    except ValueError:
        return None
    memory = lines[6].split()
    return PidFile(
        pid=pid,
        started_at_s=float(lines[2]) if lines[2].isdigit() else None,
        port=int(lines[3]) if lines[3].isdigit() else None,
        socket_dir=lines[4] or None,
        shared_memory=(int(memory[0]), int(memory[1])) if len(memory) == 2 and all(map(str.isdigit, memory)) else None,
        status=lines[7] or None,
    )


def pin(pid: int) -> Living | None:
    """Pin a process by its pid; None: there is none, or it is a zombie."""
    try:
        pidfd = os.pidfd_open(pid)
    except (ProcessLookupError, ValueError, OverflowError):
        return None
    started_ticks = _start_ticks(pid)
    living = Living(pid, started_ticks or 0, pidfd)
    return living if started_ticks is not None and living.is_alive() else None


def find_postmaster(data_dir: str, server_names: frozenset[str]) -> Living | None:
    """Return the postmaster that postmaster.pid names, if that process is one (contract/ha_behaviour.md §6.2).

    Stricter than the table: the executable is asked first, so a lone start time never makes a foreign process ours.
    """
    file = read_pid_file(data_dir)
    if file is None or file.pid <= 0 or file.pid in (os.getpid(), os.getppid()):
        return None
    living = pin(file.pid)
    if living is None:
        return None
    if executable(file.pid) is not None:
        is_ours = executable(file.pid) in server_names and (sits_in(file.pid, data_dir) or _fits_time(living, file))
    else:
        is_ours = _fits_time(living, file)
    return living if is_ours else None


def executable(pid: int) -> str | None:
    """Return the base name of a process's executable; None: it cannot be seen. A replaced file counts under its old name."""
    path = _link(pid, "exe")
    return os.path.basename(path.removesuffix(" (deleted)")) if path else None


def sits_in(pid: int, directory: str) -> bool:
    """Return whether a process's working directory is this one; by the names first, which touches no disk."""
    path = _link(pid, "cwd")
    if path is None:
        return False
    if path == directory:
        return True
    try:
        return os.path.samefile(path, directory)
    except OSError:
        return False


def children(pid: int) -> list[int]:
    """Return the direct children; exact while the parent is stopped. Falls back to a scan (fence_facts.md rule 9)."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    except FileNotFoundError:
        return [other for other in _own_pids() if (stat := _stat(other)) is not None and int(stat[1]) == pid]
    except ProcessLookupError:
        return []


def title(pid: int) -> str:
    """Return the process title, empty if there is none."""
    return " ".join(_words(pid)).strip()


def state(pid: int) -> str | None:
    """Return the one-letter state (`T`: stopped), or None if the process is gone."""
    stat = _stat(pid)
    return stat[0] if stat else None


def leftovers(data_dir: str, server_names: frozenset[str], own_sessions: frozenset[int]) -> list[Living]:
    """Return what still lives of a Postgres whose postmaster is gone, and tools of a former agent that still change its files.

    own_sessions: of tools that this agent runs now; their processes are no leftovers. Looks at names only, so that a dead disk
    does not keep anybody from being killed; a directory that was removed under its server still counts.
    """
    places = {data_dir, f"{data_dir} (deleted)"}
    found = []
    for pid in _own_pids():
        name = executable(pid)
        is_server = name in server_names and _link(pid, "cwd") in places
        if not is_server and not (name in _TOOLS and _is_stray_tool(pid, data_dir)):
            continue
        stat = _stat(pid)
        living = pin(pid) if stat is not None and int(stat[3]) not in own_sessions else None
        if living is not None and executable(pid) == name:  # still the one that was looked at
            found.append(living)
    return found


def _is_stray_tool(pid: int, data_dir: str) -> bool:
    """Return whether a tool works on this data directory and is no child of ours: one just begun has no session noted yet."""
    stat = _stat(pid)
    works_here = bool({data_dir, f"--pgdata={data_dir}"} & set(_words(pid)))
    return works_here and stat is not None and int(stat[1]) != os.getpid()


def attached(memory: tuple[int, int]) -> int:
    """Return how many processes are attached to this SysV segment (key, id); 0 if it does not exist or cannot be seen."""
    try:
        with open("/proc/sysvipc/shm", encoding="ascii") as file:
            rows = [line.split() for line in file][1:]
    except FileNotFoundError:
        return 0  # no SysV on this kernel: the scan by executable and directory is all there is
    for row in rows:
        if int(row[0]) & 0xFFFFFFFF == memory[0] & 0xFFFFFFFF and int(row[1]) == memory[1]:
            return int(row[6])
    return 0


def _own_pids() -> Iterator[int]:
    user = os.geteuid()
    with os.scandir("/proc") as entries:
        for entry in entries:
            if entry.name.isdigit() and _is_owned_by(entry, user):
                yield int(entry.name)


def _is_owned_by(entry: os.DirEntry[str], user: int) -> bool:
    try:
        return entry.stat().st_uid == user
    except FileNotFoundError:
        return False


def _link(pid: int, name: str) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/{name}")
    except OSError:
        return None


def _words(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read(8192).decode(errors="replace").split("\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return []


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat from the state on (index 0: state, 1: ppid, 3: session, 19: start), or None."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _start_ticks(pid: int) -> int | None:
    stat = _stat(pid)
    return int(stat[19]) if stat else None


def _fits_time(living: Living, file: PidFile) -> bool:
    """Return whether the process began when postmaster.pid says that the postmaster did."""
    if file.started_at_s is None:
        return False
    with open("/proc/stat", encoding="ascii") as stat:
        boot_s = next((float(line.split()[1]) for line in stat if line.startswith("btime")), 0.0)
    began_s = boot_s + living.started_ticks / os.sysconf("SC_CLK_TCK")
    return abs(began_s - file.started_at_s) <= _START_TOLERANCE_S
