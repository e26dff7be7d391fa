"""The store: the reference state behind a server that is as bad as real ones, a switch each (design.md §7).

Its clock may run up to 8 % fast and any amount slow, and may stand still for a while (late expiry). A *deposed* leader is a
copy of the state that still answers keepalives, plain reads and comparisons to the hosts that are attached to it, while the
majority goes on without it. Sessions may be ended by the server; the whole may be restored from an older copy. What happened
to the lock is written down in true time, for the checkers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from patroni.dcs.memory import MemoryState, without_revisions, without_under
from patroni.dcs.store import (
    DcsUnavailable,
    Delete,
    EndSession,
    Entry,
    ProveLock,
    ReadPrefix,
    Refusal,
    Refused,
    RenewSession,
    Session,
    Snapshot,
)
from patroni.decision.cluster import Incarnation, Token
from patroni.decision.request import Request
from tests.simulation.engine import Engine, Place
from tests.simulation.host import Host

PREFIX = "/service/sim/"
LEADER = PREFIX + "leader"
STATUS = PREFIX + "status"
HISTORY = PREFIX + "history"
MEMBERS = PREFIX + "members/"
NAME = "store"


@dataclass(frozen=True, slots=True)
class CompareLock(ProveLock):
    """A proof by compares alone, which the real coordinator never sends: answered from whatever the server has."""


@dataclass(slots=True)
class Lock:
    """One life of the leader key, in true time."""

    name: str
    incarnation: Incarnation
    began_s: float
    taken_s: float  # when it was created, or adopted last
    free_s: float  # for how long nobody had held one before
    gone_s: float | None = None  # None: it stands
    is_by_act: bool = False  # ended by an act of the server or of an operator, which no deadline foresees
    gone_by: str = ""  # who deleted it: a host; empty: it expired


class StoreServer:
    """One store for all; `handle` carries out what reaches it."""

    def __init__(self, engine: Engine, place: Place, rate: float, *, is_plain: bool) -> None:
        """rate: of its clock. is_plain: without revisions and without `under`, as ZooKeeper is."""
        self.engine = engine
        self.place = place
        self.is_plain = is_plain
        self.state = MemoryState()
        self.locks: list[Lock] = []
        self._values: dict[str, list[tuple[float, str]]] = {STATUS: [], HISTORY: []}  # what these keys held, and since when
        self.on_change: list[Callable[[], None]] = []
        self.on_lock: list[Callable[[Lock, str], None]] = []  # the lock began, or is gone; and which host did it
        self.on_renamed: list[Callable[[], None]] = []  # the store was restored under another identity
        self._lock_token: Token | None = None
        self.rate = rate
        self._clock = (0.0, 0.0)  # true time, own time
        self._is_standing = False
        self._deposed: MemoryState | None = None
        self._attached: set[str] = set()  # hosts
        self._left: set[tuple[str, str]] = set()  # hosts' actors that have gone to another endpoint
        self._backups: list[MemoryState] = []
        self._expiry_s = float("inf")  # for when a look is set

    # --- clocks

    def own_s(self) -> float:
        """Return the time on the store's clock."""
        since_s, own_s = self._clock
        return own_s + (0.0 if self._is_standing else self.rate * (self.engine.now_s - since_s))

    def stand(self, *, still: bool) -> None:
        """Let the clock that expires sessions stand still, or go on: an election of the store, a busy leader."""
        self._clock = (self.engine.now_s, self.own_s())
        self._is_standing = still
        self._look_ahead()

    def true_expiry_s(self, name: str, incarnation: Incarnation) -> float:
        """Return when this lock ends, or has ended, if nobody renews it; -inf if it never was."""
        lock = self.lock_of(name, incarnation)
        return self._expiry_of(lock) if lock is not None else float("-inf")

    def _expiry_of(self, lock: Lock) -> float:
        if lock.gone_s is not None:
            return lock.gone_s
        entry = self._entries().get(LEADER)
        hold = self.state._sessions.get(entry.session) if entry is not None and entry.session is not None else None
        if hold is None:
            return float("inf")
        if self._is_standing:
            return float("inf")  # later than any rate says
        return self.engine.now_s + (hold.expires_s - self.own_s()) / self.rate

    def lock_of(self, name: str, incarnation: Incarnation) -> Lock | None:
        """Return what is known of a lock; a restored store gives the same incarnation to another holder again."""
        known = (lock for lock in reversed(self.locks) if (lock.name, lock.incarnation) == (name, incarnation))
        return next(known, None)

    @property
    def lock(self) -> Lock | None:
        """Return the lock that stands now."""
        return self.locks[-1] if self.locks and self.locks[-1].gone_s is None else None

    def value(self, key: str) -> str | None:
        """Return what a key holds now."""
        entry = self._entries().get(PREFIX + key)
        return entry.value if entry is not None else None

    def values_since(self, key: str, since_s: float) -> list[str]:
        """Return what the key held at a time and has held since."""
        values = self._values[key]
        first = max((at for at, (at_s, _) in enumerate(values) if at_s <= since_s), default=0)
        return [value for _, value in values[first:]]

    def _entries(self) -> dict[str, Entry]:
        return self.state._entries

    # --- requests

    def handle(self, request: Request[Any], sender: str, actor: str) -> object:
        """Carry out one request of a host; raise what the answer is if it is no, or DcsUnavailable if there is none."""
        if self.is_deposed_for(sender, actor) and self._deposed is not None:
            return self._plain(self._by_deposed(request, self._deposed))
        if isinstance(request, CompareLock):
            request = ProveLock(request.lock, request.session, request.prefix)
        if self.is_plain:
            request = without_under(request)
        return self._plain(self.apply(request, sender))

    def apply(self, request: Request[Any], sender: str) -> object:
        """Carry out one request on the true state; what has expired by now is nobody's doing."""
        self._expire_now()
        revision = self.state.revision
        try:
            return self.state.apply(request, self.own_s())
        finally:
            if self.state.revision != revision:
                self._note(sender)
            self._look_ahead()

    def _by_deposed(self, request: Request[Any], state: MemoryState) -> object:
        """Answer as a leader that does not know yet that it is none: nothing that needs the others."""
        match request:
            case RenewSession(session=session):
                hold = state._sessions.get(session)
                if hold is None:
                    raise Refused(Refusal.SESSION_GONE)
                return Session(id=session, ttl_s=hold.ttl_s, witness=state.witness)
            case CompareLock():
                return state._prove(request)
            case ReadPrefix(is_linearizable=False):
                return state._snapshot(request.prefix, is_linearizable=False)
            case _:
                raise DcsUnavailable("the server reaches no majority")

    def _plain(self, answer: object) -> object:
        """Take the revisions out of an answer where the store has none."""
        return without_revisions(answer) if self.is_plain else answer

    def snapshot(self, receiver: str) -> Snapshot | None:
        """Return what a watch shows this host now; None: it is attached to a server that hears nothing new."""
        if self.is_deposed_for(receiver, "watch"):
            return None
        snapshot = self._plain(self.state._snapshot(PREFIX, is_linearizable=False))
        assert isinstance(snapshot, Snapshot)
        return snapshot

    # --- bad behaviour

    def depose(self, attached: set[str]) -> None:
        """Elect a new leader; these hosts go on talking to the old one."""
        self._deposed, self._attached, self._left = self.state.copy(), attached, set()
        self.state.witness = str(int(self.state.witness) + 1)

    def end_deposed(self) -> None:
        """The old leader learns that it is none."""
        self._deposed, self._attached = None, set()
        self._tell_watchers()

    def is_deposed_for(self, host: str, actor: str) -> bool:
        """Whether this actor's connection leads to a deposed leader."""
        return self._deposed is not None and host in self._attached and (host, actor) not in self._left

    def leave_deposed(self, host: str, actor: str) -> None:
        """This actor's connection goes to another endpoint."""
        self._left.add((host, actor))

    def end_session(self, index: int) -> None:
        """End a session by the server's own act (Consul: the local agent leaves)."""
        sessions = sorted(self.state._sessions)
        if sessions:
            self._excuse()
            self.apply(EndSession(sessions[index % len(sessions)]), NAME)

    def delete_lock(self) -> None:
        """An operator deletes the leader key."""
        self._excuse()
        self.apply(Delete(LEADER), NAME)

    def back_up(self) -> None:
        """Keep a copy of this moment."""
        self._backups.append(self.state.copy())

    def restore(self, *, is_new: bool) -> None:
        """Go back to the last copy; sessions begin their time anew, as etcd's leases do. is_new: under another identity."""
        if not self._backups:
            return
        old, newer = self._backups.pop(), self.state
        self._excuse()
        self.end_deposed()
        old._opened = newer._opened
        old.witness = str(int(newer.witness) + 1)
        for session, hold in old._sessions.items():
            old._sessions[session] = replace(hold, expires_s=self.own_s() + hold.ttl_s)
        self.state = old
        if is_new:
            old.store_id = newer.store_id + "'"
            for tell in self.on_renamed:
                tell()
        self._note(NAME)
        self._look_ahead()

    def _excuse(self) -> None:
        if self.lock is not None:
            self.lock.is_by_act = True

    # --- what happened

    def _note(self, sender: str) -> None:
        """Write down what became of the lock and the status, and tell the watchers."""
        entry = self._entries().get(LEADER)
        lock = self.lock
        if lock is not None and (entry is None or entry.incarnation != lock.incarnation):
            lock.gone_s, lock.gone_by = self.engine.now_s, sender
            for tell in self.on_lock:
                tell(lock, sender)
            lock = None
        if lock is None and entry is not None:
            now_s = self.engine.now_s
            free_s = now_s - (self.locks[-1].gone_s or now_s) if self.locks else 0.0
            lock = Lock(name=entry.value, incarnation=entry.incarnation, began_s=now_s, taken_s=now_s, free_s=free_s)
            self.locks.append(lock)
            for tell in self.on_lock:
                tell(lock, sender)
        if entry is not None and entry.token != self._lock_token:
            self._lock_token = entry.token
            self.locks[-1].taken_s = self.engine.now_s
        for key, values in self._values.items():
            known = self._entries().get(key)
            if known is not None and (not values or values[-1][1] != known.value):
                values.append((self.engine.now_s, known.value))
        self._tell_watchers()

    def _tell_watchers(self) -> None:
        for call in self.on_change:
            call()

    def _look_ahead(self) -> None:
        """See to it that expiry happens when it is due, whether or not anybody asks."""
        next_s = self.state.next_expiry_s()
        if next_s is None or self._is_standing:
            return
        at_s = self.engine.now_s + max(0.0, next_s - self.own_s()) / self.rate + 1e-6
        if at_s < self._expiry_s or self._expiry_s <= self.engine.now_s:
            self._expiry_s = at_s
            self.engine.soon(self.place, self._expire, at_s - self.engine.now_s)

    def _expire(self) -> None:
        if self.engine.now_s < self._expiry_s - 1e-9:
            return
        self._expiry_s = float("inf")
        self._expire_now()
        self._look_ahead()

    def _expire_now(self) -> None:
        revision = self.state.revision
        self.state.expire(self.own_s())
        if self.state.revision != revision:
            self._note("")


def store_host(engine: Engine, host: Host) -> Place:
    """Return the place of the store's server on its host."""
    return Place(engine, NAME, host)
