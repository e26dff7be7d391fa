"""Builders that state only what differs, and the ports of an agent that exists only in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from patroni.decision.cluster import (
    Cluster,
    DynamicConfig,
    FailoverRequest,
    Incarnation,
    Leader,
    Lsn,
    Member,
    PostgresState,
    Role,
    Status,
    SyncState,
    SystemId,
    Timeline,
    Token,
)
from patroni.decision.lease import Instant
from patroni.decision.node import Node, Process
from patroni.decision.settings import Settings
from patroni.decision.view import Answer, Silent
from patroni.postgres.request import Monitoring
from patroni.rest.message import Peer, Request, parse_target
from patroni.rest.operations import FailsafeAnswer, FailsafeCall, FailsafeVerdict
from patroni.rest.service import Ports
from patroni.rest.snapshot import Authority, Situation, Snapshot

NOW = Instant(boot_s=1000.0, raw_s=1000.0)
WALL = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
SYSTEM_ID = SystemId("7476012345678901234")

PRIMARY = Monitoring(
    is_in_recovery=False,
    timeline=Timeline(4),
    lsn=Lsn(218103992),
    server_version=150018,
    postmaster_start_time="2026-03-02 07:14:55.120433+00:00",
)
STANDBY = Monitoring(
    is_in_recovery=True,
    timeline=None,
    lsn=Lsn(218103992),
    receive_lsn=Lsn(218103992),
    replay_lsn=Lsn(218103900),
    replay_timestamp="2026-03-02 08:00:00.000117+00:00",
    latest_end_lsn=Lsn(218103992),
    replication_state="streaming",
    server_version=150018,
    postmaster_start_time="2026-03-02 07:20:01+00:00",
)


def a_node(role: Role = Role.PRIMARY, state: PostgresState = PostgresState.RUNNING, **more: object) -> Node:
    """Return a running node."""
    fields: dict[str, object] = {
        "name": "pg-a",
        "state": state,
        "role": role,
        "process": Process.ALIVE,
        "system_id": SYSTEM_ID,
        "timeline": Timeline(4),
        "is_in_recovery": role is not Role.PRIMARY,
    }
    return Node(**(fields | more))  # type: ignore[arg-type]  # the fields of the record


def a_member(name: str, **more: object) -> Member:
    """Return a member with both URLs."""
    fields: dict[str, object] = {
        "name": name,
        "conn_url": f"postgres://{name}.example:5432/postgres",
        "api_url": f"http://{name}.example:8008/patroni",
        "state": PostgresState.RUNNING,
        "published": {"state": "running"},
    }
    return Member(**(fields | more))  # type: ignore[arg-type]  # the fields of the record


def a_cluster(leader: str | None = "pg-a", **more: object) -> Cluster:
    """Return a cluster of three members."""
    fields: dict[str, object] = {
        "leader": Leader(name=leader, incarnation=Incarnation("1"), token=Token("1")) if leader else None,
        "config": DynamicConfig(values={"ttl": 30}, token=Token("2")),
        "members": {name: a_member(name) for name in ("pg-a", "pg-b", "pg-c")},
        "status": Status(lsn=Lsn(218103992)),
    }
    return Cluster(**(fields | more))  # type: ignore[arg-type]  # the fields of the record


def synchronous(*voters: str) -> SyncState:
    """Return a synchronous state of which pg-a is the leader."""
    return SyncState(leader="pg-a", voters=voters, token=Token("3"))


def a_snapshot(**more: object) -> Snapshot:
    """Return the snapshot of a healthy leader, but for what is given."""
    fields: dict[str, object] = {
        "scope": "orders",
        "own_version": "0.1.0",
        "node": a_node(),
        "cluster": a_cluster(),
        "cluster_seen": NOW,
        "dcs_last_seen_s": 1772436011,
        "settings": Settings(),
        "next_run": NOW,
        "failsafe": None,
    }
    return Snapshot(**(fields | more))  # type: ignore[arg-type]  # the fields of the record


def a_situation(
    snapshot: Snapshot | None = None,
    authority: Authority = Authority.HELD,
    monitoring: Monitoring | None = PRIMARY,
    later_s: float = 0.0,
) -> Situation:
    """Return a leader's situation, `later_s` after everything was read."""
    now = Instant(boot_s=NOW.boot_s + later_s, raw_s=NOW.raw_s + later_s)
    return Situation(snapshot=snapshot or a_snapshot(), authority=authority, now=now, wall=WALL, monitoring=monitoring)


