"""Publish: when to write the own member key. At once when anything but a position changed, or one becomes known; positions
once a loop_wait.

The key hangs on the session, so a new session is a reason, too. One write is under way at most (contract/dcs.md §1.5).
"""

from __future__ import annotations

from dataclasses import dataclass

from patroni.agent.member import says_position
from patroni.agent.order import TouchMember
from patroni.dcs.store import Session
from patroni.decision.cluster import SessionId
from patroni.decision.lease import Instant, elapsed_s
from patroni.decision.node import Node
from patroni.decision.view import View

RETRY_S = 1.0
LATE_S = 1.0  # a write that has not answered so long after its own deadline never will


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    session: SessionId
    said: tuple[object, ...]  # without positions
    positions: tuple[object, ...]


class Publisher:
    """Knows what stands under the member key and what ought to."""

    def __init__(self) -> None:
        self._written: _Written | None = None
        self._under_way: _Written | None = None
        self._is_outdated = False  # whether the write under way began before the last `forget`
        self._asked: Instant | None = None
        self._written_at: Instant | None = None  # when that was answered
        self._loop_wait_s = 10.0
        self._lost_s = 0.0
        self._failed: tuple[Instant, SessionId] | None = None  # when the last write failed, under which session

    def touch(self, view: View, session: Session | None, now: Instant) -> TouchMember | None:
        """Return the write that is due now, if any."""
        self._loop_wait_s = view.settings.loop_wait_s
        self._lost_s = view.settings.retry_timeout_s + LATE_S
        if session is None or self._is_waiting(session.id, now):
            return None
        is_leader = view.lease.is_held
        wanted = _Written(session=session.id, said=_said(view, is_leader), positions=_positions(view.node))
        if not self._differs(wanted, now) and not self._is_missing(view, now):
            return None
        self._under_way, self._asked = wanted, now
        return TouchMember(node=view.node, is_leader=is_leader)

    def answered(self, is_ok: bool, now: Instant) -> None:
        """The write was done, or not."""
        under_way, self._under_way = self._under_way, None
        if under_way is None:
            return
        if self._is_outdated:  # what was just written may lack what it was forgotten for
            self._is_outdated = False
        elif is_ok:
            self._written, self._written_at, self._failed = under_way, now, None
        else:
            self._failed = (now, under_way.session)

    def lost(self, asked: Instant) -> None:
        """A write that was asked for then may not have been handed out."""
        if self._asked == asked:
            self._under_way = None

    def forget(self) -> None:
        """Write the key again, whatever stands there: it holds what no view shows."""
        self._written, self._is_outdated = None, self._under_way is not None

    def due_at_s(self, now: Instant) -> float:
        """Return when to look again, on CLOCK_BOOTTIME."""
        return now.boot_s + (RETRY_S if self._written is None or self._failed else self._loop_wait_s)

    def _is_waiting(self, session: SessionId, now: Instant) -> bool:
        """Whether a write is under way, or one failed just now and nothing that it failed by has changed."""
        if self._under_way is not None and self._asked is not None:
            return elapsed_s(self._asked, now) < self._lost_s
        return self._failed is not None and self._failed[1] == session and elapsed_s(self._failed[0], now) < RETRY_S

    def _differs(self, wanted: _Written, now: Instant) -> bool:
        written = self._written
        if written is None or written.session != wanted.session or written.said != wanted.said:
            return True
        age_s = elapsed_s(self._asked, now) if self._asked else self._loop_wait_s
        return written.positions != wanted.positions and age_s >= self._loop_wait_s

    def _is_missing(self, view: View, now: Instant) -> bool:
        """Whether a view that began after the last write lacks the key: somebody removed it (contract/ha_behaviour.md C6)."""
        if view.cluster is None or view.cluster_age_s is None or self._written_at is None:
            return False
        return view.node.name not in view.cluster.members and view.cluster_age_s < elapsed_s(self._written_at, now)


def _said(view: View, is_leader: bool) -> tuple[object, ...]:
    node, settings = view.node, view.settings
    has_position = says_position(node)  # else a write during a job would count as one of what is left out of it
    return (
        node.state,
        node.role,
        node.timeline if has_position else None,
        node.replication_state if has_position else None,
        tuple(has_position and position is not None for position in _positions(node)),
        is_leader,
        is_leader and node.is_checkpointed,
        settings.is_paused,
        settings.tags,
    )


def _positions(node: Node) -> tuple[object, ...]:
    return (node.lsn, node.receive_lsn, node.replay_lsn)
