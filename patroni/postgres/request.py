"""What can be asked of the local Postgres: requests, each one blocking step with a timeout, and their answers.

`postgres/driver.py` carries them out on the real thing, `tests/simulation` on its model. Long works (bootstrap, clone, start,
stop, rewind) are sequences of these in `agent/job.py`; nothing here knows leaders or locks. A step that failed raises
`PostgresError`; a step that ran out of its time raises `PostgresTimeout` (no answer: it may have had its effect).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from patroni.decision.cluster import HistoryRow, Lsn, SlotName, SystemId, Timeline, Twin
from patroni.decision.node import ControlData, DataDirectory, Process, Slot, Upstream, Walsender
from patroni.decision.request import Request


class PostgresError(Exception):
    """The step failed; the message is one line for an operator."""


class PostgresTimeout(PostgresError):
    """No answer in time: nothing is known about the effect."""


class StopMode(Enum):
    """Which signal ends the postmaster."""

    FAST = "fast"  # SIGINT
    IMMEDIATE = "immediate"  # SIGQUIT


class Readiness(Enum):
    """What pg_isready would say."""

    ACCEPTING = "accepting"
    REJECTING = "rejecting"
    NO_RESPONSE = "no response"
    GONE = "gone"  # no postmaster any more


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """What the data directory says (file worker only: a dead disk may block it)."""

    data_directory: DataDirectory
    process: Process
    postmaster_pid: int | None = None
    has_recovery_signal: bool = False
    has_backup_label: bool = False
    control: ControlData | None = None
    major: int | None = None
    is_torn: bool = False  # a pg_rewind of it began and has not succeeded
    detail: str = ""  # why it is inaccessible or pg_controldata failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitoring:
    """The answer of the one monitoring query (contract/ha_behaviour.md §1.4)."""

    is_in_recovery: bool
    timeline: Timeline | None  # primary: of the current WAL file; standby: received_tli, else None
    lsn: Lsn  # primary: flushed; standby: max(received or written, replayed)
    receive_lsn: Lsn | None = None
    replay_lsn: Lsn | None = None
    is_replay_paused: bool = False
    replay_timestamp: str | None = None
    latest_end_lsn: Lsn | None = None
    replication_state: str | None = None
    walreceiver_pid: int | None = None
    upstream: Upstream | None = None  # member is its application_name-free address only: `member` is None
    slots: tuple[Slot, ...] = ()
    walsenders: tuple[Walsender, ...] = ()
    replication: tuple[Mapping[str, object], ...] = ()  # rows of `replication` of the status document
    server_version: int = 0  # e.g. 150018
    postmaster_start_time: str = ""
    pending_restart: Mapping[str, Mapping[str, str]] | None = None  # by parameter: old_value, new_value


# --- looking


@dataclass(frozen=True, slots=True)
class ReadFiles(Request[Files]):
    """Look at the data directory, the processes and pg_controldata."""


@dataclass(frozen=True, slots=True)
class ReadMonitoring(Request[Monitoring]):
    """Run the monitoring query on a kept connection: the loop's own, or that of the REST API."""

    is_for_rest: bool = False


@dataclass(frozen=True, slots=True)
class ReadLocalHistory(Request[tuple[HistoryRow, ...]]):
    """Read the history file of this timeline; its last row carries the file's time. Empty: there is none."""

    timeline: Timeline


@dataclass(frozen=True, slots=True)
class ReadLocalTimeline(Request[Timeline]):
    """IDENTIFY_SYSTEM on a local replication connection: a standby's timeline where the receiver does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnWal:
    """The last whole records of a timeline in a data directory on which nothing runs."""

    segment: str  # name of the file
    offset: int  # of the content in it, in bytes
    begin_lsn: int  # of the first of these records
    page_bytes: int
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnTimeline:
    """What the data directory has of a timeline, to be compared with a leader's."""

    timeline: Timeline
    rows: tuple[HistoryRow, ...]  # of its history file; empty: there is none
    wal: OwnWal | None  # None: a server runs, or no record is certain


@dataclass(frozen=True, slots=True)
class ReadOwnTimeline(Request[OwnTimeline]):
    """Read what is ours of this timeline, before a position where a record ends."""

    timeline: Timeline
    until_lsn: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteHistory:
    """What a remote server said on a replication connection."""

    is_primary: bool
    system_id: SystemId | None
    timeline: Timeline | None
    rows: tuple[HistoryRow, ...] = ()
    twin: Twin = Twin.UNKNOWN  # whether our timeline is the one of this number in its history


