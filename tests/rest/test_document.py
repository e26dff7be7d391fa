"""The status document: fields, their presence and their values (contract/rest_api.md §7)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from patroni.decision.cluster import Lsn, PostgresState, Role, Tags, Timeline
from patroni.decision.node import Job, JobKind, Process
from patroni.decision.settings import Settings, SynchronousMode
from patroni.decision.view import GuardState
from patroni.rest.document import status_document, wants_query
from patroni.rest.snapshot import Authority, Situation
from tests.rest.builders import NOW, PRIMARY, STANDBY, a_cluster, a_node, a_replica, a_situation, a_snapshot, synchronous

WALSENDER = {
    "usename": "repl",
    "application_name": "pg-b",
    "client_addr": None,
    "state": "streaming",
    "sync_state": "sync",
    "sync_priority": 1,
}


def test_primary() -> None:
    assert status_document(a_situation(monitoring=replace(PRIMARY, replication=(WALSENDER,)))) == {
        "state": "running",
        "role": "primary",
        "postmaster_start_time": "2026-03-02 07:14:55.120433+00:00",
        "server_version": 150018,
        "xlog": {"location": 218103992},
        "timeline": 4,
        "replication": [WALSENDER],
        "dcs_last_seen": 1772436011,
        "database_system_identifier": "7476012345678901234",
        "patroni": {"version": "4.1.4", "scope": "orders", "name": "pg-a"},
        "agent": {"version": "0.1.0"},
    }


def test_synchronous_replica() -> None:
    cluster = a_cluster(sync=synchronous("pg-b"))
    settings = Settings(synchronous_mode=SynchronousMode.PRIORITY)
    restart = {"restart_pending": True, "schedule": "2026-03-03T02:00:00+00:00"}
    assert status_document(a_replica(cluster=cluster, settings=settings, scheduled_restart=restart)) == {
        "state": "running",
        "role": "replica",
        "postmaster_start_time": "2026-03-02 07:20:01+00:00",
        "server_version": 150018,
        "xlog": {
            "received_location": 218103992,
            "replayed_location": 218103900,
            "replayed_timestamp": "2026-03-02 08:00:00.000117+00:00",
            "paused": False,
        },
        "timeline": 4,
        "replication_state": "streaming",
        "sync_standby": True,
        "dcs_last_seen": 1772436011,
        "database_system_identifier": "7476012345678901234",
        "scheduled_restart": restart,
        "patroni": {"version": "4.1.4", "scope": "orders", "name": "pg-b"},
        "agent": {"version": "0.1.0"},
    }


def test_down_in_a_paused_cluster_without_leader() -> None:
    node = a_node(Role.REPLICA, PostgresState.STOPPED, name="pg-c", process=Process.DOWN)
    snapshot = a_snapshot(node=node, cluster=a_cluster(leader=None), settings=Settings(is_paused=True))
    assert status_document(a_situation(snapshot, Authority.NONE, None)) == {
        "state": "stopped",
        "role": "replica",
        "pause": True,
        "cluster_unlocked": True,
        "dcs_last_seen": 1772436011,
        "database_system_identifier": "7476012345678901234",
        "patroni": {"version": "4.1.4", "scope": "orders", "name": "pg-c"},
        "agent": {"version": "0.1.0"},
    }


QUERY_FIELDS = {"postmaster_start_time", "server_version", "xlog", "timeline", "replication", "replication_state"}


@pytest.mark.parametrize(
    ("state", "then"),
    [(PostgresState.RUNNING, "unknown"), (PostgresState.STARTING, "starting"), (PostgresState.RESTARTING, "restarting")],
)
def test_a_failed_query_leaves_the_state_of_memory(state: PostgresState, then: str) -> None:
    document = status_document(a_situation(a_snapshot(node=a_node(state=state)), monitoring=None))
    assert (document["state"], document["role"]) == (then, "primary")
    assert not QUERY_FIELDS & set(document)


def test_a_good_query_leaves_starting_at_starting() -> None:
    document = status_document(a_situation(a_snapshot(node=a_node(state=PostgresState.STARTING))))
    assert (document["state"], document["role"]) == ("starting", "primary")


def test_form_and_role_come_from_the_query_not_from_memory() -> None:
    promoting = a_situation(a_snapshot(node=a_node(Role.PROMOTED)), monitoring=STANDBY)
    document = status_document(promoting)
    assert document["role"] == "replica"
    assert "received_location" in document["xlog"]  # type: ignore[operator]  # an object of JSON


def test_role_of_a_standby_cluster_is_that_of_memory() -> None:
    node = a_node(Role.STANDBY_LEADER)
    assert status_document(a_situation(a_snapshot(node=node, is_standby_cluster=True), monitoring=STANDBY))["role"] == (
        "standby_leader"
    )


DEPOSED = [
    pytest.param(a_situation(authority=Authority.OVER), True, id="lease over, still primary"),
    pytest.param(a_situation(authority=Authority.OVER, monitoring=None), True, id="lease over, primary by memory"),
    pytest.param(
        a_situation(a_snapshot(node=a_node(Role.REPLICA)), Authority.OVER, STANDBY), False, id="lease over, in recovery again"
    ),
    pytest.param(
        a_situation(a_snapshot(node=a_node(Role.REPLICA)), Authority.OVER, PRIMARY), True, id="lease over, promotion came late"
    ),
    pytest.param(
        a_situation(a_snapshot(settings=Settings(is_paused=True)), Authority.OVER), False, id="lease over, but paused"
    ),
    pytest.param(a_situation(authority=Authority.NONE), False, id="no lock of ours"),
    pytest.param(a_situation(), False, id="leader"),
]


@pytest.mark.parametrize(("given", "then"), DEPOSED)
def test_while_the_lease_is_over_peers_count_the_node_as_absent(given: Situation, then: bool) -> None:
    document = status_document(given)
    assert ("xlog" not in document) is then
    assert (document["role"] == "demoted") is then


def test_a_held_postgres_is_not_asked() -> None:
    assert not wants_query(a_situation(a_snapshot(guard=GuardState.HELD)))
    assert wants_query(a_situation(a_snapshot(guard=GuardState.ARMED)))


@pytest.mark.parametrize(
    ("receive", "replay", "then"), [(20, 10, 20), (None, 10, 10), (0, 10, 10), (None, None, None), (None, 0, 0)]
)
def test_received_location(receive: int | None, replay: int | None, then: int | None) -> None:
    lsns = [Lsn(value) if value is not None else None for value in (receive, replay)]
    document = status_document(a_replica(replace(STANDBY, receive_lsn=lsns[0], replay_lsn=lsns[1])))
    assert document["xlog"]["received_location"] == then  # type: ignore[index]  # an object of JSON


def test_timeline_of_a_replica() -> None:
    assert status_document(a_replica(replace(STANDBY, timeline=Timeline(7))))["timeline"] == 7
    unknown = a_node(Role.REPLICA, timeline=None)
    assert status_document(a_replica(node=unknown))["timeline"] is None


@pytest.mark.parametrize(
    ("mode", "voters", "more", "then"),
    [
        (SynchronousMode.PRIORITY, ("pg-b",), {}, {"sync_standby"}),
        (SynchronousMode.PRIORITY, ("PG-B",), {}, {"sync_standby"}),
        (SynchronousMode.PRIORITY, ("pg-c",), {}, set()),
        (SynchronousMode.QUORUM, ("pg-b", "pg-c"), {}, {"quorum_standby"}),
        (SynchronousMode.OFF, ("pg-b",), {}, set()),
        (SynchronousMode.PRIORITY, ("pg-b",), {"is_standby_cluster": True}, set()),
        (SynchronousMode.PRIORITY, ("pg-b",), {"cluster_seen": None}, set()),
    ],
)
def test_synchronous_standby(mode: SynchronousMode, voters: tuple[str, ...], more: dict[str, object], then: set[str]) -> None:
    settings = Settings(synchronous_mode=mode)
    fields = {"node": a_node(Role.REPLICA, name="pg-b"), "cluster": a_cluster(sync=synchronous(*voters)), "settings": settings}
    document = status_document(a_situation(a_snapshot(**(fields | more)), Authority.NONE, STANDBY))
    assert {"sync_standby", "quorum_standby"} & set(document) == then


@pytest.mark.parametrize(
    ("more", "later_s", "key", "then"),
    [
        ({}, 0.0, "cluster_unlocked", None),
        ({}, 29.9, "cluster_unlocked", None),
        ({}, 30.0, "cluster_unlocked", True),
        ({"cluster": None}, 0.0, "cluster_unlocked", True),
        ({"cluster": a_cluster(leader=None)}, 0.0, "cluster_unlocked", True),
        ({"failsafe_until_s": NOW.boot_s + 1.0}, 0.9, "failsafe_mode_is_active", True),
        ({"failsafe_until_s": NOW.boot_s + 1.0}, 1.0, "failsafe_mode_is_active", None),
        ({"is_watchdog_failed": True}, 0.0, "watchdog_failed", True),
        ({"log_queue_size": 2, "log_records_lost": 1}, 0.0, "logger_queue_size", None),
        ({"log_queue_size": 3}, 0.0, "logger_queue_size", 3),
        ({"log_queue_size": 3}, 0.0, "logger_records_lost", None),
        ({"log_queue_size": 3, "log_records_lost": 1}, 0.0, "logger_records_lost", 1),
        ({"settings": Settings(tags=Tags(published={"zone": "eu-1"}))}, 0.0, "tags", {"zone": "eu-1"}),
        ({"is_leaving_sync": True}, 0.0, "tags", {"nosync": True, "sync_priority": 0}),
        ({"is_out_of_race": True}, 0.0, "tags", {"nofailover": True}),
        ({"node": a_node(system_id=None)}, 0.0, "database_system_identifier", None),
    ],
)
def test_fields_that_come_and_go(more: dict[str, object], later_s: float, key: str, then: object) -> None:
    assert status_document(a_situation(a_snapshot(**more), later_s=later_s)).get(key) == then


def test_pending_restart_is_known_while_postgres_is_away() -> None:
    reason = {"max_connections": {"old_value": "100", "new_value": "150"}}
    known = a_snapshot(monitoring=replace(PRIMARY, pending_restart=reason))
    for situation in (a_situation(known, monitoring=None), a_situation(monitoring=known.monitoring)):
        document = status_document(situation)
        assert (document["pending_restart"], document["pending_restart_reason"]) == (True, reason)
    assert "pending_restart" not in status_document(a_situation(known, monitoring=PRIMARY))


def test_what_the_agent_is_doing() -> None:
    snapshot = a_snapshot(
        node=a_node(job=Job(kind=JobKind.REWIND, subject="pg-b")), chain="promote", decisions=("older", "newest")
    )
    assert status_document(a_situation(snapshot))["agent"] == {
        "version": "0.1.0",
        "job": "running pg_rewind from pg-b",
        "chain": "promote",
        "decision": "newest",
    }
