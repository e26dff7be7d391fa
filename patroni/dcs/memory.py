"""The reference store, in memory: for tests, and as the state machine under the simulation's store.

`MemoryState` is the pure core: one request at a time, the time is an argument, refusals are raised. Its rules are the meaning
of the requests in `store.py`, nothing else; how badly a real store behaves around them is the simulation's business.
`MemoryServer` puts it behind a lock and a clock, `MemoryStore` is a client of one server. Not promised: that anything
survives the process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar, cast

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
from patroni.decision.cluster import Incarnation, Revision, SessionId, Token
from patroni.decision.lease import elapsed_s
from patroni.decision.request import Request

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hold:
    ttl_s: float
    expires_s: float


class MemoryState:
    """All that a store knows. `now_s` is the store's own clock, which never goes back."""

    def __init__(self, store_id: str = "memory") -> None:
        self.store_id = store_id
        self.witness = "1"  # of the authority that answers; a new leader of the store takes another
        self.revision = 0
        self._entries: dict[str, Entry] = {}  # by full key
        self._sessions: dict[SessionId, _Hold] = {}
        self._opened = 0

    def copy(self) -> MemoryState:
        """Return the state as it is now: for a backup, a cache or a follower that lags."""
        other = MemoryState(self.store_id)
        other.witness, other.revision, other._opened = self.witness, self.revision, self._opened
        other._entries, other._sessions = dict(self._entries), dict(self._sessions)
        return other

    def apply(self, request: Request[T], now_s: float) -> T:
        """Carry out one request at this time; raise Refused where the answer is no."""
        self.expire(now_s)
        answer: object
        asked: object = request
        match asked:
            case OpenSession(ttl_s=ttl_s):
                answer = self._open(ttl_s, now_s)
            case RenewSession(session=session):
                answer = self._renew(session, now_s)
            case EndSession(session=session):
                self._end([session])
                answer = None
            case ProveLock():
                answer = self._prove(asked)
            case ReadPrefix(prefix=prefix, is_linearizable=is_linearizable):
                answer = self._snapshot(prefix, is_linearizable=is_linearizable)
            case Create():
                answer = self._create(asked)
            case Write():
                answer = self._write(asked)
            case Delete(key=key, token=token):
                self._require_token(key, token)
                self._remove([key] if key in self._entries else [])
                answer = None
            case DeletePrefix(prefix=prefix):
                self._remove([key for key in self._entries if key.startswith(prefix)])
                answer = None
            case _:
                raise TypeError(f"no request of a store: {request!r}")
        return cast(T, answer)

    def expire(self, now_s: float) -> None:
        """End the sessions whose time is over, and what hangs on them."""
        self._end([session for session, hold in self._sessions.items() if hold.expires_s <= now_s])

    def next_expiry_s(self) -> float | None:
        """Return when the next session ends if nobody renews it, on the clock of `now_s`; None: there is none."""
        return min((hold.expires_s for hold in self._sessions.values()), default=None)

    def _open(self, ttl_s: float, now_s: float) -> Session:
        self._opened += 1
        session = SessionId(f"{self.store_id}-{self._opened}")
        self._sessions[session] = _Hold(ttl_s=ttl_s, expires_s=now_s + ttl_s)
        return Session(id=session, ttl_s=ttl_s, witness=self.witness, revision=Revision(self.revision))

    def _renew(self, session: SessionId, now_s: float) -> Session:
        self._require(session)
        ttl_s = self._sessions[session].ttl_s
        self._sessions[session] = _Hold(ttl_s=ttl_s, expires_s=now_s + ttl_s)
        return Session(id=session, ttl_s=ttl_s, witness=self.witness, revision=Revision(self.revision))

    def _end(self, sessions: Iterable[SessionId]) -> None:
        ended = set(sessions)
        for session in ended:
            self._sessions.pop(session, None)
        if ended:
            self._remove([key for key, entry in self._entries.items() if entry.session in ended])

    def _prove(self, request: ProveLock) -> Snapshot:
        if request.session.witness != self.witness:
            raise DcsUnavailable("another authority answers than the one that renewed the session")
        entry = self._entries.get(request.lock.key)
        if entry is None:
            raise Refused(Refusal.GONE)
        if entry.incarnation != request.lock.incarnation or entry.session != request.session.id:
            raise Refused(Refusal.NOT_OURS, f"{entry.value} holds it")
        return self._snapshot(request.prefix, is_linearizable=True)

    def _snapshot(self, prefix: str, *, is_linearizable: bool) -> Snapshot:
        return Snapshot(
            entries={key: entry for key, entry in sorted(self._entries.items()) if key.startswith(prefix)},
            revision=Revision(self.revision),
            store_id=self.store_id,
            is_linearizable=is_linearizable,
        )

    def _create(self, request: Create) -> Entry:
        self._require(request.session)
        if request.key in self._entries:
            raise Refused(Refusal.EXISTS)
        return self._put(request.key, request.value, request.session)

    def _write(self, request: Write) -> Entry:
        self._require(request.session)
        self._require_under(request.under)
        self._require_token(request.key, request.token)
        return self._put(request.key, request.value, request.session)

    def _require(self, session: SessionId | None) -> None:
        if session is not None and session not in self._sessions:
            raise Refused(Refusal.SESSION_GONE)

    def _require_under(self, under: LockRef | None) -> None:
        if under is None:
            return
        lock = self._entries.get(under.key)
        if lock is None or lock.incarnation != under.incarnation:
            raise Refused(Refusal.NOT_OURS)

    def _require_token(self, key: str, token: Token | None) -> None:
        if token is None:
            return
        entry = self._entries.get(key)
        if entry is None or entry.token != token:
            raise Refused(Refusal.CHANGED)

    def _put(self, key: str, value: str, session: SessionId | None) -> Entry:
        self.revision += 1
        old = self._entries.get(key)
        entry = Entry(
            key=key,
            value=value,
            token=Token(str(self.revision)),
            incarnation=old.incarnation if old else Incarnation(str(self.revision)),
            revision=Revision(self.revision),
            session=session,
        )
        self._entries[key] = entry
        return entry

    def _remove(self, keys: list[str]) -> None:
        if keys:
            self.revision += 1
        for key in keys:
            del self._entries[key]


