"""Events: all that reaches the loop, as frozen records through one queue (design.md §3).

A sender stamps what it sends with the time and the epoch, for the log and for the simulation's checks. What an old answer
must not do is prevented where authority is: in the keeper and before each request of a chain (safety_rules.md §1.3).
"""

from __future__ import annotations

from dataclasses import dataclass

from patroni.config.load import Local
from patroni.decision.actions import Action, JobAction
from patroni.decision.cluster import Cluster, HistoryRow, PostgresState, Revision, Role, Timeline
from patroni.decision.lease import Instant, Proof
from patroni.decision.view import Answer, LeaderHistory, Silent
from patroni.postgres.request import Files, Monitoring, RemoteHistory


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSeen:
    """A view of the store arrived: by read, by watch, or with a proof of the lock."""

    cluster: Cluster
    began: Instant  # before the request was sent; its age counts from here
    is_linearizable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSilent:
    """A read or the watch got no answer."""

    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseSeen:
    """The keeper's state changed: a proof, a refusal, a vanished lock, a silence, a new session."""

    proof: Proof | None
    session_proved: Instant | None  # when the last proved renewal of the session was sent
    is_refused: bool = False
    is_gone: bool = False
    silent_since: Instant | None = None
    store_revision: Revision | None = None  # of the store when it renewed the session; None: it has none
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnWanted:
    """The keeper asks for a turn: a loop that takes none in 2 s is hung and loses the lock (safety_rules.md §7.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesSeen:
    """The file worker looked at the data directory; None: it did not answer in its time."""

    files: Files | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringSeen:
    """The monitoring query answered; None: it did not."""

    monitoring: Monitoring | None
    began: Instant | None = None  # before the query was sent; None: when the event was
    timeline: Timeline | None = None  # of IDENTIFY_SYSTEM, where it was asked for
    local_history: tuple[HistoryRow, ...] | None = None  # where it was asked for
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSeen:
    """A peer answered, or did not."""

    name: str
    peer: Answer | Silent


@dataclass(frozen=True, slots=True, kw_only=True)
class HistorySeen:
    """A primary said its timeline and history, or that it is none."""

    history: LeaderHistory


def history_seen(member: str, ours: tuple[Timeline, int] | None, said: RemoteHistory) -> HistorySeen:
    """Return what a primary said, asked where our history ends."""
    history = LeaderHistory(
        member=member,
        age_s=0.0,
        is_primary=said.is_primary,
        timeline=said.timeline,
        rows=said.rows,
        compared=ours[0] if ours is not None else None,
        twin=said.twin,
    )
    return HistorySeen(history=history)


@dataclass(frozen=True, slots=True, kw_only=True)
class PostmasterExited:
    """The pidfd of the postmaster, or of the own walreceiver, became readable: the pid says whose."""

    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """The job, or an effect, began a phase; state and role are what it leaves Postgres in, None: unchanged."""

    phase: str
    state: PostgresState | None = None
    role: Role | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobBegan:
    """The background slot took a job."""

    action: JobAction


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberTouched:
    """The member key was written, or not."""

    is_ok: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnded:
    """The job ended."""

    action: JobAction
    is_ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainStepped:
    """The effect worker goes on to the action with this index."""

    number: int  # of the chain
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainEnded:
    """The chain is over: all done, or `failed` was refused or got no answer and the rest is void."""

    number: int  # of the chain
    failed: Action | None = None
    is_refusal: bool = False
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Woken:
    """Somebody wants the loop to look again now: REST after a change, a finished worker."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Signalled:
    """A signal arrived: its number."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadWanted:
    """SIGHUP: the local configuration is to be read again and Postgres reloaded, even if nothing changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRead:
    """The local configuration was read again; None: it can't be used, and the log says why."""

    local: Local | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressesChanged:
    """What is published of this node's addresses may have changed: the member key is written anew."""


Payload = (
    ClusterSeen
    | StoreSilent
    | LeaseSeen
    | TurnWanted
    | FilesSeen
    | MonitoringSeen
    | PeerSeen
    | HistorySeen
    | PostmasterExited
    | Noted
    | JobBegan
    | MemberTouched
    | JobEnded
    | ChainStepped
    | ChainEnded
    | Woken
    | Signalled
    | ReloadWanted
    | LocalRead
    | AddressesChanged
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened."""

    epoch: int
    sent: Instant
    payload: Payload
