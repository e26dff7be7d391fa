"""What the conformance suite needs of a backend's server, and the harness of each backend.

A harness owns one real server (or what stands for it) for all tests of a run; each test works under a prefix of its own. The
links that it breaks lie between `client()`s and the server; a `direct()` client goes beside them where the backend has such a
way. Every break is undone at the end of its `with`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from patroni.dcs.memory import MemoryLink, MemoryServer, MemoryStore
from patroni.dcs.store import Store
from patroni.decision.lease import Instant
from tests.contract.etcd3_harness import Etcd3Harness


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

    def __init__(self, directory: Path) -> None:
        self._server = MemoryServer(now)
        self._link = MemoryLink()

    def client(self) -> Store:
        """See `Harness`."""
        return MemoryStore(self._server, self._link)

    def direct(self) -> Store:
        """See `Harness`."""
        return MemoryStore(self._server)

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


HARNESSES: Mapping[str, Callable[[Path], Harness]] = {"memory": MemoryHarness, "etcd3": Etcd3Harness}  # by backend
