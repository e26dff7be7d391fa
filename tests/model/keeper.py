"""The lease keeper of a node: renewals with proof, deadlines from before the request, and what ends the lease."""

from __future__ import annotations

from collections.abc import Iterator

from tests.model.node import (
    Agent,
    Bug,
    Effect,
    Guard,
    Host,
    Known,
    Move,
    Node,
    Page,
    Phase,
    Postgres,
    Renewal,
    World,
)

LEADS = (Phase.WON, Phase.READY, Phase.LEAD, Phase.STOP)  # with a proof, without a request of the loop


def is_running(n: Node) -> bool:
    """Return whether the keeper's thread runs."""
    return n.agent in (Agent.UP, Agent.HUNG) and n.host is Host.RUNS


def wants_renewal(n: Node, world: World) -> bool:
    """Return whether the keeper is to renew: a hung loop withholds it (safety_rules.md §7.1)."""
    has_turned = n.agent is Agent.UP or (n.agent is Agent.HUNG and world.has(Bug.HUNG_LOOP_RENEWS))
    return has_turned and n.host is Host.RUNS and n.proof is not Known.NOTHING and n.phase in LEADS


def send(n: Node, world: World) -> Iterator[Move]:
    """Send one renewal; its age counts from here. One right after another has been carried out would add nothing."""
    if wants_renewal(n, world) and n.renewal is Renewal.NONE and n.session < world.scope.ttl:
        yield Move("the keeper of {n} sends a renewal", n._replace(renewal=Renewal.SENT, age=0))


def proved(n: Node, world: World) -> Iterator[Move]:
    """The deadline is counted from before the request was sent; an own clock may be slow by up to `drift` (§3)."""
    if not is_running(n) or n.renewal is not Renewal.PROVED:
        return
    age = 0 if world.has(Bug.ANSWER_COUNTS) else n.age
    for lag in world.scope.lags:
        left = world.scope.ttl + lag - age
        text = f"{{n}} has a proof that was sent {n.age} ticks ago; its clock will lag by {lag}"
        yield Move(text, n._replace(renewal=Renewal.NONE, left=left))


def refused(n: Node, world: World) -> Iterator[Move]:
    """Another lock is there, by an answer or by a view newer than ours: the lease is over here and now (§1.7)."""
    is_other = not (world.is_free or n.key)
    is_told = is_running(n) and n.renewal is Renewal.SENT
    is_seen = n.agent is Agent.UP and n.host is Host.RUNS and n.phase in LEADS and n.proof is not Known.NOTHING
    if is_other and (is_told or is_seen):
        yield Move("{n} learns that another node has the lock: its lease is over", _ended(n))


def vanished(n: Node, world: World) -> Iterator[Move]:
    """'Gone' is no refusal (§1.5): the keeper reports it and never creates. A node that has not begun to lead gives up."""
    is_gone = world.is_free or (n.key and n.proof is Known.STALE)
    if not (is_running(n) and n.renewal is Renewal.SENT and is_gone):
        return
    if n.phase is not Phase.LEAD or n.page is Page.IDLE:
        yield Move("{n} learns that its lock is gone, and leads no more", _ended(n))
    elif world.has(Bug.KEEPER_CREATES):
        yield from _created(n, world)
    else:
        yield Move("{n} learns that its lock is gone", n._replace(renewal=Renewal.NONE, proof=Known.NOTHING, phase=Phase.GONE))


def _created(n: Node, world: World) -> Iterator[Move]:
    """The bug: the keeper makes the lock anew, as if it were the same one."""
    if world.is_free:
        lock = n._replace(key=True, session=world.scope.ttl, renewal=Renewal.NONE, proof=Known.CURRENT, armed=Known.CURRENT)
        yield Move("the keeper of {n} creates the lock anew", lock._replace(left=world.scope.ttl), effect=Effect.TOOK)


def _ended(n: Node) -> Node:
    """Return the node without its lease: the page's deadline is 0, which the guard sees at once."""
    return n._replace(renewal=Renewal.NONE, proof=Known.NOTHING, left=0, phase=Phase.IDLE)


def ends_alone(n: Node, world: World) -> Iterator[Move]:
    """With its guard dead the agent itself ends Postgres when the time has come."""
    if has_to_end_alone(n, world):
        phase = Phase.LEAD if n.phase is Phase.READY else n.phase  # a new epoch: what was about to be done is void
        after = n._replace(postgres=Postgres.DOWN, is_stopped=False, phase=phase)
        yield Move("the keeper of {n}, without a guard, kills its Postgres", after)


def has_to_end_alone(n: Node, world: World) -> bool:
    """Return whether Postgres has to be ended now, and the guard is not there to do it."""
    is_due = n.page is not Page.IDLE and n.left <= world.scope.margin and n.postgres is not Postgres.DOWN
    return is_running(n) and n.guard is Guard.DEAD and is_due and not world.has(Bug.GUARD_ALONE)


RULES = (send, proved, refused, vanished, ends_alone)
