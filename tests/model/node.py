"""The state of one node in the model, and what a rule of the model may know and return (docs/model/README.md).

Time is whole ticks of true time; a tick stands for the longest pause between a deadline and a complete hold (the guard's
look and its sweep). A counter of ticks is what is *left* until something, so no absolute time is in a state. The lock's
identity is a relation: what a node remembers of a lock is either about the one in the store now, or about one that is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import NamedTuple

NONE = -1  # no session


class Known(IntEnum):
    """What somebody remembers of a lock."""

    NOTHING = 0
    STALE = 1  # an incarnation that is not in the store any more
    CURRENT = 2  # the incarnation that is in the store now; it is this node's then


class Agent(IntEnum):
    """The agent's process."""

    UP = 0
    HUNG = 1  # its loop takes no turn; the keeper's thread goes on
    FROZEN = 2
    DEAD = 3


class Phase(IntEnum):
    """How far the agent is. What it knows of the lock is `proof`, what the store knows is `key`."""

    IDLE = 0
    TRY = 1  # a create or a rewrite of the lock is under way
    WON = 2  # the lock is kept; nothing may write yet
    READY = 3  # armed and checked: the next step signals the promotion
    LEAD = 4
    GONE = 5  # it leads, and the store said that the lock vanished
    STOP = 6  # Postgres is being shut down in order to hand over
    RELEASE = 7  # the release is under way


class Guard(IntEnum):
    """The guard's process. One that is frozen is killed before another is started, so frozen is dead."""

    UP = 0
    DEAD = 1
    ANEW = 2  # only with `Bug.HALF_THAW_FORGOTTEN`: started anew while a thaw was half done


class Page(IntEnum):
    """The guard's state on the shared page."""

    IDLE = 0
    ARMED = 1
    HELD = 2
    KILLED = 3


class Postgres(IntEnum):
    """Postgres, less whether it is stopped by signals."""

    STANDBY = 0
    PROMOTING = 1  # the promotion, or a start as primary, was ordered; it completes whoever dies
    PRIMARY = 2
    ORPHAN = 3  # the postmaster is dead, a backend lives and acknowledges
    DOWN = 4


class Renewal(IntEnum):
    """The keeper's request: its session, and the proof of the lock. A "no" arrives as it is given: earlier changes nothing."""

    NONE = 0
    SENT = 1
    PROVED = 2  # the answer, on its way back


class Chain(IntEnum):
    """The loop's request to the store. `_STALE`: of a lock, or a version of it, that is not there any more."""

    NONE = 0
    CREATE = 1
    ADOPT = 2  # rewrite of the version that was read
    ADOPT_STALE = 3
    RELEASE = 4  # delete of the version that was read
    RELEASE_STALE = 5
    WON = 6  # the answer, on its way back
    WON_STALE = 7


class Ghost(IntEnum):
    """A request that its sender has given up, and that the store may still carry out."""

    NONE = 0
    CREATE = 1
    RELEASE = 2
    RELEASE_STALE = 3


class Host(IntEnum):
    """The whole machine."""

    RUNS = 0
    FROZEN = 1  # Postgres, agent and guard alike
    WOKEN = 2  # it runs again, and its guard has not looked yet: the exception of safety_rules.md §11


class Node(NamedTuple):
    """One node with its share of the store. Everything that is not said starts as of a healthy standby."""

    session: int = NONE  # ticks until the store may end it; 0: at any moment from now on; only kept where it matters
    key: bool = False  # the lock in the store names this node
    agent: Agent = Agent.UP
    phase: Phase = Phase.IDLE
    proof: Known = Known.NOTHING  # the lock that the agent leads under
    left: int = (
        0  # ticks until the lease is over by the own clock; the page's deadline where it is armed; never below the margin
    )
    candidate: int = 0  # the same of the session renewal that precedes a create or a rewrite
    renewal: Renewal = Renewal.NONE
    age: int = 0  # ticks since the renewal was sent
    page: Page = Page.IDLE
    armed: Known = Known.NOTHING  # the lock under which the guard was armed
    has_gap: bool = False  # since it was armed another node has had the lock
    guard: Guard = Guard.UP
    postgres: Postgres = Postgres.STANDBY
    is_stopped: bool = False  # held by signals
    is_old: bool = False  # another node has been promoted, and this one has not followed it yet
    is_deleted: bool = False  # an operator deleted the lock under which it was armed (docs/safety.md)
    chain: Chain = Chain.NONE
    ghost: Ghost = Ghost.NONE
    host: Host = Host.RUNS


class Fault(StrEnum):
    """What may go wrong; a scope of the check allows some."""

    MESSAGE = "message"  # lost, or given up and carried out later
    AGENT_DIES = "agent-dies"
    AGENT_FREEZES = "agent-freezes"
    LOOP_HANGS = "loop-hangs"
    GUARD_DIES = "guard-dies"
    CRASH = "crash"  # the postmaster dies, with or without leaving an orphan
    HOST_FREEZES = "host-freezes"
    DELETE = "delete"  # an operator deletes the lock


