"""Postgres is starting (contract/ha_behaviour.md §2.4): the leader waits for it as long as `primary_start_timeout` says."""

from __future__ import annotations

from patroni.decision.actions import Demote, DemoteKind
from patroni.decision.candidate import ask, failover_possible
from patroni.decision.reasons import Code, because
from patroni.decision.rule import act
from patroni.decision.view import Decision, View


def start_timeout(view: View) -> Decision | None:
    """Let another node take over from a leader whose start takes too long (S3, S4)."""
    if start_left_s(view) > 0:
        return None
    possible = failover_possible(view)
    if possible.is_unknown:
        return ask(view, possible.consulted, because(Code.START_NO_CANDIDATE))
    if not possible.good:
        return act(view, because(Code.START_NO_CANDIDATE))
    return act(view, because(Code.START_TIMEOUT), Demote(DemoteKind.IMMEDIATE))


def wait_for_start(view: View) -> Decision:
    """Wait for the start (S5)."""
    left_s = start_left_s(view)
    return act(view, because(Code.START_WAITING, left_s=left_s), within_s=left_s)


def start_left_s(view: View) -> float:
    """Return for how long a leader's start may go on."""
    return view.settings.primary_start_timeout_s - view.node.state_age_s
