"""The loop of a node: race, arm, promote, hand over, adopt, thaw, clean up. Every effect is a step of its own."""

from __future__ import annotations

from collections.abc import Iterator

from tests.model.node import (
    NONE,
    Agent,
    Breach,
    Bug,
    Chain,
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


def can_act(n: Node) -> bool:
    """Return whether the loop takes its turns."""
    return n.agent is Agent.UP and n.host is Host.RUNS


def is_resting(n: Node) -> bool:
    """Return whether Postgres is a standby that nothing has touched."""
    return n.postgres is Postgres.STANDBY and not n.is_stopped and n.page is Page.IDLE


def is_enough(left: int, world: World) -> bool:
    """Return whether so much of a lease allows to gain power (safety_rules.md §6)."""
    return left > world.scope.margin


# --- the lock


def race(n: Node, world: World) -> Iterator[Move]:
    """Renew the session, then send a create: the lock inherits the deadline of the renewal (§2)."""
    is_candidate = n.phase is Phase.IDLE and is_resting(n) and n.chain is Chain.NONE
    if not (can_act(n) and is_candidate and world.is_free and not n.is_old):
        return
    yield from _sent(n, Chain.CREATE, world, "{n} finds no lock, renews its session and sends a create")


def retake(n: Node, world: World) -> Iterator[Move]:
    """A running primary inside its deadline, and a held one, may take a vanished lock anew by a create only (§1.5)."""
    is_lost = n.phase is Phase.GONE or (n.phase is Phase.IDLE and n.armed is not Known.NOTHING)
    is_there = n.postgres is Postgres.PRIMARY and (n.page is Page.HELD or (n.page is Page.ARMED and is_enough(n.left, world)))
    if can_act(n) and is_lost and is_there and world.is_free and not n.is_old and n.chain is Chain.NONE:
        yield from _sent(n, Chain.CREATE, world, "{n} finds its lock gone, renews its session and sends a create")


def _sent(n: Node, request: Chain, world: World, text: str) -> Iterator[Move]:
    for lag in world.scope.lags:
        after = n._replace(phase=Phase.TRY, chain=request, session=world.scope.ttl, candidate=world.scope.ttl + lag)
        yield Move(f"{text}; its clock will lag by {lag}", after)


def takes(n: Node, world: World) -> Iterator[Move]:
    """Keep what was won. Where Postgres runs already the history since the arming decides (§4.4)."""
    if not can_act(n) or n.phase is not Phase.TRY or n.chain not in (Chain.WON, Chain.WON_STALE):
        return
    proof = Known.CURRENT if n.chain is Chain.WON else Known.STALE
    left = world.scope.ttl if world.has(Bug.CREATE_COUNTS) else n.candidate
    taken = n._replace(chain=Chain.NONE, candidate=0, proof=proof, left=left)
    if n.page is Page.HELD and world.has(Bug.THAW_NEWER_DEADLINE):
        yield Move("{n} has a lock anew, and its deadline is on the page", taken._replace(phase=Phase.LEAD))
    elif n.page is Page.IDLE:
        yield Move("{n} has the lock", taken._replace(phase=Phase.WON))
    elif _is_unbroken(n, world):
        breach = Breach.HISTORY if n.is_old else Breach.THAW if n.has_gap and n.page is Page.HELD else None
        armed = taken._replace(armed=proof, phase=Phase.LEAD, has_gap=False, is_deleted=n.is_deleted and proof is Known.STALE)
        yield Move("{n} has the lock anew, and arms its guard with it", armed, breach=breach)
    else:
        killed = n._replace(chain=Chain.NONE, candidate=0, page=Page.KILLED, phase=Phase.IDLE)
        yield Move("{n} has the lock anew, but another node had it meanwhile: a kill is ordered", killed)


def _is_unbroken(n: Node, world: World) -> bool:
    """Return whether the lock made anew continues the one under which Postgres runs: nobody else had it since (§4.4)."""
    is_unseen = world.has(Bug.RETAKEN_UNCHECKED) if n.page is Page.ARMED else world.has(Bug.THAW_WITH_GAP)
    is_here = n.page in (Page.ARMED, Page.HELD) and n.postgres in (Postgres.PROMOTING, Postgres.PRIMARY)
    return is_here and (is_unseen or not (n.has_gap or n.is_old))


def adopt_by_page(n: Node, world: World) -> Iterator[Move]:
    """A started agent finds Postgres running under a guard armed for the very lock that is in the store (§1.4)."""
    is_here = n.postgres in (Postgres.PROMOTING, Postgres.PRIMARY) and n.page in (Page.ARMED, Page.HELD)
    is_mine = n.armed is Known.CURRENT or world.has(Bug.ADOPT_BY_NAME)
    if can_act(n) and n.phase is Phase.IDLE and n.key and is_here and is_mine:
        after = n._replace(phase=Phase.LEAD, proof=Known.CURRENT, armed=Known.CURRENT)
        yield Move("{n} adopts the lock" + (" of its page" if n.armed is Known.CURRENT else " that bears its name"), after)


def adopt_by_checks(n: Node, world: World) -> Iterator[Move]:
    """A lock that names us is taken by the election's checks and a rewrite, so that an old release misses it (§1.4)."""
    if can_act(n) and n.phase is Phase.IDLE and n.key and is_resting(n) and not n.is_old and n.session != NONE:
        yield from _sent(n, Chain.ADOPT, world, "{n} finds a lock that names it, and sends a rewrite")


def let_go(n: Node, world: World) -> Iterator[Move]:
    """A lock of ours, but the checks (a view that is newer than the lock, §6) forbid to lead under it: released."""
    is_barred = n.is_old and n.key and not world.has(Bug.PROMOTE_ON_OLD_VIEW)
    if can_act(n) and n.phase in (Phase.IDLE, Phase.WON) and is_barred and n.page is Page.IDLE and _is_down(n, world):
        after = n._replace(phase=Phase.RELEASE, chain=Chain.RELEASE, proof=Known.NOTHING, renewal=Renewal.NONE)
        yield Move("{n} may not lead, and sends a release", after)


def _is_down(n: Node, world: World) -> bool:
    is_orphan_ignored = n.postgres is Postgres.ORPHAN and world.has(Bug.RELEASE_WITH_ORPHAN)
    return n.postgres in (Postgres.DOWN, Postgres.STANDBY) or is_orphan_ignored


# --- to power


def arm(n: Node, world: World) -> Iterator[Move]:
    """Check, then arm and have it acknowledged, before anything that makes Postgres writable (§4.3, §6)."""
    is_able = n.postgres in (Postgres.STANDBY, Postgres.DOWN) and not n.is_stopped and n.page is Page.IDLE
    may = not n.is_old or world.has(Bug.PROMOTE_ON_OLD_VIEW)
    if not (can_act(n) and n.phase is Phase.WON and is_able and may and is_enough(n.left, world)):
        return
    if world.has(Bug.PROMOTE_UNARMED):
        yield Move("{n} orders the promotion", n._replace(postgres=Postgres.PROMOTING, phase=Phase.LEAD))
    elif n.guard is not Guard.DEAD:
        after = n._replace(page=Page.ARMED, armed=n.proof, phase=Phase.READY)
        yield Move("the guard of {n} is armed, and the lease is checked", after)


def signal(n: Node, world: World) -> Iterator[Move]:
    """The effect, without another look: whatever time has passed since the check, the guard knows."""
    if n.agent is Agent.UP and n.host is not Host.FROZEN and n.phase is Phase.READY:
        can = n.postgres in (Postgres.STANDBY, Postgres.DOWN)
        after = n._replace(postgres=Postgres.PROMOTING if can else n.postgres, phase=Phase.LEAD)
        yield Move("{n} orders the promotion", after)


def reconsider(n: Node, world: World) -> Iterator[Move]:
    """A lease that ran out between check and effect voids what was about to be done; with a new one it is checked anew."""
    if is_overtaken(n, world):
        yield Move("{n} sees in time that its lease is over, and orders no promotion", n._replace(phase=Phase.LEAD))
    is_ready = n.phase is Phase.LEAD and n.postgres is Postgres.STANDBY and n.page is Page.ARMED and not n.is_stopped
    if (
        can_act(n)
        and is_ready
        and n.guard is not Guard.DEAD
        and n.proof is n.armed
        and is_enough(n.left, world)
        and not n.is_old
    ):
        yield Move("{n} checks its lease again", n._replace(phase=Phase.READY))


def is_overtaken(n: Node, world: World) -> bool:
    """Return whether the lease ran out between check and effect: an agent that runs does either at once."""
    return can_act(n) and n.phase is Phase.READY and not is_enough(n.left, world)


def thaw(n: Node, world: World) -> Iterator[Move]:
    """Order the thaw: a proof of the same incarnation, and enough of the lease (§4.4).

    That the proof was sent after the hold is not asked here: what is shown holds without, by a deadline counted from sending.
    """
    is_held = n.page is Page.HELD and n.is_stopped and n.guard is not Guard.DEAD
    is_the_same = n.proof is n.armed
    if can_act(n) and n.phase is Phase.LEAD and is_held and is_the_same and is_enough(n.left, world):
        yield Move("{n} orders the thaw with its proof", n._replace(page=Page.ARMED))


# --- from power


def hand_over(n: Node, world: World) -> Iterator[Move]:
    """A switchover begins; the guard stays armed until Postgres is down (§4.3)."""
    is_leading = n.phase is Phase.LEAD and n.postgres is Postgres.PRIMARY and n.page is Page.ARMED and not n.is_stopped
    if world.scope.has_handover and can_act(n) and is_leading:
        page = Page.IDLE if world.has(Bug.DISARM_EARLY) else n.page
        yield Move("{n} begins to stop its Postgres in order to hand over", n._replace(phase=Phase.STOP, page=page))


def shuts_down(n: Node, world: World) -> Iterator[Move]:
    """The stop that was ordered completes, some time."""
    if n.phase is Phase.STOP and n.postgres is Postgres.PRIMARY and not n.is_stopped and n.host is not Host.FROZEN:
        yield Move("Postgres of {n} has shut down", n._replace(postgres=Postgres.DOWN))


def disarm(n: Node, world: World) -> Iterator[Move]:
    """Only when Postgres is down, or in recovery with no promotion pending (§4.3)."""
    is_idle = n.phase in (Phase.IDLE, Phase.GONE)
    is_standby = n.postgres is Postgres.STANDBY and is_idle
    is_standby |= n.postgres is Postgres.PROMOTING and is_idle and world.has(Bug.DISARM_PENDING)
    is_down = n.postgres is Postgres.DOWN and n.phase in (Phase.IDLE, Phase.GONE, Phase.STOP, Phase.LEAD, Phase.WON)
    is_down |= n.phase is Phase.STOP and _is_down(n, world)
    can = can_act(n) and n.page is not Page.IDLE and n.guard is not Guard.DEAD
    if can and (is_down or is_standby) and not n.is_stopped:
        phases = {Phase.LEAD: Phase.WON, Phase.GONE: Phase.IDLE}
        after = n._replace(page=Page.IDLE, phase=phases.get(n.phase, n.phase))
        yield Move("{n} disarms its guard: nothing of Postgres can write", after)


def release(n: Node, world: World) -> Iterator[Move]:
    """Down, disarmed, keeper stopped: the version that was read is released (§1.2, §6)."""
    if can_act(n) and n.phase is Phase.STOP and n.page is Page.IDLE and _is_down(n, world):
        request = Chain.RELEASE if n.proof is Known.CURRENT else Chain.RELEASE_STALE
        after = n._replace(phase=Phase.RELEASE, chain=request, proof=Known.NOTHING, renewal=Renewal.NONE)
        yield Move("{n} sends the release of its lock", after)


def order_kill(n: Node, world: World) -> Iterator[Move]:
    """No lock, yet something runs or is held: ended (Demote, hold and kill have no preconditions, §6)."""
    is_something = n.is_stopped or n.postgres not in (Postgres.STANDBY, Postgres.DOWN)
    can = can_act(n) and n.phase in (Phase.IDLE, Phase.GONE) and n.guard is not Guard.DEAD
    if can and n.page in (Page.ARMED, Page.HELD) and is_something:
        yield Move("{n} orders a kill", n._replace(page=Page.KILLED))


def end_orphan(n: Node, world: World) -> Iterator[Move]:
    """Orphans are ended before anything else is done with the directory (§5)."""
    if can_act(n) and n.postgres is Postgres.ORPHAN:
        yield Move("{n} kills the orphan", n._replace(postgres=Postgres.DOWN, is_stopped=False))


def start_standby(n: Node, world: World) -> Iterator[Move]:
    """A server that is down comes back as a standby."""
    if can_act(n) and n.postgres is Postgres.DOWN and n.page is Page.IDLE and n.phase is Phase.IDLE:
        yield Move("{n} starts its Postgres as a standby", n._replace(postgres=Postgres.STANDBY))


def start_guard(n: Node, world: World) -> Iterator[Move]:
    """A new guard goes on from the page."""
    if can_act(n) and n.guard is Guard.DEAD:
        is_forgetful = world.has(Bug.HALF_THAW_FORGOTTEN) and n.page is Page.ARMED and n.is_stopped
        yield Move("{n} starts a new guard", n._replace(guard=Guard.ANEW if is_forgetful else Guard.UP))


RULES = (
    *(race, retake, takes, adopt_by_page, adopt_by_checks, let_go),
    *(arm, signal, reconsider, thaw),
    *(hand_over, shuts_down, disarm, release, order_kill, end_orphan, start_standby, start_guard),
)
