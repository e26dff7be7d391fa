"""What a decision can ask for. Each action is a record; their order in a decision is the order of their effects.

Gaining power: DCS first, then Postgres. Giving it up: Postgres first, then DCS. The preconditions of each, checked again by
the executor in the step of the effect: safety_rules.md §6. Three sorts:

- *effects* run in the chain, in order; the first failure voids the rest;
- *jobs* (`JOBS`) hand one long work to the single background slot; the chain goes on at once and the outcome is a fact of
  a later view;
- *questions* (`QUESTIONS`) are asked by workers; each answer is an event on which the loop decides again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import get_args

from patroni.decision.cluster import Incarnation, Lsn, SlotName, Status, SystemId, Timeline, Token
from patroni.decision.node import Upstream


class DemoteKind(Enum):
    """How to give up being primary (contract/ha_behaviour.md §2.21)."""

    GRACEFUL = "graceful"  # switchover: checkpoint, fast stop, hand over; the key is released by `ReleaseLock`
    IMMEDIATE = "immediate"  # give the lock up quickly; the key is released by `ReleaseLock`
    IMMEDIATE_NOLOCK = "immediate-nolock"  # the lock is lost already
    OFFLINE = "offline"  # the store does not answer and the lease is over: restart without upstream


# --- effects on the store


@dataclass(frozen=True, slots=True)
class AcquireLock:
    """Create the leader key; never overwrites. The keeper renews the session first, the lock inherits its deadline."""


@dataclass(frozen=True, slots=True)
class AdoptLock:
    """Rewrite a leader key that names us under our own session, after the election's checks (safety_rules.md §1.4)."""

    token: Token  # the version that was judged
    incarnation: Incarnation


@dataclass(frozen=True, slots=True)
class ReleaseLock:
    """Delete the leader key by its version; `lsn`, if known, goes to the status key first."""

    token: Token
    lsn: Lsn | None = None


@dataclass(frozen=True, slots=True)
class ClaimInitialize:
    """Win the race to create the cluster: create the initialize key, empty."""


@dataclass(frozen=True, slots=True)
class WriteInitialize:
    """Write our system id: create if `is_new`, else overwrite."""

    system_id: SystemId
    is_new: bool


@dataclass(frozen=True, slots=True)
class CancelInitialize:
    """Delete the initialize key: after our own failed bootstrap, or a claim that nobody pursues."""

    token: Token | None = None  # the version that was judged; None: whatever is there


@dataclass(frozen=True, slots=True)
class WriteConfig:
    """Write the cached dynamic configuration where the key is missing or holds none."""


@dataclass(frozen=True, slots=True)
class WriteStatus:
    """Publish our position and slots, under our lock only."""

    status: Status


@dataclass(frozen=True, slots=True)
class WriteHistory:
    """Publish the timeline history; `rows` as JSON-ready tuples of 3 to 5 fields."""

    rows: tuple[tuple[object, ...], ...]


@dataclass(frozen=True, slots=True)
class ClearFailover:
    """Overwrite the failover key with `{}` under the version that was judged."""

    token: Token


# --- effects on Postgres


@dataclass(frozen=True, slots=True)
class Promote:
    """Arm the guard, then signal the promotion; its completion is a fact of a later view."""


@dataclass(frozen=True, slots=True)
class Follow:
    """Point a running standby at this upstream by reload; None: archive recovery only."""

    upstream: Upstream | None


@dataclass(frozen=True, slots=True)
class ResumeReplay:
    """Let a paused replay go on (contract/ha_behaviour.md §2.17 F10)."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Run CHECKPOINT after a promotion, so that others may rewind from us; by a worker, nothing waits for it."""


@dataclass(frozen=True, slots=True)
class SyncSlots:
    """Create the missing and drop the superfluous physical slots of members."""

    create: tuple[SlotName, ...]
    drop: tuple[SlotName, ...]


# --- jobs


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """initdb, start as primary, create roles and grants (contract/ha_behaviour.md §2.9)."""


@dataclass(frozen=True, slots=True)
class AbortBootstrap:
    """After a failed bootstrap: stop, rename the data directory to `.failed`; the process then exits with 1."""


