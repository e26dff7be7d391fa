"""Deliberate bugs: each a small change of one real part. The checkers must find every one (design.md §7)."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from patroni.agent import request as own
from patroni.agent.execute import Context, effects
from patroni.agent.job import work
from patroni.agent.lease_keeper import LeaseKeeper, Renewal, Renewed, send
from patroni.agent.loop import Loop, Turn
from patroni.agent.observe import Moment, Observed
from patroni.agent.order import Order
from patroni.dcs.coordinator import Coordinator, Won
from patroni.dcs.store import Create, Delete, LockRef, Refusal, Refused, RenewSession, Session
from patroni.decision import actions as act
from patroni.decision.actions import Action, JobAction
from patroni.decision.cluster import Cluster, Leader, Lsn, Token, Twin
from patroni.decision.lease import Instant, Lease, Proof, lease_left_s
from patroni.decision.node import Process
from patroni.decision.request import ReadInstant, Request, Steps, ask
from patroni.decision.settings import Settings
from patroni.decision.view import Decision, Memory, View
from patroni.fence.client import InProcessFence
from patroni.postgres import request as pg
from patroni.postgres.request import Files
from patroni.rest.snapshot import Authority
from tests.simulation.driver import Driver
from tests.simulation.parts import Parts
from tests.simulation.plan import Kind
from tests.simulation.postgres_model import Data
from tests.simulation.store_model import CompareLock
from tests.simulation.wal import Branch


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """One bug, and the faults among which it must show."""

    parts: Parts
    focus: tuple[Kind, ...] = ()  # empty: the usual swarm
    invariants: tuple[str, ...] = ("1",)  # those that it may break, whichever is seen first


# --- deadlines


def late_send(renewal: Renewal, coordinator: Coordinator) -> Steps[Renewed]:
    """Count the deadline from the answer."""
    renewed = yield from send(renewal, coordinator)
    return replace(renewed, sent=(yield from ask(ReadInstant())))


class OwnAnswer(Coordinator):
    """Give a new lock the deadline of its own answer."""

    __slots__ = ()

    def acquire(self, session: Session) -> Steps[Won]:
        """Create the lock on whatever is left of the session."""
        entry = yield from ask(Create(self.leader_key, self.name, session.id))
        sent = yield from ask(ReadInstant())
        proof = Proof(
            sent=sent,
            ttl_s=session.ttl_s,
            incarnation=entry.incarnation,
            session=session.id,
            token=entry.token,
            revision=entry.revision,
        )
        return Won(proof=proof)


class NoMargin(InProcessFence):
    """Fence at the very end of the lease."""

    def step(self, now: Instant) -> float:
        """Look at the lease as if its margin were 0."""
        proof = self._proof
        if proof is None or self._is_over or lease_left_s(proof, now) <= 0:
            return super().step(now)
        return lease_left_s(proof, now)


# --- what counts as a renewal


def send_session_only(renewal: Renewal, coordinator: Coordinator) -> Steps[Renewed]:
    """Renew the session and take the lock for granted."""
    if renewal.session is None or renewal.proof is None:
        return (yield from send(renewal, coordinator))
    renewed = yield from coordinator.renew(renewal.session.id, None)
    lock = (renewal.proof.token, renewal.proof.revision)
    return Renewed(sent=renewed.sent, session=renewed.session, lock=lock, store_id=renewal.proof.store_id)


def send_compares(renewal: Renewal, coordinator: Coordinator) -> Steps[Renewed]:
    """Prove the lock by compares, which a server answers from what it has."""
    if renewal.session is None or renewal.proof is None:
        return (yield from send(renewal, coordinator))
    sent = yield from ask(ReadInstant())
    session = yield from ask(RenewSession(renewal.session.id))
    lock = LockRef(key=coordinator.leader_key, incarnation=renewal.proof.incarnation)
    yield from ask(CompareLock(lock, session, coordinator.prefix))
    known = renewal.proof
    return Renewed(sent=sent, session=session, lock=(known.token, known.revision), store_id=known.store_id)


def send_creating(renewal: Renewal, coordinator: Coordinator) -> Steps[Renewed]:
    """Create the lock anew where it is gone."""
    try:
        return (yield from send(renewal, coordinator))
    except Refused as refused:
        if refused.why not in (Refusal.GONE, Refusal.SESSION_GONE) or renewal.proof is None:
            raise
    sent = yield from ask(ReadInstant())
    session = yield from coordinator.open_session(renewal.ttl_s)
    entry = yield from ask(Create(coordinator.leader_key, coordinator.name, session.id))
    return Renewed(sent=sent, session=session, lock=(entry.token, entry.revision), store_id=renewal.proof.store_id)


class AnyEpoch(LeaseKeeper):
    """Believe the answer to a renewal of an earlier epoch."""

    def renewed(self, renewal: Renewal, answer: Renewed) -> None:
        """Take it for one of now."""
        super().renewed(replace(renewal, epoch=self.epoch), answer)


class AnyStore(LeaseKeeper):
    """Take a store that was restored for the one before."""

    def _is_other_store(self, cluster: Cluster, began: Instant | None, now: Instant) -> bool:
        """See no difference."""
        return False

    def renewed(self, renewal: Renewal, answer: Renewed) -> None:
        """Believe its proofs."""
        super().renewed(renewal, replace(answer, store_id=renewal.proof.store_id if renewal.proof else None))


# --- names instead of incarnations


class ByName(Coordinator):
    """Release whatever lock stands."""

    __slots__ = ()

    def release(self, token: Token, lsn: Lsn | None) -> Steps[None]:
        """Delete the key."""
        yield from ask(Delete(self.leader_key))


class AdoptingLoop(Loop):
    """Take a lock that names us for ours, without the election's checks."""

    def _ordered(self, view: View, decision: Decision, now: Instant) -> list[Order]:
        leader = view.cluster.leader if view.cluster else None
        is_named = leader is not None and leader.name == view.node.name and view.lease.proof is None
        if is_named and leader is not None and self.observed.chain is None and view.node.process is Process.ALIVE:
            adopt = act.AdoptLock(token=leader.token, incarnation=leader.incarnation)
            decision = replace(decision, actions=(adopt,))
        return super()._ordered(view, decision, now)


