"""Answers: what the REST API is given of this agent: the published snapshot, the authority of this moment, and operations.

The authority comes from the lease itself, so a lease that is over says 503 before the next turn knows of it (design.md §6).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import datetime

from patroni.agent import clock
from patroni.agent.dispatch import Parts, StorePerformer
from patroni.agent.event import Woken
from patroni.agent.lane import Lane
from patroni.agent.perform import FAILURES, drive
from patroni.decision.cluster import Cluster, FailoverRequest, Member, Token
from patroni.decision.lease import Instant, elapsed_s
from patroni.decision.view import Answer, Silent
from patroni.postgres.request import Monitoring, ReadMonitoring
from patroni.rest.operations import FailsafeAnswer, FailsafeCall, FailsafeVerdict
from patroni.rest.snapshot import Authority, Snapshot

PROBE_S = 4.0


class Clocks:
    """The agent's clocks for the REST room."""

    def now(self) -> Instant:
        """See clock.now."""
        return clock.now()

    def wall(self) -> datetime:
        """See clock.wall."""
        return clock.wall()


class Answers:
    """Implements the ports of `rest/`; called from its threads."""

    def __init__(self, parts: Parts, first: Snapshot) -> None:
        self._parts = parts
        self._snapshot = first
        self._is_giving_up = False
        self._has_led = False
        self._changed = threading.Condition()
        self._seen = 0  # views that have arrived
        self._askers = Lane("ask", 4)

    # --- the loop's side

    def publish(self, snapshot: Snapshot, *, is_giving_up: bool, has_led: bool) -> None:
        """Replace what handlers read. Both flags: as in `loop.Turn`."""
        self._is_giving_up, self._has_led = is_giving_up, has_led
        is_new = snapshot.cluster is not self._snapshot.cluster
        self._snapshot = snapshot
        if is_new:
            with self._changed:
                self._seen += 1
                self._changed.notify_all()

    # --- REST's side

    def snapshot(self) -> Snapshot:
        """Return what the last turn published."""
        return self._snapshot

    def authority(self, now: Instant) -> Authority:
        """Return whether this node may act as leader at this very moment.

        A primary that this agent found running, and whose lock it has not adopted yet, is no deposed one: if peers counted it
        as absent they would promote another beside it (contract/ha_behaviour.md §2.12 K6, rest_api.md §8.5).
        """
        if self._parts.keeper.lease(now).is_held:
            return Authority.OVER if self._is_giving_up else Authority.HELD
        return Authority.OVER if self._has_led and self._snapshot.node.is_running_primary else Authority.NONE

    def probe(self) -> Monitoring | None:
        """Run the monitoring query for health checks."""
        try:
            return self._parts.driver.perform(ReadMonitoring(is_for_rest=True), PROBE_S)
        except FAILURES:
            return None

    def read_cluster(self) -> Cluster | None:
        """Read the cluster, linearizable."""
        performer = StorePerformer(self._parts.store, clock.now(), self._parts.shared.settings.retry_timeout_s)
        try:
            return drive(self._parts.coordinator.read(is_linearizable=True), performer.perform)
        except FAILURES:
            return None

    def await_cluster(self, within_s: float) -> Cluster | None:
        """Wait for a new view at most so long, then read."""
        with self._changed:
            seen = self._seen
            self._changed.wait_for(lambda: self._seen != seen, within_s)
        return self.read_cluster()

    def write_failover(self, failover: FailoverRequest | None, token: Token | None) -> bool:
        """Write the failover key."""
        performer = StorePerformer(self._parts.store, clock.now(), self._parts.shared.settings.retry_timeout_s)
        coordinator = self._parts.coordinator
        try:
            if failover is not None:
                drive(coordinator.write_failover(failover, token), performer.perform)
            elif token is not None:
                drive(coordinator.clear_failover(token), performer.perform)
        except FAILURES:
            return False
        return True

    def ask_members(self, members: Sequence[Member]) -> Mapping[str, Answer | Silent]:
        """Ask these members in parallel, 2 s each."""
        answers: dict[str, Answer | Silent] = {}
        done = threading.Condition()

        def ask_one(member: Member) -> None:
            answer = self._parts.peers.ask_peer(member.api_url) if member.api_url else Silent(age_s=0.0)
            with done:
                answers[member.name] = answer
                done.notify_all()

        began = clock.now()
        for member in members:
            self._askers.do(lambda member=member: ask_one(member))  # type: ignore[misc]  # binds this turn's member
        with done:
            while len(answers) < len(members) and elapsed_s(began, clock.now()) < 5.0:
                done.wait(0.5)
            return {member.name: answers.get(member.name, Silent(age_s=0.0)) for member in members}

    def wake(self, why: str) -> None:
        """Make the loop look again now."""
        self._parts.post(Woken(why=why))

    def accept_failsafe(self, call: FailsafeCall) -> FailsafeAnswer:
        """Judge a failsafe call. The exchange itself comes later; until then failsafe mode is off here."""
        return FailsafeAnswer(verdict=FailsafeVerdict.OFF)
