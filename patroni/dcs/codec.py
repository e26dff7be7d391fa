"""Values of the keys: text to record and back; pure.

Promise: what is written is byte for byte what stock members write (contract/dcs.md §1), and no value, torn or foreign, ever
raises: it counts as §1.3 says, in doubt as absent. Not promised: that unknown fields survive a rewrite.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import cast

from patroni.decision.cluster import (
    FailoverRequest,
    History,
    HistoryRow,
    Initialize,
    Lsn,
    Status,
    SyncState,
    SystemId,
    Timeline,
    Token,
)
from patroni.decision.scalar import integer

_SYSTEM_ID = re.compile(r"[0-9]{10,}", re.ASCII)
_NEVER = datetime(1, 1, 1)  # noqa: DTZ001  # that it has no zone is its meaning
_LSN_LIMIT = 1 << 64
_TIMELINE_LIMIT = 1 << 32


# --- JSON


def text_of(value: object) -> str:
    """Return compact JSON; what JSON does not know (a YAML date in a tag) as its text."""
    return json.dumps(value, separators=(",", ":"), default=str)


class NotJson(ValueError):
    """The text is not JSON."""


def json_from(text: str) -> object:
    """Return the value of a JSON text; raise NotJson, also for what cannot be passed on (half of a surrogate pair)."""
    try:
        value: object = json.loads(text, parse_constant=_reject)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise NotJson(str(error)) from error
    return value


def _reject(word: str) -> None:
    raise NotJson(f"{word} is not JSON")


def object_from(text: str) -> dict[str, object] | None:
    """Return the object that a JSON text is, or None if it is none."""
    try:
        value = json_from(text)
    except NotJson:
        return None
    return cast("dict[str, object]", value) if isinstance(value, dict) else None


def string_from(value: object) -> str | None:
    """Return a non-empty string that a system call takes, else None."""
    return value if isinstance(value, str) and value and "\0" not in value else None


def lsn_from(value: object) -> Lsn | None:
    """Return a WAL position; 0 and anything that is none is None."""
    number = integer(value)
    return Lsn(number) if number is not None and 0 < number < _LSN_LIMIT else None


def timeline_from(value: object) -> Timeline | None:
    """Return a timeline; 0 and anything that is none is None."""
    number = integer(value)
    return Timeline(number) if number is not None and 0 < number < _TIMELINE_LIMIT else None


# --- initialize


def initialize_from(text: str) -> SystemId | Initialize:
    """Read the initialize key (§1.6)."""
    if not text:
        return Initialize.RUNNING
    return SystemId(text) if _SYSTEM_ID.fullmatch(text) else Initialize.INVALID


# --- status


def status_from(text: str) -> Status:
    """Read the status key (§1.8); the old `optime/leader` is the same without an object."""
    try:
        value = json_from(text)
    except NotJson:
        return Status(lsn=lsn_from(text))
    if not isinstance(value, dict):
        return Status(lsn=lsn_from(value))
    slots = _parsed(value.get("slots"))
    retain_slots = _parsed(value.get("retain_slots"))
    return Status(
        lsn=lsn_from(value.get("optime")),
        slots=_slots_from(slots) if isinstance(slots, dict) else {},
        retain_slots=_strings(retain_slots) if isinstance(retain_slots, list) else (),
    )


def _parsed(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json_from(value)
    except NotJson:
        return None


def _slots_from(values: Mapping[str, object]) -> dict[str, Lsn]:
    return {name: lsn for name, value in values.items() if (lsn := lsn_from(value)) is not None}


def _strings(values: Iterable[object]) -> tuple[str, ...]:
    return tuple(value for value in values if isinstance(value, str))


def status_value(status: Status) -> str:
    """Write the status key (§1.8)."""
    value: dict[str, object] = {"optime": status.lsn or 0}
    if status.slots:
        value["slots"] = dict(status.slots)
    if status.retain_slots:
        value["retain_slots"] = sorted(status.retain_slots)
    return text_of(value)


# --- failover


def failover_from(text: str, token: Token) -> FailoverRequest | None:
    """Read the failover key (§1.9); None: it requests nothing. Text that is no JSON is the old `leader:member`.

    A time that cannot be read becomes one without a zone, which is never due and is cleaned up by the rules
    (contract/ha_behaviour.md §2.19a Z2): "now" would be a guess with effects.
    """
    try:
        value = json_from(text)
    except NotJson:
        leader, _, rest = text.partition(":")
        value = {"leader": leader.strip(), "member": rest.partition(":")[0].strip()}
    if not isinstance(value, dict):
        return None
    leader_name, candidate = string_from(value.get("leader")), string_from(value.get("member"))
    if leader_name is None and candidate is None:
        return None
    return FailoverRequest(
        leader=leader_name, candidate=candidate, scheduled_at=_time_from(value.get("scheduled_at")), token=token
    )


def _time_from(value: object) -> datetime | None:
    if not value:
        return None
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        return _NEVER


def failover_value(request: FailoverRequest | None) -> str:
    """Write the failover key (§1.9); None: no request, the literal `{}`."""
    if request is None:
        return "{}"
    fields = {
        "leader": request.leader,
        "member": request.candidate,
        "scheduled_at": request.scheduled_at.isoformat() if request.scheduled_at else None,
    }
    return text_of({name: value for name, value in fields.items() if value})


# --- sync


def sync_from(text: str, token: Token) -> SyncState:
    """Read the sync key (§1.10); a torn one is an empty state that keeps its token."""
    value = object_from(text) or {}
    quorum = integer(0 if value.get("quorum") is None else value["quorum"])
    leader = string_from(value.get("leader"))
    if leader is None or quorum is None:
        return SyncState(token=token)
    names = value.get("sync_standby")
    voters = [name.strip() for name in names.split(",")] if isinstance(names, str) else []
    return SyncState(leader=leader, voters=tuple(name for name in voters if name), quorum=quorum, token=token)


def sync_value(state: SyncState) -> str:
    """Write the sync key (§1.10)."""
    voters = ",".join(sorted(state.voters)) or None
    return text_of({"leader": state.leader, "quorum": state.quorum, "sync_standby": voters})


# --- history


def history_from(text: str) -> History:
    """Read the history key (§1.11); a row that is none is left out, and as the last one it hides the cluster's timeline."""
    try:
        value = json_from(text)
    except NotJson:
        return History()
    if not isinstance(value, list):
        return History()
    if not value:
        return History(cluster_timeline=Timeline(1))
    rows = [_row_from(row) for row in value]
    last = rows[-1]
    return History(
        rows=tuple(row for row in rows if row is not None),
        cluster_timeline=Timeline(last.timeline + 1) if last else None,
    )