def without_under(request: Request[T]) -> Request[T]:
    """Return the request as a store carries it out that cannot compare a lock in the transaction of a write."""
    plain: object = replace(request, under=None) if isinstance(request, Write) else request
    return cast(Request[T], plain)


def without_revisions(answer: T) -> T:
    """Return the answer as a store gives it that has no global revision."""
    told: object = answer
    match answer:
        case Session() | Entry():
            told = replace(answer, revision=None)
        case Snapshot():
            entries = {key: replace(entry, revision=None) for key, entry in answer.entries.items()}
            told = replace(answer, entries=entries, revision=None)
    return cast(T, told)


class MemoryLink:
    """The way between clients and their server; tests break it by its two switches."""

    def __init__(self) -> None:
        self.is_cut = False  # no request arrives
        self.is_losing_replies = False  # requests have their effect, no answer arrives

    def require_way(self) -> None:
        """Raise DcsUnavailable if no request arrives."""
        if self.is_cut:
            raise DcsUnavailable("the server is cut off")

    def require_reply(self) -> None:
        """Raise DcsUnavailable if no answer arrives."""
        if self.is_losing_replies:
            raise DcsUnavailable("the reply was lost")


class MemoryServer:
    """One state behind a lock, with a clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._state = MemoryState()
        self._changed = threading.Condition()

    def call(self, request: Request[T], link: MemoryLink) -> T:
        """Carry out one request for a client."""
        with self._changed:
            link.require_way()
            revision = self._state.revision
            try:
                return self._state.apply(request, self._clock().boot_s)
            finally:
                if self._state.revision != revision:
                    self._changed.notify_all()
                link.require_reply()

    def await_other(self, watcher: MemoryWatcher, seen: Snapshot | None, timeout_s: float) -> Snapshot | None:
        """Wait until the watcher's prefix differs from what it has seen, at most so long; None: it does not."""
        began = self._clock()
        with self._changed:
            while not watcher.is_closed:
                watcher.link.require_way()
                now = self._clock()
                snapshot = self._state.apply(ReadPrefix(watcher.prefix), now.boot_s)
                if seen is None or snapshot.entries != seen.entries:
                    return snapshot
                left_s = timeout_s - elapsed_s(began, now)
                if left_s <= 0:
                    break
                expiry_s = self._state.next_expiry_s()
                self._changed.wait(left_s if expiry_s is None else min(left_s, expiry_s - now.boot_s))
        return None

    def wake(self) -> None:
        """Make all watchers look again."""
        with self._changed:
            self._changed.notify_all()

    def restart(self) -> None:
        """Go on with the same state under a new authority."""
        with self._changed:
            self._state.witness = str(int(self._state.witness) + 1)


