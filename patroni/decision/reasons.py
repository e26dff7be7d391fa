"""Why: every decision carries one reason, a code plus the facts that decided it. Its text is rendered here and nowhere else.

Tests compare codes; people, REST, log and patronictl read the same words. The heartbeat lines are kept to the letter:
contract/logs_and_metrics.md §4.1. What each other code stands for is row C1-C20 of its §5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Code(StrEnum):
    """Short code of a reason: `<subject>.<verdict>`; the values appear in the journal and in metrics."""

    # Heartbeats
    LEADER_OK = "leader.ok"
    FOLLOWER_OK = "follower.ok"
    NO_ACTION = "no_action"
    # Facts are missing, or work goes on
    FACTS_UNKNOWN = "facts.unknown"
    CHAIN_RUNNING = "chain.running"
    HELD = "guard.held"
    LOCK_LAPSING = "lock.lapsing"
    PG_UNREACHABLE = "pg.unreachable"
    BUSY_LOCK_RENEWED = "busy.lock_renewed"
    BUSY = "busy"
    BUSY_LOST_LOCK = "busy.lost_lock"
    BUSY_CRASH_RECOVERY_TIMEOUT = "busy.crash_recovery_timeout"
    # Bootstrap
    BOOTSTRAP_NEW = "bootstrap.new"
    BOOTSTRAP_RECOVERING = "bootstrap.recovering"
    BOOTSTRAP_DONE = "bootstrap.done"
    BOOTSTRAP_ABORT = "bootstrap.abort"
    BOOTSTRAP_ABANDONED = "bootstrap.abandoned"
    BOOTSTRAP_WAITING = "bootstrap.waiting"
    BOOTSTRAP_NOT_ALLOWED = "bootstrap.not_allowed"
    CLONE = "clone"
    DATADIR_STOP = "datadir.stop"
    DATADIR_RELEASED = "datadir.released"
    DATADIR_INACCESSIBLE = "datadir.inaccessible"
    # System identifier
    SYSID_INVALID = "sysid.invalid"
    SYSID_MISMATCH = "sysid.mismatch"
    SYSID_REPLICA_FIRST = "sysid.replica_first"
    SYSID_CLAIM = "sysid.claim"
    # A Postgres that is down, or is starting
    RECOVER_ORPHANS = "recover.orphans"
    RECOVER_FAILOVER = "recover.failover_after_crash"
    RECOVER_GAVE_UP_LOCK = "recover.gave_up_lock"
    RECOVER_LEASE_SHORT = "recover.lease_short"
    RECOVER_AS_PRIMARY = "recover.as_primary"
    RECOVER_SINGLE_USER = "recover.single_user"
    RECOVER_READONLY_WITH_LOCK = "recover.readonly_with_lock"
    RECOVER_REPLICA = "recover.replica"
    START_TIMEOUT = "start.timeout"
    START_NO_CANDIDATE = "start.timeout_no_candidate"
    START_WAITING = "start.waiting"
    # The leader
    LEADER_VIEW_OLD = "leader.view_old"
    LEADER_PROMOTING = "leader.promoting"
    LEADER_LEASE_SHORT = "leader.lease_short"
    LEADER_PROMOTION_STUCK = "leader.promotion_stuck"
    LEADER_NO_GOOD_READ = "leader.no_good_read"
    SWITCHOVER_DEMOTING = "switchover.demoting"
    SWITCHOVER_CLEARED = "switchover.cleared"
    SWITCHOVER_ASKING = "switchover.asking"
    SWITCHOVER_SCHEDULED = "switchover.scheduled"
    # Giving up power
    DEMOTE_REFUSED = "demote.renew_failed"
    DEMOTE_OTHER_LEADS = "demote.other_leads"
    DEMOTE_PENDING_PROMOTION = "demote.pending_promotion"
    DEMOTE_NOT_HEALTHIEST = "demote.not_healthiest"
    DEMOTE_RELEASED = "demote.released"
    DEMOTE_HANDED_OVER = "demote.handed_over"
    DEMOTE_WAITING = "demote.waiting"
    # The race for a free leader key
    RACE_ACQUIRE = "race.acquire"
    RACE_ADOPT = "race.adopt"
    RACE_RELEASED = "race.released"
    RACE_ASKING = "race.asking"
    RACE_VIEW_OLD = "race.view_old"
    RACE_BACKOFF = "race.backoff"
    RACE_STANDS_BACK = "race.stands_back"
    RACE_FAILSAFE = "race.failsafe"
    RACE_STARTING = "race.starting"
    RACE_NOT_ALLOWED = "race.not_allowed"
    RACE_STANDBY_CLUSTER = "race.standby_cluster"
    RACE_POSITION_UNKNOWN = "race.position_unknown"
    RACE_LAG = "race.lag"
    RACE_TIMELINE = "race.timeline"
    RACE_OTHER_PRIMARY = "race.other_primary"
    RACE_PEER_AHEAD = "race.peer_ahead"
    RACE_PEER_PRIORITY = "race.peer_priority"
    RACE_CANDIDATE = "race.candidate"
    RACE_FAILOVER_POSSIBLE = "race.failover_possible"
    # Diverged history
    REWIND_CHECKING = "rewind.checking"
    REWIND_WAITING = "rewind.waiting"
    REWIND = "rewind"
    REWIND_SINGLE_USER = "rewind.single_user"
    REINITIALIZE = "rewind.reinitialize"
    TWIN = "rewind.twin"
    TWIN_STOP = "rewind.twin_stop"
    TORN = "rewind.torn"
    TORN_WAITING = "rewind.torn_waiting"
    TORN_STOP = "rewind.torn_stop"
    TORN_RELEASED = "rewind.torn_released"
    # The store is away
    DCS_UNREAD = "dcs.unread"
    DCS_LEASE_LASTS = "dcs.lease_lasts"
    DCS_DEMOTED = "dcs.down_demoted"
    DCS_READONLY = "dcs.down_readonly"
    DCS_DOWN = "dcs.down"
    # Pause and shutdown
    PAUSE_LOCK_REMOVED = "pause.pg_down_lock_removed"
    PAUSE_PRIMARY_WITHOUT_LOCK = "pause.primary_without_lock"
    SHUTDOWN_STOPPING = "shutdown.stopping"
    SHUTDOWN_RELEASED = "shutdown.released"
    SHUTDOWN_STOP_FAILED = "shutdown.stop_failed"
    SHUTDOWN_HANGING = "shutdown.hanging"
    SHUTDOWN_DONE = "shutdown.done"
    SHUTDOWN_PAUSED = "shutdown.paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One reason: `facts` are the values that decided, by name, for text and for the journal."""

    code: Code
    facts: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return _TEXTS[self.code].format_map(dict(self.facts))


