"""The member list of a cluster in all its forms; pure (contract/cli.md §3.2-3.6).

Not promised: that it is true now. It shows what the members and the leader last wrote into the store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol
from urllib.parse import urlsplit

from patroni.ctl.cluster_view import ClusterView, Group, Switches, is_voter, switches_of
from patroni.ctl.member_tree import labels
from patroni.ctl.table import Align, Column, boxed, json_text, separated, yaml_text
from patroni.decision.cluster import Cluster, Initialize, Lsn, Member
from patroni.decision.settings import SynchronousMode

POSTGRES_PORT = 5432
_LONGEST_REASON = 50
_BYTES_OF_MB = 1048576
_UNKNOWN = "unknown"
_LABEL_WIDTH = len("Switchover scheduled at")  # of the lines after the table


class Form(StrEnum):
    """The forms of the list, as `--format` names them; TOPOLOGY is a command of its own."""

    PRETTY = "pretty"
    TSV = "tsv"
    JSON = "json"
    YAML = "yaml"
    TOPOLOGY = "topology"


_BOXES = (Form.PRETTY, Form.TOPOLOGY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a member's Postgres is, of its `conn_url`."""

    host: str
    port: int


def address_of(member: Member) -> Address | None:
    """Return the address of a member's Postgres; None: it published no usable URL."""
    try:
        url = urlsplit(member.conn_url or "")
        return Address(host=url.hostname, port=url.port or POSTGRES_PORT) if url.hostname else None
    except ValueError:
        return None


def rendered(view: ClusterView, form: Form = Form.PRETTY, *, is_extended: bool = False) -> str:
    """Return the list; without its last line break, but a YAML one has its empty line (§3.1)."""
    rows = _rows(view, form)
    columns = _shown_columns(view, rows, form, is_extended=is_extended)
    if form in _BOXES:
        return _box(view, rows, columns, form)
    if form is Form.TSV:
        return separated([column.header for column in columns], _cells(rows, columns, form))
    records = [
        {column.header: value for column in columns if (value := column.value(row, form)) not in ("", None)} for row in rows
    ]
    return json_text(records) if form is Form.JSON else yaml_text(records)


def _box(view: ClusterView, rows: Sequence[_Row], columns: Sequence[_Column], form: Form) -> str:
    heads = [Column(column.box_header or column.header, column.align) for column in columns]
    return "\n".join([boxed(heads, _cells(rows, columns, form), _title(view)), *_lines_after(view)])


def _cells(rows: Iterable[_Row], columns: Sequence[_Column], form: Form) -> list[list[str]]:
    return [[_text(column.value(row, form)) for column in columns] for row in rows]


def _text(value: object) -> str:
    return "" if value is None else str(value)


# --- rows


