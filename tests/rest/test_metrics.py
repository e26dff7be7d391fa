"""Metrics: names, types, order and values (contract/logs_and_metrics.md §1)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from patroni.decision.cluster import PostgresState, Role, Tags
from patroni.decision.node import Process
from patroni.decision.settings import Settings, SynchronousMode
from patroni.rest.message import Kind
from patroni.rest.metrics import metrics_answer
from patroni.rest.snapshot import Authority, Situation
from tests.rest.builders import NOW, PRIMARY, STANDBY, a_cluster, a_node, a_replica, a_situation, a_snapshot, synchronous

LABELS = '{scope="orders",name="pg-a"}'
ORDER = [
    *("version", "postgres_running", "postmaster_start_time", "primary", "xlog_location", "standby_leader", "replica"),
    *("sync_standby", "quorum_standby", "xlog_received_location", "xlog_replayed_location", "xlog_replayed_timestamp"),
    *("xlog_paused", "postgres_streaming", "postgres_in_archive_recovery", "postgres_server_version", "cluster_unlocked"),
    *("failsafe_mode_is_active", "failsafe_mode_enabled", "failsafe_member", "postgres_timeline", "dcs_last_seen"),
    *("pending_restart", "is_paused", "postgres_state", "failover_priority"),
]
COUNTERS = {"patroni_xlog_location", "patroni_xlog_received_location", "patroni_xlog_replayed_location"}


def lines(situation: Situation) -> list[str]:
    answer = metrics_answer(situation)
    assert (answer.status, answer.kind, answer.body[-1:]) == (200, Kind.METRICS, b"\n")
    return answer.body.decode().splitlines()


def values(situation: Situation) -> dict[str, str]:
    """Return the samples by name, without the common prefix."""
    samples = [line for line in lines(situation) if not line.startswith("#")]
    return {line.partition("{")[0].removeprefix("patroni_"): line.rpartition(" ")[2] for line in samples}


def test_form() -> None:
    found = lines(a_situation())
    assert list(values(a_situation())) == ORDER
    assert f"patroni_version{LABELS} 040104" in found
    for name in ORDER:
        kind = "counter" if f"patroni_{name}" in COUNTERS else "gauge"
        assert f"# TYPE patroni_{name} {kind}" in found
    state = found.index("# TYPE patroni_postgres_state gauge")
    assert found[state - 1].startswith("# Values: 0=initdb, 1=initdb_failed,")
    assert found[state - 1].endswith(", 14=crashed")
    assert found[state - 2].startswith("# HELP patroni_postgres_state ")
    assert found[state + 1] == f"patroni_postgres_state{LABELS} 5"


def test_labels_are_escaped() -> None:
    snapshot = a_snapshot(scope='a"b\\c\nd')
    assert 'patroni_primary{scope="a\\"b\\\\c\\nd",name="pg-a"} 1' in lines(a_situation(snapshot))


def test_primary() -> None:
    found = values(a_situation())
    wanted = {
        "postgres_running": "1",
        "postmaster_start_time": "1772435695.120433",
        "primary": "1",
        "replica": "0",
        "xlog_location": "218103992",
        "xlog_received_location": "0",
        "xlog_replayed_timestamp": "0",
        "postgres_streaming": "0",
        "postgres_server_version": "150018",
        "cluster_unlocked": "0",
        "failsafe_member": "0",
        "postgres_timeline": "4",
        "dcs_last_seen": "1772436011",
        "failover_priority": "1",
    }
    assert {name: found[name] for name in wanted} == wanted


def test_replica() -> None:
    settings = Settings(synchronous_mode=SynchronousMode.PRIORITY, failsafe_mode=True, is_paused=True)
    found = values(
        a_replica(
            cluster=a_cluster(sync=synchronous("pg-b")),
            settings=settings,
            failsafe={"pg-b": "http://x"},
            failsafe_until_s=NOW.boot_s + 1,
        )
    )
    wanted = {
        "postmaster_start_time": "1772436001",
        "primary": "0",
        "replica": "1",
        "sync_standby": "1",
        "xlog_location": "0",
        "xlog_received_location": "218103992",
        "xlog_replayed_location": "218103900",
        "xlog_replayed_timestamp": "1772438400.000117",
        "postgres_streaming": "1",
        "postgres_in_archive_recovery": "0",
        "failsafe_mode_is_active": "1",
        "failsafe_mode_enabled": "1",
        "failsafe_member": "1",
        "is_paused": "1",
    }
    assert {name: found[name] for name in wanted} == wanted


def test_nothing_is_ever_none() -> None:
    silent = replace(STANDBY, receive_lsn=None, replay_lsn=None, replay_timestamp=None, timeline=None)
    node = a_node(Role.REPLICA, timeline=None)
    assert not [line for line in lines(a_replica(silent, node=node)) if line.endswith((" None", " "))]


@pytest.mark.parametrize(
    ("state", "then"),
    [(PostgresState.RUNNING, "-1"), (PostgresState.INITDB, "0"), (PostgresState.STOPPED, "12"), (PostgresState.CRASHED, "14")],
)
def test_without_an_answer_of_postgres(state: PostgresState, then: str) -> None:
    node = a_node(state=state, process=Process.DOWN)
    found = values(a_situation(a_snapshot(node=node), Authority.NONE, None))
    assert (found["postgres_state"], found["postgres_running"], found["xlog_location"]) == (then, "0", "0")
    assert not {"postgres_streaming", "postgres_in_archive_recovery"} & set(found)


@pytest.mark.parametrize(
    ("tags", "then"),
    [(Tags(), "1"), (Tags(failover_priority=5), "5"), (Tags(nofailover=True, failover_priority=5), "0")],
)
def test_failover_priority(tags: Tags, then: str) -> None:
    assert values(a_situation(a_snapshot(settings=Settings(tags=tags)), monitoring=PRIMARY))["failover_priority"] == then
