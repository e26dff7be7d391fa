"""etcd v3 as a `Store`, through its JSON gateway.

Promised, as `store.py` says: a session is a lease; a lock is a key's `create_revision`; a token its `mod_revision`. The proof
of a lock is a transaction that compares creation and lease of the key and reads the prefix in both branches: a transaction
of compares alone is answered by a deposed leader from its own copy, one with a plain range is not (safety_rules.md §2).
Writes are transactions too, so `Write.under` is one more compare. Errors: what the server refuses is Refused, all else is no
answer; a renewal, a proof and a read are refused for their own reasons only.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import TypeVar

from patroni.dcs.etcd3_client import Call, Etcd3Client, Trust
from patroni.dcs.etcd3_gateway import (
    LEASE_NOT_FOUND,
    EtcdError,
    Json,
    Operation,
    created_at,
    delete,
    encode,
    entries_of,
    hangs_on,
    has_succeeded,
    is_absent,
    is_version,
    prefix_range,
    put,
    ranges_of,
    read,
    read_prefix,
    require_header,
    snapshot_of,
    transaction,
)
from patroni.dcs.etcd3_watch import Etcd3Watcher
from patroni.dcs.etcd_endpoints import Deadline
from patroni.dcs.etcd_section import parse_section, tls_context
from patroni.dcs.etcd_transport import Transport
from patroni.dcs.store import (
    Clock,
    Create,
    DcsUnavailable,
    Delete,
    DeletePrefix,
    EndSession,
    Entry,
    LockRef,
    OpenSession,
    ProveLock,
    ReadPrefix,
    Refusal,
    Refused,
    RenewSession,
    Session,
    Snapshot,
    Timing,
    Watcher,
    Write,
)
from patroni.decision.cluster import SessionId

T = TypeVar("T")
SECTION = "etcd3"


class Etcd3Store:
    """See the module."""

    can_write_under = True
    has_revision = True

    def __init__(self, section: Mapping[str, object], *, timing: Timing, clock: Clock) -> None:
        """Check the section (raise StoreConfigError); nothing is connected to, no thread started before the first call."""
        parsed = parse_section(SECTION, section)
        wants_tls = parsed.cacert or parsed.cert or any(address.scheme == "https" for address in parsed.addresses)
        self._clock = clock
        self._transport = Transport(tls_context(SECTION, parsed) if wants_tls else None, timing, clock)
        self._client = Etcd3Client(parsed, self._transport, timing, clock)
        self._client.on_doubt = self._doubt
        self._watchers: weakref.WeakSet[Etcd3Watcher] = weakref.WeakSet()
        self._lock = threading.Lock()  # of the set; spans no system call

    def set_timing(self, timing: Timing) -> None:
        """Take new limits for connections and discovery; the next session is opened with what its request says."""
        self._client.timing = timing
        self._transport.set_timing(timing)

    def reload(self, section: Mapping[str, object]) -> None:
        """Take user and password anew, for the next login; all else needs a restart (contract/dcs.md §4.4)."""
        self._client.credentials = parse_section(SECTION, section).credentials

    # --- sessions

    def open_session(self, request: OpenSession, timeout_s: float) -> Session:
        """See `store.OpenSession`. A grant whose answer got lost runs out unused."""
        call = Call(path="/lease/grant", body={"TTL": math.ceil(request.ttl_s)}, is_repeatable=True)
        return _session(self._answer(call, timeout_s))

    def renew_session(self, request: RenewSession, timeout_s: float) -> Session:
        """See `store.RenewSession`. An answer without TTL says that the lease does not exist (contract/dcs.md §7.2)."""
        call = Call(path="/lease/keepalive", body={"ID": request.session}, is_repeatable=True)
        answer = _or_silence(lambda: self._client.call(call, self._deadline(timeout_s), is_renewal=True))
        require_header(answer)  # without one it is no answer of etcd, whatever else it lacks
        if "TTL" not in answer:
            raise Refused(Refusal.SESSION_GONE, LEASE_NOT_FOUND)
        return _session(answer)

    def end_session(self, request: EndSession, timeout_s: float) -> None:
        """See `store.EndSession`."""
        call = Call(path="/kv/lease/revoke", body={"ID": request.session}, is_repeatable=True)
        try:
            self._answer(call, timeout_s)
        except Refused as refused:
            if refused.why is not Refusal.SESSION_GONE:
                raise

    # --- the lock, and reads

    def prove_lock(self, request: ProveLock, timeout_s: float) -> Snapshot:
        """See `store.ProveLock` and the module."""
        lock = request.lock
        look = [read_prefix(request.prefix)]
        body = transaction([created_at(lock), hangs_on(lock.key, request.session.id)], look, look)
        call = Call(path="/kv/txn", body=body, is_repeatable=True)
        answer = _or_silence(lambda: self._client.call(call, self._deadline(timeout_s), is_renewal=True))
        header = require_header(answer)
        if header.witness != request.session.witness:
            raise DcsUnavailable(f"renewed under {request.session.witness}, answered under {header.witness}")
        snapshot = snapshot_of(_only_range(answer), header, is_linearizable=True)
        if has_succeeded(answer):
            return snapshot
        entry = snapshot.entries.get(lock.key)
        if entry is None:
            raise Refused(Refusal.GONE)
        raise Refused(Refusal.NOT_OURS, f"{entry.value} holds it under session {entry.session}")

    def read_prefix(self, request: ReadPrefix, timeout_s: float) -> Snapshot:
        """See `store.ReadPrefix`."""
        body = prefix_range(request.prefix) | {"serializable": not request.is_linearizable}
        trust = Trust.PROVED if request.is_linearizable else Trust.COPY
        call = Call(path="/kv/range", body=body, is_repeatable=True, trust=trust)
        answer = _or_silence(lambda: self._client.call(call, self._deadline(timeout_s)))
        return snapshot_of(answer, require_header(answer), is_linearizable=request.is_linearizable)

    # --- writes; none of them reaches a server twice

    def create(self, request: Create, timeout_s: float) -> Entry:
        """See `store.Create`."""
        write = [put(request.key, request.value, request.session), read(request.key)]
        answer = self._transact(transaction([is_absent(request.key)], write), timeout_s)
        if not has_succeeded(answer):
            raise Refused(Refusal.EXISTS)
        return _written(answer, request.key)

    def write(self, request: Write, timeout_s: float) -> Entry:
        """See `store.Write`."""
        compare: list[Operation] = []
        look: list[Operation] = []
        if request.token is not None:
            compare.append(is_version(request.key, request.token))
        if request.under is not None:
            compare.append(created_at(request.under))
            look.append(read(request.under.key))
        write = [put(request.key, request.value, request.session), read(request.key)]
        answer = self._transact(transaction(compare, write, look), timeout_s)
        if has_succeeded(answer):
            return _written(answer, request.key)
        if request.under is not None and not _stands(answer, request.under):
            raise Refused(Refusal.NOT_OURS)
        raise self._changed()

    def delete(self, request: Delete, timeout_s: float) -> None:
        """See `store.Delete`."""
        compare = [] if request.token is None else [is_version(request.key, request.token)]
        answer = self._transact(transaction(compare, [delete(request.key)]), timeout_s)
        if not has_succeeded(answer):
            raise self._changed()

    def delete_prefix(self, request: DeletePrefix, timeout_s: float) -> None:
        """See `store.DeletePrefix`."""
        self._answer(Call(path="/kv/deleterange", body=prefix_range(request.prefix)), timeout_s)

    # --- watch

    def watcher(self, prefix: str) -> Watcher:
        """Return a new stream of snapshots of this prefix."""
        watcher = Etcd3Watcher(self._client, self._transport, prefix, self._clock)
        with self._lock:
            self._watchers.add(watcher)
        return watcher

    def close(self) -> None:
        """See `store.Store`."""
        for watcher in self._all_watchers():
            watcher.close()
        self._client.close()

    def _doubt(self, why: str, term: int | None) -> None:
        for watcher in self._all_watchers():
            watcher.doubt(why, term)

    def _all_watchers(self) -> tuple[Etcd3Watcher, ...]:
        with self._lock:
            return tuple(self._watchers)

    def _changed(self) -> Refused:
        """Return the refusal of a compare-and-set: a sign that a watcher's copy may be stale (contract/dcs.md §7.5)."""
        self._doubt("a compare-and-set was refused", None)
        return Refused(Refusal.CHANGED)

    def _transact(self, body: Operation, timeout_s: float) -> Json:
        return self._answer(Call(path="/kv/txn", body=body), timeout_s)

    def _answer(self, call: Call, timeout_s: float) -> Json:
        """Return the answer; what the server says no to is Refused."""
        try:
            return self._client.call(call, self._deadline(timeout_s))
        except EtcdError as error:
            raise error.refusal() from error

    def _deadline(self, timeout_s: float) -> Deadline:
        return Deadline(self._clock, timeout_s)