def _row_from(row: object) -> HistoryRow | None:
    if not isinstance(row, list) or len(row) < 3:
        return None
    timeline, lsn = timeline_from(row[0]), integer(row[1])
    if timeline is None or lsn is None or not 0 <= lsn < _LSN_LIMIT:
        return None
    timestamp, leader = (string_from(value) for value in [*row[3:5], None, None][:2])
    return HistoryRow(timeline=timeline, lsn=Lsn(lsn), reason=str(row[2]), timestamp=timestamp, leader=leader)


def history_value(rows: Sequence[Sequence[object]]) -> str:
    """Write the history key (§1.11); rows have 3 to 5 fields, as `row_fields` makes them."""
    return text_of([list(row) for row in rows])


def row_fields(row: HistoryRow) -> tuple[object, ...]:
    """Return a row as written: the leader only beside a time, the time only if somebody observed the switch."""
    fields = (row.timeline, row.lsn, row.reason)
    if row.timestamp is None:
        return fields
    return (*fields, row.timestamp) if row.leader is None else (*fields, row.timestamp, row.leader)


# --- failsafe


def failsafe_from(text: str) -> dict[str, str] | None:
    """Read the failsafe key (§1.12); None: no map."""
    value = object_from(text)
    return None if value is None else {name: url for name, url in value.items() if isinstance(url, str)}


def failsafe_value(urls: Mapping[str, str]) -> str:
    """Write the failsafe key (§1.12): api_url by member name."""
    return text_of(dict(urls))