class Bug(StrEnum):
    """A deliberate error of the design; each must be found."""

    ANSWER_COUNTS = "deadline-counted-from-the-answer"
    CREATE_COUNTS = "deadline-of-acquire-from-its-own-answer"
    RELEASE_BY_NAME = "release-by-name"
    ADOPT_BY_NAME = "adoption-by-name"
    ADOPT_IN_PLACE = "adoption-without-rewriting"
    KEEPER_CREATES = "keeper-that-creates"
    PROMOTE_UNARMED = "promotion-before-arming"
    DISARM_EARLY = "disarmed-at-the-start-of-a-stop"
    DISARM_PENDING = "disarmed-with-a-promotion-pending"
    THAW_NEWER_DEADLINE = "thaw-on-a-newer-deadline"
    THAW_WITH_GAP = "thaw-under-a-lock-created-anew-without-history"
    PROMOTE_ON_OLD_VIEW = "promotion-on-the-view-from-before-the-win"
    RELEASE_WITH_ORPHAN = "release-with-a-live-orphan"
    GUARD_ALONE = "agent-leaves-it-all-to-the-guard"
    HUNG_LOOP_RENEWS = "hung-loop-goes-on-renewing"
    HALF_THAW_FORGOTTEN = "half-done-thaw-forgotten-by-a-new-guard"
    FAST_START = "start-faster-than-a-look-of-the-guard"
    RETAKEN_UNCHECKED = "lock-taken-anew-without-a-look-at-its-history"


class Breach(StrEnum):
    """What must never be; the causes first, then what comes of them."""

    UNARMED = "Postgres can write, or will, and its guard is not armed"
    DEADLINE = "the deadline on the page lies behind the end of the lease in the store"
    LAPSED = "Postgres acknowledges writes, and the lock under which it was armed is gone"
    TWO = "two nodes acknowledge writes at the same time"
    THAW = "a thaw under another lock, or after a gap"
    HISTORY = "a node leads that does not continue the newest history"
    DEAD_END = "no leader can be reached from here without help from outside"


SYMPTOMS = frozenset({Breach.TWO, Breach.THAW, Breach.HISTORY})


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What one check covers. Times in ticks."""

    name: str
    nodes: int = 2
    ttl: int = 4
    drift: int = 1  # by how much a clock of a host may lag within one ttl
    margin: int = 2  # drift, and one tick of the guard's
    faults: frozenset[Fault] = frozenset()
    bug: Bug | None = None
    watch: frozenset[Breach] = frozenset(Breach)
    depth: int | None = None  # how many steps; None: all that there are
    excuses_delete: bool = True  # whether a Postgres may go on until its deadline under a lock that an operator deleted
    has_handover: bool = True  # whether leaders hand over by themselves (switchover)
    has_repairs: bool = True  # whether what froze or died may go on or be started anew
    lags: tuple[int, ...] = (0, 1)  # by how much a clock lags after a proof; the drift bounds it


class World(NamedTuple):
    """What a node's step depends on beyond its own state."""

    scope: Scope
    is_free: bool  # no lock is in the store
    can_follow: bool  # another node's Postgres is a running primary

    def has(self, bug: Bug) -> bool:
        """Return whether the scope has this bug."""
        return self.scope.bug is bug


class Effect(IntEnum):
    """What a step does to all other nodes."""

    NONE = 0
    TOOK = 1  # the lock
    PROMOTED = 2


class Move(NamedTuple):
    """One possible step of one node."""

    text: str  # `{n}` is the node
    node: Node
    is_fault: bool = False  # a fault or its repair: none of them happens where the cluster has to heal by itself
    effect: Effect = Effect.NONE
    breach: Breach | None = None  # the invariant that this step breaks


Rule = Callable[[Node, World], Iterator[Move]]


def acknowledges(n: Node) -> bool:
    """Return whether Postgres of this node can acknowledge a write."""
    return n.postgres in (Postgres.PRIMARY, Postgres.ORPHAN) and not n.is_stopped and n.host is not Host.FROZEN


def without_lock(n: Node) -> Node:
    """Return the node after the lock that named it has left the store: what is remembered of it becomes stale."""
    stale = {Chain.ADOPT: Chain.ADOPT_STALE, Chain.RELEASE: Chain.RELEASE_STALE, Chain.WON: Chain.WON_STALE}
    return n._replace(
        key=False,
        proof=min(n.proof, Known.STALE),
        armed=min(n.armed, Known.STALE),
        chain=stale.get(n.chain, n.chain),
        ghost=Ghost.RELEASE_STALE if n.ghost is Ghost.RELEASE else n.ghost,
    )


def given_up(n: Node, phase: Phase) -> Node:
    """Return the node after its agent waits no more for the answer to its request; the store may still carry it out."""
    left_behind = {Chain.CREATE: Ghost.CREATE, Chain.RELEASE: Ghost.RELEASE, Chain.RELEASE_STALE: Ghost.RELEASE_STALE}
    ghost = left_behind.get(n.chain, Ghost.NONE) if n.ghost is Ghost.NONE else n.ghost
    return n._replace(chain=Chain.NONE, candidate=0, ghost=ghost, phase=phase)


def normal(n: Node, world: World) -> Node:
    """Return the same node without what no rule can see any more, so that equal states are one."""
    if n.page is Page.IDLE:
        n = n._replace(armed=Known.NOTHING, has_gap=False)
        if n.proof is Known.NOTHING:
            n = n._replace(is_deleted=n.is_deleted and n.chain is Chain.WON_STALE)
    if n.proof is Known.NOTHING or n.renewal is Renewal.NONE:
        n = n._replace(renewal=Renewal.NONE, age=0)
    if not n.key and n.chain is not Chain.CREATE and n.ghost is not Ghost.CREATE:
        n = n._replace(session=NONE)
    if n.ghost is Ghost.RELEASE_STALE and not world.has(Bug.RELEASE_BY_NAME):
        n = n._replace(ghost=Ghost.NONE)
    margin = world.scope.margin
    n = n._replace(
        left=max(n.left, margin) if n.proof is not Known.NOTHING or n.page is not Page.IDLE else 0,
        candidate=max(n.candidate, margin) if n.phase is Phase.TRY else 0,
    )
    if n.postgres is Postgres.DOWN and n.is_stopped:
        n = n._replace(is_stopped=False)
    return n
