"""The lease keeper: renews the session on every node, and with it the proof of the lock while we lead.

Promise: the lease never outlives what the store granted, because each deadline counts from before its request was sent; a
refusal ends it in the thread that sees it; a loop that takes no turn loses lease and lock within ttl. Mechanism: this object
holds one immutable state, replaced under a lock that nobody holds across a system call; `step` says what to do and for how
long to wait, a thin runner does it. Not promised: that the lock is taken anew when it vanished; only `AcquireLock` creates
(safety_rules.md §1-3, 7).
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from patroni.agent.bell import Bell
from patroni.agent.event import LeaseSeen, Payload, TurnWanted
from patroni.agent.request import Void
from patroni.dcs.coordinator import Coordinator, Won
from patroni.dcs.store import Refusal, Refused, Session
from patroni.decision.cluster import Cluster, Revision, Token
from patroni.decision.lease import (
    Instant,
    Lease,
    Proof,
    elapsed_s,
    fence_left_s,
    lease_left_s,
    margin_s,
    renewal_period_s,
)
from patroni.decision.request import ReadInstant, Steps, ask
from patroni.decision.view import GuardState
from patroni.fence.client import Fence

LONGEST_TRY_S = 3.0
SHORTEST_TRY_S = 0.05
PAUSE_S = 1.0
LOOK_S = 0.25  # a wait so short ends where it should
TIMER_RATE = 0.9  # a timer counts slewed seconds, the lease raw ones: up to 8 % more of them (safety_rules.md §3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """One renewal to be sent now; its answer names it again, so that an answer of an earlier epoch is known."""

    epoch: int
    session: Session | None  # None: open a new one
    proof: Proof | None  # the lock to be proved with it, or moved to the new session; None: the session only
    ttl_s: float  # for a new session
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed:
    """What a renewal brought."""

    sent: Instant  # taken before it was sent
    session: Session
    lock: tuple[Token, Revision | None] | None = None  # of the proved lock; None: none was asked for
    cluster: Cluster | None = None  # the view that came with the proof, linearizable
    store_id: str | None = None  # of the store that proved it; None: it has none, or no lock was proved


def send(renewal: Renewal, coordinator: Coordinator) -> Steps[Renewed]:
    """Send one renewal: of the session, with the proof of the lock; or open a session and move the lock to it."""
    if renewal.session is not None:
        renewed = yield from coordinator.renew(renewal.session.id, renewal.proof)
        cluster = renewed.cluster
        store_id = cluster.store_id if cluster is not None else None
        return Renewed(sent=renewed.sent, session=renewed.session, lock=renewed.lock, cluster=cluster, store_id=store_id)
    sent = yield from ask(ReadInstant())
    session = yield from coordinator.open_session(renewal.ttl_s)
    if renewal.proof is None:
        return Renewed(sent=sent, session=session)
    won = yield from _move(renewal.proof, session, coordinator)
    lock = (won.proof.token, won.proof.revision)
    return Renewed(sent=won.proof.sent, session=session, lock=lock, store_id=won.proof.store_id)


def _move(proof: Proof, session: Session, coordinator: Coordinator) -> Steps[Won]:
    """Move the lock to a new session. Another version of it may be an earlier move of ours whose answer was lost."""
    try:
        return (yield from coordinator.adopt(session, proof.token, proof.incarnation))
    except Refused as refusal:
        if refusal.why not in (Refusal.CHANGED, Refusal.NOT_OURS):
            raise
    cluster = yield from coordinator.read(is_linearizable=True)
    leader = cluster.leader
    if leader is None:
        raise Refused(Refusal.GONE, "the lock vanished while it was moved to a new session")
    if leader.incarnation != proof.incarnation or leader.name != coordinator.name:
        raise Refused(Refusal.NOT_OURS, f"the leader key names {leader.name}")
    return (yield from coordinator.adopt(session, leader.token, leader.incarnation))


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the keeper's runner does next: send a renewal, or wait so long for a call or the time."""

    renewal: Renewal | None = None
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Keeping:
    epoch: int = 0
    session: Session | None = None
    session_sent: Instant | None = None  # of the last good renewal
    proof: Proof | None = None
    is_refused: bool = False
    is_gone: bool = False
    is_lapsed: bool = False  # the lease ran out, and the lock may stand for as long as its session is renewed
    lapsed_at: Instant | None = None  # since when; None: it never has
    silent_since: Instant | None = None
    due: Instant | None = None  # None: at once
    failures: int = 0
    turn_asked: Instant | None = None
    has_turned: bool = False
    is_withheld: bool = False  # the last decision was against leading
    is_in_flight: bool = False  # a renewal with the lock is under way
    may_have_moved: bool = False  # a move of the lock to a new session was sent, and no answer came
    ttl_s: float  # the configured one
    session_ttl_s: float  # the one that the session was opened with

    @property
    def is_moving(self) -> bool:
        """Whether the lock is to be moved to a new session, and may have been by a try without an answer."""
        return self.session_ttl_s != self.ttl_s or self.may_have_moved


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mark:
    """How far the store was seen."""

    store_id: str | None
    revision: Revision | None
    at: Instant  # not before the store answered that


