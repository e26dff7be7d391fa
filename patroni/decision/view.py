"""All that a decision may know, and what it answers. One `View` is built per turn; a rule never asks the world again.

`View` in, `Decision` out; `Memory` is what one decision wants the next one to know, returned anew each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from patroni.decision.actions import Action
from patroni.decision.cluster import Cluster, FailoverRequest, HistoryRow, Incarnation, Lsn, Member, Timeline, Twin
from patroni.decision.lease import Lease
from patroni.decision.node import Node, Upstream
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
    compared: Timeline | None = None  # our timeline that it was asked about; None: that was not known
    twin: Twin = Twin.UNKNOWN  # whether that is the leader's timeline of this number


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
    TWIN = "twin"  # diverged on a timeline of the leader's number: pg_rewind can't tell the two apart
    NOT_NEEDED = "not needed"
    SUCCESS = "success"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    """An acting decision that was made lately, and how often in a row (safety_rules.md §7.5)."""

    because: Reason
    actions: tuple[Action, ...]
    at_s: float  # of the last time
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What decisions remember between turns; times are `View.now_s` of the turn that noted them, None: never."""

    # Of the cluster
    healthy_members: Mapping[str, Member] = field(default_factory=dict)  # of the last view with a leader, by name
    healthy_leader: str | None = None
    key_free_since_s: float | None = None  # since when the leader key is seen free, without a gap
    asking_since_s: float | None = None  # since when the race waits for answers of peers
    rival_since_s: Mapping[str, float] = field(default_factory=dict)  # peers that could have taken the free key, by name
    request: FailoverRequest | None = None  # a switchover or failover that is asked for
    request_since_s: float | None = None  # since when it is seen
    abandoned_since_s: float | None = None  # since when nobody is seen to pursue a claim to make the cluster
    slot_seen_at_s: Mapping[str, float] = field(default_factory=dict)  # when a member of that slot was last seen, by slot name
    # Of the lock
    won_at_s: float | None = None  # since when we hold the lock without being promoted, or since the last progress
    won_facts: tuple[object, ...] = ()  # what counted as progress then
    released_at_s: float | None = None  # we gave a won lock back: out of the race for ttl
    released: Incarnation | None = None  # the lock that we last gave up: if it still stands, its release had no answer
    release_asked_s: float | None = None  # when that release was last ordered
    handed_over_lsn: Lsn | None = None  # shutdown checkpoint with which the lock was released during a stop
    status_at_s: float | None = None  # when the status was last written
    unanswered_since_s: float | None = None  # since when the data directory owes an answer (`stuck.is_unanswered`)
    # Of the own Postgres
    has_joined: bool = False  # one healthy turn with a running Postgres has been seen
    is_own_bootstrap: bool = False  # the initialize key was won by us and the cluster is not made yet
    is_aborting: bool = False  # our bootstrap failed: its data directory is moved away, then the agent ends
    was_in_production: bool = False  # control data of this life of the server have said so: a later "shut down" is new
    following: Upstream | None = None  # what we last told the running server to follow
    followed_at_s: float | None = None  # when it was pointed at somebody else, or seen to stream, last
    told_at_s: float | None = None  # when `following` was last told to a running server
    has_followed: bool = False  # whether `following` was told in this life of the server
    rewind: RewindState = RewindState.INITIAL
    rewind_at_s: float | None = None  # when NEEDED or FAILED was found: only a job that ended later changes it
    compared_at_s: float | None = None  # when a running standby last asked for it: other work goes on meanwhile
    history_asked_at_s: float | None = None  # since when a server that is down waits for the leader's history
    crash_recovery_at_s: float | None = None
    last_lsn: Lsn | None = None
    moved_at_s: float | None = None  # when the position was last seen to have grown
    race_backoff_since_s: float | None = None
    checkpoint_at_s: float | None = None  # when the checkpoint after a promotion was last asked for
    stopping_since_s: float | None = None  # since when the agent is to end
    repeated: tuple[Repeated, ...] = ()


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
