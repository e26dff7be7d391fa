"""Orders: what a turn of the loop wants done. Runners carry them out and answer by events; the loop itself never waits."""

from __future__ import annotations

from dataclasses import dataclass

from patroni.decision.actions import Action, JobAction
from patroni.decision.cluster import Timeline
from patroni.decision.lease import Instant, Proof
from patroni.decision.node import Node, Upstream
from patroni.decision.reasons import Code


@dataclass(frozen=True, slots=True, kw_only=True)
class StartChain:
    """Carry out these effects in order; void if another epoch has begun."""

    number: int
    epoch: int
    actions: tuple[Action, ...]
    code: Code
    facts: int  # version of the election's facts on which it was decided
    facts_at: Instant  # when the oldest of them that counted was learned
    is_primary: bool  # whether Postgres was a running primary then: a won lock arms the guard at once


@dataclass(frozen=True, slots=True, kw_only=True)
class StartJob:
    """Begin this job; one that runs is cancelled first."""

    epoch: int
    action: JobAction


@dataclass(frozen=True, slots=True)
class CancelRunningJob:
    """Cancel the job that runs."""


@dataclass(frozen=True, slots=True)
class HurryJob:
    """Let a stop that waits for standbys end."""


@dataclass(frozen=True, slots=True)
class LookAtFiles:
    """Read the data directory, the processes and pg_controldata."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryPostgres:
    """Run the monitoring query; with `asks_timeline` also IDENTIFY_SYSTEM, with `history_of` that timeline's history file."""

    asks_timeline: bool = False
    history_of: Timeline | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadStore:
    """Read the cluster."""

    is_linearizable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AskPeer:
    """Ask one member for its status."""

    name: str
    api_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AskLeaderHistory:
    """Ask a primary for its timeline history, and whether it has ours."""

    member: str
    conn_url: str
    ours: tuple[Timeline, int] | None = None


@dataclass(frozen=True, slots=True)
class ArmFence:
    """A running primary that holds the lock has no guard: a pause has ended."""

    proof: Proof


@dataclass(frozen=True, slots=True)
class DisarmFence:
    """The server is down or in recovery with no promotion pending, and no lock is ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadPostgres:
    """Write Postgres' configuration anew, as what it is now, and make it read that."""

    is_standby: bool
    upstream: Upstream | None


@dataclass(frozen=True, slots=True)
class SaveDynamic:
    """Cache the dynamic configuration in the data directory."""


@dataclass(frozen=True, slots=True)
class ReadLocal:
    """Read the local configuration again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TouchMember:
    """Publish this node under its member key."""

    node: Node
    is_leader: bool


@dataclass(frozen=True, slots=True)
class Leave:
    """End the process with this status."""

    status: int


Order = (
    StartChain
    | StartJob
    | CancelRunningJob
    | HurryJob
    | LookAtFiles
    | QueryPostgres
    | ReadStore
    | AskPeer
    | AskLeaderHistory
    | ArmFence
    | DisarmFence
    | TouchMember
    | ReloadPostgres
    | SaveDynamic
    | ReadLocal
    | Leave
)