class LeaseKeeper:
    """See the module. `step`, `renewed`, `refused` and `silent` belong to the keeper's thread, the rest to any."""

    def __init__(
        self, name: str, fence: Fence, *, ttl_s: float, emit: Callable[[int, Payload], None], chance: random.Random
    ) -> None:
        """emit: takes the epoch and what happened; must not block. chance: for the jitter after an outage."""
        self._name = name
        self._fence = fence
        self._emit = emit
        self._chance = chance
        self._state = _Keeping(ttl_s=ttl_s, session_ttl_s=ttl_s)
        self._mark: _Mark | None = None  # None: no view of the store has arrived yet
        self._stepped = self._state  # as the last step left it: a change since then ends a wait
        self._changed = threading.Lock()
        self._bell = Bell()
        self._dropped = threading.Event()
        self._dropped.set()

    # --- the keeper's thread

    def step(self, now: Instant) -> Order:
        """Do what is due and say what to do next; never waits itself."""
        self._expire(now)
        fence_wait_s = self._fence.step(now)
        wants_turn = False
        with self._changed:
            state = self._state
            due_in_s = 0.0 if state.due is None else -elapsed_s(state.due, now)
            end_in_s = fence_wait_s if state.proof is None else min(fence_wait_s, fence_left_s(state.proof, now))
            look_s = _timer_s(end_in_s)
            if due_in_s > 0:
                order = Order(wait_s=min(due_in_s, look_s))
            elif state.is_lapsed and state.lapsed_at is not None and elapsed_s(state.lapsed_at, now) > state.session_ttl_s:
                order = Order(wait_s=look_s)  # nobody has released it, say on a dead disk: session and lock run out
            elif state.is_withheld or ((state.proof is not None or state.is_lapsed) and not state.has_turned):
                wants_turn = not state.is_withheld and state.turn_asked is None
                if wants_turn:
                    self._state = replace(state, turn_asked=now)
                order = Order(wait_s=look_s)  # a loop that is hung is never asked twice: the lease and the lock run out
            else:
                order = self._renewal(state, fence_wait_s)
            self._stepped = self._state
        if wants_turn:
            self._emit(state.epoch, TurnWanted())
        return order

    def _renewal(self, state: _Keeping, fence_wait_s: float) -> Order:
        timeout_s = max(SHORTEST_TRY_S, min(_longest_try_s(state.ttl_s), fence_wait_s))
        proof = None if state.is_gone else state.proof
        state = replace(state, may_have_moved=state.may_have_moved or (state.is_moving and proof is not None))
        self._state = replace(state, is_in_flight=proof is not None, turn_asked=None, has_turned=False)
        if proof is not None:
            self._dropped.clear()
        session = None if state.is_moving else state.session
        renewal = Renewal(epoch=state.epoch, session=session, proof=proof, ttl_s=state.ttl_s, timeout_s=timeout_s)
        return Order(renewal=renewal)

    def renewed(self, renewal: Renewal, answer: Renewed) -> None:
        """The store renewed the session and, where asked, proved the lock. An answer of an earlier epoch proves none.

        The view that came with it is told by `saw` before.
        """
        session, sent, lock = answer.session, answer.sent, answer.lock
        with self._changed:
            state = replace(self._state, is_in_flight=False, failures=0, silent_since=None, session=session, session_sent=sent)
            state = replace(state, due=_later(sent, renewal_period_s(session.ttl_s)), session_ttl_s=renewal.ttl_s)
            has_session = renewal.session is not None
            state = replace(
                state, is_lapsed=state.is_lapsed and has_session, may_have_moved=state.may_have_moved and has_session
            )
            is_current = renewal.proof is not None and renewal.epoch == state.epoch
            if lock is not None and renewal.proof is not None and is_current and answer.store_id == renewal.proof.store_id:
                timed = replace(renewal.proof, sent=sent, ttl_s=session.ttl_s, session=session.id)
                state = replace(state, proof=replace(timed, token=lock[0], revision=lock[1]))
            elif is_current:  # by another store: the lease runs on, but not the keeper
                state = replace(state, due=_later(sent, PAUSE_S))
            elif state.proof is not None and not state.is_gone:
                state = replace(state, due=None, has_turned=True)  # of a newer epoch: not proved, at once
            self._replace(state)
            proof_now = self._state.proof
        if proof_now is not None:
            self._fence.renew(proof_now)
        self._tell()

    def refused(self, renewal: Renewal, why: Refusal, detail: str, now: Instant) -> None:
        """The store said no. Somebody else's lock ends the lease here and now; a vanished one or session does not."""
        with self._changed:
            state = replace(self._state, is_in_flight=False, silent_since=None, due=None)
            is_current = renewal.epoch == state.epoch and state.proof is not None
            if why is Refusal.SESSION_GONE:
                is_gone = is_current or state.is_gone
                state = replace(state, session=None, session_sent=None, is_gone=is_gone, is_lapsed=False)
            elif is_current and why is Refusal.GONE:
                state = replace(state, is_gone=True)
            elif is_current and why is Refusal.NOT_OURS:
                # Where a hand deleted the key, a proof of the old lock that is under way just when `AcquireLock` has created
                # the new one and not yet handed it over by `take` ends here, too. That costs an outage, never a second
                # writer: `take` then keeps nothing, and the new lock is adopted by an election's checks, or released.
                state = replace(state, proof=None, is_refused=True, epoch=state.epoch + 1)
            else:  # DENIED, or an answer to an earlier epoch: nothing ends by it, the lease runs on our own clock.
                state = replace(state, due=_later(now, PAUSE_S))
            self._replace(state)
            is_over = state.is_refused and is_current
        if is_over:
            self._fence.end()
            self._fence.step(now)
        self._tell(detail)

    def silent(self, renewal: Renewal, detail: str, now: Instant) -> None:
        """No answer: nothing is known, the lease runs on. The next try comes soon, a non-leader's with jitter."""
        with self._changed:
            state = self._state
            pause_s = min(0.1 * 2**state.failures, 1.0)
            if state.proof is None:
                pause_s += self._chance.uniform(0.0, 1.0)
            self._replace(
                replace(
                    state,
                    is_in_flight=False,
                    failures=min(state.failures + 1, 8),
                    silent_since=state.silent_since or now,
                    due=_later(now, pause_s),
                )
            )
        self._tell(detail)

    def ring(self) -> None:
        """End the wait of the keeper's thread; from any thread."""
        self._bell.ring()

    def wait(self, wait_s: float) -> None:
        """Wait for a call from another thread, at most so long."""
        if self._state is not self._stepped:
            return
        self._bell.wait(wait_s)

    # --- any thread

    def lease(self, now: Instant) -> Lease:
        """Return the lease at this moment; a lease whose fence time has come is over here already."""
        state = self._state
        proof = state.proof
        if proof is not None and fence_left_s(proof, now) <= 0:
            proof = None
        return Lease(
            epoch=state.epoch,
            proof=proof,
            left_s=lease_left_s(proof, now) if proof else 0.0,
            is_refused=state.is_refused,
            is_gone=state.is_gone,
            session_age_s=elapsed_s(state.session_sent, now) if state.session_sent else None,
            silent_s=elapsed_s(state.silent_since, now) if state.silent_since else 0.0,
        )

    @property
    def session(self) -> Session | None:
        """The session that keys hang on; None: none is open."""
        return self._state.session

    @property
    def epoch(self) -> int:
        """The epoch of authority that runs now."""
        return self._state.epoch

    def saw(self, cluster: Cluster, now: Instant, began: Instant | None = None) -> None:
        """A view arrived: one that shows another leader or another store ends lease and Postgres in this thread (§1.6-1.7).

        began: before it was asked for, if it is linearizable. The keeper's own thread may be waiting for the store.
        """
        with self._changed:
            is_other_store = self._is_other_store(cluster, began, now)
            session, leader = self._state.session, cluster.leader
            hangs_on_ours = session is not None and leader is not None and leader.session == session.id
            if self._state.is_lapsed and not hangs_on_ours:
                self._replace(replace(self._state, is_lapsed=False))
            if self._state.proof is None or not (is_other_store or self._is_taken(cluster, self._state.proof)):
                return
            state = replace(self._state, proof=None, is_refused=True, epoch=self._state.epoch + 1)
            self._replace(replace(state, is_lapsed=hangs_on_ours, lapsed_at=now, has_turned=False, turn_asked=None))
            self._fence.end()  # before the keeper's thread, which was just woken, looks at it
        self._fence.step(now)
        self._tell("another store answers" if is_other_store else "another node holds the lock")

    def _is_other_store(self, cluster: Cluster, began: Instant | None, now: Instant) -> bool:
        """Whether this view says that the store was restored or made anew: incarnations from before prove nothing (§1.6).

        Only what was asked for after all that was seen tells so: an answer may be late, a copy may lag.
        """
        mark = self._mark
        if mark is None:
            self._mark = _Mark(store_id=cluster.store_id, revision=cluster.revision, at=now)
            return False
        went_back = mark.revision is not None and cluster.revision is not None and cluster.revision < mark.revision
        is_other = cluster.store_id != mark.store_id or went_back
        if is_other and (began is None or elapsed_s(mark.at, began) < 0):
            return False
        self._mark = _Mark(store_id=cluster.store_id, revision=cluster.revision, at=now)
        return is_other

    def _is_taken(self, cluster: Cluster, proof: Proof) -> bool:
        """Whether a view newer than the lock shows that somebody else has it: anew, or overwritten in place (§1.7).

        A store without revisions tells nothing here: its proofs do. A lock under our own session and name is one that we
        created anew just now, after a hand removed it: the watch may be faster than the answer.
        """
        leader, seen = cluster.leader, cluster.revision
        if leader is None or cluster.store_id != proof.store_id:
            return False
        if seen is None or proof.revision is None or seen <= proof.revision:
            return False
        if leader.name != self._name:
            return True
        session = self._state.session
        is_ours = leader.session == proof.session or (session is not None and leader.session == session.id)
        return not is_ours and not (leader.incarnation == proof.incarnation and self._state.is_moving)

    def begin_epoch(self) -> int:
        """Begin a new epoch of authority: answers that are under way prove nothing any more."""
        with self._changed:
            self._replace(replace(self._state, epoch=self._state.epoch + 1))
            return self._state.epoch

    def take(self, proof: Proof, *, if_epoch: int) -> int:
        """Keep a lock that was just won or adopted; its deadline is the session renewal's that came before it.

        Returns the new epoch. Nothing is kept if another epoch than `if_epoch` has begun meanwhile: whoever began it did
        not know of this lock, so it is left to expire.
        """
        with self._changed:
            state = self._state
            if state.epoch != if_epoch:
                return if_epoch
            state = replace(state, proof=proof, is_refused=False, is_gone=False, is_withheld=False, session_sent=proof.sent)
            self._replace(
                replace(state, epoch=state.epoch + 1, due=None, has_turned=True, is_lapsed=False, may_have_moved=False)
            )
        self._tell()
        return if_epoch + 1

    def begin_drop(self, *, if_epoch: int) -> int:
        """Stop keeping the lock and return the new epoch: no renewal proves the lock from now on.

        Raises `Void` if another epoch than `if_epoch` has begun meanwhile: the lock may be another one by now.
        """
        with self._changed:
            if self._state.epoch != if_epoch:
                raise Void("a newer epoch has begun")
            state = replace(self._state, proof=None, is_gone=False, is_refused=False, is_lapsed=False, is_withheld=False)
            self._replace(replace(state, epoch=state.epoch + 1))
        self._tell()
        return self._state.epoch

    def await_dropped(self, timeout_s: float) -> bool:
        """Wait until no renewal of the lock is under way; return whether that is so."""
        return self._dropped.wait(timeout_s)

    @property
    def is_dropped(self) -> bool:
        """Whether no lock is kept and no renewal of one is under way."""
        return self._dropped.is_set()

    def turned(self, *, is_against_leading: bool) -> None:
        """The loop took a turn; after a decision against leading the whole renewal is withheld (§5 of safety_rules.md).

        So is that of a session without a proved lock: one that ran out, or whose release had no answer, may hang on it.
        """
        with self._changed:
            state = self._state
            if state.proof is None and not state.is_withheld and not state.is_lapsed and not is_against_leading:
                return
            has_turned = state.turn_asked is not None or state.has_turned
            if (has_turned, is_against_leading) != (state.has_turned, state.is_withheld):  # else nothing to wake for
                self._replace(replace(state, has_turned=has_turned, is_withheld=is_against_leading))

    def set_ttl(self, ttl_s: float) -> None:
        """Use another ttl: the next renewal opens a session with it."""
        with self._changed:
            if ttl_s != self._state.ttl_s:
                self._replace(replace(self._state, ttl_s=ttl_s, due=None))

    def renew_soon(self) -> None:
        """Somebody was told that the session is gone: look at once."""
        with self._changed:
            self._replace(replace(self._state, due=None))

    def arm(self, proof: Proof) -> bool:
        """Arm the fence for this lock; return whether it acknowledged. The keeper's wait under way ends: it knew of none."""
        is_armed = self._fence.arm(proof)
        with self._changed:
            self._replace(replace(self._state))
        return is_armed

    def guard(self) -> GuardState:
        """What the guard is doing."""
        return self._fence.state()

    # --- inside

    def _expire(self, now: Instant) -> None:
        """End a lease whose fence time has come, before the fence acts: REST must say so first."""
        with self._changed:
            proof = self._state.proof
            if proof is None or fence_left_s(proof, now) > 0:
                return
            is_lapsed = not self._state.is_gone  # what vanished hangs on no session
            state = replace(self._state, proof=None, is_gone=False, is_lapsed=is_lapsed, lapsed_at=now)
            state = replace(state, has_turned=False, turn_asked=None)
            self._replace(replace(state, epoch=state.epoch + 1))
        self._tell("the lease is over")

    def _replace(self, state: _Keeping) -> None:
        self._state = state
        self._bell.ring()
        if state.proof is None and not state.is_in_flight:
            self._dropped.set()
        else:
            self._dropped.clear()

    def _tell(self, detail: str = "") -> None:
        state = self._state
        self._emit(
            state.epoch,
            LeaseSeen(
                proof=state.proof,
                session_proved=state.session_sent,
                is_refused=state.is_refused,
                is_gone=state.is_gone,
                silent_since=state.silent_since,
                store_revision=state.session.revision if state.session else None,
                detail=detail,
            ),
        )


def _later(instant: Instant, seconds: float) -> Instant:
    return Instant(boot_s=instant.boot_s + seconds, raw_s=instant.raw_s + seconds)


def _timer_s(left_s: float) -> float:
    """Return for how long to wait for a moment that must not be missed: never beyond it, however the timers are slewed."""
    return left_s if left_s <= LOOK_S else max(LOOK_S, left_s * TIMER_RATE)


def _longest_try_s(ttl_s: float) -> float:
    """Return how long one renewal may take: no longer than until the time of a fence that is armed while it is under way.

    Whoever arms it has max(2 s, ttl/4) of the lease left (safety_rules.md §6).
    """
    return min(LONGEST_TRY_S, max(2.0, ttl_s / 4) - margin_s(ttl_s))