@dataclass(frozen=True, slots=True, kw_only=True)
class _Position:
    """A position and how far it is behind the leader's last published one."""

    lsn: str = ""  # empty: the leader's row
    lag_mb: int | None = None  # None: not known, or the leader's row


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One member; empty and None: nothing is shown."""

    cluster: str
    group: int | None
    label: str
    host: str
    role: str
    state: str
    timeline: int | None
    receive: _Position
    replay: _Position
    pending_restart: str
    reasons: tuple[str, ...]
    scheduled_restart: str
    tags: Mapping[str, object] = field(default_factory=dict)


def _rows(view: ClusterView, form: Form) -> list[_Row]:
    addresses = [address for member, _ in view.members() if (address := address_of(member))]
    uses = Counter(address.host for address in addresses)
    has_ports = any(address.port != POSTGRES_PORT for address in addresses) or any(count > 1 for count in uses.values())
    return [
        _row(_Place(view.name, group, member, label), switches, has_ports=has_ports)
        for group in view.groups
        for switches in [switches_of(group.cluster)]
        for member, label in _labelled(group.cluster, form)
    ]


def _labelled(cluster: Cluster, form: Form) -> list[tuple[Member, str]]:
    return labels(cluster) if form is Form.TOPOLOGY else [(cluster.members[name], name) for name in sorted(cluster.members)]


@dataclass(frozen=True, slots=True)
class _Place:
    """A member and where it stands in the list."""

    cluster_name: str
    group: Group
    member: Member
    label: str


def _row(place: _Place, switches: Switches, *, has_ports: bool) -> _Row:
    member, cluster = place.member, place.group.cluster
    is_leader = member.name == cluster.leader_name
    state = _state(member, is_plain_leader=is_leader and not switches.is_standby_cluster)
    receive, replay = (_Position(), _Position()) if is_leader else _positions(member, state, cluster.status.lsn)
    published = member.published
    return _Row(
        cluster=place.cluster_name,
        group=place.group.number,
        label=place.label,
        host=_host(address_of(member), has_ports=has_ports),
        role=role_of(member, cluster, switches),
        state=state,
        timeline=member.timeline,
        receive=receive,
        replay=replay,
        pending_restart="*" if published.get("pending_restart") else "",
        reasons=_reasons(published.get("pending_restart_reason")),
        scheduled_restart=_scheduled_restart(published.get("scheduled_restart")),
        tags=_mapping(published.get("tags")),
    )


def role_of(member: Member, cluster: Cluster, switches: Switches) -> str:
    """Return the role that the leader key and the sync key give a member; its own word plays no part (§3.3)."""
    if member.name == cluster.leader_name:
        return "Standby Leader" if switches.is_standby_cluster else "Leader"
    if switches.synchronous_mode is SynchronousMode.OFF or not is_voter(member.name, cluster):
        return "Replica"
    return "Quorum Standby" if switches.synchronous_mode is SynchronousMode.QUORUM else "Sync Standby"


def _state(member: Member, *, is_plain_leader: bool) -> str:
    state = member.published.get("state")
    word = state if isinstance(state, str) else ""
    return word if is_plain_leader else member.replication_state or word


def _host(address: Address | None, *, has_ports: bool) -> str:
    if address is None:
        return ""
    if not has_ports:
        return address.host
    return f"[{address.host}]:{address.port}" if ":" in address.host else f"{address.host}:{address.port}"


def _positions(member: Member, state: str, published: Lsn | None) -> tuple[_Position, _Position]:
    """Return what was received and replayed; of an old agent its one position stands for one of them (§3.3)."""
    receive, replay = member.receive_lsn, member.replay_lsn
    if "receive_lsn" not in member.published and "replay_lsn" not in member.published:
        receive, replay = (member.lsn, None) if state == "streaming" else (None, member.lsn)
    return _position(receive, published), _position(replay, published)


def _position(lsn: Lsn | None, published: Lsn | None) -> _Position:
    if lsn is None:
        return _Position(lsn=_UNKNOWN)
    return _Position(lsn=lsn_text(lsn), lag_mb=round(max(0, (published or 0) - lsn) / _BYTES_OF_MB))


def lsn_text(lsn: Lsn) -> str:
    """Return a position as PostgreSQL writes it: two hexadecimal halves, not padded."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def _reasons(value: object) -> tuple[str, ...]:
    changes = ((name, _mapping(change)) for name, change in _mapping(value).items())
    return tuple(f"{name}: {_text(change.get('old_value'))}->{_text(change.get('new_value'))}" for name, change in changes)


def _scheduled_restart(value: object) -> str:
    restart = _mapping(value)
    version = restart.get("postgres_version")
    return f"{_text(restart.get('schedule'))}{f' if version < {version}' if version else ''}"


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


# --- columns


class _Value(Protocol):
    def __call__(self, row: _Row, form: Form, /) -> object: ...


@dataclass(frozen=True, slots=True)
class _Column:
    """One column: header in the machine's forms, value, side, and header in a box where it differs."""

    header: str
    value: _Value
    align: Align = Align.LEFT
    box_header: str = ""
    is_optional: bool = False  # shown on demand, or if some member has something to say