class MemoryWatcher:
    """See `store.Watcher`."""

    def __init__(self, server: MemoryServer, link: MemoryLink, prefix: str, told: Callable[[Snapshot], Snapshot]) -> None:
        """told: what the client is told of a snapshot."""
        self.link = link
        self.prefix = prefix
        self.is_closed = False
        self._server = server
        self._told = told
        self._seen: Snapshot | None = None

    def next(self, timeout_s: float) -> Snapshot | None:
        """See `store.Watcher`."""
        seen, self._seen = self._seen, None
        snapshot = self._server.await_other(self, seen, timeout_s)
        self._seen = snapshot or seen
        return self._told(snapshot) if snapshot is not None else None

    def close(self) -> None:
        """See `store.Watcher`."""
        self.is_closed = True
        self._server.wake()


class MemoryStore:
    """A client of a `MemoryServer`: implements `store.Store`."""

    def __init__(self, server: MemoryServer, link: MemoryLink | None = None, *, is_plain: bool = False) -> None:
        """is_plain: without revisions and without `under`, as ZooKeeper is."""
        self.can_write_under = self.has_revision = not is_plain
        self._server = server
        self._link = link or MemoryLink()

    def open_session(self, request: OpenSession, timeout_s: float) -> Session:
        """See `store.OpenSession`."""
        return self._call(request)

    def renew_session(self, request: RenewSession, timeout_s: float) -> Session:
        """See `store.RenewSession`."""
        return self._call(request)

    def end_session(self, request: EndSession, timeout_s: float) -> None:
        """See `store.EndSession`."""
        self._call(request)

    def prove_lock(self, request: ProveLock, timeout_s: float) -> Snapshot:
        """See `store.ProveLock`."""
        return self._call(request)

    def read_prefix(self, request: ReadPrefix, timeout_s: float) -> Snapshot:
        """See `store.ReadPrefix`."""
        return self._call(request)

    def create(self, request: Create, timeout_s: float) -> Entry:
        """See `store.Create`."""
        return self._call(request)

    def write(self, request: Write, timeout_s: float) -> Entry:
        """See `store.Write`."""
        return self._call(request)

    def delete(self, request: Delete, timeout_s: float) -> None:
        """See `store.Delete`."""
        self._call(request)

    def delete_prefix(self, request: DeletePrefix, timeout_s: float) -> None:
        """See `store.DeletePrefix`."""
        self._call(request)

    def watcher(self, prefix: str) -> Watcher:
        """Return a new stream of snapshots of this prefix."""
        return MemoryWatcher(self._server, self._link, prefix, self._told)

    def _call(self, request: Request[T]) -> T:
        return self._told(self._server.call(request if self.has_revision else without_under(request), self._link))

    def _told(self, answer: T) -> T:
        return answer if self.has_revision else without_revisions(answer)

    def set_timing(self, timing: Timing) -> None:
        """See `Store`: nothing depends on them here."""

    def reload(self, section: Mapping[str, object]) -> None:
        """See `Store`: nothing may change here."""

    def close(self) -> None:
        """Nothing to give up."""
