"""Timelines and their history, from a replication connection or from the local history file (contract/ha_behaviour.md §5.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from patroni.decision.cluster import HistoryRow, SystemId, Timeline, Twin
from patroni.postgres import parameters
from patroni.postgres.call import Call
from patroni.postgres.config import Credentials
from patroni.postgres.history import history_rows
from patroni.postgres.request import (
    AskRemoteHistory,
    PostgresError,
    ReadLocalTimeline,
    RemoteHistory,
)
from patroni.postgres.server import Server
from patroni.postgres.session import LIBPQ_MAJOR, Session, connected, words_of_url
from patroni.postgres.twin import twin


def read_local_timeline(server: Server, call: Call, request: ReadLocalTimeline) -> Timeline:
    """Ask the own server by IDENTIFY_SYSTEM."""
    rows, _ = server.replication.run(call, server.local_replication_words(), "IDENTIFY_SYSTEM")
    return Timeline(int(rows[0][1]))


def ask_remote_history(server: Server, call: Call, request: AskRemoteHistory) -> RemoteHistory:
    """Ask a server its system id, timeline and history, then whether it is primary, and whether it has our timeline."""
    words = remote_words(server, request.conn_url, server.config.replication)
    words.pop("dbname", None)
    with connected(call, {**words, "replication": "1"}) as session:
        system_id, timeline = session.run(call, "IDENTIFY_SYSTEM")[0][:2]
        rows = _remote_rows(call, session, int(timeline)) if timeline > 1 else ()
    said = RemoteHistory(is_primary=False, system_id=SystemId(str(system_id)), timeline=Timeline(int(timeline)), rows=rows)
    with connected(call, remote_words(server, request.conn_url, server.config.rewind_credentials)) as session:
        if session.run(call, "SELECT pg_is_in_recovery()")[0][0]:
            return said
        found = twin(call, session, request.own, said) if request.own is not None else Twin.UNKNOWN
        return replace(said, is_primary=True, twin=found)


def remote_words(server: Server, conn_url: str, credentials: Credentials, major: int = LIBPQ_MAJOR) -> dict[str, str]:
    """Return the libpq words, password included, of a connection to another member; major: of the libpq that will use them."""
    words = {"dbname": server.config.database, "application_name": "Patroni timeline"}
    words |= words_of_url(conn_url) | parameters.credential_words(credentials, major)
    if credentials.password:
        words["password"] = credentials.password
    if "replication" not in words:
        words["options"] = "-c statement_timeout=2000 -c search_path=pg_catalog"
    return words


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
