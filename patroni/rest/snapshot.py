"""What handlers may read: one immutable snapshot, replaced whole by the loop, and the authority at this very moment.

Promised: a handler never waits for the loop, the store or a disk to know what it reads here. Not promised: that the snapshot
is of this moment; what must be (who leads) is asked of `Authority`, and the Postgres fields come from a fresh query.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Protocol

from patroni.decision.cluster import Cluster
from patroni.decision.lease import Instant, elapsed_s
from patroni.decision.node import Node, Process
from patroni.decision.settings import Settings, SynchronousMode
from patroni.decision.view import GuardState
from patroni.postgres.request import Monitoring


class Authority(Enum):
    """Whether this node may act as leader, at the moment of asking. The agent answers from the lease, never from a turn.

    HELD ends with the lease less its margin, at a refusal, and in the step that decides to demote: before Postgres stops
    taking connections (design.md §6). OVER lasts until Postgres is down or in recovery.
    """

    HELD = "held"
    OVER = "over"  # was held in this life of Postgres, and is not any more
    NONE = "none"  # no lock of ours: a standby, or nothing yet


class Clock(Protocol):
    """The own clocks; reading them never blocks."""

    def now(self) -> Instant:
        """Return the two clocks that count suspend."""

    def wall(self) -> datetime:
        """Return the wall clock's time with its zone; for people and schedules only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that the loop publishes at the end of a turn."""

    scope: str
    own_version: str  # of this program; peers read `patroni.version.COMPATIBILITY`
    node: Node
    monitoring: Monitoring | None = None  # the loop's last good answer; None: none yet
    cluster: Cluster | None = None  # None: the store does not answer, or never did
    cluster_seen: Instant | None = None  # when the read, event or proof of `cluster` began; None: no cluster
    dcs_last_seen_s: int = 0  # epoch seconds of the last good read of the store; 0: never
    settings: Settings
    is_standby_cluster: bool = False
    guard: GuardState = GuardState.IDLE
    failsafe: Mapping[str, str] | None = field(default_factory=dict)  # last known map; {}: not read yet; None: no such key
    failsafe_until_s: float | None = None  # Instant.boot_s until which the last failsafe exchange counts; None: none
    scheduled_restart: Mapping[str, object] | None = None  # as in the member key, without postmaster_start_time
    is_leaving_sync: bool = False  # asks to be released as synchronous standby (§7.5)
    is_out_of_race: bool = False  # will not race for the lock: peers are told nofailover (safety_rules.md §9)
    is_watchdog_failed: bool = False
    log_queue_size: int = 0  # records that wait to be written
    log_records_lost: int = 0  # since the last report
    next_run: Instant  # when the next turn is due
    decisions: tuple[str, ...] = ()  # tail of the journal for people, newest last
    chain: str | None = None  # title of the effects under way; None: none


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Everything that one answer depends on, besides its request."""

    snapshot: Snapshot
    authority: Authority
    now: Instant
    wall: datetime
    monitoring: Monitoring | None = None  # of this request's query; None: not asked, or it failed

    @property
    def view(self) -> Cluster | None:
        """Return the cluster while its read is not older than ttl (§1, "view"), else None."""
        snapshot = self.snapshot
        if snapshot.cluster_seen is None or elapsed_s(snapshot.cluster_seen, self.now) >= snapshot.settings.ttl_s:
            return None
        return snapshot.cluster

    @property
    def is_leader(self) -> bool:
        """Return the leader flag L of the contract (§1)."""
        return self.authority is Authority.HELD

    @property
    def is_deposed(self) -> bool:
        """Return whether a primary of ours lives on although its lease is over (safety_rules.md §4.6); never in pause."""
        if self.authority is not Authority.OVER or self.snapshot.settings.is_paused:
            return False
        if self.monitoring is not None:
            return not self.monitoring.is_in_recovery
        return self.snapshot.node.is_running_primary

    @property
    def is_failsafe_active(self) -> bool:
        """Return whether the last failsafe exchange, as sender or receiver, still counts."""
        until_s = self.snapshot.failsafe_until_s
        return until_s is not None and self.now.boot_s < until_s

    @property
    def synchronous_mode(self) -> SynchronousMode:
        """Return the synchronous mode; a standby cluster has none (§1)."""
        return SynchronousMode.OFF if self.snapshot.is_standby_cluster else self.snapshot.settings.synchronous_mode

    @property
    def has_postmaster(self) -> bool:
        """Return whether a postmaster runs."""
        return self.snapshot.node.process is Process.ALIVE

    @property
    def overdue_s(self) -> float:
        """Return by how much the next turn is late, in seconds; negative: it is not due yet."""
        return elapsed_s(self.snapshot.next_run, self.now)
