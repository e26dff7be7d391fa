"""Store: the few primitives that a consensus store must give, each with its guarantee. A backend is one file of these.

Promised by every backend, checked by tests/contract on its real server: a create never overwrites; a compare-and-set or a
delete by token has an effect only on that very version of the key; what hangs on a session vanishes when the session ends
and never before `ttl_s` has passed since its last renewal was sent; two errors are never confused:

- `DcsUnavailable`: no answer. The effect may have happened, may still happen, or not. We know nothing.
- `Refused`: the store answered, and the answer is no. The effect has not happened and never will.

Not promised: that an effect with no answer is undone; that `read` without `is_linearizable` is current. A store is used
from several threads at once; every method returns or raises within `timeout_s` (plus what the kernel needs).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeVar, cast

from patroni.decision.cluster import Incarnation, Revision, SessionId, Token
from patroni.decision.lease import Instant
from patroni.decision.request import Request

T = TypeVar("T")
Clock = Callable[[], Instant]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What a backend may derive its own limits from (contract/dcs.md §4.1); deadlines of requests are arguments."""

    ttl_s: float = 30.0
    loop_wait_s: float = 10.0
    retry_timeout_s: float = 10.0


class StoreConfigError(Exception):
    """The store's section cannot be used; the message is one line that names the key, file or address."""


class DcsUnavailable(Exception):
    """No answer: nothing is known about the effect."""


class Refusal(Enum):
    """Why the store said no."""

    EXISTS = "exists"  # create: the key is there
    CHANGED = "changed"  # compare-and-set, delete: another version, or no such key
    GONE = "gone"  # proof of the lock: the key does not exist
    NOT_OURS = "not ours"  # proof of the lock: another incarnation or session; `under`: the lock is not that one
    SESSION_GONE = "session gone"  # the session does not exist any more
    DENIED = "denied"  # permission, quota, size: the server's own words are in the message


class Refused(Exception):
    """An answer, and it is no."""

    def __init__(self, why: Refusal, message: str = "") -> None:
        super().__init__(f"{why.value}: {message}" if message else why.value)
        self.why = why


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One key as it stands in the store."""

    key: str  # full path, e.g. `/service/batman/leader`
    value: str
    token: Token
    incarnation: Incarnation
    revision: Revision | None  # of its last write; None: the store has no global revision
    session: SessionId | None = None  # None: permanent


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All keys under a prefix at one moment of the store."""

    entries: Mapping[str, Entry]  # by full key
    revision: Revision | None  # of the store at that moment
    store_id: str | None = None  # changes when the store was made anew, where the store has such a thing
    is_linearizable: bool = False
    began: Instant | None = None  # of a watcher's linearizable read: before it was sent; None: an event, or the caller knows


@dataclass(frozen=True, slots=True, kw_only=True)
class LockRef:
    """Which lock: a key and its incarnation."""

    key: str
    incarnation: Incarnation


