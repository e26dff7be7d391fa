"""The JSON gateway of etcd v3: requests, answers and errors as values; pure (contract/dcs.md §7).

Keys and values are base64, 64-bit integers are JSON strings, fields with zero, false or empty values are left out of answers.
An error is *no answer* wherever its code does not say that the effect cannot have happened and never will: `is_silence`.
There the contract's table calls some errors refused; `store.py` promises more, so Canceled, Unknown, Internal and DataLoss
are no answer here. What cannot be parsed is no answer, too.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from patroni.dcs.store import DcsUnavailable, Entry, LockRef, Refusal, Refused, Snapshot
from patroni.decision.cluster import Incarnation, Revision, SessionId, Token

Json = Mapping[str, Any]  # Any: parsed JSON, taken apart into records in this module
Operation = dict[str, object]  # one operation of a transaction


class Code(IntEnum):
    """gRPC codes."""

    CANCELED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


LEASE_NOT_FOUND = "etcdserver: requested lease not found"
AUTH_NOT_ENABLED = "etcdserver: authentication is not enabled"
_LOGIN_CURES = frozenset(
    {
        "etcdserver: user name is empty",
        "etcdserver: invalid auth token",
        "etcdserver: revision of auth store is old",
        "etcdserver: permission denied",
    }
)
_CODE_OF_TEXT = {  # text first, then code (contract/dcs.md §7.4)
    LEASE_NOT_FOUND: Code.NOT_FOUND,
    AUTH_NOT_ENABLED: Code.FAILED_PRECONDITION,
    "not a primary lessor": Code.UNAVAILABLE,
    "etcdserver: not a primary lessor": Code.UNAVAILABLE,
    "etcdserver: no leader": Code.UNAVAILABLE,
    "etcdserver: leader changed": Code.UNAVAILABLE,
    "etcdserver: request timed out": Code.UNAVAILABLE,
    "context deadline exceeded": Code.DEADLINE_EXCEEDED,
    "etcdserver: mvcc: database space exceeded": Code.RESOURCE_EXHAUSTED,
    "etcdserver: user name is empty": Code.INVALID_ARGUMENT,
    "etcdserver: invalid auth token": Code.UNAUTHENTICATED,
    "etcdserver: revision of auth store is old": Code.INVALID_ARGUMENT,
    "etcdserver: permission denied": Code.PERMISSION_DENIED,
}
_SILENT_CODES = frozenset(
    {
        Code.CANCELED,
        Code.UNKNOWN,
        Code.DEADLINE_EXCEEDED,
        Code.FAILED_PRECONDITION,
        Code.INTERNAL,
        Code.UNAVAILABLE,
        Code.DATA_LOSS,
    }
)


class EtcdError(Exception):
    """The server's error, in its own words."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text

    @property
    def is_silence(self) -> bool:
        """Return whether nothing is known about the effect: ask another endpoint, or nobody."""
        return self.code in _SILENT_CODES and self.text != AUTH_NOT_ENABLED

    @property
    def is_cured_by_login(self) -> bool:
        """Return whether a new token may help (contract/dcs.md §7.3)."""
        return self.text in _LOGIN_CURES

    def refusal(self) -> Refused:
        """Return what the store says where this is its answer."""
        is_lease = self.text == LEASE_NOT_FOUND
        return Refused(Refusal.SESSION_GONE if is_lease else Refusal.DENIED, self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Who answered, under which authority, at which moment of the store."""

    cluster_id: str
    raft_term: int
    revision: Revision | None  # None: the answer has none (member list)

    @property
    def witness(self) -> str:
        """Return what two answers under one authority have in common."""
        return f"{self.cluster_id}/{self.raft_term}"


# --- answers


def parse_answer(status: int, body: bytes) -> Json:
    """Return the object that was answered; raise EtcdError, or DcsUnavailable where it is no answer of etcd."""
    try:
        parsed = json.loads(body)
    except ValueError as error:
        text = body[:200].decode("utf-8", "replace").strip()
        raise DcsUnavailable(f"not an answer of etcd: status {status}: {text!r}") from error
    if not isinstance(parsed, dict):
        raise DcsUnavailable(f"not an answer of etcd: status {status}: {str(parsed)[:200]!r}")
    require_no_error(parsed, status)
    return parsed


def require_no_error(answer: Json, status: int = 200) -> None:
    """Raise EtcdError if this object is an error, in any of its shapes (contract/dcs.md §7.4)."""
    fields = {key.lower(): value for key, value in answer.items()}
    error = fields.get("error")
    if isinstance(error, Mapping):
        fields = {key.lower(): value for key, value in error.items()}
        error = fields.get("message") or fields.get("error") or "unknown error"
    if status < 400 and not error:
        return
    text = str(error or fields.get("message") or f"status {status}")
    code = fields.get("code", fields.get("grpc_code"))
    known = _CODE_OF_TEXT.get(text)
    raise EtcdError(known if known is not None else _code(code), text)


def header_of(answer: Json) -> Header | None:
    """Return the header of an answer or of a message in a stream; None: it has none."""
    header = answer.get("header")
    if not isinstance(header, Mapping):
        return None
    try:
        revision = header.get("revision")
        return Header(
            cluster_id=str(header.get("cluster_id", "0")),
            raft_term=int(header.get("raft_term", 0)),
            revision=None if revision is None else Revision(int(revision)),
        )
    except (TypeError, ValueError) as error:
        raise DcsUnavailable(f"not a header of etcd: {error}") from error


def require_header(answer: Json) -> Header:
    """Return the header of an answer that must have one."""
    header = header_of(answer)
    if header is None:
        raise DcsUnavailable("an answer without a header")
    return header


def entry_of(kv: Json) -> Entry:
    """Return one key as answered. A value that is not UTF-8 is foreign: it is read with replacements, never a failure."""
    try:
        lease = str(kv.get("lease", "0"))
        return Entry(
            key=_decode(kv["key"]),
            value=_decode(kv.get("value", "")),
            token=Token(str(int(kv["mod_revision"]))),
            incarnation=Incarnation(str(int(kv["create_revision"]))),
            revision=Revision(int(kv["mod_revision"])),
            session=None if lease == "0" else SessionId(lease),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DcsUnavailable(f"not a key of etcd: {error!r}") from error


def entries_of(answer: Json) -> dict[str, Entry]:
    """Return what a range found, by full key."""
    kvs = answer.get("kvs", [])
    if not isinstance(kvs, list):
        raise DcsUnavailable("not a range of etcd")
    return {entry.key: entry for entry in map(entry_of, kvs)}


def snapshot_of(answer: Json, header: Header, *, is_linearizable: bool) -> Snapshot:
    """Return what a range found as a snapshot at the moment of `header`."""
    return Snapshot(
        entries=entries_of(answer), revision=header.revision, store_id=header.cluster_id, is_linearizable=is_linearizable
    )


def ranges_of(answer: Json) -> list[Json]:
    """Return the answers of the ranges of a transaction, in their order."""
    found = [response.get("response_range") for response in answer.get("responses", []) if isinstance(response, Mapping)]
    return [range_ for range_ in found if isinstance(range_, Mapping)]


def has_succeeded(answer: Json) -> bool:
    """Return whether the compares of a transaction held."""
    return answer.get("succeeded") is True


# --- requests


def encode(text: str) -> str:
    """Return text as the gateway wants bytes."""
    return base64.b64encode(text.encode()).decode()


def prefix_range(prefix: str) -> dict[str, object]:
    """Return `key` and `range_end` of all keys that begin with a prefix: its last byte + 1."""
    raw = prefix.encode()
    if not raw:
        raise ValueError("an empty prefix is the whole store")
    end = raw[:-1] + bytes([raw[-1] + 1])  # UTF-8 has no byte 255
    return {"key": encode(prefix), "range_end": base64.b64encode(end).decode()}


def transaction(compare: Sequence[Operation], success: Sequence[Operation], failure: Sequence[Operation] = ()) -> Operation:
    """Return a transaction; without compares it always succeeds."""
    return {"compare": list(compare), "success": list(success), "failure": list(failure)}


def created_at(lock: LockRef) -> Operation:
    """Compare: the key is still that incarnation."""
    return {"target": "CREATE", "create_revision": lock.incarnation, "key": encode(lock.key)}


def is_absent(key: str) -> Operation:
    """Compare: the key does not exist."""
    return {"target": "CREATE", "create_revision": "0", "key": encode(key)}


def is_version(key: str, token: Token) -> Operation:
    """Compare: the key was not written since."""
    return {"target": "MOD", "mod_revision": token, "key": encode(key)}


def hangs_on(key: str, session: SessionId) -> Operation:
    """Compare: the key is bound to that lease (servers from 3.3)."""
    return {"target": "LEASE", "lease": session, "key": encode(key)}


def put(key: str, value: str, session: SessionId | None) -> Operation:
    """Operation: write the key, bound to the session or permanent."""
    request: dict[str, object] = {"key": encode(key), "value": encode(value)}
    if session is not None:
        request["lease"] = session
    return {"request_put": request}


def read(key: str) -> Operation:
    """Operation: read one key."""
    return {"request_range": {"key": encode(key)}}


def read_prefix(prefix: str) -> Operation:
    """Operation: read a prefix. Not serializable, so the server must prove itself to answer (safety_rules.md §2)."""
    return {"request_range": prefix_range(prefix)}


def delete(key: str) -> Operation:
    """Operation: delete one key."""
    return {"request_delete_range": {"key": encode(key)}}


# --- versions


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What `GET /version` says."""

    server: tuple[int, ...]
    cluster: tuple[int, ...]

    @property
    def path_prefix(self) -> str | None:
        """Return the prefix of all paths; None: too old, it cannot compare leases (contract/dcs.md §7.1)."""
        if self.cluster >= (3, 4):
            return "/v3"
        return "/v3beta" if self.cluster >= (3, 3) else None

    @property
    def has_stale_leases(self) -> bool:
        """Return whether a deposed leader of this version goes on answering keepalives (safety_rules.md §2)."""
        return self.server < (3, 4, 31) or (3, 5) <= self.server < (3, 5, 13)


def version_of(answer: Json) -> Version:
    """Return the versions of server and cluster."""
    return Version(server=_version(answer.get("etcdserver")), cluster=_version(answer.get("etcdcluster")))


def _version(text: object) -> tuple[int, ...]:
    """Return `3.5.0-rc.1` as (3, 5, 0)."""
    numbers = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", str(text))
    if numbers is None:
        raise DcsUnavailable(f"not a version of etcd: {text!r}")
    return tuple(int(number) for number in numbers.groups(default="0"))


def _code(value: object) -> int:
    try:
        return int(str(value))
    except ValueError:
        return Code.UNKNOWN


def _decode(text: str) -> str:
    return base64.b64decode(text, validate=True).decode("utf-8", "replace")
