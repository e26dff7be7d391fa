"""The fence as the agent uses it: whoever holds the deadline ends Postgres by itself when it passes.

Promise: after `arm` was acknowledged, Postgres is stopped when the last proof's lease less its margin is over, or at once
after `end`, whatever the loop does; what appears later is killed, too, until `disarm`. Mechanism here (`InProcessFence`): the
keeper's thread calls `step` before every wait and never waits beyond what it returns. Not promised here: anything when the
agent itself is dead or frozen; that needs the guard process. Rules: safety_rules.md §3-5, fence_facts.md §4.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from patroni.decision.cluster import Incarnation
from patroni.decision.lease import Instant, Proof, elapsed_s, fence_left_s
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


class HoldingFence(Fence, Protocol):
    """A fence that outlives the agent, and can hold a server and let it go on. Its calls wait: none on the keeper's thread."""

    @property
    def pid(self) -> int | None:
        """The guard's process, whose end is an event; None: none was launched."""

    @property
    def postmaster(self) -> int | None:
        """The postmaster that an armed guard sees; None: none. Not the agent's own: it guards nothing."""

    def launch(self) -> int:
        """Adopt the guard that runs, or start one; return its pid. Raise GuardUnavailable."""

    def is_armed_under(self, incarnation: Incarnation) -> bool:
        """Return whether it guards or holds a server under this very lock, whichever agent armed it."""

    def adopt(self, proof: Proof) -> bool:
        """Renew from now on what an earlier agent armed under this lock; False: it is armed under another, or not at all."""

    def thaw(self, proof: Proof, held_under: Incarnation | None = None) -> bool:
        """Let a held server go on; return whether it does. proof: sent after the hold. held_under: see GuardFence."""

    def kill(self) -> bool:
        """End Postgres now, held or not; return whether it is acknowledged."""

    def said(self) -> list[str]:
        """Return what the guard reported since the last call, for the log."""


class InProcessFence:
    """The fence inside the agent: SIGQUIT when the time has come, after 0.2 s the kill of fence_facts.md rule 19."""

    KILL_AFTER_S = 0.2
    KILL_AGAIN_S = 0.25  # a start that was under way when the time came launches its postmaster after the kill
    IDLE_S = 3600.0

    def __init__(self, quit_postgres: Callable[[], None], kill_postgres: Callable[[], None]) -> None:
        """quit_postgres: send SIGQUIT, at once. kill_postgres: kill whatever is left; both may find nobody."""
        self._quit = quit_postgres
        self._kill = kill_postgres
        self._lock = threading.Lock()
        self._proof: Proof | None = None
        self._is_over = False
        self._quit_at: Instant | None = None
        self._state = GuardState.IDLE

    def arm(self, proof: Proof) -> bool:
        """See `Fence`. A fence that is ending Postgres acknowledges nothing."""
        with self._lock:
            if self._quit_at is not None:
                return False
            self._proof, self._is_over, self._state = proof, False, GuardState.ARMED
            return True

    def renew(self, proof: Proof) -> None:
        """See `Fence`."""
        with self._lock:
            if self._proof is None or self._is_over or proof.incarnation != self._proof.incarnation:
                return
            if proof.sent.boot_s > self._proof.sent.boot_s:
                self._proof = proof

    def end(self) -> None:
        """See `Fence`."""
        with self._lock:
            self._is_over = self._state is GuardState.ARMED

    def disarm(self) -> None:
        """See `Fence`."""
        with self._lock:
            self._proof, self._is_over, self._quit_at, self._state = None, False, None, GuardState.IDLE

    def state(self) -> GuardState:
        """See `Fence`."""
        return self._state

    def step(self, now: Instant) -> float:
        """See `Fence`. Effects are outside the lock, so that arming never waits for them."""
        with self._lock:
            if self._proof is None:
                return self.IDLE_S
            left_s = 0.0 if self._is_over or self._quit_at is not None else fence_left_s(self._proof, now)
            if left_s > 0:
                return left_s
            is_first = self._quit_at is None
            self._quit_at = self._quit_at or now
            kill_in_s = self.KILL_AFTER_S - elapsed_s(self._quit_at, now)
            if kill_in_s <= 0:
                self._state = GuardState.KILLED
        if is_first:
            self._quit()
        if kill_in_s <= 0:
            self._kill()
            return self.KILL_AGAIN_S
        return kill_in_s
