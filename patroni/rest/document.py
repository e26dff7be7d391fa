"""The status document: what every health check by GET and `GET /patroni` answer (contract/rest_api.md §7)."""

from __future__ import annotations

from collections.abc import Mapping

from patroni.decision.cluster import PostgresState, Role
from patroni.decision.settings import SynchronousMode
from patroni.decision.view import GuardState
from patroni.postgres.request import Monitoring
from patroni.rest.snapshot import Situation
from patroni.version import COMPATIBILITY

UNKNOWN_STATE = "unknown"  # in answers only: running, but the query failed

_QUERIED = (PostgresState.RUNNING, PostgresState.STARTING, PostgresState.RESTARTING)


def wants_query(situation: Situation) -> bool:
    """Return whether the document needs an answer of Postgres (§7.3 rule 1); a held or deposed one is never asked."""
    snapshot = situation.snapshot
    return snapshot.node.state in _QUERIED and snapshot.guard is not GuardState.HELD and not situation.is_deposed


def status_document(situation: Situation) -> dict[str, object]:
    """Return the status document; the situation carries this request's query result, if there is one."""
    snapshot = situation.snapshot
    monitoring = None if situation.is_deposed else situation.monitoring
    document: dict[str, object] = {"state": _state(situation, monitoring), "role": _role(situation, monitoring)}
    if monitoring is not None:
        document |= _postgres_fields(situation, monitoring)
    document |= _cluster_fields(situation)
    document |= _node_fields(situation)
    document["patroni"] = {"version": COMPATIBILITY, "scope": snapshot.scope, "name": snapshot.node.name}
    document["agent"] = _agent_fields(situation)
    return document


def _state(situation: Situation, monitoring: Monitoring | None) -> str:
    """Return the state; `running` that no query confirms is unknown (§7.3 rule 4)."""
    state = situation.snapshot.node.state
    return UNKNOWN_STATE if state is PostgresState.RUNNING and monitoring is None else state.value


def _role(situation: Situation, monitoring: Monitoring | None) -> str:
    """Return the role: of the query, else of memory; while the lease is over `demoted` (safety_rules.md §4.6)."""
    if situation.is_deposed:
        return Role.DEMOTED.value
    if monitoring is not None and not monitoring.is_in_recovery:
        return Role.PRIMARY.value
    if monitoring is not None and not situation.snapshot.is_standby_cluster:
        return Role.REPLICA.value
    return situation.snapshot.node.role.value


def _postgres_fields(situation: Situation, monitoring: Monitoring) -> dict[str, object]:
    """Return the fields that need a good query (§7.4, "query ok")."""
    fields: dict[str, object] = {
        "postmaster_start_time": monitoring.postmaster_start_time,
        "server_version": monitoring.server_version,
    }
    if monitoring.is_in_recovery:
        fields["xlog"] = {
            "received_location": monitoring.receive_lsn or monitoring.replay_lsn,
            "replayed_location": monitoring.replay_lsn,
            "replayed_timestamp": monitoring.replay_timestamp,
            "paused": monitoring.is_replay_paused,
        }
        fields["timeline"] = monitoring.timeline or situation.snapshot.node.timeline
        fields |= _standby_fields(situation, monitoring)
    else:
        fields["xlog"] = {"location": monitoring.lsn}
        fields["timeline"] = monitoring.timeline
    if monitoring.replication:
        fields["replication"] = list(monitoring.replication)
    return fields


def _standby_fields(situation: Situation, monitoring: Monitoring) -> dict[str, object]:
    fields: dict[str, object] = {}
    if monitoring.replication_state:
        fields["replication_state"] = monitoring.replication_state
    mode, view = situation.synchronous_mode, situation.view
    if mode is SynchronousMode.OFF or view is None:
        return fields
    voters = {name.lower() for name in view.sync.voters}
    if situation.snapshot.node.name.lower() in voters:
        fields["quorum_standby" if mode is SynchronousMode.QUORUM else "sync_standby"] = True
    return fields


def _cluster_fields(situation: Situation) -> dict[str, object]:
    snapshot, view = situation.snapshot, situation.view
    flags = {
        "pause": snapshot.settings.is_paused,
        "cluster_unlocked": view is None or view.leader is None,
        "failsafe_mode_is_active": situation.is_failsafe_active,
    }
    fields: dict[str, object] = {name: True for name, is_set in flags.items() if is_set}
    fields["dcs_last_seen"] = snapshot.dcs_last_seen_s
    return fields


def _node_fields(situation: Situation) -> dict[str, object]:
    snapshot = situation.snapshot
    fields: dict[str, object] = {}
    tags = effective_tags(situation)
    if tags:
        fields["tags"] = tags
    if snapshot.node.system_id is not None:
        fields["database_system_identifier"] = snapshot.node.system_id
    pending = pending_restart(situation)
    if pending:
        fields["pending_restart"] = True
        fields["pending_restart_reason"] = pending
    if snapshot.scheduled_restart:
        fields["scheduled_restart"] = dict(snapshot.scheduled_restart)
    if snapshot.is_watchdog_failed:
        fields["watchdog_failed"] = True
    if snapshot.log_queue_size > 2:
        fields["logger_queue_size"] = snapshot.log_queue_size
        if snapshot.log_records_lost > 0:
            fields["logger_records_lost"] = snapshot.log_records_lost
    return fields


def effective_tags(situation: Situation) -> dict[str, object]:
    """Return the configured tags and what this node asks for at the moment (§7.5; safety_rules.md §9)."""
    snapshot = situation.snapshot
    tags = dict(snapshot.settings.tags.published)
    if snapshot.is_leaving_sync:
        tags |= {"nosync": True, "sync_priority": 0}
    if snapshot.is_out_of_race:
        tags["nofailover"] = True
    return tags


def pending_restart(situation: Situation) -> Mapping[str, Mapping[str, str]]:
    """Return the parameters that wait for a restart, as Postgres last said; empty: none."""
    monitoring = situation.monitoring or situation.snapshot.monitoring
    return (monitoring.pending_restart or {}) if monitoring else {}


def _agent_fields(situation: Situation) -> dict[str, object]:
    """Return our own part: version, long work under way, last decision (design.md §8)."""
    snapshot = situation.snapshot
    fields: dict[str, object] = {"version": snapshot.own_version}
    if snapshot.node.job is not None:
        fields["job"] = snapshot.node.job.title
    if snapshot.chain is not None:
        fields["chain"] = snapshot.chain
    if snapshot.decisions:
        fields["decision"] = snapshot.decisions[-1]
    return fields
