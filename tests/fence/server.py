"""A bare Postgres for the guard's tests: its processes, a load, and what it acknowledged when."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from patroni.decision.cluster import Incarnation, SessionId, Token
from patroni.decision.lease import Instant, Proof
from tests.support.backstop import end_processes_in
from tests.support.ports import reserve_port
from tests.support.postgres_binaries import PostgresBinaries
from tests.support.sql import Session
from tests.support.waiting import wait_until

LIMIT_S = 30.0  # for a step that is expected to end; a busy machine may take long
_SETTINGS = (
    "listen_addresses = ''",
    "fsync = off",
    "shared_buffers = 16MB",
    "dynamic_shared_memory_type = mmap",
    "logging_collector = off",
)
_TABLE = "CREATE TABLE written (at timestamptz DEFAULT clock_timestamp())"
_WRITTEN = "SELECT count(*)::int FROM written WHERE at > to_timestamp(%s) AND at < to_timestamp(%s)"
_INSERT = "INSERT INTO written VALUES (clock_timestamp());\n"


class Server:
    """One data directory; connections by its Unix socket only."""

    def __init__(self, directory: Path, binaries: PostgresBinaries) -> None:
        self.directory = directory
        self.binaries = binaries
        self.data_dir = directory / "data"
        self.port = reserve_port()
        self.dsn = f"host={directory} port={self.port} user=postgres dbname=postgres"
        self._bare: subprocess.Popen[bytes] | None = None

    def initialize(self) -> None:
        """Make the data directory."""
        self.directory.mkdir(mode=0o700)
        self._run("initdb", "-D", self.data_dir, "-U", "postgres", "-A", "trust", "--no-sync")

    def copy(self, directory: Path) -> Server:
        """Return another server with a copy of this one's files."""
        shutil.copytree(self.directory, directory)
        return Server(directory, self.binaries)

    def start(self, max_connections: int = 150) -> None:
        """Start it with a table to write to, as a postmaster that leads its session."""
        settings = [
            *_SETTINGS,
            f"max_connections = {max_connections}",
            f"port = {self.port}",
            f"unix_socket_directories = '{self.directory}'",
        ]
        with (self.data_dir / "postgresql.conf").open("a") as conf:
            conf.write("\n".join(settings) + "\n")
        self.start_again()
        with Session(self.dsn, LIMIT_S) as session:
            session.run(_TABLE)

    def start_again(self) -> None:
        """Start it after its end; a killed postmaster that nobody has reaped yet would be taken for a living one."""
        file = self.data_dir / "postmaster.pid"
        wait_until(lambda: not file.exists() or state_of(self.postmaster) is None, LIMIT_S, "the reaping")
        self._run("pg_ctl", "-D", self.data_dir, "-w", "-t", "60", "-l", self.directory / "log", "start")

    def start_bare(self) -> None:
        """Start it as a process of our own session, as a shell script would."""
        with (self.directory / "log").open("ab") as log:
            self._bare = subprocess.Popen([self.binaries.bin_dir / "postgres", "-D", self.data_dir], stdout=log, stderr=log)
        wait_until(self.answers, LIMIT_S, "the bare server")

    def stop(self) -> None:
        """Stop it cleanly."""
        self._run("pg_ctl", "-D", self.data_dir, "-w", "-m", "fast", "stop")

    def remove(self) -> None:
        """End all its processes and remove it."""
        end_processes_in(self.directory)
        if self._bare is not None:
            self._bare.wait(10.0)
        shutil.rmtree(self.directory)

    # --- what can be seen

    @property
    def postmaster(self) -> int:
        """The postmaster's pid."""
        return int((self.data_dir / "postmaster.pid").read_text().split()[0])

    def processes(self) -> list[int]:
        """Return the processes that run Postgres here, the postmaster included; none of them a zombie."""
        where = str(self.data_dir.resolve())
        return [int(name) for name in os.listdir("/proc") if name.isdigit() and _is_postgres_in(name, where)]

    def states(self) -> dict[int, str]:
        """Return the state letter of each."""
        return {pid: state for pid in self.processes() if (state := state_of(pid)) is not None}

    def is_standing(self) -> bool:
        """Whether all of its processes stand, and there are some."""
        letters = set(self.states().values())
        return bool(letters) and letters <= {"T", "t"}

    def is_gone(self) -> bool:
        """Whether nothing of it lives."""
        return not self.processes()

    def answers(self) -> bool:
        """Whether a new session gets an answer."""
        try:
            with Session(self.dsn, 2.0) as session:
                return session.run("SELECT 1") == [(1,)]
        except Exception:  # noqa: BLE001  # no answer, whatever the reason
            return False

    def written_between(self, first_s: float, last_s: float) -> int:
        """Return how many rows were written in a time of the wall clock."""
        with Session(self.dsn, LIMIT_S) as session:
            rows = session.run(_WRITTEN, (first_s, last_s))
        count = rows[0][0]
        assert isinstance(count, int)
        return count

    @contextmanager
    def load(self, sessions: int, stormers: int, rows_each_s: int | None = None) -> Iterator[Sequence[subprocess.Popen[str]]]:
        """Let so many sessions write all the time, and so many clients connect anew for each row; nice to other tests.

        rows_each_s: of all sessions; None: as many as they can.
        """
        script = self.directory / "insert.sql"
        script.write_text(_INSERT)
        words = ["nice", "-n", "10", str(self.binaries.bin_dir / "pgbench"), "-n", "-f", str(script), "-T", "120"]
        words += ["-h", str(self.directory), "-p", str(self.port), "-U", "postgres"]
        rate = [] if rows_each_s is None else ["-R", str(rows_each_s)]
        clients = [
            subprocess.Popen(
                [*words, *more, "postgres"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=self.directory
            )
            for more in (["-c", str(sessions), *rate], ["-C", "-c", str(stormers), *rate])
        ]
        try:
            wait_until(lambda: len(self.processes()) >= sessions, LIMIT_S, "the load")
            yield clients
        finally:
            for client in clients:
                client.kill()
                client.communicate()

    def _run(self, program: str, *words: str | Path) -> None:
        command = [self.binaries.bin_dir / program, *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=90.0)


def state_of(pid: int) -> str | None:
    """Return the state letter of a process; None: there is none."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return None


def is_alive(pid: int) -> bool:
    """Whether a process lives; a zombie does not."""
    return state_of(pid) not in (None, "Z", "X")


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal."""
    os.kill(pid, number)


def now() -> Instant:
    """Read the lease's clocks."""
    return Instant(boot_s=time.clock_gettime(time.CLOCK_BOOTTIME), raw_s=time.clock_gettime(time.CLOCK_MONOTONIC_RAW))


def proof(ttl_s: float, incarnation: str = "one") -> Proof:
    """Return a proof of this lock that was sent now."""
    lock = Incarnation(incarnation)
    return Proof(sent=now(), ttl_s=ttl_s, incarnation=lock, session=SessionId("s"), token=Token("t"), revision=None)


def _is_postgres_in(pid: str, where: str) -> bool:
    """Whether a process runs Postgres in a directory; quick, since tests ask many times."""
    with suppress(OSError):  # gone, a zombie, or another user's
        return os.readlink(f"/proc/{pid}/cwd") == where and os.path.basename(os.readlink(f"/proc/{pid}/exe")) == "postgres"
    return False
