"""The member key: what a member publishes of itself, and how others read it; pure. contract/dcs.md §1.5."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit

from patroni.dcs.codec import lsn_from, object_from, string_from, text_of, timeline_from
from patroni.decision.cluster import Lsn, Member, PostgresState, Role, SessionId, Timeline
from patroni.decision.scalar import integer
from patroni.decision.tags import tags_from

E = TypeVar("E", PostgresState, Role)

_ROLES: Mapping[str, Role] = {**{str(role): role for role in Role}, "master": Role.PRIMARY}  # by wire word
_STATES: Mapping[str, PostgresState] = {str(state): state for state in PostgresState}  # by wire word


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What a member says of itself, in the order of the fields on the wire; None or empty: the field is left out."""

    conn_url: str
    api_url: str
    state: PostgresState
    role: Role
    version: str  # the compatibility level, dot-separated integers (contract/dcs.md §2 rule 3)
    proxy_url: str | None = None
    is_checkpoint_pending: bool = False  # of a lock owner after its promotion: `checkpoint_after_promote: false`
    tags: Mapping[str, object] = field(default_factory=dict)  # `Tags.published`
    pending_restart: Mapping[str, Mapping[str, str]] | None = None  # GUC -> old_value, new_value; None: none pending
    lsn: Lsn | None = None  # `xlog_location`
    replay_lsn: Lsn | None = None
    receive_lsn: Lsn | None = None
    replication_state: str | None = None
    timeline: Timeline | None = None
    scheduled_restart: Mapping[str, object] | None = None
    is_paused: bool = False


def member_value(publication: Publication) -> str:
    """Write the member key."""
    pending = publication.pending_restart
    fields: dict[str, object] = {
        "conn_url": publication.conn_url,
        "api_url": publication.api_url,
        "state": str(publication.state),
        "role": str(publication.role),
        "version": publication.version,
        "proxy_url": publication.proxy_url or None,
        "checkpoint_after_promote": False if publication.is_checkpoint_pending else None,
        "tags": dict(publication.tags) or None,
        "pending_restart": None if pending is None else True,
        "pending_restart_reason": {name: dict(change) for name, change in pending.items()} if pending else None,
        "xlog_location": publication.lsn,
        "replay_lsn": publication.replay_lsn or None,
        "receive_lsn": publication.receive_lsn or None,
        "replication_state": publication.replication_state or None,
        "timeline": publication.timeline or None,
        "scheduled_restart": dict(publication.scheduled_restart) if publication.scheduled_restart else None,
        "pause": publication.is_paused or None,
    }
    return text_of({name: value for name, value in fields.items() if value is not None})


def member_from(name: str, text: str, session: SessionId | None) -> Member:
    """Read a member key; a value that says nothing usable is a member without data (§1.3)."""
    values = _old_form(text) if text.startswith("postgres") else object_from(text) or {}
    tags = values.get("tags")
    checkpoint = values.get("checkpoint_after_promote")
    return Member(
        name=name,
        conn_url=string_from(values.get("conn_url")) or _url_from(values.get("conn_kwargs")),
        api_url=string_from(values.get("api_url")),
        state=_STATES.get(_word(values.get("state"))),
        role=_ROLES.get(_word(values.get("role"))),
        version=string_from(values.get("version")),
        tags=tags_from(tags if isinstance(tags, dict) else {}),
        lsn=lsn_from(values.get("xlog_location")),
        replay_lsn=lsn_from(values.get("replay_lsn")),
        receive_lsn=lsn_from(values.get("receive_lsn")),
        replication_state=string_from(values.get("replication_state")),
        timeline=timeline_from(values.get("timeline")),
        checkpoint_after_promote=checkpoint if isinstance(checkpoint, bool) else None,
        is_paused=bool(values.get("pause")),
        session=session,
        published=values,
    )


def _word(value: object) -> str:
    return value if isinstance(value, str) else ""


def _old_form(text: str) -> dict[str, object]:
    """Return the fields of the form before JSON: a URL whose query carries the other one."""
    try:
        url = urlsplit(text)
        query = parse_qs(url.query)
    except ValueError:
        return {}
    api_url = query.get("application_name", [""])[0]
    return {"conn_url": url._replace(query="").geturl(), **({"api_url": api_url} if api_url else {})}


def _url_from(values: object) -> str | None:
    """Return the connection URL of `conn_kwargs`, which some writers use instead; None: there is no host."""
    if not isinstance(values, dict):
        return None
    host = string_from(values.get("host"))
    if host is None:
        return None
    port = integer(values.get("port")) or 5432
    database = string_from(values.get("dbname")) or "postgres"
    return f"postgres://{f'[{host}]' if ':' in host else host}:{port}/{database}"
