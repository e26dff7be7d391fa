"""The lease: until when this node may act as leader, counted on its own clocks.

Promise: `left_s` never says more than the store will grant, because it counts from before the renewal was sent, on the
faster of two clocks that count suspend, and every renewal proved the lock itself (safety_rules.md §1-3). Mechanism: each
proved renewal replaces the whole record; nothing ever extends one. Not promised: anything on a host whose hypervisor stops
the guest's clocks, or beside a store host whose clock runs more than 8 % fast.
"""

from __future__ import annotations

from dataclasses import dataclass

from patroni.decision.cluster import Incarnation, Leader, Revision, SessionId, Token


@dataclass(frozen=True, slots=True, kw_only=True)
class Instant:
    """One reading of the two clocks that count suspend, in seconds (safety_rules.md §3)."""

    boot_s: float  # CLOCK_BOOTTIME
    raw_s: float  # CLOCK_MONOTONIC_RAW


def elapsed_s(since: Instant, now: Instant) -> float:
    """Return how many seconds passed between two own readings: the larger of the two clocks' answers."""
    return max(now.boot_s - since.boot_s, now.raw_s - since.raw_s)


def margin_s(ttl_s: float) -> float:
    """Return by how many seconds before the lease's end Postgres must be fenced (safety_rules.md §3).

    ttl_s: as the server granted it. 0.6 s cover waking up and stopping every process, 8 % the slew of time daemons.
    """
    return 0.6 + 0.08 * ttl_s


def renewal_period_s(ttl_s: float) -> float:
    """Return how often the keeper renews: ttl/3, below ttl 20 ttl/5 (safety_rules.md §2)."""
    return ttl_s / 3 if ttl_s >= 20 else ttl_s / 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """One proved renewal of the lock: sent at `sent`, granted for `ttl_s`."""

    sent: Instant  # taken BEFORE the renewal was sent: the store may count from any moment after that
    ttl_s: float  # as the server granted it
    incarnation: Incarnation
    session: SessionId
    token: Token  # names this version of the key in a release
    revision: Revision | None  # of the key's last write
    store_id: str | None = None  # of the store that proved it; None: it has none. Revisions of two stores tell nothing

    def is_of(self, leader: Leader) -> bool:
        """Return whether this leader key is the lock that was proved, as won or adopted by this session."""
        return (leader.incarnation, leader.session) == (self.incarnation, self.session)


def lease_left_s(proof: Proof, now: Instant) -> float:
    """Return for how many seconds this node may still act as leader, before the margin; <= 0 means stop now."""
    return proof.ttl_s - elapsed_s(proof.sent, now)


def fence_left_s(proof: Proof, now: Instant) -> float:
    """Return in how many seconds Postgres must be fenced: the lease less its margin; <= 0 means now."""
    return lease_left_s(proof, now) - margin_s(proof.ttl_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """What a decision knows of the lease at its moment. The keeper renews; `decide` only looks."""

    epoch: int = 0  # every change of authority begins a new one (safety_rules.md §1.3)
    proof: Proof | None = None  # None: no lock of ours is proved
    left_s: float = 0.0  # of the proof, before the margin; 0 without one
    is_refused: bool = False  # the store said in this epoch: not yours (a "no", never a silence)
    is_gone: bool = False  # the store said: the key does not exist; not a refusal (safety_rules.md §1.5)
    session_age_s: float | None = None  # since the last proved renewal of the session was sent; None: no session
    silent_s: float = 0.0  # for how long the store has not answered the keeper

    @property
    def is_held(self) -> bool:
        """Return whether this node may act as leader now (before the margin)."""
        return self.proof is not None and not self.is_refused and self.left_s > 0
