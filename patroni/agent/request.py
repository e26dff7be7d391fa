"""What a chain or a job asks of the agent itself, beside the store's and Postgres' requests.

Each answer is taken in the step of the effect that depends on it, so that no precondition is older than its effect
(safety_rules.md §6).
"""

from __future__ import annotations

from dataclasses import dataclass

from patroni.dcs.store import Session
from patroni.decision.actions import JobAction
from patroni.decision.cluster import PostgresState, Role
from patroni.decision.lease import Lease, Proof
from patroni.decision.request import Request


class Void(Exception):
    """A precondition does not hold any more, or a newer epoch has begun: the rest of the chain has no effect."""


@dataclass(frozen=True, slots=True)
class ReadLease(Request[Lease]):
    """The lease, now; raises `Void` if a newer epoch has begun."""


@dataclass(frozen=True, slots=True)
class ReadFactsAge(Request[float | None]):
    """Seconds since the facts of the election were judged; None: one of them changed since (safety_rules.md §6)."""


@dataclass(frozen=True, slots=True)
class TakeLock(Request[None]):
    """Hand a lock that was just won or adopted to the keeper, with its proof."""

    proof: Proof


@dataclass(frozen=True, slots=True)
class DropLock(Request[None]):
    """Stop keeping the lock and await the keeper's last answer (safety_rules.md §1.2)."""


@dataclass(frozen=True, slots=True)
class ArmFence(Request[bool]):
    """Arm the guard under the lease's proof; answers whether it acknowledged."""

    proof: Proof


@dataclass(frozen=True, slots=True)
class BeginJob(Request[None]):
    """Hand a long work to the background slot; raises `Void` if it is taken."""

    action: JobAction


@dataclass(frozen=True, slots=True)
class Note(Request[None]):
    """Tell the loop what a job or an effect is doing: its phase for people, the state and role it leaves Postgres in."""

    phase: str
    state: PostgresState | None = None  # None: unchanged
    role: Role | None = None  # None: unchanged


@dataclass(frozen=True, slots=True)
class IsHurried(Request[bool]):
    """Whether a stop that waits for standbys shall end now (`FinishStop`)."""


@dataclass(frozen=True, slots=True)
class ReadSession(Request[Session]):
    """The session of this node; raises `Void` if none is open."""
