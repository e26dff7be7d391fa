"""The cluster as the store shows it: one immutable snapshot, built by `dcs/layout.py` and read by the rules.

Promised: nothing here changes after it was built, and two readers of one snapshot see the same truth. Not promised: that
it is still true; how old it is stands in the `View`. Names, values and their meaning: contract/dcs.md §1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, StrEnum
from typing import NewType

Lsn = NewType("Lsn", int)  # byte position in the WAL
Timeline = NewType("Timeline", int)  # >= 1
SystemId = NewType("SystemId", str)  # decimal digits, as pg_controldata prints it
SlotName = NewType("SlotName", str)

Incarnation = NewType("Incarnation", str)  # opaque, equality only: changes when the lock is created anew (safety_rules.md §1)
Revision = NewType("Revision", int)  # ordered, of the store as a whole
Token = NewType("Token", str)  # opaque: what a compare-and-set of one key compares
SessionId = NewType("SessionId", str)


class Role(StrEnum):
    """What a Postgres is, in the words of the member key (contract/ha_behaviour.md §7.3)."""

    PRIMARY = "primary"
    REPLICA = "replica"
    STANDBY_LEADER = "standby_leader"
    DEMOTED = "demoted"
    PROMOTED = "promoted"
    UNINITIALIZED = "uninitialized"


class PostgresState(StrEnum):
    """What state a Postgres is in, in the words of the member key (contract/ha_behaviour.md §7.2, in its order)."""

    INITDB = "initializing new cluster"
    INITDB_FAILED = "initdb failed"
    CUSTOM_BOOTSTRAP = "running custom bootstrap script"
    CUSTOM_BOOTSTRAP_FAILED = "custom bootstrap failed"
    CREATING_REPLICA = "creating replica"
    RUNNING = "running"
    STARTING = "starting"
    BOOTSTRAP_STARTING = "starting after custom bootstrap"
    START_FAILED = "start failed"
    RESTARTING = "restarting"
    RESTART_FAILED = "restart failed"
    STOPPING = "stopping"
    STOPPED = "stopped"
    STOP_FAILED = "stop failed"
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tags:
    """The tags of a member, parsed (contract/ha_behaviour.md §2.29); `published` is what the member key shows."""

    nofailover: bool = False
    failover_priority: int = 1
    nosync: bool = False
    sync_priority: int = 1
    noloadbalance: bool = False
    clonefrom: bool = False
    nostream: bool = False
    replicatefrom: str | None = None  # None: follow the leader
    published: Mapping[str, object] = field(default_factory=dict)  # by tag name, JSON values


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """What a node published about itself under its member key; None everywhere: it did not say."""

    name: str
    conn_url: str | None = None
    api_url: str | None = None
    state: PostgresState | None = None
    role: Role | None = None  # `master` of old agents is read as PRIMARY
    version: str | None = None
    tags: Tags = Tags()
    lsn: Lsn | None = None  # `xlog_location`
    replay_lsn: Lsn | None = None
    receive_lsn: Lsn | None = None
    replication_state: str | None = None
    timeline: Timeline | None = None
    checkpoint_after_promote: bool | None = None  # None: the field is absent, so the checkpoint is done
    is_paused: bool = False
    session: SessionId | None = None
    published: Mapping[str, object] = field(default_factory=dict)  # the whole object as read, for REST and patronictl


@dataclass(frozen=True, slots=True, kw_only=True)
class Leader:
    """The leader key: who holds the lock, and which lock that is."""

    name: str
    incarnation: Incarnation
    token: Token
    revision: Revision | None = None  # of its last write; None: the store has no global revision
    session: SessionId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The leader's last published position and slots (contract/dcs.md §1.8)."""

    lsn: Lsn | None = None  # None: unknown (0 on the wire)
    slots: Mapping[str, Lsn] = field(default_factory=dict)  # by slot name
    retain_slots: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FailoverRequest:
    """A switchover (leader named) or manual failover (not named) asked for by an operator (contract/dcs.md §1.9)."""

    leader: str | None = None
    candidate: str | None = None  # None: any
    scheduled_at: datetime | None = None  # None: now; without a zone: unreadable, never due (§2.19a Z2)
    token: Token | None = None

    @property
    def action(self) -> str:
        """Return how operators call it: `switchover` or `manual failover`."""
        return "switchover" if self.leader else "manual failover"


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncState:
    """The synchronous state (contract/dcs.md §1.10); no leader: synchronous mode is not active."""

    leader: str | None = None
    voters: tuple[str, ...] = ()
    quorum: int = 0
    token: Token | None = None  # None: the key does not exist


class Twin(Enum):
    """Whether a timeline that two servers know by the same number is one and the same, up to where one of them has it."""

    UNKNOWN = "unknown"  # not asked, or what would show it is not there any more
    NONE = "none"  # it is
    BY_BEGIN = "by its begin"  # their histories before it differ
    BY_WAL = "by its WAL"  # the bytes differ


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRow:
    """One ended timeline (contract/dcs.md §1.11)."""

    timeline: Timeline
    lsn: Lsn
    reason: str
    timestamp: str | None = None  # ISO 8601; None: nobody observed this switch
    leader: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The history key as read."""

    rows: tuple[HistoryRow, ...] = ()
    cluster_timeline: Timeline | None = None  # last row + 1; 1 for `[]`; None: absent or unparsable


class Initialize(StrEnum):
    """What the initialize key says besides a system id."""

    ABSENT = "absent"  # never initialised, or wiped
    RUNNING = "running"  # empty: a node is bootstrapping right now
    INVALID = "invalid"  # neither empty nor a system id


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicConfig:
    """The config key; `values` is None where it holds no JSON object (then it is not applied and a leader rewrites it)."""

    values: Mapping[str, object] | None
    token: Token


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Everything under the cluster's prefix at one moment. A missing key is None or empty as said per field."""

    initialize: SystemId | Initialize = Initialize.ABSENT
    initialize_token: Token | None = None  # of the initialize key; None: no key
    config: DynamicConfig | None = None
    leader: Leader | None = None  # None: nobody holds the lock
    status: Status = Status()
    members: Mapping[str, Member] = field(default_factory=dict)  # by member name
    failover: FailoverRequest | None = None
    failover_token: Token | None = None  # of the key even where it requests nothing; None: no key
    sync: SyncState = SyncState()
    history: History = History()
    failsafe: Mapping[str, str] | None = None  # member name -> api_url; None: no key, or not an object
    revision: Revision | None = None  # of the whole store; None: the store has none
    store_id: str | None = None  # identity of the store (etcd's cluster id); None: it has none

    @property
    def leader_name(self) -> str | None:
        """Return the name in the leader key, or None if nobody leads."""
        return self.leader.name if self.leader else None

    @property
    def system_id(self) -> SystemId | None:
        """Return the valid system identifier of the initialize key, or None."""
        return None if isinstance(self.initialize, Initialize) else self.initialize