def because(code: Code, /, **facts: object) -> Reason:
    """Return the reason with this code and these facts."""
    return Reason(code=code, facts=facts)


_TEXTS: Mapping[Code, str] = {
    Code.LEADER_OK: "no action. I am ({name}), the leader with the lock",
    Code.FOLLOWER_OK: "no action. I am ({name}), a secondary, and following a leader ({leader})",
    Code.NO_ACTION: "no action. I am ({name})",
    Code.FACTS_UNKNOWN: "waiting to learn what is on the data directory",
    Code.CHAIN_RUNNING: "carrying out an earlier decision ({decision})",
    Code.HELD: "Postgres is held by its guard until the lock is proved or lost",
    Code.LOCK_LAPSING: "letting the leader lock run out, because {what} hangs",
    Code.PG_UNREACHABLE: "Postgres does not answer queries, will ask again",
    Code.BUSY_LOCK_RENEWED: "updated leader lock during {task}",
    Code.BUSY: "{task} in progress",
    Code.BUSY_LOST_LOCK: "lost the leader lock during {task}",
    Code.BUSY_CRASH_RECOVERY_TIMEOUT: "terminated crash recovery because of startup timeout",
    Code.BOOTSTRAP_NEW: "trying to bootstrap a new cluster",
    Code.BOOTSTRAP_RECOVERING: "waiting for the end of recovery after bootstrap",
    Code.BOOTSTRAP_DONE: "initialized a new cluster",
    Code.BOOTSTRAP_ABORT: "bootstrap failed: {detail}",
    Code.BOOTSTRAP_ABANDONED: "removing the claim of a node that has given up making the cluster",
    Code.BOOTSTRAP_WAITING: "waiting for leader to bootstrap",
    Code.BOOTSTRAP_NOT_ALLOWED: "waiting for another node to make the cluster: this one must not, because {why}",
    Code.CLONE: "trying to bootstrap from {source} '{member}'",
    Code.DATADIR_STOP: "stopping a Postgres whose data directory is gone",
    Code.DATADIR_RELEASED: "released leader key voluntarily as data dir {condition}",
    Code.DATADIR_INACCESSIBLE: "data directory is not accessible",
    Code.SYSID_INVALID: "the system identifier of the data directory is unknown or invalid, doing nothing",
    Code.SYSID_MISMATCH: "postgresql.data_dir: of another cluster; system identifier of node {name} is {mine}, "
    "that of the cluster is {theirs}",
    Code.SYSID_REPLICA_FIRST: "no initialize key, but Postgres is running as a replica: start the agent on the primary first",
    Code.SYSID_CLAIM: "writing the system identifier {mine} to the initialize key",
    Code.RECOVER_ORPHANS: "ending processes that a dead postmaster left behind",
    Code.RECOVER_FAILOVER: "stopped Postgres to fail over after a crash",
    Code.RECOVER_GAVE_UP_LOCK: "removed leader key after trying and failing to start Postgres",
    Code.RECOVER_LEASE_SHORT: "Postgres is down; waiting for the lease to be renewed before starting it as primary",
    Code.RECOVER_AS_PRIMARY: "starting primary after failure",
    Code.RECOVER_SINGLE_USER: "doing crash recovery in a single user mode",
    Code.RECOVER_READONLY_WITH_LOCK: "starting as readonly because i had the session lock",
    Code.RECOVER_REPLICA: "starting as a secondary",
    Code.START_TIMEOUT: "stopped Postgres because of startup timeout",
    Code.START_NO_CANDIDATE: "Postgres is still starting up, timeout is over, but there is nobody to fail over to",
    Code.START_WAITING: "Postgres is still starting up, {left_s:.0f} seconds until timeout",
    Code.LEADER_VIEW_OLD: "the lock is ours; waiting for a view of the cluster that shows it",
    Code.LEADER_PROMOTING: "promoted self to leader by holding the leader lock",
    Code.LEADER_LEASE_SHORT: "the lock is ours; waiting for the lease to be renewed before promoting",
    Code.LEADER_PROMOTION_STUCK: "giving the lock back because the promotion did not begin",
    Code.LEADER_NO_GOOD_READ: "the lock is renewed, but the cluster could not be read for more than {limit_s:.0f} seconds",
    Code.SWITCHOVER_DEMOTING: "{action}: demoting myself",
    Code.SWITCHOVER_CLEARED: "{action}: removing the request, because {why}",
    Code.SWITCHOVER_ASKING: "{action}: asking members how they are",
    Code.SWITCHOVER_SCHEDULED: "{action}: due in {left_s:.0f} seconds",
    Code.DEMOTE_REFUSED: "demoting self because the leader lock is refused",
    Code.DEMOTE_OTHER_LEADS: "demoting self because I do not have the lock and I was a leader ({leader} has it)",
    Code.DEMOTE_PENDING_PROMOTION: "stopping a promotion because the leader lock is lost",
    Code.DEMOTE_NOT_HEALTHIEST: "demoting self because I am not the healthiest node: {why}",
    Code.DEMOTE_RELEASED: "released the leader key after the demotion",
    Code.DEMOTE_HANDED_OVER: "released the leader key: {member} has the shutdown checkpoint",
    Code.DEMOTE_WAITING: "waiting for a standby to receive the shutdown checkpoint",
    Code.RACE_ACQUIRE: "acquiring the leader lock (lsn={lsn}, last published={published})",
    Code.RACE_ADOPT: "adopting the leader lock that names this node (lsn={lsn}, last published={published})",
    Code.RACE_RELEASED: "released a leader key that names this node: it must not lead ({why})",
    Code.RACE_ASKING: "asking members before racing for the leader lock",
    Code.RACE_VIEW_OLD: "reading the cluster again before racing for the leader lock",
    Code.RACE_BACKOFF: "the race is delayed by primary_race_backoff: {left_s:.0f} seconds left",
    Code.RACE_STANDS_BACK: "following: this node gave the lock back lately and stands back for {left_s:.0f} seconds",
    Code.RACE_FAILSAFE: "following: a primary is kept by failsafe mode",
    Code.RACE_STARTING: "Postgres is still starting",
    Code.RACE_NOT_ALLOWED: "following: I am not allowed to promote (nofailover)",
    Code.RACE_STANDBY_CLUSTER: "following: standby_cluster is set and not supported yet; nobody is promoted meanwhile",
    Code.RACE_POSITION_UNKNOWN: "following: the own WAL position is unknown",
    Code.RACE_LAG: "following: my WAL position is {lag_bytes} bytes behind the last published one, more than {limit_bytes}",
    Code.RACE_TIMELINE: "following: my timeline {mine} is unknown or behind {theirs} of the history",
    Code.RACE_OTHER_PRIMARY: "following: {member} still runs as a primary",
    Code.RACE_PEER_AHEAD: "following: {member} is ahead of my WAL position",
    Code.RACE_PEER_PRIORITY: "following: {member} has the same WAL position and a higher failover priority",
    Code.RACE_CANDIDATE: "following: the failover is meant for {member}",
    Code.RACE_FAILOVER_POSSIBLE: "following: {member} can take over as asked",
    Code.REWIND_CHECKING: "comparing the own history with that of {member}",
    Code.REWIND_WAITING: "diverged from {member}: waiting until it is a checkpointed primary",
    Code.REWIND: "running pg_rewind from {member}",
    Code.REWIND_SINGLE_USER: "doing crash recovery in a single user mode before pg_rewind",
    Code.REINITIALIZE: "reinitializing due to diverged timelines",
    Code.TWIN: "the timeline of this node has the number of one of {member}, and another history, so Postgres is not started; "
    "remove the directory, or set postgresql.remove_data_directory_on_diverged_timelines, and it is cloned anew",
    Code.TWIN_STOP: "stopping Postgres: its timeline has the number of one of {member}, and another history",
    Code.TORN: "a pg_rewind of this data directory was cut short, so Postgres is not started on it; remove the directory, "
    "or set postgresql.remove_data_directory_on_rewind_failure, and it is cloned anew",
    Code.TORN_WAITING: "a pg_rewind of this data directory was cut short; waiting for a leader of this cluster to clone from",
    Code.TORN_STOP: "stopping a Postgres that runs although a pg_rewind of its data directory was cut short",
    Code.TORN_RELEASED: "released leader key: a pg_rewind of this data directory was cut short",
    Code.DCS_UNREAD: "waiting for the first answer of the DCS",
    Code.DCS_LEASE_LASTS: "DCS is not accessible; still the leader while the lease lasts",
    Code.DCS_DEMOTED: "demoting self because DCS is not accessible and I was a leader",
    Code.DCS_READONLY: "DCS is not accessible; starting Postgres without the lock",
    Code.DCS_DOWN: "DCS is not accessible",
    Code.PAUSE_LOCK_REMOVED: "removed leader lock because Postgres is not running",
    Code.PAUSE_PRIMARY_WITHOUT_LOCK: "continue to run as primary without lock",
    Code.SHUTDOWN_STOPPING: "shutting down: stopping Postgres",
    Code.SHUTDOWN_RELEASED: "shutting down: released the leader key",
    Code.SHUTDOWN_STOP_FAILED: "shutting down: Postgres did not stop, the leader key is kept",
    Code.SHUTDOWN_HANGING: "shutting down although {what} hangs; a leader key of this node runs out",
    Code.SHUTDOWN_DONE: "shutting down",
    Code.SHUTDOWN_PAUSED: "shutting down while paused: Postgres and leader key are left alone",
}