def _or_silence(ask: Callable[[], T]) -> T:
    """Ask for what the server cannot refuse: an error it gives (permission, overload) tells nothing about lease and lock."""
    try:
        return ask()
    except EtcdError as error:
        raise DcsUnavailable(str(error)) from error


def _session(answer: Json) -> Session:
    header = require_header(answer)
    try:
        ttl_s = float(answer["TTL"])
        return Session(id=SessionId(str(answer["ID"])), ttl_s=ttl_s, witness=header.witness, revision=header.revision)
    except (KeyError, TypeError, ValueError) as error:
        raise DcsUnavailable(f"not a lease of etcd: {error!r}") from error


def _only_range(answer: Json) -> Json:
    ranges = ranges_of(answer)
    if len(ranges) != 1:
        raise DcsUnavailable("a transaction without its range")
    return ranges[0]


def _written(answer: Json, key: str) -> Entry:
    entry = entries_of(_only_range(answer)).get(key)
    if entry is None:
        raise DcsUnavailable("a write without its key")
    return entry


def _stands(answer: Json, lock: LockRef) -> bool:
    """Return whether the lock was that incarnation when a transaction failed."""
    kvs = _only_range(answer).get("kvs", [])
    return any(kv.get("key") == encode(lock.key) and kv.get("create_revision") == lock.incarnation for kv in kvs)
