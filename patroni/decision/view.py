"""All that a decision may know, and what it answers. One `View` is built per turn; a rule never asks the world again.

`View` in, `Decision` out; `Memory` is what one decision wants the next one to know, returned anew each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from patroni.decision.actions import Action
from patroni.decision.cluster import Cluster, HistoryRow, Lsn, Member, Timeline
from patroni.decision.lease import Lease
from patroni.decision.node import Node
from patroni.decision.reasons import Code, Reason
from patroni.decision.settings import Settings


class GuardState(Enum):
    """What the guard is doing (safety_rules.md §4)."""

    ABSENT = "absent"  # no guard answers
    IDLE = "idle"
    ARMED = "armed"
    HELD = "held"  # Postgres is stopped, sessions are kept
    KILLED = "killed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a peer's REST API answered (contract/ha_behaviour.md §1.6)."""

    age_s: float
    is_in_recovery: bool
    lsn: Lsn | None  # of a standby: max(received, replayed); None: a primary, or it did not say
    timeline: Timeline | None
    nofailover: bool = False
    failover_priority: int = 1
    is_watchdog_failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Silent:
    """The peer was asked and did not give a usable answer."""

    age_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The peer was asked; neither answer nor deadline has come yet."""

    age_s: float


Peer = Answer | Silent | Asked  # a peer that was not asked is missing from the mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderHistory:
    """What a primary said on a replication connection (IDENTIFY_SYSTEM, TIMELINE_HISTORY)."""

    member: str
    age_s: float
    is_primary: bool  # False: it is in recovery, or did not answer
    timeline: Timeline | None = None
    rows: tuple[HistoryRow, ...] = ()  # as (timeline, switch point); empty on timeline 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The actions of an earlier decision that the effect worker is still carrying out."""

    actions: tuple[Action, ...]
    step: int  # index of the action under way
    code: Code  # of the decision
    age_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainOutcome:
    """How the last chain ended: `failed` is the action that was refused or got no answer, None if all went well."""

    code: Code  # of the decision
    failed: Action | None = None
    is_refusal: bool = False  # True: the answer was no, or a precondition failed; False: no answer
    detail: str = ""
    age_s: float = 0.0


class RewindState(Enum):
    """What is known of our history against the leader's (contract/ha_behaviour.md §5.1)."""

    INITIAL = "initial"
    CHECK = "check"  # must compare with the leader
    NEEDED = "needed"
    NOT_NEEDED = "not needed"
    SUCCESS = "success"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What decisions remember between turns; times are `View.now_s` of the turn that noted them, None: never."""

    healthy_members: Mapping[str, Member] = field(default_factory=dict)  # of the last view with a leader, by name
    healthy_leader: str | None = None
    key_free_since_s: float | None = None  # since when the leader key is seen free, without a gap
    ahead_since_s: Mapping[str, float] = field(default_factory=dict)  # peers that ought to take a free key, by name
    has_joined: bool = False  # one healthy turn with a running Postgres has been seen
    is_own_bootstrap: bool = False  # the initialize key was won by us and the cluster is not made yet
    rewind: RewindState = RewindState.INITIAL
    rewind_from: str | None = None  # the leader that `rewind` was compared with
    released_at_s: float | None = None  # we gave a won lock back: out of the race for ttl
    won_at_s: float | None = None  # we won the lock and have not been promoted yet
    crash_recovery_at_s: float | None = None
    was_demoted: bool = False  # our Postgres was stopped by a demotion and not started since
    handed_over_lsn: Lsn | None = None  # checkpoint position for which candidates are being asked
    last_lsn: Lsn | None = None
    race_backoff_since_s: float | None = None
    repeated: tuple[Code, float, int] | None = None  # last acting reason, when, how often (safety_rules.md §7.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything at one moment. Ages are seconds at `now_s`."""

    node: Node
    now_s: float  # CLOCK_BOOTTIME of this turn
    wall: datetime  # with zone; for schedules only
    seed: int  # for choices that must not be the same everywhere
    settings: Settings = Settings()
    cluster: Cluster | None = None  # None: the store has not answered for too long, or never
    cluster_age_s: float | None = None  # since the read, event or proof that it comes from; None: no cluster
    is_fresh: bool = False  # not older than our lock, and linearizable since the win (safety_rules.md §6)
    store_silent_s: float = 0.0  # for how long the store has not answered anybody on this node
    lease: Lease = Lease()
    guard: GuardState = GuardState.IDLE
    peers: Mapping[str, Peer] = field(default_factory=dict)  # by member name
    is_leader_silent: bool = False  # the leader's REST or our walreceiver fell silent: ask ahead of the race (§9)
    leader_history: LeaderHistory | None = None
    failsafe_until_s: float | None = None  # memory of a failsafe exchange that we accepted; None: none
    is_stopping: bool = False  # SIGTERM or SIGINT: hand over and end
    chain: Chain | None = None
    last_chain: ChainOutcome | None = None
    memory: Memory = Memory()

    @property
    def is_lock_ours(self) -> bool:
        """Return whether the leader key names us in this view; by name only, the proof is the lease's."""
        return self.cluster is not None and self.cluster.leader_name == self.node.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do now, why, what to remember, and when to ask again if nothing happens."""

    actions: tuple[Action, ...] = ()
    because: Reason
    memory: Memory
    wake_at_s: float  # on the clock of `View.now_s`