# --- views


class PatchedView(Observed):
    """Put the lock that we have won into a view from before the win."""

    __slots__ = ()

    def view(self, moment: Moment, lease: Lease, settings: Settings, memory: Memory) -> View:
        """Show ourselves as leader."""
        view = super().view(moment, lease, settings, memory)
        proof = lease.proof
        if proof is None or view.is_fresh or view.cluster is None:
            return view
        leader = Leader(
            name=self.name,
            incarnation=proof.incarnation,
            token=proof.token,
            revision=proof.revision,
            session=proof.session,
        )
        return replace(view, is_fresh=True, cluster=replace(view.cluster, leader=leader))


class BlindToOrphans(Observed):
    """Take a dead postmaster for a server that is down."""

    __slots__ = ()

    def _take_files(self, files: Files | None, now: Instant) -> None:
        if files is not None and files.process is Process.ORPHANS:
            files = replace(files, process=Process.DOWN)
        super()._take_files(files, now)


def observing(kind: type[Observed]) -> type[Loop]:
    """Return a loop that observes in this way."""

    class Observing(Loop):
        def __init__(
            self, name: str, keeper: LeaseKeeper, settings: Callable[[], Settings], now: Instant, *, chance: random.Random
        ) -> None:
            super().__init__(name, keeper, settings, now, chance=chance)
            self.observed = kind(name=name, started=now)

    return Observing


def published_authority(keeper: LeaseKeeper, published: Turn | None, now: Instant) -> Authority:
    """Answer from the last turn."""
    if published is not None and published.view.lease.is_held:
        return Authority.OVER if published.is_giving_up else Authority.HELD
    return Authority.NONE


# --- the guard


def _unarmed(steps: Steps[None]) -> Steps[None]:
    """Say that the guard has acknowledged, and do not ask it."""
    answer: Any = None
    try:
        request: Request[Any] = next(steps)
        while True:
            answer = True if isinstance(request, own.ArmFence) else (yield request)
            request = steps.send(answer)
    except StopIteration:
        return


def unarmed_effects(action: Action, context: Context) -> Steps[None]:
    """Promote without arming the guard."""
    yield from _unarmed(effects(action, context))