@dataclass(frozen=True, slots=True)
class AskRemoteHistory(Request[RemoteHistory]):
    """Ask the server at `conn_url` whether it is primary, its system id, timeline and timeline history.

    own: what is ours, to be looked for in a primary's; None: not known. The own data directory is not touched.
    """

    conn_url: str
    own: OwnTimeline | None = None


# --- making and removing a data directory


@dataclass(frozen=True, slots=True)
class Initdb(Request[None]):
    """Run initdb with the configured options."""


@dataclass(frozen=True, slots=True)
class CreateRoles(Request[None]):
    """After initdb: superuser's password, replication and rewind roles with their grants, `post_bootstrap` script."""


@dataclass(frozen=True, slots=True)
class BaseBackup(Request[None]):
    """pg_basebackup from this server into our empty data directory; it is removed again on failure."""

    conn_url: str


@dataclass(frozen=True, slots=True)
class RunRewind(Request[None]):
    """pg_rewind against this server; the own one must be down."""

    conn_url: str


@dataclass(frozen=True, slots=True)
class RunSingleUser(Request[None]):
    """Crash recovery in single-user mode; clears archive_status and recovery files first."""


@dataclass(frozen=True, slots=True)
class RemoveDataDirectory(Request[None]):
    """Remove the data directory's content, WAL and tablespaces with it."""


@dataclass(frozen=True, slots=True)
class MoveDataDirectoryAway(Request[None]):
    """Rename the data directory to `.failed` after a failed bootstrap."""


# --- starting


@dataclass(frozen=True, slots=True)
class WriteConfiguration(Request[None]):
    """Write postgresql.conf, hba, ident and recovery settings; as standby with its signal file, else without one."""

    is_standby: bool
    upstream: Upstream | None = None
    is_running: bool = False  # True: for a reload; the signal file stays, whatever has become of the server meanwhile


@dataclass(frozen=True, slots=True)
class Launch(Request[int]):
    """Start the postmaster in a session of its own; answers with its pid at once."""


@dataclass(frozen=True, slots=True)
class AwaitReady(Request[Readiness]):
    """Wait until the server accepts connections or is gone, at most `within_s`; then say what it is."""

    within_s: float | None  # None: `postgresql.pg_ctl_timeout`, 0 there: without limit (contract/configuration.md §9 row 17)


# --- running


@dataclass(frozen=True, slots=True)
class Reload(Request[None]):
    """Make the server read its configuration files again."""


def always() -> bool:
    """Return that something is due whenever it is asked."""
    return True


@dataclass(frozen=True, slots=True)
class SignalPromote(Request[None]):
    """Ask the server to promote itself; does not wait."""

    is_due: Callable[[], bool] = field(default=always, compare=False)  # asked right before the signal: the disk may be slow


@dataclass(frozen=True, slots=True)
class RunCheckpoint(Request[None]):
    """CHECKPOINT, at most `within_s`."""

    within_s: float


@dataclass(frozen=True, slots=True)
class ResumeReplay(Request[None]):
    """pg_wal_replay_resume()."""


@dataclass(frozen=True, slots=True)
class ChangeSlots(Request[None]):
    """Create and drop physical slots; a slot that exists or is gone already is no error."""

    create: tuple[SlotName, ...]
    drop: tuple[SlotName, ...]


# --- stopping


@dataclass(frozen=True, slots=True)
class SignalStop(Request[None]):
    """Send the postmaster its stop signal; nobody there is no error."""

    mode: StopMode


@dataclass(frozen=True, slots=True)
class EndBackends(Request[None]):
    """End client backends and logical walsenders that still live; physical walsenders stay (design.md §3, bounded stop)."""


@dataclass(frozen=True, slots=True)
class AwaitDown(Request[bool]):
    """Wait until Postgres is down as of safety_rules.md §5, at most `within_s`; answers whether it is."""

    within_s: float


@dataclass(frozen=True, slots=True)
class KillAll(Request[None]):
    """SIGKILL everything of this server: stopped children first, postmaster last, then leftovers (fence_facts.md rule 19)."""