@dataclass(frozen=True, slots=True)
class OpenSession(Request["Session"]):
    """Open a session that keys can hang on."""

    ttl_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session, or the answer to its renewal."""

    id: SessionId
    ttl_s: float  # as the server granted it; never the configured one (safety_rules.md §2)
    witness: str = ""  # opaque: what `ProveLock` compares to know that both answers came under one authority (etcd: raft term)
    revision: Revision | None = None  # of the store when it answered; None: it has none


@dataclass(frozen=True, slots=True)
class RenewSession(Request[Session]):
    """Prolong a session by its full ttl. Alone it proves nothing about the lock. Refused: SESSION_GONE."""

    session: SessionId


@dataclass(frozen=True, slots=True)
class EndSession(Request[None]):
    """End a session; what hangs on it vanishes. A session that does not exist is no error."""

    session: SessionId


@dataclass(frozen=True, slots=True)
class ProveLock(Request[Snapshot]):
    """Prove by an answer of the whole store that `lock` still stands under `session`; answers with the prefix, linearizable.

    Refused: GONE, NOT_OURS. An answer under another authority than `witness` is no answer (safety_rules.md §2).
    """

    lock: LockRef
    session: Session
    prefix: str


@dataclass(frozen=True, slots=True)
class ReadPrefix(Request[Snapshot]):
    """Read all keys under the prefix; a missing prefix is an empty snapshot."""

    prefix: str
    is_linearizable: bool = False


@dataclass(frozen=True, slots=True)
class Create(Request[Entry]):
    """Create a key if it is absent, atomically. Refused: EXISTS, SESSION_GONE, DENIED."""

    key: str
    value: str
    session: SessionId | None = None


@dataclass(frozen=True, slots=True)
class Write(Request[Entry]):
    """Write a key: blindly without `token`, else only over that version; only while `under` stands, if given.

    Bound to `session` afterwards, permanent without one. Answers with the new entry (its token chains). Refused: CHANGED,
    NOT_OURS, SESSION_GONE, DENIED. A store that cannot do `under` in one transaction ignores it (`can_write_under`).
    """

    key: str
    value: str
    session: SessionId | None = None
    token: Token | None = None
    under: LockRef | None = None


@dataclass(frozen=True, slots=True)
class Delete(Request[None]):
    """Delete a key: that version only if `token` is given (Refused: CHANGED), else whatever is there."""

    key: str
    token: Token | None = None


@dataclass(frozen=True, slots=True)
class DeletePrefix(Request[None]):
    """Delete all under a prefix (`patronictl remove` only)."""

    prefix: str


class Watcher(Protocol):
    """A stream of snapshots of one prefix; used by one thread, closed by any."""

    def next(self, timeout_s: float) -> Snapshot | None:
        """Return the prefix after its next change (at once, the first time), or None if nothing changed for `timeout_s`.

        Several changes may be one snapshot. Raise DcsUnavailable if the stream broke: the next call begins anew and returns
        a snapshot at once, so that no change is ever missed.
        """

    def close(self) -> None:
        """End the stream; a `next` under way returns None or raises DcsUnavailable soon."""


class Store(Protocol):
    """What a backend implements; the requests above say what each method guarantees."""

    can_write_under: bool  # whether `Write.under` is part of the transaction
    has_revision: bool  # whether snapshots carry a global revision

    def open_session(self, request: OpenSession, timeout_s: float) -> Session: ...
    def renew_session(self, request: RenewSession, timeout_s: float) -> Session: ...
    def end_session(self, request: EndSession, timeout_s: float) -> None: ...
    def prove_lock(self, request: ProveLock, timeout_s: float) -> Snapshot: ...
    def read_prefix(self, request: ReadPrefix, timeout_s: float) -> Snapshot: ...
    def create(self, request: Create, timeout_s: float) -> Entry: ...
    def write(self, request: Write, timeout_s: float) -> Entry: ...
    def delete(self, request: Delete, timeout_s: float) -> None: ...
    def delete_prefix(self, request: DeletePrefix, timeout_s: float) -> None: ...
    def watcher(self, prefix: str) -> Watcher: ...

    def set_timing(self, timing: Timing) -> None:
        """Use other timings from the next request on; a store that derives nothing from them ignores it."""

    def reload(self, section: Mapping[str, object]) -> None:
        """Take what of its section may change at run time (contract/dcs.md §4.4); StoreConfigError: nothing has changed.

        Called on the loop's thread: it neither connects nor opens files.
        """

    def close(self) -> None:
        """Give up connections and files; sessions are left to expire."""


def perform(store: Store, request: Request[T], timeout_s: float) -> T:
    """Carry out one request on a store: the runner for the agent's threads."""
    methods = {
        OpenSession: store.open_session,
        RenewSession: store.renew_session,
        EndSession: store.end_session,
        ProveLock: store.prove_lock,
        ReadPrefix: store.read_prefix,
        Create: store.create,
        Write: store.write,
        Delete: store.delete,
        DeletePrefix: store.delete_prefix,
    }
    method = methods[type(request)]
    return cast(T, method(request, timeout_s))  # type: ignore[operator]  # the table pairs each request with its method
