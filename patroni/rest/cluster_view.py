"""The cluster for people and monitoring: `GET /cluster`, `/history`, `/config`, `/failsafe` (contract/rest_api.md §9.3-9.6)."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from patroni.decision.cluster import Cluster, HistoryRow, Lsn, Member
from patroni.decision.settings import SynchronousMode
from patroni.rest.message import Response, json_answer, page
from patroni.rest.snapshot import Situation

_COPIED = ("timeline", "pending_restart", "pending_restart_reason", "scheduled_restart", "tags")
_UNKNOWN = "unknown"
_POSTGRES_PORT = 5432


def cluster_answer(cluster: Cluster, situation: Situation) -> Response:
    """Return the whole cluster as just read."""
    snapshot = situation.snapshot
    members = [_member(cluster.members[name], cluster, situation) for name in sorted(cluster.members)]
    answer: dict[str, object] = {"members": members, "scope": snapshot.scope}
    if snapshot.settings.is_paused:
        answer["pause"] = True
    request = cluster.failover
    if request is not None and request.scheduled_at is not None:
        scheduled = {"at": request.scheduled_at.isoformat(), "from": request.leader, "to": request.candidate}
        answer["scheduled_switchover"] = {key: value for key, value in scheduled.items() if value}
    return json_answer(200, answer)


def history_answer(cluster: Cluster) -> Response:
    """Return the timeline history."""
    return json_answer(200, [_history_row(row) for row in cluster.history.rows])


def config_answer(cluster: Cluster) -> Response:
    """Return the dynamic configuration; 502 if the key is missing or holds no object."""
    if cluster.config is None or cluster.config.values is None:
        return page(502, "there is no dynamic configuration in the store")
    return json_answer(200, cluster.config.values)


def failsafe_answer(situation: Situation) -> Response:
    """Return the last known failsafe map; 502 if there is none."""
    failsafe = situation.snapshot.failsafe
    return page(502, "failsafe mode is not enabled") if failsafe is None else json_answer(200, failsafe)


def _history_row(row: HistoryRow) -> list[object]:
    values: list[object] = [row.timeline, row.lsn, row.reason]
    if row.timestamp is not None:
        values.append(row.timestamp)
        if row.leader is not None:
            values.append(row.leader)
    return values


def _member(member: Member, cluster: Cluster, situation: Situation) -> dict[str, object]:
    role = _role(member, cluster, situation)
    state = member.published.get("state") or ""
    fields: dict[str, object] = {
        "name": member.name,
        "role": role,
        "state": state if role == "leader" else member.replication_state or state,
        "api_url": member.api_url,
    }
    fields |= _address(member)
    fields |= {key: member.published[key] for key in _COPIED if key in member.published}
    if member.name != cluster.leader_name:
        fields |= _positions(member, cluster.status.lsn or 0)
    return fields


def _role(member: Member, cluster: Cluster, situation: Situation) -> str:
    if member.name == cluster.leader_name:
        return "standby_leader" if situation.snapshot.is_standby_cluster else "leader"
    mode = situation.synchronous_mode
    if mode is not SynchronousMode.OFF and member.name.lower() in {name.lower() for name in cluster.sync.voters}:
        return "quorum_standby" if mode is SynchronousMode.QUORUM else "sync_standby"
    return "replica"


def _address(member: Member) -> dict[str, object]:
    """Return host and port of the member's Postgres; empty if it published no usable URL."""
    url = _split(member.conn_url) if member.conn_url else None
    if url is None or not url.hostname:
        return {}
    return {"host": url.hostname, "port": url.port or _POSTGRES_PORT}


def _split(url: str) -> SplitResult | None:
    try:
        result = urlsplit(url)
        _ = result.port  # parsed, and refused, only when it is looked at
    except ValueError:
        return None
    return result


def _positions(member: Member, leader_bytes: int) -> dict[str, object]:
    """Return positions and lags in bytes of all but the owner of the leader key."""
    fields: dict[str, object] = {}
    for prefix, lsn in (("receive_", member.receive_lsn), ("replay_", member.replay_lsn), ("", member.lsn)):
        fields[f"{prefix}lag"] = max(0, leader_bytes - lsn) if lsn else _UNKNOWN
        fields[f"{prefix}lsn"] = lsn_text(lsn) if lsn else _UNKNOWN
    return fields


def lsn_text(lsn: Lsn) -> str:
    """Return a position as PostgreSQL writes it: two hexadecimal halves, not padded."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"
