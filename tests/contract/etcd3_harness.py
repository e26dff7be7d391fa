"""The harness of etcd v3: one real member behind the proxy of `tests/support`, whose link is what breaks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from patroni.agent.clock import now
from patroni.dcs.etcd3 import Etcd3Store
from patroni.dcs.store import Timing
from tests.support.directories import server_directory
from tests.support.etcd import Etcd
from tests.support.proxy import Direction

TIMING = Timing(ttl_s=10.0, loop_wait_s=2.0, retry_timeout_s=4.0)


class Etcd3Harness:
    """See `tests.contract.harness.Harness`."""

    ttl_s = 2.0  # the least that a server with the usual timing grants
    expiry_bound_s = 2.5  # it looks for expired leases every 0.5 s and ends them by consensus

    def __init__(self, directory: Path) -> None:
        """directory: not used; servers live in directories that the unprivileged user can enter."""
        self._running = ExitStack()
        place = self._running.enter_context(server_directory("etcd3"))
        self._member = self._running.enter_context(Etcd(place)).members[0]

    def client(self) -> Etcd3Store:
        """See `Harness`."""
        return etcd3_store({"host": self._member.endpoint})

    def direct(self) -> Etcd3Store:
        """See `Harness`. Discovery would lead through the proxy, so there is none."""
        return etcd3_store({"host": self._member.direct_endpoint, "use_proxies": True})

    @contextmanager
    def cut(self) -> Iterator[None]:
        """See `Harness`."""
        self._member.proxy.refuse()
        self._member.proxy.cut()
        yield
        self._member.proxy.forward()

    @contextmanager
    def freeze(self) -> Iterator[None]:
        """See `Harness`. What was sent arrives after the end, when its sender has long given up."""
        self._member.proxy.hold()
        yield
        self._member.proxy.forward()

    @contextmanager
    def lose_replies(self) -> Iterator[None]:
        """See `Harness`."""
        self._member.proxy.black_hole(Direction.TO_CLIENT)
        yield
        self._member.proxy.forward()

    def restart(self) -> None:
        """See `Harness`."""
        self._member.restart()

    def close(self) -> None:
        """See `Harness`."""
        self._running.close()


def etcd3_store(section: dict[str, object]) -> Etcd3Store:
    """Return a client with the clocks of the agent."""
    return Etcd3Store(section, timing=TIMING, clock=now)
