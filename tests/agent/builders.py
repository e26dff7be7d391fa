"""Instants, events and answers of Postgres for the tests of the agent; a case says only what differs."""

# ruff: noqa: ANN401  # builders hand any field on to the records

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from patroni.agent.event import ClusterSeen, Event, FilesSeen, LeaseSeen, MonitoringSeen, Payload
from patroni.agent.observe import Moment, Observed
from patroni.decision.cluster import Incarnation, Leader, Lsn, Revision, SessionId, SystemId, Timeline, Token
from patroni.decision.lease import Instant, Lease, Proof
from patroni.decision.node import ClusterState, ControlData, DataDirectory, Process
from patroni.decision.settings import Settings
from patroni.decision.view import Memory, View
from patroni.postgres.request import Files, Monitoring
from tests.decision.builders import a_cluster

WALL = datetime(2026, 1, 1, 12, tzinfo=UTC)
PID = 4711
SYSTEM = SystemId("7000000000000000001")
LOCK = Incarnation("lock 1")
SESSION = SessionId("s1")
TTL_S = 30.0


def at(seconds: float) -> Instant:
    """Return a reading of both clocks."""
    return Instant(boot_s=seconds, raw_s=seconds)


def control(state: ClusterState = ClusterState.IN_PRODUCTION, **changes: Any) -> ControlData:
    given = {"cluster_state": state, "system_id": SYSTEM, "timeline": Timeline(1), "checkpoint_lsn": Lsn(4900)}
    return ControlData(**{**given, **changes})


def files(process: Process = Process.ALIVE, **changes: Any) -> Files:
    """Return a data directory with a server of this pid."""
    pid = PID if process is Process.ALIVE else None
    given = {"data_directory": DataDirectory.PRESENT, "postmaster_pid": pid, "control": control(), "major": 15}
    return Files(**{"process": process, **given, **changes})


def a_standby_says(**changes: Any) -> Monitoring:
    given = {"timeline": Timeline(1), "lsn": Lsn(5000), "replication_state": "streaming", "walreceiver_pid": 4712}
    return Monitoring(**{"is_in_recovery": True, **given, **changes})


def a_primary_says(**changes: Any) -> Monitoring:
    return Monitoring(**{"is_in_recovery": False, "timeline": Timeline(1), "lsn": Lsn(5000), **changes})


def proof(sent_s: float = 1000.0, **changes: Any) -> Proof:
    given = {"ttl_s": TTL_S, "incarnation": LOCK, "session": SESSION, "token": Token("1"), "revision": Revision(10)}
    return Proof(**{"sent": at(sent_s), **given, **changes})


def held(left_s: float = TTL_S, **changes: Any) -> Lease:
    return Lease(**{"epoch": 1, "proof": proof(), "left_s": left_s, "session_age_s": 0.1, **changes})


def seen(revision: int | None, leader: str | None = "b", began_s: float = 0.0, **changes: Any) -> ClusterSeen:
    """Return a view of the store, linearizable unless the case says other."""
    of_key = None if revision is None else Revision(revision)
    key = Leader(name=leader, incarnation=Incarnation(f"of {leader}"), token=Token("t"), revision=None) if leader else None
    is_linearizable = bool(changes.pop("is_linearizable", True))
    return ClusterSeen(cluster=a_cluster(key, revision=of_key, **changes), began=at(began_s), is_linearizable=is_linearizable)


def lease_seen(of: Proof | None = None, **changes: Any) -> LeaseSeen:
    return LeaseSeen(**{"proof": of, "session_proved": None, **changes})


def files_seen(process: Process = Process.ALIVE, **changes: Any) -> FilesSeen:
    return FilesSeen(files=files(process, **changes))


def standby_seen(**changes: Any) -> MonitoringSeen:
    return MonitoringSeen(monitoring=a_standby_says(**changes))


def primary_seen(**changes: Any) -> MonitoringSeen:
    return MonitoringSeen(monitoring=a_primary_says(**changes))


def take(observed: Observed, now_s: float, *payloads: Payload) -> None:
    """File these events away, sent and taken at this time."""
    for payload in payloads:
        observed.take(Event(epoch=0, sent=at(now_s), payload=payload), at(now_s))


def view_of(observed: Observed, now_s: float, lease: Lease | None = None, settings: Settings | None = None) -> View:
    moment = Moment(now=at(now_s), wall=WALL, seed=0)
    return observed.view(moment, lease or Lease(), settings or Settings(), Memory())


def an_observer(*payloads: Payload, now_s: float = 0.0) -> Observed:
    """Return what node `a` knows after these events."""
    observed = Observed(name="a", started=at(now_s))
    take(observed, now_s, *payloads)
    return observed
