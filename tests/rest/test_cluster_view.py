"""`/cluster`, `/history`, `/config`, `/failsafe` (contract/rest_api.md §9.3-9.6)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from patroni.decision.cluster import (
    Cluster,
    DynamicConfig,
    FailoverRequest,
    History,
    HistoryRow,
    Lsn,
    PostgresState,
    Status,
    SyncState,
    Timeline,
    Token,
)
from patroni.decision.settings import Settings, SynchronousMode
from patroni.rest.cluster_view import cluster_answer, config_answer, failsafe_answer, history_answer
from patroni.rest.message import Kind, Response
from patroni.rest.snapshot import Situation
from tests.rest.builders import a_cluster, a_member, a_situation, a_snapshot, synchronous

PRIORITY = Settings(synchronous_mode=SynchronousMode.PRIORITY)


def content(answer: Response) -> object:
    assert (answer.status, answer.kind) == (200, Kind.JSON)
    return json.loads(answer.body)


def shown(cluster: Cluster, situation: Situation) -> dict[str, Mapping[str, object]]:
    answer = content(cluster_answer(cluster, situation))
    assert isinstance(answer, dict)
    return {member["name"]: member for member in answer["members"]}


A, B, C = (f"http://{name}.example:8008/patroni" for name in ("pg-a", "pg-b", "pg-c"))
EXAMPLE = {
    "members": [
        {
            "name": "pg-a",
            "role": "leader",
            "state": "running",
            "api_url": A,
            "host": "pg-a.example",
            "port": 5432,
            "timeline": 4,
            "tags": {"zone": "eu-1"},
        },
        {
            "name": "pg-b",
            "role": "sync_standby",
            "state": "streaming",
            "api_url": B,
            "host": "pg-b.example",
            "port": 5432,
            "timeline": 4,
            "receive_lag": 0,
            "receive_lsn": "0/D000078",
            "replay_lag": 64,
            "replay_lsn": "0/D000038",
            "lag": 0,
            "lsn": "0/D000078",
        },
        {
            "name": "pg-c",
            "role": "replica",
            "state": "stopped",
            "api_url": C,
            "host": "pg-c.example",
            "port": 5432,
            "receive_lag": "unknown",
            "receive_lsn": "unknown",
            "replay_lag": "unknown",
            "replay_lsn": "unknown",
            "lag": "unknown",
            "lsn": "unknown",
        },
    ],
    "scope": "orders",
    "scheduled_switchover": {"at": "2026-03-03T03:00:00+00:00", "from": "pg-a", "to": "pg-b"},
}


def test_example_of_the_contract() -> None:
    published_a = {"state": "running", "timeline": 4, "tags": {"zone": "eu-1"}, "xlog_location": 1}
    members = {
        "pg-c": a_member("pg-c", state=PostgresState.STOPPED, published={"state": "stopped"}),
        "pg-b": a_member(
            "pg-b",
            lsn=Lsn(0xD000078),
            receive_lsn=Lsn(0xD000078),
            replay_lsn=Lsn(0xD000038),
            replication_state="streaming",
            published={"state": "running", "timeline": 4},
        ),
        "pg-a": a_member("pg-a", published=published_a),
    }
    cluster = a_cluster(
        members=members,
        status=Status(lsn=Lsn(0xD000078)),
        sync=synchronous("pg-b"),
        failover=FailoverRequest(leader="pg-a", candidate="pg-b", scheduled_at=datetime(2026, 3, 3, 3, tzinfo=UTC)),
    )
    assert content(cluster_answer(cluster, a_situation(a_snapshot(settings=PRIORITY)))) == EXAMPLE


@pytest.mark.parametrize(
    ("settings", "sync", "is_standby_cluster", "then"),
    [
        (Settings(), SyncState(), False, ["leader", "replica"]),
        (PRIORITY, synchronous("PG-B"), False, ["leader", "sync_standby"]),
        (Settings(synchronous_mode=SynchronousMode.QUORUM), synchronous("pg-b"), False, ["leader", "quorum_standby"]),
        (Settings(), synchronous("pg-b"), False, ["leader", "replica"]),
        (PRIORITY, synchronous("pg-b"), True, ["standby_leader", "replica"]),
    ],
)
def test_roles(settings: Settings, sync: SyncState, is_standby_cluster: bool, then: list[str]) -> None:
    situation = a_situation(a_snapshot(settings=settings, is_standby_cluster=is_standby_cluster))
    found = shown(a_cluster(sync=sync), situation)
    assert [found["pg-a"]["role"], found["pg-b"]["role"]] == then


@pytest.mark.parametrize(
    ("url", "then"),
    [
        ("postgres://192.0.2.7:5433/postgres", {"host": "192.0.2.7", "port": 5433}),
        ("postgres://192.0.2.7/postgres", {"host": "192.0.2.7", "port": 5432}),
        ("postgres://[2001:db8::1]:5432/postgres", {"host": "2001:db8::1", "port": 5432}),
        ("postgres://host:port/postgres", {}),
        ("postgres://[oops", {}),
        ("nonsense", {}),
        (None, {}),
    ],
)
def test_address(url: str | None, then: dict[str, object]) -> None:
    found = shown(a_cluster(members={"pg-b": a_member("pg-b", conn_url=url)}), a_situation())["pg-b"]
    assert {key: found[key] for key in ("host", "port") if key in found} == then


def test_a_member_that_said_nothing() -> None:
    members = {"pg-b": a_member("pg-b", conn_url=None, api_url=None, state=None, published={})}
    found = shown(a_cluster(leader=None, members=members), a_situation())["pg-b"]
    assert (found["state"], found["api_url"], found["lag"]) == ("", None, "unknown")


def test_a_replica_ahead_of_the_published_position_does_not_lag() -> None:
    members = {"pg-b": a_member("pg-b", lsn=Lsn(2**33 + 5))}
    found = shown(a_cluster(members=members, status=Status(lsn=None)), a_situation())["pg-b"]
    assert (found["lag"], found["lsn"]) == (0, "2/5")


def test_pause_and_a_schedule_without_names() -> None:
    request = FailoverRequest(scheduled_at=datetime(2026, 3, 3, 3, tzinfo=UTC))
    situation = a_situation(a_snapshot(settings=Settings(is_paused=True)))
    answer = content(cluster_answer(a_cluster(failover=request), situation))
    assert isinstance(answer, dict)
    assert (answer["pause"], answer["scheduled_switchover"]) == (True, {"at": "2026-03-03T03:00:00+00:00"})
    at_once = content(cluster_answer(a_cluster(failover=FailoverRequest(candidate="pg-b")), a_situation()))
    assert isinstance(at_once, dict)
    assert not {"pause", "scheduled_switchover"} & set(at_once)


def test_history() -> None:
    rows = (
        HistoryRow(timeline=Timeline(1), lsn=Lsn(67109192), reason="no recovery target specified"),
        HistoryRow(timeline=Timeline(2), lsn=Lsn(83886496), reason="x", timestamp="2026-02-01T22:41:19+00:00"),
        HistoryRow(timeline=Timeline(3), lsn=Lsn(9), reason="y", timestamp="2026-02-02T22:41:19+00:00", leader="pg-a"),
    )
    assert content(history_answer(a_cluster(history=History(rows=rows)))) == [
        [1, 67109192, "no recovery target specified"],
        [2, 83886496, "x", "2026-02-01T22:41:19+00:00"],
        [3, 9, "y", "2026-02-02T22:41:19+00:00", "pg-a"],
    ]
    assert content(history_answer(a_cluster())) == []


def test_config() -> None:
    assert content(config_answer(a_cluster())) == {"ttl": 30}
    for config in (None, DynamicConfig(values=None, token=Token("1"))):
        answer = config_answer(a_cluster(config=config))
        assert (answer.status, answer.kind) == (502, Kind.PAGE)


@pytest.mark.parametrize("known", [{}, {"pg-a": "http://192.0.2.1:8008/patroni"}])
def test_failsafe(known: dict[str, str]) -> None:
    assert content(failsafe_answer(a_situation(a_snapshot(failsafe=known)))) == known


def test_no_failsafe_key() -> None:
    answer = failsafe_answer(a_situation(a_snapshot(failsafe=None)))
    assert (answer.status, answer.kind) == (502, Kind.PAGE)