@dataclass(frozen=True, slots=True)
class CloneFrom:
    """Copy a member's data directory into our empty one, then start as its standby."""

    member: str
    conn_url: str
    is_leader: bool
    upstream: Upstream | None


@dataclass(frozen=True, slots=True)
class StartAsPrimary:
    """Start a crashed primary in place, guard armed first (§2.10 R7)."""

    timeout_s: float


@dataclass(frozen=True, slots=True)
class StartAsStandby:
    """Start in recovery; upstream None: nobody to stream from."""

    upstream: Upstream | None
    timeout_s: float | None  # None: `pg_ctl_timeout`
    is_after_demotion: bool = False


@dataclass(frozen=True, slots=True)
class Rewind:
    """Stop if running, make this data directory continue the leader's history by pg_rewind (§5.5)."""

    member: str
    conn_url: str


@dataclass(frozen=True, slots=True)
class Reinitialize:
    """Remove the data directory and clone: only where configuration allows it (§5.4 row 4, §5.6 row 4)."""

    member: str
    conn_url: str
    upstream: Upstream | None
    is_twin: bool = False  # then only if it still is one once it is down


@dataclass(frozen=True, slots=True)
class CrashRecovery:
    """Recover in single-user mode so that pg_rewind finds a clean shutdown (§5.7)."""


@dataclass(frozen=True, slots=True)
class Demote:
    """Stop a running primary, bounded (design.md §3). No precondition, ever. Starting again is another decision."""

    kind: DemoteKind
    title: str | None = None  # `switchover` or `manual failover`, for GRACEFUL


@dataclass(frozen=True, slots=True)
class StopPostgres:
    """Stop whatever runs on the data directory: at shutdown (fast) or because the directory vanished (immediate)."""

    is_fast: bool


@dataclass(frozen=True, slots=True)
class FinishStop:
    """End a stop that waits for nothing but standbys any more: immediate, then kill (design.md §3, bounded stop)."""


@dataclass(frozen=True, slots=True)
class CancelJob:
    """Cancel the running job: its tool is ended, its next step is not begun.

    A postmaster that it has launched lives on: the next view shows it, as a primary without the lock that is demoted or as a
    server to be stopped, and a guard that was armed for it ends it with the lease.
    """


# --- questions


@dataclass(frozen=True, slots=True)
class AskPeers:
    """Ask these members for their status over REST, in parallel, 2 s each."""

    names: tuple[str, ...]
    api_urls: tuple[tuple[str, str], ...] = ()  # (name, last known api_url) of those whose member key is gone


@dataclass(frozen=True, slots=True)
class AskHistory:
    """Ask a primary for its timeline and timeline history (§5.3), and whether it has ours.

    ours: timeline and position where the own history ends; None: not known, nothing is compared.
    """

    member: str
    conn_url: str
    ours: tuple[Timeline, int] | None = None


@dataclass(frozen=True, slots=True)
class ReadCluster:
    """Read the cluster anew, linearizable, because the view is older than what it must show."""


@dataclass(frozen=True, slots=True)
class ReadFiles:
    """Look at the data directory and pg_controldata again."""


# --- the process


@dataclass(frozen=True, slots=True)
class Exit:
    """End the agent with this status; the reason says why."""

    status: int


Effect = (
    AcquireLock
    | AdoptLock
    | ReleaseLock
    | ClaimInitialize
    | WriteInitialize
    | CancelInitialize
    | WriteConfig
    | WriteStatus
    | WriteHistory
    | ClearFailover
    | Promote
    | Follow
    | ResumeReplay
    | Checkpoint
    | SyncSlots
)
JobAction = (
    Bootstrap
    | AbortBootstrap
    | CloneFrom
    | StartAsPrimary
    | StartAsStandby
    | Rewind
    | Reinitialize
    | CrashRecovery
    | Demote
    | StopPostgres
)
JobControl = FinishStop | CancelJob
Question = AskPeers | AskHistory | ReadCluster | ReadFiles
Action = Effect | JobAction | JobControl | Question | Exit

JOBS = get_args(JobAction)
QUESTIONS = get_args(Question)
GIVES_UP_POWER = (
    ReleaseLock,
    Demote,
    StopPostgres,
    FinishStop,
    CancelJob,
    Exit,
)  # allowed while a chain runs (design.md §3)
