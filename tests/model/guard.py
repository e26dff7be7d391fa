"""The guard: it sees the page and the clock, nothing else. And Postgres, as far as it moves by itself."""

from __future__ import annotations

from collections.abc import Iterator

from tests.model import keeper
from tests.model.node import (
    Breach,
    Bug,
    Effect,
    Guard,
    Host,
    Known,
    Move,
    Node,
    Page,
    Postgres,
    World,
)


def is_running(n: Node) -> bool:
    """Return whether the guard runs."""
    return n.guard is not Guard.DEAD and n.host is not Host.FROZEN


def is_due(n: Node, world: World) -> bool:
    """Return whether the guard has something to do before it may wait (safety_rules.md §3: it looks every 0.25 s)."""
    match n.page:
        case Page.ARMED:
            return n.left <= world.scope.margin
        case Page.HELD:
            return not n.is_stopped and n.postgres is not Postgres.DOWN
        case Page.KILLED:
            return n.postgres is not Postgres.DOWN
        case Page.IDLE:
            return False


def deadline_passes(n: Node, world: World) -> Iterator[Move]:
    """Hold, first step: say so on the page, so that a guard that dies here is followed by one that completes it."""
    if is_running(n) and n.page is Page.ARMED and n.left <= world.scope.margin:
        yield Move("the guard of {n} sees the deadline less the margin pass", n._replace(page=Page.HELD))


def holds(n: Node, world: World) -> Iterator[Move]:
    """Hold, second step: all processes are stopped; an orphan can only be killed (fence_facts.md rule 13)."""
    if not (is_running(n) and n.page is Page.HELD and is_due(n, world)):
        return
    if n.postgres is Postgres.ORPHAN:
        yield Move("the guard of {n} cannot hold an orphan", n._replace(page=Page.KILLED))
    else:
        yield Move("the guard of {n} holds its Postgres", n._replace(is_stopped=True))


def loses_patience(n: Node, world: World) -> Iterator[Move]:
    """After `hold_s`, at once by order, or for something that runs while held: at any time here."""
    if is_running(n) and n.page is Page.HELD and n.postgres is not Postgres.DOWN:
        yield Move("the guard of {n} ends the hold with a kill", n._replace(page=Page.KILLED))


def kills(n: Node, world: World) -> Iterator[Move]:
    """In `killed` whatever appears is killed."""
    if is_running(n) and n.page is Page.KILLED and n.postgres is not Postgres.DOWN:
        yield Move("the guard of {n} kills its Postgres", n._replace(postgres=Postgres.DOWN, is_stopped=False))


def resumes(n: Node, world: World) -> Iterator[Move]:
    """Thaw, second step (the first is the agent's order): the deadline is looked at again (fence_facts.md rule 17)."""
    is_half_done = n.page is Page.ARMED and n.is_stopped
    if is_running(n) and n.guard is Guard.UP and is_half_done and n.left > world.scope.margin:
        is_the_same = n.armed is Known.CURRENT and not n.has_gap and not n.is_old
        breach = None if is_the_same or n.is_deleted else Breach.THAW
        yield Move("the guard of {n} lets Postgres go on", n._replace(is_stopped=False), breach=breach)


def trusts_deadline(n: Node, world: World) -> Iterator[Move]:
    """The bug: a newer deadline alone thaws."""
    is_newer = n.page is Page.HELD and n.is_stopped and n.left > world.scope.margin
    if world.has(Bug.THAW_NEWER_DEADLINE) and is_running(n) and is_newer:
        yield Move("the guard of {n} sees a newer deadline, and begins a thaw", n._replace(page=Page.ARMED))


def has_looked(n: Node, world: World) -> Iterator[Move]:
    """The first look after the whole machine was frozen."""
    if n.host is Host.WOKEN and (not is_due(n, world) or n.guard is Guard.DEAD):
        yield Move("the guard of {n} has looked after the wake-up", n._replace(host=Host.RUNS))


def becomes_writable(n: Node, world: World) -> Iterator[Move]:
    """A promotion, or a start as primary, completes: also without its agent.

    Where the guard has acted already, a start is slower than the next look, its own or, if it is dead, the keeper's (100 ms
    and 250 ms; measured: starts take 0.2 s and more).
    """
    is_watched = is_running(n) or keeper.has_to_end_alone(n, world)
    is_seen = is_watched and n.page in (Page.HELD, Page.KILLED) and not world.has(Bug.FAST_START)
    if n.postgres is Postgres.PROMOTING and not n.is_stopped and n.host is not Host.FROZEN and not is_seen:
        is_excused = n.is_deleted or n.host is Host.WOKEN
        breach = Breach.HISTORY if n.is_old and not is_excused else None
        effect = Effect.PROMOTED if n.armed is Known.CURRENT else Effect.NONE  # an excused one makes nobody old
        yield Move("Postgres of {n} becomes writable", n._replace(postgres=Postgres.PRIMARY), effect=effect, breach=breach)


def follows(n: Node, world: World) -> Iterator[Move]:
    """A standby takes over the history of the running primary (streaming, rewind or copy)."""
    if n.postgres is Postgres.STANDBY and n.is_old and world.can_follow and not n.is_stopped and n.host is Host.RUNS:
        yield Move("{n} follows the new primary", n._replace(is_old=False))


def orphan_ends(n: Node, world: World) -> Iterator[Move]:
    """An orphan notices the postmaster's death by itself, some time."""
    if n.postgres is Postgres.ORPHAN and n.host is not Host.FROZEN:
        yield Move("the orphan of {n} exits", n._replace(postgres=Postgres.DOWN, is_stopped=False))


RULES = (
    deadline_passes,
    holds,
    loses_patience,
    kills,
    resumes,
    trusts_deadline,
    has_looked,
    becomes_writable,
    follows,
    orphan_ends,
)
