"""Health checks: from the path to 200 or 503 (contract/rest_api.md §8).

The leader verdicts ask the lease at the moment of the answer and nothing else: not the state of Postgres, not the last turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from patroni.decision.cluster import PostgresState, Role
from patroni.rest.document import status_document
from patroni.rest.query import parse_size, tag_text
from patroni.rest.snapshot import Situation

STREAMING = "streaming"


class Check(Enum):
    """What a path asks for: a row of §8.3."""

    STANDBY_LEADER = 1
    LEADER = 2
    PRIMARY = 3
    REPLICA = 4
    READ_ONLY = 5
    HEALTH = 6
    SYNC = 8
    QUORUM = 9
    ASYNC = 10
    READ_ONLY_QUORUM = 11
    READ_ONLY_SYNC = 12
    UNKNOWN = 13


_LEADER_CHECKS = frozenset({Check.STANDBY_LEADER, Check.LEADER, Check.PRIMARY})
_EXACT: Mapping[str, Check] = {
    "/sync": Check.SYNC,
    "/synchronous": Check.SYNC,
    "/quorum": Check.QUORUM,
    "/async": Check.ASYNC,
    "/asynchronous": Check.ASYNC,
    "/read-only-quorum": Check.READ_ONLY_QUORUM,
    "/read-only-sync": Check.READ_ONLY_SYNC,
    "/read-only-synchronous": Check.READ_ONLY_SYNC,
}


def check_of(path: str) -> Check:
    """Return which check a path asks for: a substring where the contract says "contains", the first row wins (§8.3)."""
    if "standby_leader" in path or "standby-leader" in path:
        return Check.STANDBY_LEADER
    if "leader" in path:
        return Check.LEADER
    if path == "/" or any(word in path for word in ("master", "primary", "read-write")):
        return Check.PRIMARY
    if "replica" in path:
        return Check.REPLICA
    if "read-only" in path and "sync" not in path and "quorum" not in path:
        return Check.READ_ONLY
    if "health" in path:
        return Check.HEALTH
    return _EXACT.get(path, Check.UNKNOWN)


def needs_document(check: Check, situation: Situation) -> bool:
    """Return whether the verdict needs to know what Postgres is; a leader's check normally needs the lease alone."""
    if check not in _LEADER_CHECKS:
        return check is not Check.UNKNOWN
    return situation.snapshot.is_standby_cluster or _is_paused_without_view(situation)


def health_status(check: Check, situation: Situation, document: Mapping[str, object], params: Mapping[str, str]) -> int:
    """Return 200 or 503."""
    verdicts = _verdicts(situation, document, params)
    is_good = _verdict(check, situation, document, verdicts)
    if is_good and check not in _LEADER_CHECKS:
        is_good = _tags_match(situation, params)
    return 200 if is_good else 503


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdicts:
    """The base verdicts (§8.2)."""

    primary: bool = False
    standby_leader: bool = False
    leader: bool = False
    replica: bool = False


def _verdicts(situation: Situation, document: Mapping[str, object], params: Mapping[str, str]) -> _Verdicts:
    role = document.get("role")
    is_replica = _is_replica(situation, document, params)
    if _is_paused_without_view(situation):
        is_primary, is_standby_leader = role == Role.PRIMARY, role == Role.STANDBY_LEADER
        return _Verdicts(
            primary=is_primary, standby_leader=is_standby_leader, leader=is_primary or is_standby_leader, replica=is_replica
        )
    if not situation.is_leader:
        return _Verdicts(replica=is_replica)
    if situation.snapshot.is_standby_cluster:
        return _Verdicts(standby_leader=role in (Role.REPLICA, Role.STANDBY_LEADER), leader=True)
    return _Verdicts(primary=True, leader=True, replica=is_replica)


