"""Clients behind the shipped haproxy.cfg while the leader changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.server.stores import on_etcd
from tests.support.cluster import Cluster
from tests.support.haproxy import HaProxy
from tests.support.node import HOST, PASSWORD, SUPERUSER
from tests.support.sql import Session
from tests.support.waiting import wait_until
from tests.support.writer import Writer

pytestmark = pytest.mark.timeout(240)


def dsn(port: int) -> str:
    """Return how a client connects through HAProxy."""
    return f"host={HOST} port={port} dbname=postgres user={SUPERUSER} password={PASSWORD}"


@on_etcd
def test_clients_write_on_after_a_switchover_and_a_lost_node(cluster: Cluster, directory: Path) -> None:
    leader = cluster.wait_healthy()
    with HaProxy(cluster.nodes, directory) as haproxy, Writer(dsn(haproxy.primary_port), "client") as writer:
        writer.wait_for_write()
        assert leader.ask("POST", "/switchover", {"leader": leader.name}, 60.0).status == 200
        writer.wait_for_write()
        new = cluster.wait_healthy()
        with Session(new.dsn, 10.0) as session:
            assert writer.lost(session) == []
        wait_until(lambda: _is_replica(haproxy.replica_port), 20.0, "a replica")
        new.kill()
        writer.wait_for_write()
        assert cluster.wait_for_leader() is not new


def _is_replica(port: int) -> bool:
    with Session(dsn(port), 10.0) as session:
        return session.run("SELECT pg_is_in_recovery()") == [(True,)]
