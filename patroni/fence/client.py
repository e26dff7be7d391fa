"""The fence as the agent uses it: whoever holds the deadline ends Postgres by itself when it passes.

Promise: after `arm` was acknowledged, Postgres is stopped when the last proof's lease less its margin is over, or at once
after `end`, whatever the loop does. Mechanism here (`InProcessFence`): the keeper's thread calls `step` before every wait and
never waits beyond what it returns. Not promised here: anything when the agent itself is dead or frozen; that needs the guard
process. Rules: safety_rules.md §3-5, fence_facts.md §4.
"""

from __future__ import annotations

from typing import Protocol

from patroni.decision.lease import Instant, Proof
from patroni.decision.view import GuardState


class Fence(Protocol):
    """What protects the others from a Postgres of ours that writes without the lease."""

    def arm(self, proof: Proof) -> bool:
        """Arm for this lock; return whether it was acknowledged. Before anything that can make Postgres writable."""

    def renew(self, proof: Proof) -> None:
        """Move the deadline to that of a newer proof of the same incarnation; another incarnation is ignored."""

    def end(self) -> None:
        """The lease is over now (refusal): end Postgres at once."""

    def disarm(self) -> None:
        """Stop guarding: only when Postgres is down, or in recovery with no promotion pending, or paused."""

    def state(self) -> GuardState:
        """Return what the guard is doing."""

    def step(self, now: Instant) -> float:
        """Do what is due now; return in how many seconds to be called again at the latest."""
