"""The loop: observe, decide, order. One turn takes what has arrived, makes a View, decides, and hands out orders.

Promise: a turn never waits for network or disk; every decision comes from one View and is made once; giving up power begins
a new epoch, which voids a running chain before its next effect. Mechanism: this object is a step machine without threads,
driven by `agent/agent.py` and by the simulation alike. Not promised: that an order has an effect; its outcome is an event.
Rules: design.md §3, safety_rules.md §6-7.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from patroni.agent import order
from patroni.agent.event import AddressesChanged, Event, MemberTouched
from patroni.agent.journal import Journal
from patroni.agent.lease_keeper import LeaseKeeper
from patroni.agent.look import Looks
from patroni.agent.observe import Moment, Observed, RunningChain
from patroni.agent.order import Order
from patroni.agent.publish import Publisher
from patroni.decision import actions as act
from patroni.decision.actions import GIVES_UP_POWER, QUESTIONS, Action, DemoteKind, JobAction
from patroni.decision.cluster import Role
from patroni.decision.decide import decide
from patroni.decision.lease import Instant
from patroni.decision.node import Process
from patroni.decision.reasons import Code
from patroni.decision.settings import Settings
from patroni.decision.view import Chain, Decision, GuardState, Memory, View

AT_ONCE = (act.Demote, act.StopPostgres, act.AbortBootstrap, act.FinishStop, act.CancelJob, act.Exit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one turn decided, what it wants done, and when the next one is due if nothing happens."""

    view: View
    decision: Decision
    orders: tuple[Order, ...]
    wake_at_s: float  # CLOCK_BOOTTIME
    is_giving_up: bool  # REST answers 503 from here on, whatever the lease says
    is_against_leading: bool  # renewals are withheld until power is given up
    has_led: bool  # the lock was ours in this life of Postgres; of a primary that we found running nobody can say so


