"""Replicas go away and come back, and new ones join; the leader is not disturbed."""

from __future__ import annotations

import shutil

import pytest

from tests.server.stores import on_etcd, on_local
from tests.support.cluster import Cluster
from tests.support.directories import give_to_servers

pytestmark = pytest.mark.timeout(240)


@on_local
def test_a_killed_postmaster_of_a_replica_is_started_again(cluster: Cluster) -> None:
    leader = cluster.wait_healthy()
    replica, _ = cluster.replicas()
    timeline, pid = leader.timeline(), replica.postmaster_pid()
    replica.kill_postmaster()
    cluster.wait(lambda: replica.postmaster_pid() not in (None, pid), 30.0, "the restart")
    cluster.wait_streaming(replica)
    assert (cluster.leader(), leader.timeline()) == (leader, timeline)


@on_etcd
def test_a_restarted_agent_leaves_its_replica_alone(cluster: Cluster) -> None:
    replica, _ = cluster.replicas()
    pid = replica.postmaster_pid()
    replica.kill_agent()
    replica.start_agent()
    cluster.wait_healthy()
    assert replica.postmaster_pid() == pid


def test_a_lost_replica_comes_back(cluster: Cluster) -> None:
    leader = cluster.wait_healthy()
    replica, _ = cluster.replicas()
    replica.kill()
    leader.sql("INSERT INTO written VALUES ('meanwhile', 1)")
    replica.start_agent()
    cluster.wait_streaming(replica)
    cluster.wait(lambda: replica.reads("SELECT writer FROM written") == "meanwhile", 10.0, "the row on it")
    assert cluster.leader() is leader


@on_etcd
def test_a_replica_whose_data_are_gone_is_copied_anew(cluster: Cluster) -> None:
    replica, _ = cluster.replicas()
    assert replica.stop_agent() == 0
    shutil.rmtree(replica.data_dir)
    replica.start_agent()
    cluster.wait_streaming(replica)


@on_local
def test_a_copy_that_fails_at_first_is_tried_again(cluster: Cluster) -> None:
    cluster.wait_healthy()
    node = cluster.add_node()
    program = node.directory / "pg_basebackup"
    real = cluster.shape.binaries.bin_dir / "pg_basebackup"
    mark = node.directory / "failed"
    program.write_text(f'#!/bin/sh\n[ -e {mark} ] && exec {real} "$@"\ntouch {mark}\necho no space >&2\nexit 1\n')
    program.chmod(0o755)
    give_to_servers(program)
    section = node.configuration["postgresql"]
    assert isinstance(section, dict)
    section["bin_name"] = {"pg_basebackup": str(program)}
    node.write_configuration()
    try:
        node.start_agent()
        cluster.wait_streaming(node)
        assert "no space" in node.log()
    finally:
        node.kill()
        cluster.nodes.remove(node)