def _reason_cell(row: _Row, form: Form) -> object:
    if form not in _BOXES:
        return "\n".join(row.reasons)
    return "\n".join(_shortened(line) for line in row.reasons)


def _shortened(line: str) -> str:
    return line if len(line) <= _LONGEST_REASON else f"{line.partition(':')[0]}: [hidden - too long]"


def _tags_cell(row: _Row, form: Form) -> object:
    if not row.tags:
        return ""
    if form in (Form.JSON, Form.YAML):
        return dict(row.tags)
    return yaml_text(dict(row.tags), is_flow=form is not Form.PRETTY).rstrip("\n")


_COLUMNS = (
    _Column("Cluster", lambda row, _: row.cluster),
    _Column("Group", lambda row, _: row.group, Align.RIGHT),
    _Column("Member", lambda row, _: row.label),
    _Column("Host", lambda row, _: row.host),
    _Column("Role", lambda row, _: row.role),
    _Column("State", lambda row, _: row.state),
    _Column("TL", lambda row, _: row.timeline, Align.RIGHT),
    _Column("Receive LSN", lambda row, _: row.receive.lsn, Align.RIGHT),
    _Column("Receive Lag", lambda row, _: row.receive.lag_mb, Align.RIGHT, "Lag"),
    _Column("Replay LSN", lambda row, _: row.replay.lsn, Align.RIGHT),
    _Column("Replay Lag", lambda row, _: row.replay.lag_mb, Align.RIGHT, "Lag"),
    _Column("Pending restart", lambda row, _: row.pending_restart, is_optional=True),
    _Column("Pending restart reason", _reason_cell, is_optional=True),
    _Column("Scheduled restart", lambda row, _: row.scheduled_restart, is_optional=True),
    _Column("Tags", _tags_cell, is_optional=True),
)


def _shown_columns(view: ClusterView, rows: Sequence[_Row], form: Form, *, is_extended: bool) -> list[_Column]:
    """Return the columns of this list (§3.2); those on demand are decided over the members that have a host."""
    is_box = form in _BOXES
    hidden = {"Cluster"} if is_box else set()
    if not view.is_citus or (is_box and view.asked_group is not None):
        hidden.add("Group")
    shown = [column for column in _COLUMNS if column.header not in hidden]
    return [column for column in shown if not column.is_optional or is_extended or _is_used(column, rows, form)]


def _is_used(column: _Column, rows: Iterable[_Row], form: Form) -> bool:
    return any(row.host and column.value(row, form) for row in rows)


# --- around the box


def _title(view: ClusterView) -> str:
    if not view.is_citus:
        return f"Cluster: {view.name} ({_initialize(view.main)})"
    if view.asked_group is None:
        return f"Citus cluster: {view.name}"
    return f"Citus cluster: {view.name} (group: {view.asked_group}, {_initialize(view.main)})"


_INITIALIZE: Mapping[Initialize, str] = {
    Initialize.ABSENT: "uninitialized",
    Initialize.RUNNING: "initializing",
    Initialize.INVALID: "invalid",
}


def _initialize(cluster: Cluster) -> str:
    found = cluster.initialize
    return _INITIALIZE[found] if isinstance(found, Initialize) else found


def _lines_after(view: ClusterView) -> list[str]:
    lines: list[str] = []
    for group in view.groups:
        said = _lines_of(group.cluster)
        if said and view.is_citus and view.asked_group is None:
            lines.append(f"Citus group: {group.number}")
        lines.extend(f" {line}" for line in said)
    return lines


def _lines_of(cluster: Cluster) -> list[str]:
    lines = ["Maintenance mode: on"] if switches_of(cluster).is_paused else []
    request = cluster.failover
    if request is not None and request.scheduled_at is not None:
        lines.append(f"Switchover scheduled at: {request.scheduled_at.isoformat()}")
        names = (("from", request.leader), ("to", request.candidate))
        lines.extend(f"{label:>{_LABEL_WIDTH}}: {name}" for label, name in names if name)
    return lines
