"""One pass on the newest installed Postgres: the scenarios of the others run on the oldest."""

from __future__ import annotations

import pytest

from tests.server.conftest import MakeCluster
from tests.support.cluster import Shape, StoreKind
from tests.support.postgres_binaries import installed_postgres

pytestmark = pytest.mark.timeout(240)


def test_a_cluster_lives_through_all_that_is_usual(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(Shape(store=StoreKind.ETCD3, binaries=installed_postgres()[-1]))
    first = cluster.bootstrap()
    first.sql("CREATE TABLE t AS SELECT 'kept' AS a")
    assert first.ask("POST", "/switchover", {"leader": first.name}, 60.0).status == 200
    second = cluster.wait_healthy()
    pid = second.postmaster_pid()
    second.kill_postmaster()
    cluster.wait(lambda: second.postmaster_pid() not in (None, pid) and second.is_leader(), 30.0, "the restart in place")
    assert cluster.wait_healthy() is second
    second.kill_agent()
    third = cluster.wait_for_leader(other_than=second)
    second.sql("INSERT INTO t VALUES ('written beside the new leader')")
    second.start_agent()
    assert cluster.wait_healthy() is third
    assert "running pg_rewind" in second.log()
    assert third.stop_agent() == 0
    cluster.wait_for_leader(other_than=third)
    third.start_agent()
    assert cluster.wait_healthy().sql("SELECT a FROM t") == [("kept",)]