class Loop:
    """See the module. One thread, or one simulated actor, calls `turn`."""

    def __init__(
        self,
        name: str,
        keeper: LeaseKeeper,
        settings: Callable[[], Settings],
        now: Instant,
        *,
        chance: random.Random,
    ) -> None:
        self._keeper = keeper
        self._settings = settings
        self._chance = chance
        self._memory = Memory()
        self._before = now, self._memory  # when the last turn began, and the memory that it found
        self._is_giving_up = False
        self._has_led = False
        self._chains = 0
        self.observed = Observed(name=name, started=now)
        self.journal = Journal()
        self._looks = Looks()
        self._publisher = Publisher()

    def turn(self, now: Instant, wall: datetime, events: Sequence[Event]) -> Turn:
        """Take one turn."""
        self._before = now, self._memory
        for happened in events:
            if isinstance(happened.payload, MemberTouched):
                self._publisher.answered(happened.payload.is_ok, now)
            elif isinstance(happened.payload, AddressesChanged):
                self._publisher.forget()
            else:
                self.observed.take(happened, now)
        self.observed.guard = self._keeper.guard()
        lease = self._keeper.lease(now)
        settings = self._settings()
        moment = Moment(now=now, wall=wall, seed=self._chance.getrandbits(32))
        view = self.observed.view(moment, lease, settings, self._memory)
        decision = decide(view)
        self._memory = decision.memory
        self.journal.note(view, decision)
        is_against = self._is_against_leading(view, decision)
        has_ended = view.node.process is Process.DOWN or view.node.is_in_recovery is True
        self._has_led = view.lease.is_held or (self._has_led and not has_ended)
        self._keeper.set_ttl(settings.ttl_s)
        orders = [*self._guarded(view), *self._ordered(view, decision, now), *self._upkeep(view, now)]
        wake_at_s = min(decision.wake_at_s, self._looks.due_at_s(self.observed, settings, now), self._publisher.due_at_s(now))
        return Turn(
            view=view,
            decision=decision,
            orders=tuple(orders),
            wake_at_s=max(wake_at_s, now.boot_s + 0.001),
            is_giving_up=self._is_giving_up,
            is_against_leading=is_against,
            has_led=self._has_led,
        )

    def carried_out(self, turn: Turn) -> None:
        """The turn's orders are handed out: only such a turn permits a renewal (safety_rules.md §7.1)."""
        self._keeper.turned(is_against_leading=turn.is_against_leading)

    def broke_off(self) -> None:
        """A turn failed half-way: what it began has no further effect, and nothing waits for its end.

        Its orders may not have been handed out, so all that it noted of them is forgotten, and asked for again.
        """
        began, self._memory = self._before
        self._keeper.begin_epoch()
        self.observed.chain = None
        self._looks.forget(self.observed, began)
        self._publisher.lost(began)
        if self.observed.job is not None and self.observed.job.cancelled == began:
            self.observed.job.cancelled = None

    # --- from the decision to orders

    def _ordered(self, view: View, decision: Decision, now: Instant) -> list[Order]:
        orders: list[Order] = []
        for question in (action for action in decision.actions if isinstance(action, QUESTIONS)):
            orders.extend(self._question(question, view, now))
        rest = tuple(action for action in decision.actions if not isinstance(action, QUESTIONS))
        if not rest:
            return orders
        if any(isinstance(action, GIVES_UP_POWER) for action in rest):
            orders.extend(self._give_up(rest, view, decision, now))
        elif self.observed.chain is None:
            orders.append(self._chain(rest, view, decision, now))
        return orders

    def _give_up(self, rest: tuple[Action, ...], view: View, decision: Decision, now: Instant) -> list[Order]:
        """Begin a new epoch, do at once what needs no chain, and chain the rest."""
        self._keeper.begin_epoch()
        self.observed.chain = None
        at_once = [action for action in rest if isinstance(action, AT_ONCE)]
        chained = tuple(action for action in rest if not isinstance(action, AT_ONCE))
        orders = [self._at_once(action, now) for action in at_once]
        if chained:
            orders.append(self._chain(chained, view, decision, now))
        return orders

    def _at_once(self, action: Action, now: Instant) -> Order:
        match action:
            case act.FinishStop():
                return order.HurryJob()
            case act.CancelJob():
                if self.observed.job is not None:
                    self.observed.job.cancelled = self.observed.job.cancelled or now
                return order.CancelRunningJob()
            case act.Exit(status=status):
                return order.Leave(status)
            case _:
                return order.StartJob(epoch=self._keeper.epoch, action=cast(JobAction, action))

    def _chain(self, rest: tuple[Action, ...], view: View, decision: Decision, now: Instant) -> Order:
        chain = Chain(actions=rest, step=0, code=decision.because.code)
        self._chains += 1
        self.observed.chain = RunningChain(number=self._chains, chain=chain, began=now)
        return order.StartChain(
            number=self._chains,
            epoch=self._keeper.epoch,
            actions=rest,
            code=decision.because.code,
            facts=self.observed.facts,
            facts_at=self.observed.facts_at(now),
            is_primary=view.node.is_running_primary,
        )

    def _question(self, question: Action, view: View, now: Instant) -> list[Order]:
        match question:
            case act.AskPeers(names=names, api_urls=api_urls):
                return self._looks.ask(self.observed, names, now, dict(api_urls))
            case act.AskHistory(member=member, conn_url=conn_url, ours=ours):
                return self._looks.ask_history(order.AskLeaderHistory(member=member, conn_url=conn_url, ours=ours), now)
            case act.ReadCluster():
                return self._looks.read_store(now)
            case _:
                self.observed.files_at = None
                return []

    # --- what every turn does beside the decision

    def _upkeep(self, view: View, now: Instant) -> list[Order]:
        orders = self._looks.orders(self.observed, view.settings, now)
        touch = self._publisher.touch(view, self._keeper.session, now)
        return [*orders, touch] if touch is not None else orders

    def _guarded(self, view: View) -> tuple[Order, ...]:
        """Return what the guard is to be told."""
        if self._may_disarm(view):
            return (order.DisarmFence(),)
        is_idle = view.guard is GuardState.IDLE and view.chain is None and view.node.job is None
        must_guard = view.lease.is_held and view.node.is_running_primary and not view.settings.is_paused
        proof = view.lease.proof
        return (order.ArmFence(proof),) if is_idle and must_guard and proof is not None else ()

    def _may_disarm(self, view: View) -> bool:
        """Whether the guard protects nobody any more (safety_rules.md §4.3).

        Judged before this turn's orders: a start that follows must not meet the rest of a kill that is under way.
        """
        if view.guard in (GuardState.IDLE, GuardState.ABSENT) or view.chain is not None:
            return False
        if view.settings.is_paused or (view.node.process is Process.DOWN and view.node.job is None):
            return True
        return view.node.is_in_recovery is True and view.node.role is not Role.PROMOTED and view.lease.proof is None

    def _is_against_leading(self, view: View, decision: Decision) -> bool:
        """Whether renewals are withheld until power is given up; a graceful stop goes on with the lock proved.

        REST says 503 from the same turn on, until the lock is gone, or Postgres is primary and nothing speaks against it.
        """
        is_leading_on = view.node.job is None and view.chain is None and view.node.is_running_primary
        if view.lease.proof is None or is_leading_on:
            self._is_giving_up = self._is_giving_up and view.is_stopping
        wanted = _wanted(decision)
        self._is_giving_up |= any(isinstance(action, act.Demote | act.StopPostgres | act.ReleaseLock) for action in wanted)
        running = self.observed.job.action if self.observed.job else None
        demotions = [action for action in (*wanted, running) if isinstance(action, act.Demote)]
        is_lapsing = decision.because.code is Code.LOCK_LAPSING
        self._is_giving_up |= is_lapsing
        is_demoting = bool(demotions) and demotions[0].kind is not DemoteKind.GRACEFUL
        return is_lapsing or (is_demoting and view.lease.proof is not None)


def _wanted(decision: Decision) -> tuple[Action, ...]:
    """Return what the decision asks for, also where it is held back because it was asked for just now (§7.5)."""
    if decision.actions:
        return decision.actions
    known = (each.actions for each in decision.memory.repeated if each.because == decision.because)
    return next(known, ())
