"""The journal of decisions: why, when, and what was done; in memory for REST and patronictl, and in the log.

One INFO line a cycle in the words of contract/logs_and_metrics.md §4-5: at every change of the reason, else once a loop_wait.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from datetime import datetime

from patroni.decision.actions import Action
from patroni.decision.cluster import Cluster
from patroni.decision.reasons import Reason
from patroni.decision.view import Decision, View

KEPT = 500
cycle_logger = logging.getLogger("patroni.__main__")  # the names that log parsers match
ha_logger = logging.getLogger("patroni.ha")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One decision that differs from the one before it, or did something."""

    at: datetime
    because: Reason
    actions: tuple[Action, ...]


class Journal:
    """Keeps and logs decisions; used by the loop, read by anybody."""

    def __init__(self) -> None:
        self._records: deque[Record] = deque(maxlen=KEPT)
        self._last_code: str | None = None
        self._logged_at_s = float("-inf")

    def note(self, view: View, decision: Decision) -> None:
        """Take down one decision."""
        is_new = decision.because.code != self._last_code
        if is_new or decision.actions:
            self._records.append(Record(at=view.wall, because=decision.because, actions=decision.actions))
        is_due = view.now_s - self._logged_at_s >= view.settings.loop_wait_s
        if is_new or is_due:
            _log(view.node.name, view.cluster, decision, view.settings.is_paused)
            self._logged_at_s = view.now_s
        elif decision.actions:
            cycle_logger.debug("%s: %s", decision.because, names_of(decision.actions))
        self._last_code = decision.because.code

    def records(self) -> tuple[Record, ...]:
        """Return what is kept, oldest first."""
        return tuple(self._records)


def _log(name: str, cluster: Cluster | None, decision: Decision, is_paused: bool) -> None:
    if cluster is not None and cluster.leader is not None:
        ha_logger.info("Lock owner: %s; I am %s", cluster.leader_name, name)
    cycle_logger.info("%s%s", "PAUSE: " if is_paused else "", decision.because)


def names_of(actions: tuple[Action, ...]) -> str:
    """Return the actions for people, in order."""
    return ", ".join(type(action).__name__ for action in actions) or "nothing"
