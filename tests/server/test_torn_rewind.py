"""A pg_rewind fails in the middle: nothing is started on what it left, by no agent, until a clone has replaced it."""

from __future__ import annotations

import shutil

import pytest

from tests.server.conftest import MakeCluster
from tests.support.cluster import FAST, Cluster, Shape
from tests.support.node import Node
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(240)


def torn(cluster: Cluster) -> Node:
    """Return a former leader that diverged, and whose rewind fails after it has begun: it can't write one of the files."""
    old = cluster.bootstrap()
    old.sql("CREATE TABLE written (writer text)")
    old.kill_agent()
    new = cluster.wait_for_leader(other_than=old)
    new.sql("INSERT INTO written VALUES ('new')")
    old.sql("INSERT INTO written VALUES ('orphan')")
    (old.data_dir / "global" / "pg_filenode.map").chmod(0o400)
    old.start_agent()
    cluster.wait((old.directory / "data.rewinding").exists, 60.0, "the rewind")
    return old


def test_it_stays_down_until_its_directory_is_removed(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(Shape(size=2))
    old = torn(cluster)
    why = "not started on it; remove the directory"
    cluster.wait(lambda: why in old.log(), 60.0, "the reason")
    (old.data_dir / "global" / "pg_filenode.map").chmod(0o600)
    old.kill_agent()
    seen = old.log().count(why)
    old.start_agent()
    cluster.wait(lambda: old.log().count(why) > seen, 60.0, "the reason, from the new agent")
    assert old.postmaster_pid() is None
    shutil.rmtree(old.data_dir)
    cluster.wait_streaming(old)
    assert not (old.directory / "data.rewinding").exists()
    wait_until(lambda: old.reads("SELECT string_agg(writer, ' ') FROM written") == "new", 10.0, "the new history on it")


def test_it_is_cloned_where_that_is_allowed(make_cluster: MakeCluster) -> None:
    allowed = {"postgresql": {"remove_data_directory_on_rewind_failure": True}}
    cluster = make_cluster(Shape(size=2, dynamic={**FAST, **allowed}))
    old = torn(cluster)
    cluster.wait_streaming(old)
    assert "reinitializing due to diverged timelines" in old.log()
    wait_until(lambda: old.reads("SELECT string_agg(writer, ' ') FROM written") == "new", 10.0, "the new history on it")
