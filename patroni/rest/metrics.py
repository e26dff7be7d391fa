"""`GET /metrics`: the node in Prometheus' text format (contract/logs_and_metrics.md §1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from patroni.decision.cluster import PostgresState
from patroni.rest.document import pending_restart, status_document
from patroni.rest.message import Kind, Response
from patroni.rest.snapshot import Situation
from patroni.version import COMPATIBILITY

_STATES = {state.value: index for index, state in enumerate(PostgresState)}  # the indexes never change
_STATE_NAMES = (  # in index order
    *("initdb", "initdb_failed", "custom_bootstrap", "custom_bootstrap_failed", "creating_replica", "running", "starting"),
    *("bootstrap_starting", "start_failed", "restarting", "restart_failed", "stopping", "stopped", "stop_failed", "crashed"),
)
_UNKNOWN_STATE_INDEX = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric with its one sample; `value` is text because one of them has a leading zero."""

    name: str
    value: str
    help: str
    type: str = "gauge"
    comment: str | None = None  # None: no further line


def metrics_answer(situation: Situation) -> Response:
    """Return all metrics; the situation carries this request's query result, if there is one."""
    snapshot = situation.snapshot
    labels = f'{{scope="{_escaped(snapshot.scope)}",name="{_escaped(snapshot.node.name)}"}}'
    lines = [line for metric in _metrics(situation) for line in _lines(metric, labels)]
    return Response(status=200, kind=Kind.METRICS, body=("\n".join(lines) + "\n").encode())


def _lines(metric: Metric, labels: str) -> Iterator[str]:
    yield f"# HELP {metric.name} {metric.help}"
    if metric.comment is not None:
        yield f"# {metric.comment}"
    yield f"# TYPE {metric.name} {metric.type}"
    yield f"{metric.name}{labels} {metric.value}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _metrics(situation: Situation) -> Iterator[Metric]:
    document = status_document(situation)
    yield from _server_metrics(document)
    yield from _wal_metrics(document)
    yield from _cluster_metrics(situation, document)


def _server_metrics(document: Mapping[str, object]) -> Iterator[Metric]:
    version = "".join(part.zfill(2) for part in COMPATIBILITY.split("."))
    yield Metric(name="patroni_version", value=version, help="Version of the interface, two digits for each part.")
    running = document["state"] == PostgresState.RUNNING
    yield _flag("patroni_postgres_running", running, "1 if Postgres runs and answers.")
    yield Metric(
        name="patroni_postmaster_start_time",
        value=_epoch(document.get("postmaster_start_time")),
        help="Epoch seconds of the start of Postgres.",
    )


def _wal_metrics(document: Mapping[str, object]) -> Iterator[Metric]:
    xlog = document.get("xlog")
    wal: Mapping[str, object] = xlog if isinstance(xlog, Mapping) else {}
    role = document["role"]
    yield _flag("patroni_primary", role == "primary", "1 if Postgres is not in recovery; not who holds the leader key.")
    yield _counter("patroni_xlog_location", wal.get("location"), "WAL position of a primary in bytes.")
    yield _flag("patroni_standby_leader", role == "standby_leader", "1 if this node leads a standby cluster.")
    yield _flag("patroni_replica", role == "replica", "1 if Postgres is in recovery.")
    yield _flag("patroni_sync_standby", document.get("sync_standby"), "1 if this node is a synchronous standby.")
    yield _flag("patroni_quorum_standby", document.get("quorum_standby"), "1 if this node is a quorum standby.")
    yield _counter("patroni_xlog_received_location", wal.get("received_location"), "WAL position received in bytes.")
    yield _counter("patroni_xlog_replayed_location", wal.get("replayed_location"), "WAL position replayed in bytes.")
    yield Metric(
        name="patroni_xlog_replayed_timestamp",
        value=_epoch(wal.get("replayed_timestamp")),
        help="Epoch seconds of the last transaction replayed.",
    )
    yield _flag("patroni_xlog_paused", wal.get("paused"), "1 if replay is paused.")
    version = document.get("server_version")
    if isinstance(version, int) and version >= 90600:
        state = document.get("replication_state")
        yield _flag("patroni_postgres_streaming", state == "streaming", "1 if a standby streams.")
        is_archive = state == "in archive recovery"
        yield _flag("patroni_postgres_in_archive_recovery", is_archive, "1 if a standby recovers from the archive.")
    yield _gauge("patroni_postgres_server_version", version, "Version of Postgres as a number.")


def _cluster_metrics(situation: Situation, document: Mapping[str, object]) -> Iterator[Metric]:
    snapshot = situation.snapshot
    settings = snapshot.settings
    yield _flag("patroni_cluster_unlocked", document.get("cluster_unlocked"), "1 if no leader is known.")
    is_active = situation.is_failsafe_active
    yield _flag("patroni_failsafe_mode_is_active", is_active, "1 while a failsafe exchange counts.")
    yield _flag("patroni_failsafe_mode_enabled", settings.failsafe_mode, "1 if failsafe mode is configured.")
    is_failsafe_member = snapshot.node.name in (snapshot.failsafe or {})
    yield _flag("patroni_failsafe_member", is_failsafe_member, "1 if this node is in the last known failsafe map.")
    yield _gauge("patroni_postgres_timeline", document.get("timeline"), "Timeline of Postgres.")
    yield _gauge("patroni_dcs_last_seen", snapshot.dcs_last_seen_s, "Epoch seconds of the last good read of the store.")
    yield _flag("patroni_pending_restart", pending_restart(situation), "1 if a parameter waits for a restart.")
    yield _flag("patroni_is_paused", settings.is_paused, "1 if the cluster is paused.")
    index = _STATES.get(str(document["state"]), _UNKNOWN_STATE_INDEX)
    names = "Values: " + ", ".join(f"{number}={name}" for number, name in enumerate(_STATE_NAMES))
    yield Metric(name="patroni_postgres_state", value=str(index), help="State of Postgres.", comment=names)
    priority = 0 if settings.tags.nofailover else settings.tags.failover_priority
    yield _gauge("patroni_failover_priority", priority, "Failover priority; 0: never a leader.")


def _gauge(name: str, value: object, help_text: str) -> Metric:
    return Metric(name=name, value=str(value or 0), help=help_text)


def _flag(name: str, value: object, help_text: str) -> Metric:
    return Metric(name=name, value="1" if value else "0", help=help_text)


def _counter(name: str, value: object, help_text: str) -> Metric:
    return Metric(name=name, value=str(value or 0), help=help_text, type="counter")


def _epoch(timestamp: object) -> str:
    """Return a timestamp of Postgres as epoch seconds, with its fraction if it has one; 0: null or not understood."""
    try:
        seconds = datetime.fromisoformat(str(timestamp)).timestamp()
    except ValueError:
        return "0"
    return str(int(seconds)) if seconds.is_integer() else f"{seconds:.6f}"