def _verdict(check: Check, situation: Situation, document: Mapping[str, object], base: _Verdicts) -> bool:
    """Return whether the row of §8.3 is met; its row 7: the checks below `health` need a view."""
    can_read = base.primary or base.standby_leader
    if check in _EXACT.values() and situation.view is None:
        return False
    is_sync, is_quorum = bool(document.get("sync_standby")), bool(document.get("quorum_standby"))
    rows = {
        Check.STANDBY_LEADER: base.standby_leader,
        Check.LEADER: base.leader,
        Check.PRIMARY: base.primary,
        Check.REPLICA: base.replica,
        Check.READ_ONLY: can_read or base.replica,
        Check.HEALTH: document.get("state") == PostgresState.RUNNING,
        Check.SYNC: is_sync and base.replica,
        Check.QUORUM: is_quorum and base.replica,
        Check.ASYNC: not is_sync and not is_quorum and base.replica,
        Check.READ_ONLY_QUORUM: can_read or (is_quorum and base.replica),
        Check.READ_ONLY_SYNC: can_read or (is_sync and base.replica),
        Check.UNKNOWN: False,
    }
    return rows[check]


def _is_paused_without_view(situation: Situation) -> bool:
    return situation.snapshot.settings.is_paused and situation.view is None


def _is_replica(situation: Situation, document: Mapping[str, object], params: Mapping[str, str]) -> bool:
    """Return verdict R (§8.2)."""
    if situation.snapshot.settings.tags.noloadbalance:
        return False
    if document.get("role") != Role.REPLICA or document.get("state") != PostgresState.RUNNING:
        return False
    wanted = params.get("replication_state")
    if wanted is not None and wanted != document.get("replication_state"):
        return False
    limit_bytes = parse_size(params.get("lag"))
    return limit_bytes is None or not _is_lagging(situation, _position(document, "replayed_location"), limit_bytes)


def _is_lagging(situation: Situation, position_bytes: int, limit_bytes: int) -> bool:
    leader_bytes = leader_position(situation)
    return leader_bytes > 0 and leader_bytes > position_bytes + limit_bytes


def leader_position(situation: Situation) -> int:
    """Return P: the leader's position as the store or the own WAL receiver knows it, in bytes; 0: unknown (§8.1)."""
    view, monitoring = situation.view, situation.monitoring
    published = view.status.lsn if view is not None else None
    streamed = monitoring.latest_end_lsn if monitoring is not None else None
    return max(published or 0, streamed or 0)


def _position(document: Mapping[str, object], key: str) -> int:
    """Return a position of the document in bytes; null or missing counts as 0 (§15, fix 7)."""
    xlog = document.get("xlog")
    value = xlog.get(key) if isinstance(xlog, Mapping) else None
    return value if isinstance(value, int) else 0


def _tags_match(situation: Situation, params: Mapping[str, str]) -> bool:
    """Return whether every `tag_<key>` parameter equals the configured tag; a missing or null tag never does (§8.4)."""
    tags = situation.snapshot.settings.tags.published
    wanted = {name.removeprefix("tag_"): value for name, value in params.items() if name.startswith("tag_")}
    return all(tags.get(key) is not None and tag_text(tags[key]) == value for key, value in wanted.items())


def liveness_status(situation: Situation) -> int:
    """Return 200 while the loop is in time: next run + ttl on a running primary, + 2 ttl elsewhere (§8.6)."""
    snapshot = situation.snapshot
    if snapshot.settings.is_paused:
        return 200
    is_primary = snapshot.node.role is Role.PRIMARY and situation.has_postmaster
    allowed_s = snapshot.settings.ttl_s * (1 if is_primary else 2)
    return 200 if situation.overdue_s < allowed_s else 503


def readiness_needs_query(situation: Situation) -> bool:
    """Return whether `/readiness` comes to its third check."""
    return not situation.is_leader and situation.snapshot.node.state is PostgresState.RUNNING


def readiness_status(situation: Situation, params: Mapping[str, str]) -> int:
    """Return the verdict of `/readiness` (§8.7), in the order of its table."""
    if situation.is_leader:
        return 200
    document = status_document(situation)
    if situation.snapshot.node.state is not PostgresState.RUNNING or document.get("replication_state") != STREAMING:
        return 503
    streamed = situation.monitoring.latest_end_lsn if situation.monitoring is not None else None
    if situation.view is None and not streamed:
        return 200 if situation.is_failsafe_active else 503
    limit_bytes = parse_size(params.get("lag"))
    if limit_bytes is None:
        limit_bytes = situation.snapshot.settings.maximum_lag_on_failover_bytes
    key = "received_location" if params.get("mode") == "write" else "replayed_location"
    return 503 if leader_position(situation) - _position(document, key) > limit_bytes else 200
