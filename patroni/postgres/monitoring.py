"""The one monitoring query: all that loop and REST API know of a running server.

Sources: contract/ha_behaviour.md §1.4, contract/rest_api.md §7.3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from patroni.decision.cluster import Lsn, SlotName, Timeline
from patroni.decision.node import Slot, Upstream, Walsender
from patroni.postgres import values
from patroni.postgres.call import Call
from patroni.postgres.request import Monitoring, ReadMonitoring
from patroni.postgres.server import Server
from patroni.postgres.session import words_of_url

# PostgreSQL 13 or later. `standby` is read once, so that a promotion in the middle does not mix both forms.
_QUERY = """
SELECT r.standby,
       CASE WHEN r.standby THEN NULL
            ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint END,
       CASE WHEN r.standby THEN NULL ELSE pg_current_wal_flush_lsn() - '0/0' END,
       pg_last_wal_replay_lsn() - '0/0',
       greatest(pg_last_wal_receive_lsn(), w.written_lsn) - '0/0',
       CASE WHEN r.standby THEN pg_is_wal_replay_paused() ELSE false END,
       pg_last_xact_replay_timestamp(),
       w.pid, w.status, w.latest_end_lsn - '0/0', w.received_tli, w.sender_host, w.sender_port, w.slot_name,
       current_setting('restore_command'), current_setting('primary_conninfo'), current_setting('primary_slot_name'),
       (SELECT json_agg(json_build_object('name', slot_name, 'type', slot_type, 'active', active,
                                          'restart', (restart_lsn - '0/0')::bigint,
                                          'confirmed', (confirmed_flush_lsn - '0/0')::bigint))
          FROM pg_replication_slots WHERE NOT temporary),
       (SELECT json_agg(json_build_object('pid', pid, 'flush', (flush_lsn - '0/0')::bigint, 'row', json_build_object(
                          'usename', usename, 'application_name', application_name, 'client_addr', client_addr,
                          'state', state, 'sync_state', sync_state, 'sync_priority', sync_priority)))
          FROM pg_stat_replication),
       (SELECT array_agg(active_pid) FROM pg_replication_slots WHERE slot_type = 'logical' AND active_pid IS NOT NULL),
       pg_postmaster_start_time(),
       (SELECT json_agg(json_build_object('name', name, 'old', setting, 'unit', unit, 'type', vartype, 'new', coalesce(
                          (SELECT f.setting FROM pg_file_settings f WHERE lower(f.name) = lower(s.name)
                            ORDER BY f.seqno DESC LIMIT 1), boot_val)))
          FROM pg_settings s WHERE pending_restart AND name <> 'hot_standby')
  FROM (SELECT pg_is_in_recovery() AS standby OFFSET 0) r
  LEFT JOIN pg_stat_get_wal_receiver() w ON w.pid IS NOT NULL
"""
_LOGICAL = 19  # column with the pids of logical walsenders: their titles do not tell them from physical ones before 18


def read_monitoring(server: Server, call: Call, request: ReadMonitoring) -> Monitoring:
    """Run the monitoring query."""
    kept = server.rest if request.is_for_rest else server.heartbeat
    words = server.local_words("restapi" if request.is_for_rest else "heartbeat")
    rows, server_version = kept.run(call, words, _QUERY)
    server.logical_walsenders = frozenset(rows[0][_LOGICAL] or ())
    return _monitoring(rows[0], server_version)


def _monitoring(row: Sequence[Any], server_version: int) -> Monitoring:
    standby, timeline, flushed, replayed, received, paused, replayed_at, pid, status, latest_end, received_tli = row[:11]
    sender_host, sender_port, sender_slot, restore_command, conninfo, slot = row[11:17]
    slots, walsenders, _, started, pending = row[17:]
    if standby:
        timeline = received_tli if latest_end is not None else None
    receiving = (sender_host, sender_port, sender_slot) if sender_host else None
    return Monitoring(
        is_in_recovery=standby,
        timeline=Timeline(timeline) if timeline else None,
        lsn=Lsn(max(int(received or 0), int(replayed or 0)) if standby else int(flushed)),
        receive_lsn=_lsn(received) if standby else None,
        replay_lsn=_lsn(replayed) if standby else None,
        is_replay_paused=paused,
        replay_timestamp=str(replayed_at) if replayed_at is not None and standby else None,
        latest_end_lsn=_lsn(latest_end),
        replication_state=_replication_state(status, restore_command) if standby else None,
        walreceiver_pid=pid,
        upstream=_upstream(receiving, conninfo, slot) if standby else None,
        slots=tuple(_slot(item) for item in slots or ()),
        walsenders=tuple(_walsender(item) for item in walsenders or ()),
        replication=tuple(item["row"] for item in walsenders or ()),
        server_version=server_version,
        postmaster_start_time=str(started),
        pending_restart={item["name"]: _change(item) for item in pending} if pending else None,
    )


def _lsn(value: Decimal | int | None) -> Lsn | None:
    return Lsn(int(value)) if value else None


def _replication_state(status: str | None, restore_command: str | None) -> str | None:
    return "streaming" if status == "streaming" else "in archive recovery" if restore_command else None


def _upstream(receiving: tuple[str, int, str | None] | None, conninfo: str, slot: str) -> Upstream | None:
    """Return from where it streams; a live walreceiver's own words count more than the setting."""
    if receiving is not None:
        host, port, used = receiving
        return Upstream(member=None, host=host, port=port, slot=SlotName(used) if used else None)
    words = words_of_url(conninfo) if conninfo else {}
    if not words.get("host"):
        return None
    port_text = words.get("port", "5432")
    return Upstream(
        member=None,
        host=words["host"],
        port=int(port_text) if port_text.isdigit() else 5432,
        slot=SlotName(slot) if slot else None,
    )


def _slot(item: Mapping[str, Any]) -> Slot:
    return Slot(
        name=SlotName(item["name"]),
        is_physical=item["type"] == "physical",
        is_active=item["active"],
        restart_lsn=_lsn(item["restart"]),
        confirmed_flush_lsn=_lsn(item["confirmed"]),
    )


def _walsender(item: Mapping[str, Any]) -> Walsender:
    row = item["row"]
    return Walsender(
        pid=item["pid"],
        application_name=row["application_name"],
        state=row["state"],
        sync_state=row["sync_state"],
        flush_lsn=_lsn(item["flush"]),
    )


def _change(item: Mapping[str, Any]) -> Mapping[str, str]:
    """Return old and new value of a setting that waits for a restart, in human units."""
    old, new, unit = item["old"] or "", item["new"] or "", item["unit"]
    if item["type"] == "integer":
        number = values.integer(new, unit)
        new = new if number is None else values.human(str(number), unit)
        old = values.human(old, unit)
    return {"old_value": old, "new_value": new}
