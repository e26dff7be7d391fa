"""Views for the tables: node `a` of a healthy cluster of three, as a standby of `b` or as the leader; a case says the rest."""

# ruff: noqa: ANN401  # builders hand any field on to the records

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from patroni.decision.actions import Action
from patroni.decision.cluster import (
    Cluster,
    DynamicConfig,
    FailoverRequest,
    History,
    HistoryRow,
    Incarnation,
    Leader,
    Lsn,
    Member,
    PostgresState,
    Revision,
    Role,
    SessionId,
    SlotName,
    Status,
    SystemId,
    Tags,
    Timeline,
    Token,
    Twin,
)
from patroni.decision.lease import Instant, Lease, Proof
from patroni.decision.node import (
    ClusterState,
    ControlData,
    DataDirectory,
    Job,
    JobKind,
    JobOutcome,
    Node,
    Process,
    Slot,
    Upstream,
)
from patroni.decision.reasons import Code
from patroni.decision.settings import Settings
from patroni.decision.view import Answer, Chain, ChainOutcome, LeaderHistory, Memory, View

NOW_S = 1000.0
WALL = datetime(2026, 1, 1, 12, tzinfo=UTC)
SYSTEM = SystemId("7000000000000000001")
OTHER_SYSTEM = SystemId("7000000000000000002")
LSN = Lsn(5000)
TOKEN = Token("t1")
INCARNATION = Incarnation("i1")
REVISION = Revision(10)
FAILOVER = Token("f1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row of a table: given this view, decide answers with this code and these actions."""

    name: str
    given: View
    code: Code
    actions: tuple[Action, ...]


def case(name: str, given: View, code: Code, *actions: Action) -> Case:
    return Case(name=name, given=given, code=code, actions=actions)


def rows(cases: Iterable[Case]) -> pytest.MarkDecorator:
    """Parametrize a test with a table."""
    return pytest.mark.parametrize("row", cases, ids=lambda row: row.name)


# --- the cluster


def url(name: str) -> str:
    return f"postgres://{name}:5432/postgres"


def a_member(name: str, **changes: Any) -> Member:
    given = {"conn_url": url(name), "api_url": f"http://{name}:8008/patroni", "state": PostgresState.RUNNING}
    return Member(**{"name": name, "role": Role.REPLICA, "lsn": LSN, "timeline": Timeline(1), **given, **changes})


def members(*special: Member) -> Mapping[str, Member]:
    """Return a, b and c, these ones in their place."""
    return {**{name: a_member(name) for name in "abc"}, **{member.name: member for member in special}}


def a_leader_key(name: str, incarnation: Incarnation = INCARNATION) -> Leader:
    return Leader(name=name, incarnation=incarnation, token=TOKEN, revision=REVISION, session=SessionId("s1"))


def a_cluster(leader: str | Leader | None = "b", *special: Member, **changes: Any) -> Cluster:
    """Return the cluster with this leader; its member key says that it is the primary."""
    key = a_leader_key(leader) if isinstance(leader, str) else leader
    primary = () if key is None else (a_member(key.name, role=Role.PRIMARY),)
    given = {
        "initialize": SYSTEM,
        "config": DynamicConfig(values={"ttl": 30}, token=Token("c1")),
        "leader": key,
        "status": Status(lsn=LSN),
        "members": members(*primary, *special),
        "revision": Revision(11),
    }
    return Cluster(**{**given, **changes})


def a_request(candidate: str | None = None, leader: str | None = None, at: timedelta | None = None) -> FailoverRequest:
    scheduled = None if at is None else WALL + at
    return FailoverRequest(leader=leader, candidate=candidate, scheduled_at=scheduled, token=FAILOVER)


def a_history(*switches: int) -> History:
    """Return a history key whose timelines ended at these positions."""
    made = [
        HistoryRow(timeline=Timeline(i), lsn=Lsn(lsn), reason="r", timestamp="t", leader="b")
        for i, lsn in enumerate(switches, 1)
    ]
    return History(rows=tuple(made), cluster_timeline=Timeline(len(switches) + 1))


# --- the node


def control(state: ClusterState | None = ClusterState.IN_PRODUCTION, **changes: Any) -> ControlData:
    given = {"system_id": SYSTEM, "timeline": Timeline(1), "checkpoint_lsn": Lsn(4900), "can_rewind": True}
    return ControlData(**{"cluster_state": state, **given, **changes})


def a_slot(name: str, **changes: Any) -> Slot:
    return Slot(**{"name": SlotName(name), "is_physical": True, "is_active": True, "restart_lsn": LSN, **changes})


def a_standby(**changes: Any) -> Node:
    """Return a running standby that streams from b."""
    given = {
        "name": "a",
        "state": PostgresState.RUNNING,
        "role": Role.REPLICA,
        "process": Process.ALIVE,
        "data_directory": DataDirectory.PRESENT,
        "has_recovery_signal": True,
        "system_id": SYSTEM,
        "control": control(ClusterState.IN_ARCHIVE_RECOVERY),
        "major": 15,
        "is_in_recovery": True,
        "timeline": Timeline(1),
        "lsn": LSN,
        "receive_lsn": LSN,
        "replay_lsn": LSN,
        "replication_state": "streaming",
        "upstream": upstream("b"),
        "probe_age_s": 1.0,
    }
    return Node(**{**given, **changes})


def a_primary(**changes: Any) -> Node:
    given = {
        "role": Role.PRIMARY,
        "has_recovery_signal": False,
        "control": control(),
        "is_in_recovery": False,
        "receive_lsn": None,
        "replay_lsn": None,
        "replication_state": None,
        "upstream": None,
        "slots": (a_slot("b"), a_slot("c")),
        "is_checkpointed": True,
    }
    return a_standby(**{**given, **changes})


def a_dead(role: Role = Role.PRIMARY, **changes: Any) -> Node:
    """Return a node whose postmaster has vanished."""
    is_replica = role is Role.REPLICA
    state = ClusterState.IN_ARCHIVE_RECOVERY if is_replica else ClusterState.IN_PRODUCTION
    given = {
        "state": PostgresState.CRASHED,
        "role": role,
        "process": Process.DOWN,
        "has_recovery_signal": is_replica,
        "control": control(state),
        **dict.fromkeys(("is_in_recovery", "timeline", "lsn", "receive_lsn", "replay_lsn", "replication_state", "upstream")),
    }
    return a_standby(**{**given, **changes})


def an_empty(**changes: Any) -> Node:
    """Return a node without a data directory."""
    given = {
        "state": PostgresState.STOPPED,
        "role": Role.UNINITIALIZED,
        "data_directory": DataDirectory.EMPTY,
        "system_id": None,
        "control": None,
        "major": None,
    }
    return a_dead(**{**given, **changes})


def upstream(name: str) -> Upstream:
    return Upstream(member=name, host=name, port=5432, slot=SlotName("a"))


def a_job(kind: JobKind, **changes: Any) -> Job:
    return Job(kind=kind, **changes)


def an_outcome(kind: JobKind, *, is_ok: bool = True, **changes: Any) -> JobOutcome:
    return JobOutcome(kind=kind, is_ok=is_ok, **changes)


# --- lease, peers, chains


def a_proof(**changes: Any) -> Proof:
    given = {"sent": Instant(boot_s=NOW_S, raw_s=NOW_S), "ttl_s": 30.0, "incarnation": INCARNATION}
    return Proof(**{**given, "session": SessionId("s1"), "token": TOKEN, "revision": REVISION, **changes})


def held(left_s: float = 28.0, **changes: Any) -> Lease:
    return Lease(**{"epoch": 1, "proof": a_proof(), "left_s": left_s, "session_age_s": 2.0, **changes})


def an_answer(lsn: int | None = LSN, **changes: Any) -> Answer:
    given = {"age_s": 0.5, "is_in_recovery": True, "lsn": None if lsn is None else Lsn(lsn), "timeline": Timeline(1)}
    return Answer(**{**given, **changes})


def answers(**peers: Any) -> Mapping[str, Any]:
    """Return b and c as standbys at the own position, these ones in their place; None: was not asked."""
    known = {"b": an_answer(), "c": an_answer(), **peers}
    return {name: peer for name, peer in known.items() if peer is not None}


def a_leader_history(*switches: int, timeline: int | None = 2, **changes: Any) -> LeaderHistory:
    made = tuple(HistoryRow(timeline=Timeline(number), lsn=Lsn(lsn), reason="") for number, lsn in enumerate(switches, 1))
    given = {"member": "b", "age_s": 0.5, "is_primary": True, "timeline": timeline and Timeline(timeline), "rows": made}
    given |= {"compared": Timeline(1), "twin": Twin.NONE}
    return LeaderHistory(**{**given, **changes})


def a_chain(*actions: Action, step: int = 0) -> Chain:
    return Chain(actions=actions, step=step, code=Code.LEADER_OK)


def failed(action: Action, *, is_refusal: bool = False, age_s: float = 1.0) -> ChainOutcome:
    return ChainOutcome(code=Code.LEADER_OK, failed=action, is_refusal=is_refusal, detail="no answer", age_s=age_s)


# --- the view


def a_memory(**changes: Any) -> Memory:
    """Return the memory of a node that has joined and followed b."""
    given = {"has_joined": True, "following": upstream("b"), "has_followed": True, "healthy_leader": "b"}
    return Memory(**{"healthy_members": members(), "was_in_production": True, **given, **changes})


def a_view(node: Node | None = None, cluster: Cluster | None = None, **changes: Any) -> View:
    """Return the view of a healthy standby of b, to which b has said that their histories are one."""
    given = {
        "leader_history": a_leader_history(timeline=1),
        "now_s": NOW_S,
        "wall": WALL,
        "seed": 0,
        "cluster_age_s": 0.5,
        "is_fresh": True,
        "lease": Lease(session_age_s=2.0),
        "memory": a_memory(),
    }
    return View(node=node or a_standby(), cluster=cluster or a_cluster(), **{**given, **changes})


def storeless(given: View, silent_s: float = 60.0) -> View:
    """Return the same view with a store that never answered."""
    return replace(given, cluster=None, cluster_age_s=None, is_fresh=False, store_silent_s=silent_s)


def a_leader(node: Node | None = None, cluster: Cluster | None = None, **changes: Any) -> View:
    """Return the view of a healthy leader whose upkeep is done."""
    memory = a_memory(healthy_leader="a", status_at_s=NOW_S - 1)
    given = {"lease": held(), "memory": memory}
    return a_view(node or a_primary(), cluster or a_cluster("a"), **{**given, **changes})


def a_free(node: Node | None = None, cluster: Cluster | None = None, **changes: Any) -> View:
    """Return the view of a standby that sees a free key and has asked b and c."""
    return a_view(node or a_standby(), cluster or a_cluster(None), **{"peers": answers(), **changes})


def settings(**changes: Any) -> Settings:
    return Settings(**changes)


def tagged(**tags: Any) -> Settings:
    return Settings(tags=Tags(**tags))
