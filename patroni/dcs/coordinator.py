"""Coordinator: what members say to each other through a store, written once for all stores, as generators of its requests.

Promise: the lock is created, never taken over; it is released and rewritten by its version, never by name; every deadline
counts from before its renewal was sent, and a renewal that keeps us leader has looked at the lock (safety_rules.md §1-2).
Mechanism: each operation yields the requests of `store.py`, and `ReadInstant` for the time; a driver answers them, `drive` in
a thread, the event queue in the simulation. Nothing is remembered here between two operations.

Not promised: that an operation which ended in DcsUnavailable had no effect. An acquire of that kind is settled by a later
view: `lock_of` says whether the lock is ours, and a `renew` of it proves it. "The answer is no" is `store.Refused`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from patroni.dcs import path
from patroni.dcs.codec import (
    failover_value,
    failsafe_value,
    history_value,
    status_value,
    sync_value,
    text_of,
)
from patroni.dcs.layout import cluster_from
from patroni.dcs.member import Publication, member_value
from patroni.dcs.store import (
    Clock,
    Create,
    DcsUnavailable,
    Delete,
    DeletePrefix,
    Entry,
    LockRef,
    OpenSession,
    ProveLock,
    ReadPrefix,
    Refusal,
    Refused,
    RenewSession,
    Session,
    Store,
    Write,
    perform,
)
from patroni.decision.cluster import (
    Cluster,
    FailoverRequest,
    Incarnation,
    Leader,
    Lsn,
    Revision,
    SessionId,
    Status,
    SyncState,
    SystemId,
    Token,
)
from patroni.decision.lease import Instant, Proof, elapsed_s
from patroni.decision.request import ReadInstant, Request, Steps, ask

T = TypeVar("T")

FRESH_S = 1.0  # how old the renewal may be whose deadline a new lock inherits (safety_rules.md §6)
TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed:
    """A renewal of the session, and of the proof of the lock where one was asked for."""

    sent: Instant  # taken before the renewal was sent
    session: Session  # with the ttl that the store granted
    cluster: Cluster | None = None  # the view that came with the proof, linearizable; None: the session alone was renewed

    @property
    def lock(self) -> tuple[Token, Revision | None] | None:
        """Return token and revision of the proved lock, or None if none was asked for."""
        leader = self.cluster.leader if self.cluster else None
        return (leader.token, leader.revision) if leader else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Won:
    """A lock that was just created or adopted: its deadline is that of the renewal before it."""

    proof: Proof


@dataclass(frozen=True, slots=True, kw_only=True)
class Coordinator:
    """The operations of one member on one cluster."""

    prefix: str  # `path.cluster_prefix`
    name: str  # the own member name

    @property
    def leader_key(self) -> str:
        """Return the full path of the lock."""
        return self.prefix + path.LEADER

    # --- session and lock

    def open_session(self, ttl_s: float) -> Steps[Session]:
        """Open the session that lock and member key hang on."""
        return (yield from ask(OpenSession(ttl_s)))

    def renew(self, session: SessionId, lock: Proof | Leader | None) -> Steps[Renewed]:
        """Renew the session and, if `lock` is given, prove that it still stands under that session.

        Refused: SESSION_GONE, GONE, NOT_OURS. Anything but a complete answer renews nothing (safety_rules.md §2).
        """
        sent = yield from ask(ReadInstant())
        renewed = yield from ask(RenewSession(session))
        if lock is None:
            return Renewed(sent=sent, session=renewed)
        ref = LockRef(key=self.leader_key, incarnation=lock.incarnation)
        snapshot = yield from ask(ProveLock(lock=ref, session=renewed, prefix=self.prefix))
        cluster = cluster_from(snapshot, self.prefix)
        self._require_proof(cluster.leader, ref, session)
        return Renewed(sent=sent, session=renewed, cluster=cluster)

    def _require_proof(self, leader: Leader | None, ref: LockRef, session: SessionId) -> None:
        """Believe a proof only if its view agrees; a value that was overwritten by hand names somebody else."""
        if leader is None or leader.incarnation != ref.incarnation or leader.session != session:
            raise DcsUnavailable("the proof of the lock contradicts the view that came with it")
        if leader.name != self.name:
            raise Refused(Refusal.NOT_OURS, f"the leader key names {leader.name}")

    def acquire(self, session: Session) -> Steps[Won]:
        """Create the lock: never overwrites. The session is renewed first and the lock inherits that deadline.

        Refused: EXISTS, SESSION_GONE, DENIED.
        """
        sent, renewed = yield from self._renew_freshly(session.id)
        entry = yield from ask(Create(self.leader_key, self.name, session.id))
        return (yield from self._won(sent, renewed, entry))

    def adopt(self, session: Session, token: Token, incarnation: Incarnation) -> Steps[Won]:
        """Rewrite a lock that names us under the own session, over the version that was judged (safety_rules.md §1.4).

        A release of an earlier life that is still under way misses it then. Refused: CHANGED, NOT_OURS, SESSION_GONE, DENIED.
        """
        sent, renewed = yield from self._renew_freshly(session.id)
        under = LockRef(key=self.leader_key, incarnation=incarnation)
        entry = yield from ask(Write(self.leader_key, self.name, session.id, token, under))
        return (yield from self._won(sent, renewed, entry))

    def _won(self, sent: Instant, renewed: Session, entry: Entry) -> Steps[Won]:
        """Prove the new lock under the authority that renewed the session: else that renewal gives no deadline.

        A deposed leader of the store answers renewals while the write goes to its successor, which never heard of them.
        """
        lock = LockRef(key=self.leader_key, incarnation=entry.incarnation)
        proved = yield from ask(ProveLock(lock=lock, session=renewed, prefix=self.prefix))
        return Won(
            proof=Proof(
                sent=sent,
                ttl_s=renewed.ttl_s,
                incarnation=entry.incarnation,
                session=renewed.id,
                token=entry.token,
                revision=entry.revision,
                store_id=proved.store_id,
            )
        )

    def _renew_freshly(self, session: SessionId) -> Steps[tuple[Instant, Session]]:
        """Renew until an answer comes so soon that enough of the ttl is left to lead with."""
        for _ in range(TRIES):
            sent = yield from ask(ReadInstant())
            renewed = yield from ask(RenewSession(session))
            if elapsed_s(sent, (yield from ask(ReadInstant()))) <= FRESH_S:
                return sent, renewed
        raise DcsUnavailable(f"the store takes more than {FRESH_S} s to renew a session")

    def release(self, token: Token, lsn: Lsn | None) -> Steps[None]:
        """Delete the lock by its version; before that publish `lsn`, if known, as our last position.

        That nothing was published hinders no release: the candidates then go by an older position. Refused: CHANGED.
        """
        if lsn is not None:
            with suppress(DcsUnavailable, Refused):
                yield from self._publish_last(token, lsn)
        yield from ask(Delete(self.leader_key, token))

    def _publish_last(self, token: Token, lsn: Lsn) -> Steps[None]:
        """Write the position alone: slots are carried over (contract/dcs.md §1.8). A lock that is not ours writes nothing."""
        cluster = yield from self.read(is_linearizable=True)
        leader = cluster.leader
        if leader is not None and leader.token == token:
            under = LockRef(key=self.leader_key, incarnation=leader.incarnation)
            yield from self.write_status(replace(cluster.status, lsn=lsn), under=under)

    # --- the view

    def read(self, *, is_linearizable: bool = False) -> Steps[Cluster]:
        """Read the cluster; linearizable: not older than this request."""
        snapshot = yield from ask(ReadPrefix(self.prefix, is_linearizable))
        return cluster_from(snapshot, self.prefix)

    # --- keys of the leader; `under` is the own lock, for stores that compare it in the same transaction

    def write_status(self, status: Status, *, under: LockRef) -> Steps[None]:
        """Publish position and slots."""
        yield from ask(Write(self.prefix + path.STATUS, status_value(status), under=under))

    def write_failsafe(self, urls: Mapping[str, str], *, under: LockRef) -> Steps[None]:
        """Publish who takes part in failsafe mode: api_url by member name."""
        yield from ask(Write(self.prefix + path.FAILSAFE, failsafe_value(urls), under=under))

    def write_history(self, rows: Sequence[Sequence[object]], *, under: LockRef) -> Steps[None]:
        """Publish the timeline history; rows as `codec.row_fields` makes them."""
        yield from ask(Write(self.prefix + path.HISTORY, history_value(rows), under=under))

    def write_sync(self, state: SyncState, *, under: LockRef) -> Steps[SyncState]:
        """Write the synchronous state over the version in `state.token`, create it without one; answers with the new token.

        Refused: CHANGED or EXISTS (somebody else wrote), NOT_OURS, DENIED.
        """
        key, value = self.prefix + path.SYNC, sync_value(state)
        if state.token is None:
            entry = yield from ask(Create(key, value))
        else:
            entry = yield from ask(Write(key, value, token=state.token, under=under))
        return replace(state, token=entry.token)

    def delete_sync(self, token: Token) -> Steps[None]:
        """Delete the synchronous state: synchronous mode was turned off. Refused: CHANGED."""
        yield from ask(Delete(self.prefix + path.SYNC, token))

    # --- keys of the cluster

    def claim_initialize(self) -> Steps[Token]:
        """Win the race to create the cluster. Refused: EXISTS (another one bootstraps, or has)."""
        entry = yield from ask(Create(self.prefix + path.INITIALIZE, ""))
        return entry.token

    def write_initialize(self, system_id: SystemId, *, is_new: bool) -> Steps[None]:
        """Write our system id; is_new: the view had no such key, and whoever made one meanwhile wins. Refused: EXISTS."""
        key = self.prefix + path.INITIALIZE
        yield from ask(Create(key, system_id) if is_new else Write(key, system_id))

    def cancel_initialize(self, token: Token | None = None) -> Steps[None]:
        """Give the race back after a failed bootstrap; token: of the own claim, None deletes whatever is there."""
        yield from ask(Delete(self.prefix + path.INITIALIZE, token))

    def write_config(self, values: Mapping[str, object], token: Token | None = None, *, is_new: bool = False) -> Steps[Token]:
        """Write the dynamic configuration, over one version if a token is given. Refused: CHANGED.

        is_new: there was none, and whoever has made one meanwhile wins. Refused: EXISTS.
        """
        key, value = self.prefix + path.CONFIG, text_of(dict(values))
        entry = yield from ask(Create(key, value) if is_new else Write(key, value, token=token))
        return entry.token

    def write_failover(self, request: FailoverRequest | None, token: Token | None = None) -> Steps[None]:
        """Ask for a switchover or failover, None: for none; without a token it overwrites (contract/dcs.md §1.9)."""
        yield from ask(Write(self.prefix + path.FAILOVER, failover_value(request), token=token))

    def clear_failover(self, token: Token) -> Steps[None]:
        """Clear the request of the view that was judged, never a newer one. Refused: CHANGED."""
        yield from ask(Write(self.prefix + path.FAILOVER, failover_value(None), token=token))

    def touch_member(self, session: SessionId, publication: Publication) -> Steps[None]:
        """Write the own member key, bound to the session. Refused: SESSION_GONE, DENIED."""
        yield from ask(Write(path.member_key(self.prefix, self.name), member_value(publication), session))

    def delete_cluster(self) -> Steps[None]:
        """Delete all that is known of the cluster (`patronictl remove` only)."""
        yield from ask(DeletePrefix(self.prefix))


def lock_of(cluster: Cluster, name: str, session: SessionId) -> Leader | None:
    """Return the leader key if it is ours: our name and our session. None: it is not, or nobody's.

    For the view after an acquire without an answer. A name alone proves nothing (safety_rules.md §1.4); what is returned is
    worth a `renew`, which gives it a deadline.
    """
    leader = cluster.leader
    return leader if leader is not None and leader.name == name and leader.session == session else None


def drive(steps: Steps[T], store: Store, clock: Clock, timeout_s: float) -> T:
    """Run one operation in this thread, all of its requests within one deadline."""
    began = clock()

    def answer(request: Request[Any]) -> object:
        if isinstance(request, ReadInstant):
            return clock()
        left_s = timeout_s - elapsed_s(began, clock())
        if left_s <= 0:
            raise DcsUnavailable("no time is left for the operation")
        return perform(store, request, left_s)

    try:
        request = next(steps)
        while True:
            try:
                reply = answer(request)
            except (DcsUnavailable, Refused) as error:
                request = steps.throw(error)
            else:
                request = steps.send(reply)
    except StopIteration as end:
        return cast(T, end.value)
    finally:
        steps.close()
