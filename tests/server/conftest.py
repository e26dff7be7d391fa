"""The fixtures of tests with real servers: one cluster a store is shared by all scenarios that leave it healthy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.cluster import Cluster, Shape, StoreKind
from tests.support.directories import server_directory
from tests.support.etcd import Etcd
from tests.support.keys import Keys
from tests.support.postgres_binaries import PostgresBinaries, installed_postgres
from tests.support.writer import TABLE

MakeCluster = Callable[[Shape], Cluster]


class Shared:
    """A cluster that is made when it is first asked for, and anew after a scenario that broke it."""

    def __init__(self, store: StoreKind) -> None:
        self._shape = Shape(store=store)
        self._running = ExitStack()
        self._cluster: Cluster | None = None
        self._keys: Keys | None = None

    def healthy(self) -> Cluster:
        """Return it, with an empty table for the rows of writers."""
        if self._cluster is None:
            place = self._running.enter_context(server_directory(f"server-{self._shape.store}"))
            self._cluster = self._running.enter_context(Cluster(place, self._shape))
            self._cluster.bootstrap()
            self._keys = self._cluster.keys()
        leader = self._cluster.wait_healthy()
        leader.sql(TABLE)
        leader.sql("TRUNCATE written")
        return self._cluster

    def heal(self) -> None:
        """Bring all back after a scenario; one after which the cluster does not come back has failed, and it is made anew."""
        assert self._cluster is not None and self._keys is not None
        try:
            for node in self._cluster.nodes:
                if node.link is not None:
                    node.link.forward()
                if not node.is_agent_running():
                    node.agent.kill()
                    node.start_agent()
            self._keys.change_config(**self._shape.dynamic, primary_start_timeout=None)
            self._cluster.wait_healthy()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End it."""
        self._running.close()
        self._running, self._cluster = ExitStack(), None


@pytest.fixture(scope="session")
def shared() -> Iterator[dict[StoreKind, Shared]]:
    """Return the shared clusters; each begins when it is first asked for."""
    found = {store: Shared(store) for store in StoreKind}
    yield found
    for cluster in found.values():
        cluster.close()


@pytest.fixture(params=StoreKind)
def cluster(request: pytest.FixtureRequest, shared: dict[StoreKind, Shared]) -> Iterator[Cluster]:
    """Return a healthy cluster of three nodes on each store; `on_etcd` and `on_local` of a test choose one."""
    found = shared[request.param]
    yield found.healthy()
    found.heal()


@pytest.fixture
def make_cluster(directory: Path) -> Iterator[MakeCluster]:
    """Return a maker of clusters of a test's own, with their store running; they end with the test."""
    with ExitStack() as running:
        yield lambda shape: running.enter_context(Cluster(directory, shape))


@pytest.fixture(params=installed_postgres(), ids=lambda found: f"postgres{found.major}")
def postgres_binaries(request: pytest.FixtureRequest) -> PostgresBinaries:
    """Return each installed Postgres in turn."""
    found: PostgresBinaries = request.param
    return found


@pytest.fixture
def etcd(directory: Path) -> Iterator[Etcd]:
    """Return a running etcd of one member behind its proxy."""
    with Etcd(directory) as running:
        yield running