def unarmed_work(action: JobAction) -> Steps[None]:
    """Start as primary without arming the guard."""
    yield from _unarmed(work(action))


class EarlyDisarm(Loop):
    """Disarm the guard when a stop begins."""

    def _may_disarm(self, view: View) -> bool:
        job = self.observed.job
        is_stopping = job is not None and isinstance(job.action, act.Demote | act.StopPostgres)
        return is_stopping or super()._may_disarm(view)


# --- the data directory


class UnmarkedRewind(Driver):
    """Rewind without a mark beside the data directory."""

    def _mark_rewind(self, data: Data) -> None:
        pass


class NumbersAlone(Driver):
    """Take equal numbers for equal timelines."""

    def _twin(self, mine: Branch, theirs: Branch, own: pg.OwnTimeline) -> Twin:
        return Twin.NONE


LATE = (Kind.STORE_TROUBLE, Kind.CUT_STORE, Kind.SLEW, Kind.STORE_FREEZE)
DEPOSED = (Kind.STORE_DEPOSED, Kind.STORE_DEPOSED, Kind.SWITCHOVER)
STALE = (Kind.HOST_CRASH, Kind.SLOW_NETWORK)
RESTORED = (Kind.STORE_RESTORE, Kind.SWITCHOVER)
CRASHES = (Kind.POSTMASTER_KILL, Kind.HOST_CRASH, Kind.AGENT_KILL)
HANDING_OVER = (Kind.SWITCHOVER, Kind.AGENT_STOP, Kind.POSTGRES_KILL)
PARTED = (Kind.ISOLATE, Kind.CUT_PEER, Kind.HOST_CRASH)
REWINDING = (Kind.HOST_CRASH, Kind.TRAP_KILL)
SLOWLY = (Kind.SWITCHOVER, Kind.AGENT_STOP, Kind.SLOW_NETWORK, Kind.STORE_TROUBLE, Kind.STORE_TROUBLE)

BUGS: dict[str, Bug] = {
    "deadline counted from the answer": Bug(parts=Parts(send=late_send), focus=LATE),
    "acquire's deadline from its own answer": Bug(parts=Parts(coordinator=OwnAnswer), focus=CRASHES),
    "margin 0 with drift": Bug(parts=Parts(fence=NoMargin), focus=LATE),
    "renewal that looks at the session only": Bug(parts=Parts(send=send_session_only), focus=DEPOSED),
    "renewal by compares alone": Bug(parts=Parts(send=send_compares), focus=DEPOSED),
    "keeper that creates": Bug(parts=Parts(send=send_creating), focus=(Kind.SESSION_END, Kind.LOCK_DELETE)),
    "answer of an earlier epoch accepted": Bug(parts=Parts(keeper=AnyEpoch), focus=SLOWLY),
    "a restored store taken for the one before": Bug(parts=Parts(keeper=AnyStore), focus=RESTORED),
    "release by name": Bug(parts=Parts(coordinator=ByName), focus=SLOWLY, invariants=("4",)),
    "adoption by name": Bug(parts=Parts(loop=AdoptingLoop), focus=(Kind.AGENT_KILL, Kind.STORE_RESTORE), invariants=("4",)),
    "promotion on the view from before the win": Bug(parts=Parts(loop=observing(PatchedView)), focus=STALE, invariants=("6",)),
    "REST from the snapshot instead of the lease": Bug(parts=Parts(authority=published_authority), focus=(Kind.AGENT_FREEZE,)),
    "guard not armed at a promotion": Bug(parts=Parts(effects=unarmed_effects), focus=CRASHES),
    "guard not armed at a start": Bug(parts=Parts(work=unarmed_work), focus=(Kind.POSTGRES_KILL,)),
    "guard disarmed at the start of a stop": Bug(parts=Parts(loop=EarlyDisarm), focus=HANDING_OVER),
    "release with a live orphan": Bug(
        parts=Parts(loop=observing(BlindToOrphans)), focus=(Kind.POSTMASTER_KILL,), invariants=("1", "4")
    ),
    "rewind without its mark": Bug(parts=Parts(driver=UnmarkedRewind), focus=REWINDING, invariants=("7",)),
    "twin timelines taken for one": Bug(parts=Parts(driver=NumbersAlone), focus=PARTED, invariants=("5",)),
}
