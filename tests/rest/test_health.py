"""Health checks: the truth table, each row of the path table, each parameter (contract/rest_api.md §8)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from patroni.decision.cluster import Lsn, PostgresState, Role, Status, Tags
from patroni.decision.node import Process
from patroni.decision.settings import Settings, SynchronousMode
from patroni.rest import routes
from patroni.rest.document import wants_query
from patroni.rest.health import Check, check_of
from patroni.rest.routes import Need
from patroni.rest.snapshot import Authority, Situation
from tests.rest.builders import (
    NOW,
    PRIMARY,
    STANDBY,
    a_cluster,
    a_node,
    a_replica,
    a_request,
    a_situation,
    a_snapshot,
    synchronous,
)

PRIORITY = Settings(synchronous_mode=SynchronousMode.PRIORITY)
QUORUM = Settings(synchronous_mode=SynchronousMode.QUORUM)
PAUSED = Settings(is_paused=True)
PROMOTING = replace(STANDBY, replication_state=None)


def status(situation: Situation, target: str, method: str = "GET") -> int:
    """Return the status of one check; a query that the state forbids is not made."""
    if not wants_query(situation):
        situation = replace(situation, monitoring=None)
    return routes.respond(a_request(method, target), situation).status


def a_leader_in(state: PostgresState) -> Situation:
    node = a_node(state=state, process=Process.DOWN, is_in_recovery=None)
    return a_situation(a_snapshot(node=node), monitoring=None)


def a_promoting_leader(settings: Settings, *voters: str) -> Situation:
    node = a_node(Role.REPLICA, name="pg-a")
    snapshot = a_snapshot(node=node, cluster=a_cluster(sync=synchronous(*voters)), settings=settings)
    return a_situation(snapshot, monitoring=PROMOTING)


def a_sync_replica(settings: Settings) -> Situation:
    return a_replica(cluster=a_cluster(sync=synchronous("PG-B")), settings=settings)


def a_standby_leader() -> Situation:
    node = a_node(Role.STANDBY_LEADER)
    return a_situation(a_snapshot(node=node, is_standby_cluster=True), monitoring=STANDBY)


COLUMNS = (
    "/ /primary /read-write /master",
    "/leader",
    "/standby-leader /standby_leader",
    "/replica",
    "/read-only",
    "/health",
    "/sync /synchronous",
    "/async /asynchronous",
    "/quorum",
    "/read-only-sync /read-only-synchronous",
    "/read-only-quorum",
)
# Rows of the truth table (§8.5); one character a column, 1 is 200.
TRUTH = [
    pytest.param(a_situation(), "11..11...11", id="L, running primary"),
    pytest.param(a_leader_in(PostgresState.CRASHED), "11..1....11", id="L, Postgres down"),
    pytest.param(a_leader_in(PostgresState.STARTING), "11..1....11", id="L, Postgres starting"),
    pytest.param(a_leader_in(PostgresState.RESTARTING), "11..1....11", id="L, Postgres restarting"),
    pytest.param(a_promoting_leader(Settings()), "11.111.1.11", id="L, being promoted, asynchronous"),
    pytest.param(a_promoting_leader(PRIORITY, "pg-a"), "11.1111..11", id="L, being promoted, in /sync"),
    pytest.param(a_promoting_leader(QUORUM, "pg-a"), "11.111..111", id="L, being promoted, in /sync, quorum"),
    pytest.param(a_replica(), "...111.1...", id="async replica"),
    pytest.param(a_sync_replica(PRIORITY), "...1111..1.", id="synchronous replica"),
    pytest.param(a_sync_replica(QUORUM), "...111..1.1", id="quorum replica"),
    pytest.param(a_replica(settings=Settings(tags=Tags(noloadbalance=True))), ".....1.....", id="replica, noloadbalance"),
    pytest.param(a_replica(monitoring=None), "...........", id="replica, Postgres not answering"),
    pytest.param(
        a_replica(node=a_node(Role.REPLICA, PostgresState.STARTING, name="pg-b")), "...........", id="replica, starting"
    ),
    pytest.param(a_situation(authority=Authority.NONE), ".....1.....", id="running primary without leader key"),
    pytest.param(a_standby_leader(), ".11.11...11", id="standby cluster, L"),
    pytest.param(a_replica(is_standby_cluster=True), "...111.1...", id="standby cluster, other node"),
    pytest.param(a_situation(a_snapshot(cluster=None)), "11..11.....", id="no view, L still valid"),
    pytest.param(a_situation(later_s=30.0), "11..11.....", id="view older than ttl, L still valid"),
    pytest.param(a_replica(cluster=None), "...111.....", id="no view, replica"),
    pytest.param(
        a_situation(a_snapshot(cluster=None, settings=PAUSED), Authority.NONE), "11..11.....", id="no view, paused, primary"
    ),
    pytest.param(
        a_situation(a_snapshot(cluster=None, settings=PAUSED), Authority.OVER),
        "11..11.....",
        id="no view, paused, primary whose lease is over",
    ),
    pytest.param(a_situation(authority=Authority.OVER), "...........", id="primary whose lease is over"),
]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize(("given", "then"), TRUTH)
def test_truth_table(given: Situation, then: str, method: str) -> None:
    for paths, wanted in zip(COLUMNS, then, strict=True):
        for path in paths.split():
            assert status(given, path, method) == (200 if wanted == "1" else 503), f"{method} {path}"


@pytest.mark.parametrize(
    ("path", "then"),
    [
        ("/", Check.PRIMARY),
        ("/x/primary", Check.PRIMARY),
        ("/primary/", Check.PRIMARY),
        ("/read-write", Check.PRIMARY),
        ("/master", Check.PRIMARY),
        ("/leader", Check.LEADER),
        ("/standby_leader", Check.STANDBY_LEADER),
        ("/standby-leader/x", Check.STANDBY_LEADER),
        ("/primary-leader", Check.LEADER),
        ("/replica/", Check.REPLICA),
        ("/read-only", Check.READ_ONLY),
        ("/read-only/", Check.READ_ONLY),
        ("/read-only-sync", Check.READ_ONLY_SYNC),
        ("/read-only-sync/", Check.UNKNOWN),
        ("/read-only-async", Check.UNKNOWN),
        ("/read-only-quorum", Check.READ_ONLY_QUORUM),
        ("/healthz", Check.HEALTH),
        ("/sync", Check.SYNC),
        ("/sync/", Check.UNKNOWN),
        ("/asynchronous", Check.ASYNC),
        ("/PRIMARY", Check.UNKNOWN),
        ("/nope", Check.UNKNOWN),
        ("/patroni", Check.UNKNOWN),
        ("*", Check.UNKNOWN),
    ],
)
def test_check_of_path(path: str, then: Check) -> None:
    assert check_of(path) is then


BEHIND = STANDBY.replay_lsn
assert BEHIND is not None
EXACT = int(PRIMARY.lsn) - int(BEHIND)  # bytes that the replica lags behind


@pytest.mark.parametrize(
    ("query", "then"),
    [
        ("lag=0", 503),
        (f"lag={EXACT}", 200),
        (f"lag={EXACT - 1}", 503),
        ("lag=10MB", 200),
        ("lag=1M", 200),
        ("lag=nonsense", 200),
        ("lag=", 200),
        ("lag=0&lag=10MB", 503),
        ("lag=&lag=0", 503),
        ("replication_state=streaming", 200),
        ("replication_state=in%20archive%20recovery", 503),
        ("replication_state=Streaming", 503),
        ("tag_zone=eu-1", 200),
        ("tag_zone=EU-1", 503),
        ("tag_zone=eu-1&tag_rack=7", 200),
        ("tag_zone=eu-1&tag_rack=8", 503),
        ("tag_missing=x", 503),
        ("tag_empty=null", 503),
        ("tag_fast=true", 200),
        ("tag_fast=True", 503),
        ("tag_weight=1.4", 200),
        ("tag_nofailover=false", 503),
        ("tag_note=a+b", 200),
        ("tag_note=a%20b", 200),
        ("other=1", 200),
    ],
)
def test_query_parameters_of_a_replica(query: str, then: int) -> None:
    tags = Tags(published={"zone": "eu-1", "rack": 7, "fast": True, "weight": 1.4, "note": "a b", "empty": None})
    situation = a_replica(settings=Settings(tags=tags))
    assert status(situation, f"/replica?{query}") == then
    assert status(situation, f"/async?{query}") == then
    assert status(situation, f"/read-only?{query}") == then


@pytest.mark.parametrize(
    ("target", "then"),
    [
        ("/primary?tag_x=1", 200),
        ("/leader?tag_x=1", 200),
        ("/read-only?tag_x=1", 503),
        ("/read-only-sync?tag_x=1", 503),
        ("/read-only-quorum?tag_x=1", 503),
        ("/health?tag_x=1", 503),
        ("/read-only?lag=0", 200),
        ("/health?lag=0", 200),
    ],
)
def test_query_parameters_of_a_leader(target: str, then: int) -> None:
    assert status(a_situation(), target) == then


def test_in_archive_recovery() -> None:
    situation = a_replica(replace(STANDBY, replication_state="in archive recovery"))
    assert status(situation, "/replica?replication_state=in%20archive%20recovery") == 200
    assert status(situation, "/replica?replication_state=streaming") == 503


def test_position_of_the_leader_is_the_larger_of_store_and_wal_receiver() -> None:
    old = a_cluster(status=Status(lsn=Lsn(1)))
    assert status(a_replica(cluster=old), "/replica?lag=0") == 503
    unknown = replace(STANDBY, latest_end_lsn=None)
    assert status(a_replica(unknown, cluster=old), "/replica?lag=0") == 200


def test_a_null_position_counts_as_zero() -> None:
    assert status(a_replica(replace(STANDBY, replay_lsn=None)), "/replica?lag=1GB") == 200
    assert status(a_replica(replace(STANDBY, replay_lsn=None)), "/replica?lag=1MB") == 503


@pytest.mark.parametrize(
    ("method", "target", "situation", "then"),
    [
        pytest.param("OPTIONS", "/", a_situation(), Need.NOTHING, id="a leader's check asks the lease alone"),
        pytest.param("HEAD", "/primary", a_replica(), Need.NOTHING, id="so does a replica's"),
        pytest.param("GET", "/primary", a_situation(), Need.QUERY, id="a document needs the query"),
        pytest.param("HEAD", "/replica", a_replica(), Need.QUERY, id="what Postgres is, only Postgres knows"),
        pytest.param("HEAD", "/nope", a_replica(), Need.NOTHING, id="unknown paths need nothing"),
        pytest.param("HEAD", "/leader", a_standby_leader(), Need.QUERY, id="standby cluster"),
        pytest.param(
            "HEAD", "/", a_situation(a_snapshot(cluster=None, settings=PAUSED)), Need.QUERY, id="paused without a view"
        ),
        pytest.param("GET", "/primary", a_leader_in(PostgresState.CRASHED), Need.NOTHING, id="a crashed one is not asked"),
        pytest.param("GET", "/primary", a_situation(authority=Authority.OVER), Need.NOTHING, id="nor a deposed one"),
        pytest.param("GET", "/patroni", a_situation(), Need.PATIENT_QUERY, id="/patroni asks again"),
        pytest.param("GET", "/metrics", a_situation(), Need.PATIENT_QUERY, id="/metrics asks again"),
        pytest.param("GET", "/readiness", a_situation(), Need.NOTHING, id="a leader is ready"),
        pytest.param("GET", "/readiness", a_replica(), Need.PATIENT_QUERY, id="a replica must be asked"),
        pytest.param("GET", "/liveness", a_replica(), Need.NOTHING, id="liveness asks nobody"),
        pytest.param("GET", "/cluster", a_situation(), Need.STORE, id="/cluster reads"),
        pytest.param("GET", "/history", a_situation(), Need.NOTHING, id="/history from the view"),
        pytest.param("GET", "/history", a_situation(later_s=30.0), Need.STORE, id="/history without a view"),
        pytest.param("GET", "/config", a_situation(a_snapshot(cluster=None)), Need.STORE, id="/config without a view"),
        pytest.param("POST", "/switchover", a_situation(), Need.STEPS, id="actions are steps"),
    ],
)
def test_need(method: str, target: str, situation: Situation, then: Need) -> None:
    assert routes.need(a_request(method, target), replace(situation, monitoring=None)) is then


@pytest.mark.parametrize(
    "path", ["/patroni", "/metrics", "/cluster", "/history", "/config", "/liveness", "/readiness", "/failsafe"]
)
def test_only_get_knows_the_monitoring_endpoints(path: str) -> None:
    assert status(a_situation(), path, "HEAD") == 503
    assert status(a_situation(), path, "OPTIONS") == 503


@pytest.mark.parametrize(
    ("snapshot", "late_s", "then"),
    [
        pytest.param(a_snapshot(), 29.9, 200, id="primary, just in time"),
        pytest.param(a_snapshot(), 30.0, 503, id="primary, late by ttl"),
        pytest.param(a_snapshot(node=a_node(Role.REPLICA)), 59.9, 200, id="replica, just in time"),
        pytest.param(a_snapshot(node=a_node(Role.REPLICA)), 60.0, 503, id="replica, late by 2 ttl"),
        pytest.param(a_snapshot(node=a_node(process=Process.DOWN)), 59.9, 200, id="primary whose postmaster is gone"),
        pytest.param(a_snapshot(settings=PAUSED), 3600.0, 200, id="paused"),
        pytest.param(a_snapshot(next_run=replace(NOW, raw_s=NOW.raw_s - 30.0)), 0.0, 503, id="the later clock counts"),
    ],
)
def test_liveness(snapshot: object, late_s: float, then: int) -> None:
    situation = a_situation(snapshot, later_s=late_s)  # type: ignore[arg-type]  # a Snapshot in a table of mixed types
    assert status(situation, "/liveness") == then


WRITE_LAG = 10
LAGGING = replace(STANDBY, latest_end_lsn=Lsn(1000), receive_lsn=Lsn(1000 - WRITE_LAG), replay_lsn=Lsn(900))
AT_1000 = a_cluster(status=Status(lsn=Lsn(1000)))


@pytest.mark.parametrize(
    ("situation", "query", "then"),
    [
        pytest.param(a_situation(), "", 200, id="L"),
        pytest.param(a_leader_in(PostgresState.CRASHED), "", 200, id="L, Postgres down"),
        pytest.param(a_replica(node=a_node(Role.REPLICA, PostgresState.STARTING)), "", 503, id="starting"),
        pytest.param(a_replica(monitoring=None), "", 503, id="the query failed"),
        pytest.param(a_replica(replace(STANDBY, replication_state="in archive recovery")), "", 503, id="not streaming"),
        pytest.param(a_replica(replace(STANDBY, latest_end_lsn=None), cluster=None), "", 503, id="no view, no position"),
        pytest.param(
            a_replica(replace(STANDBY, latest_end_lsn=Lsn(0)), cluster=None, failsafe_until_s=NOW.boot_s + 1),
            "",
            200,
            id="no view, no position, failsafe",
        ),
        pytest.param(
            a_replica(replace(STANDBY, latest_end_lsn=None), cluster=None, failsafe_until_s=NOW.boot_s),
            "",
            503,
            id="no view, no position, failsafe is over",
        ),
        pytest.param(a_replica(cluster=None), "", 200, id="no view, but a position"),
        pytest.param(a_replica(LAGGING, cluster=AT_1000), "?lag=100", 200, id="apply, at the limit"),
        pytest.param(a_replica(LAGGING, cluster=AT_1000), "?lag=99", 503, id="apply, beyond the limit"),
        pytest.param(a_replica(LAGGING, cluster=AT_1000), "?lag=10&mode=write", 200, id="write, at the limit"),
        pytest.param(a_replica(LAGGING, cluster=AT_1000), "?lag=9&mode=write", 503, id="write, beyond the limit"),
        pytest.param(a_replica(LAGGING, cluster=AT_1000), "?lag=10&mode=x", 503, id="any other mode is apply"),
        pytest.param(
            a_replica(LAGGING, cluster=AT_1000, settings=Settings(maximum_lag_on_failover_bytes=100)),
            "?lag=1M",
            200,
            id="default limit, at it",
        ),
        pytest.param(
            a_replica(LAGGING, cluster=AT_1000, settings=Settings(maximum_lag_on_failover_bytes=99)),
            "",
            503,
            id="default limit, beyond it",
        ),
        pytest.param(
            a_replica(settings=Settings(tags=Tags(noloadbalance=True, published={"noloadbalance": True}))),
            "?tag_x=1",
            200,
            id="tags play no role",
        ),
    ],
)
def test_readiness(situation: Situation, query: str, then: int) -> None:
    assert status(situation, f"/readiness{query}") == then
