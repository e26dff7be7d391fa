"""What the conformance suite needs of a backend's server, and the harness of each backend.

A harness owns one real server (or what stands for it) for all tests of a run; each test works under a prefix of its own. The
links that it breaks lie between `client()`s and the server; a `direct()` client goes beside them where the backend has such a
way. Every break is undone at the end of its `with`.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from patroni.dcs.local import LocalStore
from patroni.dcs.local_file import Transaction
from patroni.dcs.memory import MemoryLink, MemoryServer, MemoryStore
from patroni.dcs.store import ReadPrefix, Snapshot, Store, Timing
from patroni.decision.lease import Instant
from tests.contract.etcd3_harness import Etcd3Harness

T = TypeVar("T")


class Harness(Protocol):
    """One server under test."""

    ttl_s: float  # a short one, which the store grants as it is asked
    expiry_bound_s: float  # by how much later than granted a session may end

    def client(self) -> Store:
        """Return a new client, through the link that can be broken; the caller closes it."""

    def direct(self) -> Store:
        """Return a new client beside that link; where there is no such way, as `client`."""

    def cut(self) -> AbstractContextManager[None]:
        """Cut the link: existing connections end, new ones are refused."""

    def freeze(self) -> AbstractContextManager[None]:
        """Silence the link: requests are taken and never answered, nor carried out before the end."""

    def lose_replies(self) -> AbstractContextManager[None]:
        """Let requests have their effect and no answer arrive."""

    def restart(self) -> None:
        """End the server and start it again on what it has stored; returns when it answers."""

    def close(self) -> None:
        """End the server."""


def now() -> Instant:
    """Read the clocks, as the agent does."""
    return Instant(boot_s=time.clock_gettime(time.CLOCK_BOOTTIME), raw_s=time.clock_gettime(time.CLOCK_MONOTONIC_RAW))


class MemoryHarness:
    """The reference store; a break is a switch of the link."""

    ttl_s = 1.0
    expiry_bound_s = 1.0
    is_plain = False

    def __init__(self, directory: Path) -> None:
        self._server = MemoryServer(now)
        self._link = MemoryLink()

    def client(self) -> Store:
        """See `Harness`."""
        return MemoryStore(self._server, self._link, is_plain=self.is_plain)

    def direct(self) -> Store:
        """See `Harness`."""
        return MemoryStore(self._server, is_plain=self.is_plain)

    @contextmanager
    def cut(self) -> Iterator[None]:
        """See `Harness`."""
        self._link.is_cut = True
        self._server.wake()
        yield
        self._link.is_cut = False

    def freeze(self) -> AbstractContextManager[None]:
        """See `Harness`."""
        return self.cut()

    @contextmanager
    def lose_replies(self) -> Iterator[None]:
        """See `Harness`."""
        self._link.is_losing_replies = True
        yield
        self._link.is_losing_replies = False

    def restart(self) -> None:
        """See `Harness`."""
        self._server.restart()

    def close(self) -> None:
        """Nothing to end."""


class PlainMemoryHarness(MemoryHarness):
    """The same without revisions, and without writes under a lock."""

    is_plain = True


class LossyLocalStore(LocalStore):
    """A client whose answers a test can lose: the file itself loses none."""

    def __init__(self, path: Path, link: MemoryLink) -> None:
        super().__init__({"path": str(path)}, timing=Timing(), clock=now)
        self._link = link

    def read_prefix(self, request: ReadPrefix, timeout_s: float) -> Snapshot:
        """See `store.ReadPrefix`."""
        try:
            return super().read_prefix(request, timeout_s)
        finally:
            self._link.require_reply()

    def _run(self, run: Callable[[Transaction], T], timeout_s: float) -> T:
        try:
            return super()._run(run, timeout_s)
        finally:
            self._link.require_reply()


class LocalHarness:
    """The embedded store: its server is a file, and a break of the link is a lock on it."""

    ttl_s = 1.0
    expiry_bound_s = 1.0

    def __init__(self, directory: Path) -> None:
        self._path = directory / "store.sqlite"
        self._link = MemoryLink()

    def client(self) -> Store:
        """See `Harness`."""
        return LossyLocalStore(self._path, self._link)

    def direct(self) -> Store:
        """See `Harness`."""
        return LocalStore({"path": str(self._path)}, timing=Timing(), clock=now)

    @contextmanager
    def cut(self) -> Iterator[None]:
        """See `Harness`. The lock is a process' that was stopped in the middle of a transaction."""
        with closing(sqlite3.connect(self._path, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield

    def freeze(self) -> AbstractContextManager[None]:
        """See `Harness`."""
        return self.cut()

    @contextmanager
    def lose_replies(self) -> Iterator[None]:
        """See `Harness`."""
        self._link.is_losing_replies = True
        yield
        self._link.is_losing_replies = False

    def restart(self) -> None:
        """See `Harness`. There is no server; its like is a process that is killed in the middle of a transaction."""
        run_and_kill(self._path)

    def close(self) -> None:
        """Nothing to end."""


def run_and_kill(path: Path) -> None:
    """Write to the store's file in another process, and kill that before it commits."""
    script = (
        "import sqlite3, sys, time\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('PRAGMA cache_spill = 1')\n"
        "connection.execute('BEGIN EXCLUSIVE')\n"
        "connection.execute('DELETE FROM entry')\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.kill()


HARNESSES: Mapping[str, Callable[[Path], Harness]] = {  # by backend
    "memory": MemoryHarness,
    "plain memory": PlainMemoryHarness,
    "local": LocalHarness,
    "etcd3": Etcd3Harness,
}
