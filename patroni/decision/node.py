"""The own node: what was observed of the local Postgres, its data directory and the job that works on it.

Every field is an observation with its age in the `View`'s probe fields, never a wish. Sources: contract/ha_behaviour.md §1.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum

from patroni.decision.cluster import HistoryRow, Lsn, PostgresState, Role, SlotName, SystemId, Timeline


class Process(Enum):
    """Whether a Postgres lives on the data directory (safety_rules.md §5)."""

    UNKNOWN = "unknown"  # not looked yet
    DOWN = "down"  # nothing attached to its shared memory, no process of it lives
    ORPHANS = "orphans"  # the postmaster is gone, some of its children live on: they can still commit
    ALIVE = "alive"  # a postmaster runs


class DataDirectory(Enum):
    """What the data directory looks like."""

    UNKNOWN = "unknown"  # not looked yet, or the file worker hangs
    EMPTY = "empty"
    INACCESSIBLE = "inaccessible"
    PRESENT = "present"


class ClusterState(StrEnum):
    """`Database cluster state` of pg_controldata."""

    STARTING_UP = "starting up"
    SHUT_DOWN = "shut down"
    SHUT_DOWN_IN_RECOVERY = "shut down in recovery"
    SHUTTING_DOWN = "shutting down"
    IN_CRASH_RECOVERY = "in crash recovery"
    IN_ARCHIVE_RECOVERY = "in archive recovery"
    IN_PRODUCTION = "in production"


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlData:
    """What pg_controldata said."""

    cluster_state: ClusterState | None  # None: a text that we do not know
    system_id: SystemId
    timeline: Timeline  # of the latest checkpoint
    checkpoint_lsn: Lsn
    previous_lsn: Lsn | None = None  # contract/ha_behaviour.md §6.5; None: not a clean shutdown, or unknown
    checkpoint_end_lsn: Lsn | None = None  # end of the checkpoint record (pg_waldump); None: not read
    minimum_recovery_lsn: Lsn | None = None  # None: 0/0
    minimum_recovery_timeline: Timeline | None = None
    can_rewind: bool = False  # data checksums or wal_log_hints are on


class JobKind(StrEnum):
    """The long works of which at most one runs; texts are visible to operators (contract/ha_behaviour.md §2.3)."""

    BOOTSTRAP = "bootstrap"
    POST_BOOTSTRAP = "post_bootstrap"
    CLONE_FROM_LEADER = "bootstrap from leader"
    CLONE_FROM_REPLICA = "bootstrap from replica"
    START_AS_PRIMARY = "starting primary after failure"
    START_AS_STANDBY = "restarting after failure"
    START_AFTER_DEMOTION = "starting after demotion"
    CRASH_RECOVERY = "doing crash recovery in a single user mode"
    REWIND = "running pg_rewind from"
    REINITIALIZE = "reinitializing due to diverged timelines"
    RESTART_TO_FOLLOW = "changing primary_conninfo and restarting"
    DEMOTE = "demote"
    STOP = "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The background job that runs now."""

    kind: JobKind
    subject: str | None = None  # the member it works from, or `switchover`/`manual failover`; None: nobody
    age_s: float = 0.0
    phase: str = ""  # for people
    is_cancelled: bool = False

    @property
    def title(self) -> str:
        """Return the name that operators see."""
        if self.kind is JobKind.DEMOTE:
            return f"{self.subject}: {self.kind}" if self.subject else str(self.kind)
        if self.kind is JobKind.REWIND:
            return f"{self.kind} {self.subject}"
        return f"{self.kind} '{self.subject}'" if self.subject else str(self.kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOutcome:
    """How the last job ended; kept until the next one begins."""

    kind: JobKind
    subject: str | None = None
    is_ok: bool
    detail: str = ""  # for people; empty where there is nothing to say
    age_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """From where a standby streams. No upstream at all is None where this type is optional: archive recovery only."""

    member: str | None  # None: an address that is no member's (seen only)
    host: str
    port: int
    slot: SlotName | None = None  # None: without a slot


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A replication slot of this server."""

    name: SlotName
    is_physical: bool
    is_active: bool
    restart_lsn: Lsn | None = None
    confirmed_flush_lsn: Lsn | None = None  # logical ones only


@dataclass(frozen=True, slots=True, kw_only=True)
class Walsender:
    """One standby that streams from this server."""

    pid: int
    application_name: str
    state: str
    sync_state: str
    flush_lsn: Lsn | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """All that is known of the own Postgres."""

    name: str
    state: PostgresState = PostgresState.STOPPED  # own bookkeeping
    state_age_s: float = 0.0
    role: Role = Role.UNINITIALIZED  # own bookkeeping
    process: Process = Process.UNKNOWN
    data_directory: DataDirectory = DataDirectory.UNKNOWN
    has_recovery_signal: bool = False
    has_backup_label: bool = False
    system_id: SystemId | None = None
    control: ControlData | None = None  # None: not read, or pg_controldata failed
    major: int | None = None  # of PG_VERSION; None: no data directory
    is_torn: bool = False  # a pg_rewind of the data directory began and has not succeeded
    # From the monitoring query; None: it did not answer (silence, not "no").
    is_in_recovery: bool | None = None
    timeline: Timeline | None = None
    lsn: Lsn | None = None  # primary: flushed; standby: max(received, replayed)
    receive_lsn: Lsn | None = None
    replay_lsn: Lsn | None = None
    is_replay_paused: bool = False
    replication_state: str | None = None
    upstream: Upstream | None = None  # seen; None: none, or not in recovery
    slots: tuple[Slot, ...] = ()
    walsenders: tuple[Walsender, ...] = ()
    local_history: tuple[HistoryRow, ...] = ()  # from the timeline's history file; empty: timeline 1, or not read
    is_checkpointed: bool = False  # pg_control carries the own timeline (after-promote checkpoint done)
    probe_age_s: float | None = None  # of the monitoring query's last good answer; None: none since the start
    job: Job | None = None
    last_job: JobOutcome | None = None

    @property
    def is_running_primary(self) -> bool:
        """Return whether this Postgres may take writes; when it does not answer, its own role decides (§1.3)."""
        if self.process is not Process.ALIVE:
            return False
        if self.is_in_recovery is None:
            return self.role in (Role.PRIMARY, Role.PROMOTED)
        return not self.is_in_recovery

    @property
    def is_starting(self) -> bool:
        """Return whether a start is under way."""
        return self.state in (PostgresState.STARTING, PostgresState.BOOTSTRAP_STARTING)
