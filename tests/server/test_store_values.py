"""Keys of the store changed by hand: what an operator may do works, and nothing that stands there ends an agent."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.server.stores import on_etcd, on_local
from tests.support.cluster import FAST, Cluster
from tests.support.keys import Keys
from tests.support.node import Node

TORN = ("", "{", '{"torn": ', "[]", "[1, [2", '"x"', "null", "7", "\u0000\ufffd")
FOREIGN = '{"optime": {}, "sync_standby": 1, "conn_url": 0, "leader": [], "quorum": "x"}'
KEYS = ("config", "status", "sync", "failover", "history", "failsafe", "initialize", "members/ghost", "optime/leader")
TAGS = {"nofailover": True}
pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def keys(cluster: Cluster) -> Iterator[Keys]:
    """Return the keys of the cluster; the ones that no agent owns are removed at the end."""
    found = cluster.keys()
    yield found
    for key in ("members/ghost", "failsafe", "sync", "optime/leader"):
        found.delete(key)


def lives(nodes: list[Node]) -> list[int | None]:
    """Return the servers' pids: nothing may have been restarted."""
    return [node.postmaster_pid() for node in nodes]


@pytest.mark.parametrize("key", KEYS)
def test_a_torn_value_ends_no_agent(cluster: Cluster, keys: Keys, key: str) -> None:
    leader = cluster.wait_healthy()
    before = lives(cluster.nodes), leader.timeline(), keys.read("initialize")
    for value in TORN if key == "config" else (FOREIGN, *TORN):  # which would be a configuration
        keys.write(key, value)
        assert leader.ask("GET", "/cluster").status == 200  # a fresh read of what stands there now
    cluster.wait(lambda: is_repaired(keys, key, leader), 20.0, f"a repair of {key}")
    assert cluster.wait_healthy() is leader
    assert (lives(cluster.nodes), leader.timeline(), keys.read("initialize")) == before
    assert "Traceback" not in "".join(node.log() for node in cluster.nodes)


def is_repaired(keys: Keys, key: str, leader: Node) -> bool:
    """Tell whether the leader has put right what is its to put right."""
    value = keys.read(key) or ""
    match key:
        case "config":
            return value.startswith('{"') and json.loads(value).get("ttl") == FAST["ttl"]
        case "initialize":
            return value.isdigit()
        case "status":
            return value.startswith('{"optime":') and isinstance(json.loads(value)["optime"], int)
        case "history":
            return leader.timeline() == 1 or value.startswith("[[")
        case _:
            return True


def test_a_deleted_leader_key_is_taken_anew(cluster: Cluster, keys: Keys) -> None:
    leader = cluster.wait_healthy()
    before = lives(cluster.nodes), leader.timeline()
    keys.delete("leader")
    cluster.wait(lambda: keys.read("leader") == leader.name, 10.0, "the key")
    assert cluster.wait_healthy() is leader
    assert (lives(cluster.nodes), leader.timeline()) == before


@on_etcd
def test_a_foreign_leader_key_ends_the_reign(cluster: Cluster, keys: Keys) -> None:
    """Whoever overwrites the key takes the lock: nobody writes any more until the key is gone."""
    leader = cluster.wait_healthy()
    keys.write("leader", "nobody")
    cluster.wait(lambda: cluster.leader() is None, 10.0, "nobody who leads")
    cluster.wait(lambda: leader.reads("SELECT pg_is_in_recovery()") is True, 30.0, "the old leader, read-only")
    keys.delete("leader")
    cluster.wait_healthy()


def test_a_changed_ttl_moves_the_lock(cluster: Cluster, keys: Keys) -> None:
    leader = cluster.wait_healthy()
    before = lives(cluster.nodes), leader.timeline()
    old = keys.entry("leader")
    keys.change_config(ttl=12)

    def has_moved() -> bool:
        entry = keys.entry("leader")
        return entry is not None and old is not None and entry.session != old.session

    cluster.wait(has_moved, 20.0, "the lock under a new session")
    assert cluster.wait_healthy() is leader
    assert (lives(cluster.nodes), leader.timeline()) == before


def await_work_mem(cluster: Cluster, node: Node, work_mem: str) -> None:
    """Wait until a server works with this setting."""
    cluster.wait(lambda: node.reads("SHOW work_mem") == work_mem, 20.0, f"work_mem = {work_mem} of {node}")


@on_local
def test_a_changed_parameter_reaches_all_servers(cluster: Cluster, keys: Keys) -> None:
    cluster.wait_healthy()
    section = json.loads(keys.read("config") or "{}")["postgresql"]
    for parameters, work_mem in (({"work_mem": "7MB"}, "7MB"), (section["parameters"], "4MB")):
        keys.change_config(postgresql={**section, "parameters": parameters})
        for node in cluster.nodes:
            await_work_mem(cluster, node, work_mem)


@on_local
def test_a_reload_takes_the_file_anew(cluster: Cluster, keys: Keys) -> None:
    cluster.wait_healthy()
    node = cluster.replicas()[0]
    section = node.configuration["postgresql"]
    assert isinstance(section, dict)
    pid = node.postmaster_pid()
    reload(cluster, node, postgresql={**section, "parameters": {**section["parameters"], "work_mem": "9MB"}}, tags=TAGS)
    await_work_mem(cluster, node, "9MB")
    cluster.wait(lambda: "nofailover" in (keys.read(f"members/{node.name}") or ""), 20.0, "the tag")
    reload(cluster, node, postgresql=section, tags={})
    await_work_mem(cluster, node, "4MB")
    cluster.wait(lambda: "nofailover" not in (keys.read(f"members/{node.name}") or ""), 20.0, "no tag")
    assert node.postmaster_pid() == pid


def reload(cluster: Cluster, node: Node, **sections: object) -> None:
    """Change sections of a node's file and have it read."""
    node.configuration |= sections
    node.write_configuration()
    node.reload()
