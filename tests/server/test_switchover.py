"""Switchover and failover by REST, as `curl -XPOST .../switchover` does it (contract/rest_api.md §11)."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.server.stores import on_etcd, on_local
from tests.support.cluster import Cluster
from tests.support.node import Node

pytestmark = pytest.mark.timeout(240)


def role_changes(cluster: Cluster) -> dict[str, int]:
    """Return how often each agent promoted its Postgres so far."""
    return {node.name: node.log().count("promoted self to leader") for node in cluster.nodes}


def carried_out(cluster: Cluster, node: Node, path: str, **body: object) -> str:
    """Ask this node, and return the text of the answer, which must say that it was done."""
    reply = node.ask("POST", path, body, 60.0)
    assert reply.status == 200, f"{reply}\n{cluster.describe()}"
    return reply.text


def test_a_switchover_to_a_candidate(cluster: Cluster) -> None:
    leader = cluster.wait_healthy()
    candidate, bystander = cluster.replicas()
    before = role_changes(cluster)
    text = carried_out(cluster, bystander, "/switchover", leader=leader.name, candidate=candidate.name)
    assert text == f'Successfully switched over to "{candidate.name}"'
    assert cluster.wait_healthy() is candidate
    assert role_changes(cluster) == {**before, candidate.name: before[candidate.name] + 1}
    assert "running pg_rewind" not in leader.log().rpartition("switchover")[2]


@on_local
def test_a_switchover_without_a_candidate(cluster: Cluster) -> None:
    leader = cluster.wait_healthy()
    carried_out(cluster, leader, "/switchover", leader=leader.name)
    assert cluster.wait_healthy() is not leader


@on_etcd
def test_a_switchover_keeps_every_row(cluster: Cluster) -> None:
    """What was acknowledged before the server shut down is on its successor."""
    leader = cluster.wait_healthy()
    leader.sql("INSERT INTO written SELECT 'bulk', generate_series(1, 20000)")
    carried_out(cluster, leader, "/switchover", leader=leader.name)
    assert cluster.wait_healthy().sql("SELECT count(*) FROM written") == [(20000,)]


def test_an_unfit_candidate_is_refused(cluster: Cluster) -> None:
    leader = cluster.wait_healthy()
    candidate, _ = cluster.replicas()
    candidate.kill()
    for path in ("/switchover", "/failover"):
        body = {"candidate": candidate.name, **({"leader": leader.name} if path == "/switchover" else {})}
        assert leader.ask("POST", path, body, 30.0).status == 412
    assert leader.ask("POST", "/switchover", {"leader": candidate.name}, 30.0).status == 412
    assert leader.ask("POST", "/switchover", {"leader": leader.name, "candidate": "nobody"}, 30.0).status == 412
    assert cluster.leader() is leader


def test_a_manual_failover_to_a_candidate(cluster: Cluster) -> None:
    leader = cluster.wait_healthy()
    candidate, _ = cluster.replicas()
    carried_out(cluster, leader, "/failover", candidate=candidate.name)
    assert cluster.wait_healthy() is candidate


@on_local
def test_a_failover_while_the_leader_is_lost(cluster: Cluster) -> None:
    """The key still names the lost leader; when its lease is over, the candidate takes it, not the other one."""
    leader = cluster.wait_healthy()
    candidate, other = cluster.replicas()
    leader.kill()
    carried_out(cluster, other, "/failover", candidate=candidate.name)
    cluster.wait_healthy(nodes=[candidate, other])
    assert cluster.leader() is candidate
    leader.start_agent()
    assert cluster.wait_healthy() is candidate


def scheduled(node: Node, in_s: float, **body: object) -> datetime:
    """Schedule a switchover from this leader in so many seconds, and return its time."""
    at = datetime.now(UTC) + timedelta(seconds=in_s)
    reply = node.ask("POST", "/switchover", {"leader": node.name, "scheduled_at": at.isoformat(), **body}, 30.0)
    assert (reply.status, reply.text) == (202, "Switchover scheduled")
    return at


@on_etcd
def test_a_scheduled_switchover_comes_at_its_time(cluster: Cluster) -> None:
    leader = cluster.wait_healthy()
    at = scheduled(leader, 4.0, candidate=cluster.replicas()[0].name)
    assert '"scheduled_switchover": {"at": ' in leader.ask("GET", "/cluster").text
    cluster.wait(lambda: not leader.is_leader(), 20.0, "the switchover")
    assert timedelta(seconds=-0.1) < datetime.now(UTC) - at < timedelta(seconds=10)
    assert cluster.wait_healthy() is not leader


@on_local
def test_a_scheduled_switchover_is_taken_back(cluster: Cluster) -> None:
    leader = cluster.wait_healthy()
    scheduled(leader, 3600.0)
    assert leader.ask("DELETE", "/switchover").status == 200
    assert leader.ask("DELETE", "/switchover").status == 404
    assert cluster.keys().read("failover") == "{}"


def test_a_leader_that_stops_while_a_switchover_is_asked_for(cluster: Cluster) -> None:
    leader = cluster.wait_healthy()
    candidate, _ = cluster.replicas()
    began_s = time.monotonic()
    scheduled(leader, 3600.0, candidate=candidate.name)
    assert leader.stop_agent() == 0
    new = cluster.wait_for_leader(other_than=leader)
    assert time.monotonic() - began_s < 20.0
    assert new is candidate
