"""The journal of decisions: why, when, and what was done; in memory for REST and patronictl, and in the log.

One INFO line a cycle in the words of contract/logs_and_metrics.md §4-5: at every change of the reason, else once a loop_wait.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from datetime import datetime

from patroni.decision.actions import Action, Exit
from patroni.decision.cluster import Cluster
from patroni.decision.reasons import Code, Reason
from patroni.decision.view import Decision, View

KEPT = 500
SHOWN = 20  # of these, in words, for whoever asks the agent
PASSING_S = 1.0
PASSING = (Code.CHAIN_RUNNING, Code.FACTS_UNKNOWN, Code.PG_UNREACHABLE)  # normal for a moment; a line only where they last
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
        self._tail: tuple[str, ...] = ()
        self._last_code: Code | None = None
        self._since_s = 0.0
        self._logged: tuple[Code, float] | None = None  # what was logged last, and when

    def note(self, view: View, decision: Decision) -> None:
        """Take down one decision."""
        code = decision.because.code
        if code is not self._last_code:
            self._since_s = view.now_s
        if code is not self._last_code or decision.actions:
            self._records.append(Record(at=view.wall, because=decision.because, actions=decision.actions))
            self._tail = (*self._tail[1 - SHOWN :], f"{view.wall.isoformat()} {decision.because}")
        self._last_code = code
        if self._is_due(code, view) or _is_fatal(decision):
            _log(view.node.name, view.cluster, decision, view.settings.is_paused)
            self._logged = (code, view.now_s)
        elif decision.actions:
            cycle_logger.debug("%s: %s", decision.because, names_of(decision.actions))

    def _is_due(self, code: Code, view: View) -> bool:
        """Whether this reason gets its line now: another one than the last, or a loop_wait later."""
        if code in PASSING and view.now_s - self._since_s < PASSING_S:
            return False
        if self._logged is None or code is not self._logged[0]:
            return True
        return view.now_s - self._logged[1] >= view.settings.loop_wait_s

    def records(self) -> tuple[Record, ...]:
        """Return what is kept, oldest first."""
        return tuple(self._records)

    def tail(self) -> tuple[str, ...]:
        """Return the last records in words, oldest first; made once each, since every turn shows them."""
        return self._tail


def _log(name: str, cluster: Cluster | None, decision: Decision, is_paused: bool) -> None:
    if cluster is not None and cluster.leader is not None:
        ha_logger.info("Lock owner: %s; I am %s", cluster.leader_name, name)
    level = logging.CRITICAL if _is_fatal(decision) else logging.INFO
    cycle_logger.log(level, "%s%s", "PAUSE: " if is_paused else "", decision.because)


def _is_fatal(decision: Decision) -> bool:
    """Return whether it ends the agent because of a fault (FATAL in contract/logs_and_metrics.md §5)."""
    return any(isinstance(action, Exit) and action.status != 0 for action in decision.actions)


def names_of(actions: tuple[Action, ...]) -> str:
    """Return the actions for people, in order."""
    return ", ".join(type(action).__name__ for action in actions) or "nothing"