def a_replica(monitoring: Monitoring | None = STANDBY, later_s: float = 0.0, **more: object) -> Situation:
    """Return a streaming replica's situation; `more` are fields of its snapshot."""
    node = a_node(Role.REPLICA, name="pg-b")
    return a_situation(a_snapshot(**({"node": node} | more)), Authority.NONE, monitoring, later_s)


def a_request(method: str, target: str, body: bytes | None = None, **more: object) -> Request:
    """Return a request from an unknown peer."""
    fields: dict[str, object] = {"peer": Peer(address="192.0.2.99")}
    return Request(method=method, target=parse_target(target), body=body, **(fields | more))  # type: ignore[arg-type]


class RealClock:
    """The clocks of this machine."""

    def now(self) -> Instant:
        return Instant(boot_s=time.clock_gettime(time.CLOCK_BOOTTIME), raw_s=time.clock_gettime(time.CLOCK_MONOTONIC_RAW))

    def wall(self) -> datetime:
        return datetime.now(UTC)


@dataclass
class FakeAgent:
    """An agent in memory: what it publishes is set by the test, what it is asked is counted. Usable from any thread."""

    snapshot: Snapshot
    authority: Authority = Authority.HELD
    monitoring: Monitoring | None = PRIMARY
    clusters: list[Cluster | None] = field(default_factory=list)  # what reads and waits find, the last one again and again
    answers: Mapping[str, Answer | Silent] = field(default_factory=dict)
    writes_ok: bool = True
    failsafe: FailsafeAnswer = field(default_factory=lambda: FailsafeAnswer(verdict=FailsafeVerdict.ACCEPTED))
    written: list[FailoverRequest | None] = field(default_factory=list)
    woken: list[str] = field(default_factory=list)
    calls: list[FailsafeCall] = field(default_factory=list)
    queries: int = 0
    reads: int = 0
    may_answer: threading.Event = field(default_factory=threading.Event)  # queries hang until it is set
    may_read: threading.Event = field(default_factory=threading.Event)  # reads of the store hang until it is set
    clock: RealClock = field(default_factory=RealClock)

    def __post_init__(self) -> None:
        self.may_answer.set()
        self.may_read.set()

    def ports(self) -> Ports:
        return Ports(
            snapshot=lambda: self.snapshot,
            authority=lambda now: self.authority,
            probe=self.probe,
            operations=self,
            clock=self.clock,
        )

    def probe(self) -> Monitoring | None:
        self.queries += 1
        self.may_answer.wait(30)
        return self.monitoring

    def read_cluster(self) -> Cluster | None:
        self.reads += 1
        self.may_read.wait(30)
        return self.clusters.pop(0) if len(self.clusters) > 1 else self.clusters[0] if self.clusters else None

    def await_cluster(self, within_s: float) -> Cluster | None:
        return self.read_cluster()

    def write_failover(self, failover: FailoverRequest | None, token: Token | None) -> bool:
        self.written.append(failover)
        return self.writes_ok

    def ask_members(self, members: Sequence[Member]) -> Mapping[str, Answer | Silent]:
        return {member.name: self.answers.get(member.name, Silent(age_s=0.0)) for member in members}

    def wake(self, why: str) -> None:
        self.woken.append(why)

    def accept_failsafe(self, call: FailsafeCall) -> FailsafeAnswer:
        self.calls.append(call)
        return self.failsafe


def a_living_snapshot(**more: object) -> Snapshot:
    """Return a healthy leader's snapshot that was read just now by the real clock."""
    now = RealClock().now()
    return a_snapshot(**({"cluster_seen": now, "next_run": now} | more))
