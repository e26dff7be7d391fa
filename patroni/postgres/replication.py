"""Timelines and their history, from a replication connection or from the local history file (contract/ha_behaviour.md §5.3)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from patroni.decision.cluster import HistoryRow, SystemId, Timeline
from patroni.postgres import parameters
from patroni.postgres.call import Call
from patroni.postgres.config import Credentials
from patroni.postgres.control_data import lsn
from patroni.postgres.request import (
    AskRemoteHistory,
    PostgresError,
    ReadLocalHistory,
    ReadLocalTimeline,
    RemoteHistory,
)
from patroni.postgres.server import Server
from patroni.postgres.session import LIBPQ_MAJOR, Session, connected, words_of_url


def read_local_timeline(server: Server, call: Call, request: ReadLocalTimeline) -> Timeline:
    """Ask the own server by IDENTIFY_SYSTEM."""
    rows, _ = server.replication.run(call, server.local_replication_words(), "IDENTIFY_SYSTEM")
    return Timeline(int(rows[0][1]))


def read_local_history(server: Server, call: Call, request: ReadLocalHistory) -> tuple[HistoryRow, ...]:
    """Read the timeline's history file; the last row carries the file's time, in the local zone."""
    path = server.path("pg_wal", f"{request.timeline:08X}.history")
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            rows = history_rows(file.read())
            written_at = datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime).astimezone()
    except FileNotFoundError:
        return ()
    return (*rows[:-1], replace(rows[-1], timestamp=written_at.isoformat())) if rows else ()


def ask_remote_history(server: Server, call: Call, request: AskRemoteHistory) -> RemoteHistory:
    """Ask a server whether it is primary, then its system id, timeline and history."""
    with connected(call, remote_words(server, request.conn_url, server.config.rewind_credentials)) as session:
        is_standby = bool(session.run(call, "SELECT pg_is_in_recovery()")[0][0])
    words = remote_words(server, request.conn_url, server.config.replication)
    words.pop("dbname", None)
    with connected(call, {**words, "replication": "1"}) as session:
        system_id, timeline = session.run(call, "IDENTIFY_SYSTEM")[0][:2]
        return RemoteHistory(
            is_primary=not is_standby,
            system_id=SystemId(str(system_id)),
            timeline=Timeline(int(timeline)),
            rows=_remote_rows(call, session, int(timeline)) if timeline > 1 else (),
        )


def remote_words(server: Server, conn_url: str, credentials: Credentials, major: int = LIBPQ_MAJOR) -> dict[str, str]:
    """Return the libpq words, password included, of a connection to another member; major: of the libpq that will use them."""
    words = {"dbname": server.config.database, "application_name": "Patroni timeline"}
    words |= words_of_url(conn_url) | parameters.credential_words(credentials, major)
    if credentials.password:
        words["password"] = credentials.password
    if "replication" not in words:
        words["options"] = "-c statement_timeout=2000 -c search_path=pg_catalog"
    return words


def history_rows(text: str) -> tuple[HistoryRow, ...]:
    """Return the rows of a timeline history file: ended timeline, switch point, reason."""
    rows = []
    for line in text.splitlines():
        found = re.match(r"\s*(\d+)\s+([0-9A-Fa-f]+/[0-9A-Fa-f]+)\s*(.*)", line)
        if found is not None:
            rows.append(HistoryRow(timeline=Timeline(int(found[1])), lsn=lsn(found[2]), reason=found[3].strip()))
    return tuple(rows)


def _remote_rows(call: Call, session: Session, timeline: int) -> tuple[HistoryRow, ...]:
    content = session.run(call, f"TIMELINE_HISTORY {timeline}")[0][1]
    return history_rows(_text(content))


def _text(content: object) -> str:
    """Return the file's text: a string, or bytes in one of the forms of the driver."""
    match content:
        case str() if content.startswith("\\x"):
            return bytes.fromhex(content[2:]).decode(errors="replace")
        case str():
            return content
        case bytes() | memoryview():
            return bytes(content).decode(errors="replace")
        case _:
            raise PostgresError("TIMELINE_HISTORY: no text in the answer")


def password_extra(credentials: Credentials, path: str) -> Mapping[str, str]:
    """Return what the environment of a tool needs to find the password file; nothing without a password."""
    return {"PGPASSFILE": path} if credentials.password else {}
