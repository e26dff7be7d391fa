"""The store goes away, for all or for one: nobody loses a session for nothing, and never do two servers take writes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.server.stores import on_etcd
from tests.support.cluster import FAST, Cluster
from tests.support.node import Node
from tests.support.proxy import Proxy
from tests.support.sql import Session
from tests.support.waiting import wait_until
from tests.support.writer import Writer, overlaps

TTL_S = float(FAST["ttl"])
SHORT_S = 3.0  # an outage that ends before the lease, however late in the period of renewals it begins
pytestmark = pytest.mark.timeout(240)


def wait_out(seconds: float) -> None:
    """Let an outage last: here time itself is what is tested."""
    threading.Event().wait(seconds)


@contextmanager
def writers_at(cluster: Cluster) -> Iterator[list[Writer]]:
    """Write to each node directly, whoever leads; at the end nobody may have written beside a successor."""
    with ExitStack() as writing:
        writers = [writing.enter_context(Writer(node.dsn, node.name, patience_s=1.0)) for node in cluster.nodes]
        yield writers
        cluster.wait_healthy()
    assert overlaps(writers) == []


@contextmanager
def undisturbed(cluster: Cluster) -> Iterator[Node]:
    """Check that the leader goes on in the same life, on the same timeline, with its sessions."""
    leader = cluster.wait_healthy()
    before = leader.postmaster_pid(), leader.timeline()
    with Session(leader.dsn, 10.0) as session:
        yield leader
        assert cluster.wait_healthy() is leader
        assert (leader.postmaster_pid(), leader.timeline()) == before
        assert session.run("SELECT 1") == [(1,)]


def last_write_s(writer: Writer) -> float:
    """Return when the last row was acknowledged."""
    return writer.acknowledged[-1].acknowledged_s


def test_a_short_outage_changes_nothing(cluster: Cluster) -> None:
    with undisturbed(cluster) as leader, Writer(leader.dsn, "client") as writer:
        with cluster.frozen_store():
            wait_out(SHORT_S)
            writer.wait_for_write()
        assert writer.longest_gap_s(0.0) < SHORT_S


@on_etcd
def test_a_restarted_store_changes_nothing(cluster: Cluster) -> None:
    assert cluster.etcd is not None
    with undisturbed(cluster):
        cluster.etcd.members[0].restart()


def test_a_primary_ends_before_its_lease_could_be_taken(cluster: Cluster) -> None:
    leader = cluster.wait_healthy()
    with writers_at(cluster) as writers:
        of_leader = writers[cluster.nodes.index(leader)]
        of_leader.wait_for_write()
        with cluster.frozen_store():
            frozen_s = time.monotonic()
            wait_out(TTL_S + 3.0)
            assert last_write_s(of_leader) < frozen_s + TTL_S
            assert cluster.leader() is None
            wait_until(lambda: leader.reads("SELECT pg_is_in_recovery()") is True, 20.0, "the old leader, read-only")
        new = cluster.wait_for_leader()
        writers[cluster.nodes.index(new)].wait_for_write()


def refuse(link: Proxy) -> None:
    link.refuse()
    link.cut()


@on_etcd
@pytest.mark.parametrize("cut", [refuse, Proxy.black_hole], ids=["refused", "silent"])
def test_a_leader_cut_from_the_store_is_replaced(cluster: Cluster, cut: Callable[[Proxy], None]) -> None:
    old = cluster.wait_healthy()
    assert old.link is not None
    with writers_at(cluster) as writers:
        writers[cluster.nodes.index(old)].wait_for_write()
        cut(old.link)
        cut_s = time.monotonic()
        new = cluster.wait_for_leader(other_than=old, timeout_s=TTL_S + 10.0)
        assert last_write_s(writers[cluster.nodes.index(old)]) < cut_s + TTL_S
        writers[cluster.nodes.index(new)].wait_for_write()
        old.link.forward()
    assert cluster.leader() is new


@on_etcd
def test_a_replica_cut_from_the_store_goes_on_streaming(cluster: Cluster) -> None:
    with undisturbed(cluster) as leader:
        replica, _ = cluster.replicas()
        pid = replica.postmaster_pid()
        assert replica.link is not None
        refuse(replica.link)
        keys = cluster.keys()
        wait_until(lambda: keys.read(f"members/{replica.name}") is None, TTL_S + 10.0, "the end of its key")
        leader.sql("INSERT INTO written VALUES ('meanwhile', 1)")
        wait_until(lambda: replica.reads("SELECT 1 FROM written") == 1, 10.0, "the row on it")
        replica.link.forward()
        wait_until(lambda: keys.read(f"members/{replica.name}"), 20.0, "its key")
        assert replica.postmaster_pid() == pid
