"""Agents that must not start, or not yet: one clear line, and nothing is damaged (contract/ha_behaviour.md §2.26)."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.server.stores import on_etcd, on_local
from tests.support.cluster import Cluster
from tests.support.directories import unprivileged_user
from tests.support.node import Node

pytestmark = pytest.mark.timeout(240)


@contextmanager
def another_node(cluster: Cluster) -> Iterator[Node]:
    """Prepare a fourth node; it is gone afterwards."""
    cluster.wait_healthy()
    node = cluster.add_node()
    try:
        yield node
    finally:
        node.kill()
        cluster.nodes.remove(node)


def refusal(node: Node) -> str:
    """Start the agent, which must end with status 1, and return its last line."""
    node.start_agent()
    assert node.agent.wait_end(60.0) == 1, node.log()
    return node.log().splitlines()[-1]


@on_etcd
def test_the_data_directory_of_another_cluster_is_refused(cluster: Cluster) -> None:
    leader = cluster.wait_healthy()
    with another_node(cluster) as node:
        initdb = [str(cluster.shape.binaries.bin_dir / "initdb"), "--no-sync", "--auth=trust", "-D", str(node.data_dir)]
        user = unprivileged_user()
        subprocess.run(initdb, check=True, capture_output=True, timeout=60.0, user=user, group=user, cwd=node.directory)
        assert f"system identifier of node {node.name} is" in refusal(node)
        assert (node.data_dir / "PG_VERSION").exists()
        assert node.postmaster_pid() is None
    assert cluster.leader() is leader


@on_local
def test_a_second_agent_on_a_data_directory_is_refused(cluster: Cluster) -> None:
    with another_node(cluster) as node:
        holder = cluster.nodes[0]
        section = node.configuration["postgresql"]
        assert isinstance(section, dict)
        section["data_dir"] = str(holder.data_dir)
        node.write_configuration()
        said = refusal(node)
        assert holder.name in said and str(holder.data_dir) in said
        assert cluster.nodes[0].postmaster_pid() is not None


@on_local
def test_a_second_member_of_a_name_is_refused(cluster: Cluster) -> None:
    with another_node(cluster) as node:
        node.configuration["name"] = cluster.nodes[0].name
        node.write_configuration()
        assert f"name: a member {cluster.nodes[0].name} is running already" in refusal(node)
        assert not node.data_dir.exists() or not any(node.data_dir.iterdir())


@on_etcd
def test_a_store_that_is_away_is_waited_for(cluster: Cluster) -> None:
    with another_node(cluster) as node:
        assert node.link is not None
        node.link.refuse()
        node.start_agent()
        cluster.wait(lambda: "waiting for the store (etcd3)" in node.log(), 30.0, "a line that says so")
        node.link.forward()
        cluster.wait_streaming(node)
