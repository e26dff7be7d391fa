"""All rules of the model together, the passing of time, and the invariants of one node."""

from __future__ import annotations

from collections.abc import Iterator

from tests.model import fault, guard, keeper, loop, store
from tests.model.node import (
    Agent,
    Breach,
    Host,
    Known,
    Move,
    Node,
    Page,
    Postgres,
    Renewal,
    Rule,
    Scope,
    World,
    acknowledges,
    normal,
)

RULES: tuple[Rule, ...] = (*store.RULES, *keeper.RULES, *guard.RULES, *loop.RULES, *fault.RULES)


def moves(n: Node, world: World) -> Iterator[Move]:
    """Yield every step that this node, or the store for it, can take."""
    for rule in RULES:
        for move in rule(n, world):
            yield move._replace(node=normal(move.node, world))


def after_tick(n: Node, world: World) -> Node | None:
    """Return the node a tick later; None: it has something to do before. What is frozen or dead has not."""
    is_late = guard.is_running(n) and guard.is_due(n, world)
    is_overtaken = loop.is_overtaken(n, world)
    if is_late or is_overtaken or n.host is Host.WOKEN or keeper.has_to_end_alone(n, world):
        return None
    oldest = world.scope.ttl + world.scope.drift - world.scope.margin  # a proof as old as that leaves nothing
    later = n._replace(
        session=n.session - 1 if n.session > 0 else n.session,
        left=n.left - 1,
        candidate=n.candidate - 1,
        age=min(n.age + 1, oldest) if n.renewal is not Renewal.NONE else 0,
    )
    return normal(later, world)


def is_renewal_due(n: Node, world: World) -> bool:
    """Return whether a keeper that nothing disturbs renews before the next tick."""
    return keeper.wants_renewal(n, world) and (n.renewal is not Renewal.NONE or n.session < world.scope.ttl)


def breach(n: Node, scope: Scope) -> Breach | None:
    """Return the first invariant that this node breaks by itself."""
    can_write = n.postgres in (Postgres.PROMOTING, Postgres.PRIMARY, Postgres.ORPHAN)
    found = []
    if can_write and n.page is Page.IDLE:
        found.append(Breach.UNARMED)
    if writes(n, scope):
        if n.armed is not Known.CURRENT:
            found.append(Breach.LAPSED)
        elif n.page is Page.ARMED and n.left > max(n.session, 0) + scope.drift:
            found.append(Breach.DEADLINE)
    return next((each for each in found if each in scope.watch), None)


def writes(n: Node, scope: Scope) -> bool:
    """Return whether this node counts as a writer: not just woken (safety_rules.md §11), not under a deleted lock."""
    is_excused = n.host is Host.WOKEN or (n.is_deleted and scope.excuses_delete)
    return acknowledges(n) and not is_excused


def is_leader(n: Node) -> bool:
    """Return whether this node leads: what has to be reached."""
    return acknowledges(n) and n.key and n.armed is Known.CURRENT and n.host is Host.RUNS


def is_fit(n: Node) -> bool:
    """Return whether this node could lead, if the cluster let it."""
    return n.agent is Agent.UP and n.host is not Host.FROZEN and not n.is_old
